"""
Threads for plain handlers and the ORM: a bounded pool for all connections.

Without it ``sync_to_async``, and so the ORM, would run every connection's work in
one thread. Here each event line and each call takes a thread when it first needs one
and keeps it until its handler has ended, so that it meets its own connections again.
A handler that waits, for something else than the database, lets others use its thread
meanwhile, where there are more handlers than threads; one that has a transaction open
does not, so that a transaction never meets another's thread. A thread's database
connections live and die by ``CONN_MAX_AGE``: they are looked at when nobody is bound to
the thread any more, and only then, and only when one needs closing.

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
    """
    One thread of the pool, with the database connections that were opened in it.

    Leases are bound to it until they are released, so that a handler meets the same
    connections again. It has one user at a time: the lease whose jobs run, or which left a
    transaction open.
    """

    def __init__(self, number: int) -> None:
        self.executor = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix=f"wskit-{number}", initializer=self._begin
        )
        self.user: object | None = None
        self.bound = 0
        self.waiting: deque[_Lease] = deque()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()

    def _begin(self) -> None:
        _here.thread = self

    def opened(self, connection: Any) -> None:
        self._connections.add(connection)

    def _live(self) -> list[Any]:
        return [one for one in list(self._connections) if one.connection is not None]

    @property
    def has_stale_connection(self) -> bool:
        """Whether ``close_old_connections`` would find something to do here."""
        return any(
            connection.errors_occurred
            or (connection.close_at is not None and time.monotonic() >= connection.close_at)
            for connection in self._live()
        )

    @property
    def needs_tidying(self) -> bool:
        """Whether to close a connection now: a broken one, or an obsolete one of nobody's."""
        if self.bound == 0:
            return self.has_stale_connection
        return any(one.errors_occurred and not one.in_atomic_block for one in self._live())

    @property
    def has_transaction(self) -> bool:
        return any(one.in_atomic_block or not one.autocommit for one in self._live())

    def tidy(self) -> None:
        """Close what is obsolete; what others still use only if it is broken. In this thread."""
        if self.bound == 0:
            close_old_connections()
            return
        for connection in self._live():
            if connection.errors_occurred and not connection.in_atomic_block:
                if connection.is_usable():
                    connection.errors_occurred = False
                else:
                    connection.close()


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
    The threads, and the leases that wait for one.

    A thread that nobody is bound to is taken first, then a new one, then one whose leases
    leave it idle; where all are at work, the first to come free. Everything here and in
    ``_Lease`` is guarded by one lock: leases come from several event loops.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._threads: list[_Thread] = []
        self._waiting: deque[_Lease] = deque()
        self.lock = threading.Lock()

    def lend(self, lease: _Lease) -> _Thread | None:
        """Bind a lease to a thread, or queue it and return None."""
        idle = [thread for thread in self._threads if thread.user is None]
        thread = min(idle, key=lambda one: one.bound, default=None)
        if (thread is None or thread.bound) and len(self._threads) < self._size:
            thread = _Thread(len(self._threads) + 1)
            self._threads.append(thread)
        if thread is None:
            self._waiting.append(lease)
        else:
            thread.bound += 1
        return thread

    def came_free(self, thread: _Thread) -> None:
        """A thread has no user any more: tidy it if that is due, and let the next one use it."""
        if thread.needs_tidying:
            thread.user = self
            thread.executor.submit(self._tidy, thread)
        else:
            self._hand_on(thread)

    def _tidy(self, thread: _Thread) -> None:
        try:
            thread.tidy()
        finally:
            with self.lock:
                self._hand_on(thread)

    def _hand_on(self, thread: _Thread) -> None:
        thread.user = None
        while thread.waiting:
            if thread.waiting.popleft().go_on():
                return
        while self._waiting:
            if self._waiting.popleft().given(thread):
                return


class _Lease:
    """
    The claim of one event line or call on one thread, while it needs one.

    Released, it serves what a handler left running: with a thread for each job. All but
    ``submit``, ``renew`` and ``release`` are called with the pool's lock held.
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
            thread = self._thread
            if thread is not None and thread.user in (None, self):
                self._start(thread, job)
                return
            if thread is not None and not self._queued:
                thread.waiting.append(self)
            self._queued.append(job)

    def given(self, thread: _Thread) -> bool:
        """Take a thread that came free; False if nothing waits for it any more."""
        self._forget_cancelled()
        if not self._queued:
            return False
        self._thread = thread
        thread.bound += 1
        return self.go_on()

    def go_on(self) -> bool:
        """Start what waits for the thread; False if that was all cancelled meanwhile."""
        self._forget_cancelled()
        thread = self._thread
        if thread is None or not self._queued:
            if thread is not None and self._released:
                self._unbind(thread)
            return False
        while self._queued:
            self._start(thread, self._queued.popleft())
        return True

    def _forget_cancelled(self) -> None:
        self._queued = deque(job for job in self._queued if not job.future.cancelled())

    def _unbind(self, thread: _Thread) -> None:
        self._thread, self._has_begun = None, False
        thread.bound -= 1

    def _start(self, thread: _Thread, job: _Job) -> None:
        thread.user = self
        self._running += 1
        first, self._has_begun = not self._has_begun, True
        thread.executor.submit(self._run, thread, job, first)

    def _run(self, thread: _Thread, job: _Job, first: bool) -> None:
        # Never between two jobs of one handler, nor of two that share: they may have cursors open.
        if first and thread.bound == 1 and thread.has_stale_connection:
            close_old_connections()
        job.run()
        with self._pool.lock:
            self._running -= 1
            self._settle(thread)
            callbacks = self._idle_callbacks()
        for callback in callbacks:
            callback()

    def renew(self) -> None:
        """Keep the thread that is taken next until it is released."""
        self._released = False

    def release(self, when_idle: Callable[[], None] | None = None) -> bool:
        """
        Give the thread back once nothing runs in it.

        True if that was at once; else ``when_idle`` is called then, in that thread.
        """
        if self._thread is None and not self._queued:
            self._released = True
            return True
        with self._pool.lock:
            self._released = True
            idle = self._running == 0
            if self._thread is not None:
                self._settle(self._thread)
            if not idle and when_idle is not None:
                self._when_idle.append(when_idle)
        return idle

    def _settle(self, thread: _Thread) -> None:
        """Let others use the thread if nothing of ours needs it, and unbind if released."""
        if self._running:
            return
        if self._released:
            self._forget_cancelled()
        if self._released and not self._queued:
            self._unbind(thread)
        elif thread.user is self and thread.has_transaction:
            return
        if thread.user is self or (thread.user is None and thread.needs_tidying):
            self._pool.came_free(thread)

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
