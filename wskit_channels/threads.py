"""
Threads for plain handlers and the ORM: a bounded pool for all connections.

Without it ``sync_to_async``, and so the ORM, would run every connection's work in
one thread. Here each event line and each call takes a thread when it first needs one
and keeps it until its handler has ended, so that a transaction never meets another's.
A thread's database connections live and die by ``CONN_MAX_AGE``: they are looked at
when the thread changes hands, and only then, and only when one needs closing.

``sync_to_async`` finds the pool through asgiref's thread-sensitive context, which is
how Django's own handlers give each request a thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.core.signals import setting_changed
from django.db import close_old_connections
from django.db.backends.signals import connection_created

from wskit_channels.conf import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ConnectionWork", "pooled"]

_here = threading.local()
"""Tells a pool's thread which ``_Thread`` it is."""


class _Thread:
    """One thread of the pool, with the database connections that were opened in it."""

    def __init__(self, number: int) -> None:
        self.executor = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix=f"wskit-{number}", initializer=self._begin
        )
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()

    def _begin(self) -> None:
        _here.thread = self

    def opened(self, connection: Any) -> None:
        self._connections.add(connection)

    @property
    def has_stale_connection(self) -> bool:
        """Whether ``close_old_connections`` would find something to do here."""
        return any(
            connection.errors_occurred
            or (connection.close_at is not None and time.monotonic() >= connection.close_at)
            for connection in list(self._connections)
            if connection.connection is not None
        )


class _Job:
    """A function waiting for a thread, and the future of its result."""

    __slots__ = ("function", "future")

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.future: Future[Any] = Future()

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.function()
        except BaseException as error:  # noqa: BLE001 - it is the waiting task's to raise
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class _Pool:
    """
    Threads, lent to one lease at a time; who finds none free waits its turn.

    Everything here is guarded by one lock: leases come from several event loops.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._made = 0
        self._free: list[_Thread] = []
        self._waiting: deque[_Lease] = deque()
        self.lock = threading.Lock()

    def lend(self, lease: _Lease) -> _Thread | None:
        """A thread for a lease, or None and a place in the queue. Called with the lock held."""
        if self._free:
            return self._free.pop()
        if self._made < self._size:
            self._made += 1
            return _Thread(self._made)
        self._waiting.append(lease)
        return None

    def take_back(self, thread: _Thread) -> None:
        """A lease is done with a thread: tidy it, and hand it on."""
        if thread.has_stale_connection:
            thread.executor.submit(self._tidy, thread)
        else:
            self._hand_on(thread)

    def _tidy(self, thread: _Thread) -> None:
        try:
            close_old_connections()
        finally:
            self._hand_on(thread)

    def _hand_on(self, thread: _Thread) -> None:
        with self.lock:
            while self._waiting:
                lease = self._waiting.popleft()
                if lease.given(thread):
                    return
            self._free.append(thread)


class _Lease:
    """
    The claim of one event line or call on one thread, while it needs one.

    Released, it serves what a handler left running: with a thread for each job.
    """

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool
        self._thread: _Thread | None = None
        self._queued: deque[_Job] = deque()
        self._running = 0
        self._has_begun = False
        self._released = False
        self._when_idle: list[Callable[[], None]] = []

    def submit(self, job: _Job) -> None:
        with self._pool.lock:
            if self._thread is None and not self._queued:
                self._thread = self._pool.lend(self)
            if self._thread is None:
                self._queued.append(job)
            else:
                self._start(self._thread, job)

    def given(self, thread: _Thread) -> bool:
        """Take a thread that came free; False if nothing waits for it any more. Lock held."""
        jobs = [job for job in self._queued if not job.future.cancelled()]
        self._queued.clear()
        if not jobs:
            return False
        self._thread = thread
        for job in jobs:
            self._start(thread, job)
        return True

    def _start(self, thread: _Thread, job: _Job) -> None:
        self._running += 1
        first, self._has_begun = not self._has_begun, True
        thread.executor.submit(self._run, thread, job, first)

    def _run(self, thread: _Thread, job: _Job, first: bool) -> None:
        # Never between two jobs of one handler: it may have a cursor open.
        if first and thread.has_stale_connection:
            close_old_connections()
        job.run()
        with self._pool.lock:
            self._running -= 1
            given_back = self._give_back()
            callbacks = self._idle_callbacks()
        if given_back is not None:
            self._pool.take_back(given_back)
        for callback in callbacks:
            callback()

    def renew(self) -> None:
        """Keep the thread that is taken next until it is released."""
        with self._pool.lock:
            self._released = False

    def release(self, when_idle: Callable[[], None] | None = None) -> bool:
        """
        Give the thread back once nothing runs in it.

        True if that was at once; else ``when_idle`` is called then, in that thread.
        """
        with self._pool.lock:
            self._released = True
            given_back = self._give_back()
            idle = self._running == 0
            if not idle and when_idle is not None:
                self._when_idle.append(when_idle)
        if given_back is not None:
            self._pool.take_back(given_back)
        return idle

    def _give_back(self) -> _Thread | None:
        if not self._released or self._running or self._thread is None:
            return None
        thread, self._thread = self._thread, None
        self._has_begun = False
        return thread

    def _idle_callbacks(self) -> list[Callable[[], None]]:
        if self._running:
            return []
        callbacks, self._when_idle = self._when_idle, []
        return callbacks


_lease: contextvars.ContextVar[_Lease | None] = contextvars.ContextVar("wskit_lease", default=None)


class _PoolExecutor(Executor):
    """What asgiref is told to submit to: the present lease, or one for this job alone."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        job = _Job(lambda: fn(*args, **kwargs))
        lease = _lease.get()
        if lease is not None:
            lease.submit(job)
        else:
            single = _Lease(_pool())
            single.submit(job)
            single.release()
        return job.future


_pools: list[_Pool] = []
_pools_lock = threading.Lock()


def _pool() -> _Pool:
    with _pools_lock:
        if not _pools:
            _pools.append(_Pool(get_settings().database_threads))
        return _pools[0]


def _forget_pool(*, setting: str, **kwargs: Any) -> None:
    if setting == "WSKIT":
        with _pools_lock:
            _pools.clear()  # its threads end when their leases do


def _note_connection(*, connection: Any, **kwargs: Any) -> None:
    thread = getattr(_here, "thread", None)
    if thread is not None:
        thread.opened(connection)


setting_changed.connect(_forget_pool, dispatch_uid="wskit_channels.threads")
connection_created.connect(_note_connection, dispatch_uid="wskit_channels.threads")

# One key for the whole process: which lease a job goes to is told by _lease.
_KEY = ThreadSensitiveContext()
_EXECUTOR = _PoolExecutor()
SyncToAsync.context_to_thread_executor[_KEY] = _EXECUTOR


@contextmanager
def pooled() -> Iterator[None]:
    """Have ``sync_to_async`` use the pool, one thread a job, in this task and its children."""
    token = SyncToAsync.thread_sensitive_context.set(_KEY)
    try:
        yield
    finally:
        SyncToAsync.thread_sensitive_context.reset(token)


class ConnectionWork:
    """``Work`` of ``routing.shell``: context variables in which ``sync_to_async`` uses a lease."""

    __slots__ = ("_lease", "_loop", "context")

    def __init__(self, base: contextvars.Context) -> None:
        self._lease = _Lease(_pool())
        self._loop = asyncio.get_running_loop()
        self.context = base.copy()
        self.context.run(self._enter)

    def _enter(self) -> None:
        SyncToAsync.thread_sensitive_context.set(_KEY)
        _lease.set(self._lease)

    def begin(self) -> None:
        self._lease.renew()

    def release(self, ended: Callable[[], None] | None = None) -> None:
        when_idle = None
        if ended is not None:
            loop, then = self._loop, ended

            def when_idle() -> None:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(then)

        if self._lease.release(when_idle) and ended is not None:
            ended()
