"""
Leases: who may use which thread of the pool, and when its database connections close.

No event loop and no asgiref: ``threads`` brings those.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from django.db import close_old_connections
from django.db.backends.signals import connection_created

__all__ = ["Job", "Lease", "Pool"]

logger = logging.getLogger("wskit_channels.threads")

_here = threading.local()
"""Tells a pool's thread which ``PoolThread`` it is."""


class PoolThread:
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
        self.served_newcomer = False
        self.waiting = Line()
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

    def tidy(self, *, alone: bool) -> None:
        """Close what is obsolete; what others still use only if it is broken. Never raises."""
        try:
            if alone:
                close_old_connections()
                return
            for connection in self._live():
                if connection.errors_occurred and not connection.in_atomic_block:
                    if connection.is_usable():
                        connection.errors_occurred = False
                    else:
                        connection.close()
        except Exception:
            logger.exception("a database connection could not be closed")


class Job:
    """A function waiting for a thread, and the future of its result."""

    __slots__ = ("function", "future")

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.future: Future[Any] = Future()

    def run(self) -> Callable[[], None]:
        """Run the function; what hands its result over, once the thread has been settled."""
        if not self.future.set_running_or_notify_cancel():
            return lambda: None
        try:
            result = self.function()
        except BaseException as error:  # noqa: BLE001 - it is the waiting task's to raise
            return partial(self.future.set_exception, error)
        return partial(self.future.set_result, result)


class Line:
    """
    Leases that wait: one of each owner in turn, and an owner's own in the order they came.

    So whoever comes with one call waits for one call of each of the others, not for a
    thousand of the first.
    """

    def __init__(self) -> None:
        self._by_owner: dict[object, dict[Lease, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_owner.values()))

    def __bool__(self) -> bool:
        return bool(self._by_owner)

    def add(self, lease: Lease) -> None:
        self._by_owner.setdefault(lease.owner, {})[lease] = None

    def discard(self, lease: Lease) -> None:
        own = self._by_owner.get(lease.owner, {})
        own.pop(lease, None)
        if not own:
            self._by_owner.pop(lease.owner, None)

    def take(self) -> Lease:
        """The next one; the others of its owner go behind everybody else."""
        owner = next(iter(self._by_owner))
        own = self._by_owner.pop(owner)
        lease = next(iter(own))
        del own[lease]
        if own:
            self._by_owner[owner] = own
        return lease


class Pool:
    """
    The threads, and the leases that wait for one.

    A thread that nobody is bound to is taken first, then a new one, then one whose leases
    leave it idle; where all are at work, the first to come free, for one connection after
    the other. Everything here and in
    ``Lease`` is guarded by one lock: leases come from several event loops.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._threads: list[PoolThread] = []
        self.waiting = Line()
        self.lock = threading.Lock()

    def lend(self, lease: Lease) -> PoolThread | None:
        """Bind a lease to a thread, or queue it and return None."""
        idle = [thread for thread in self._threads if thread.user is None]
        thread = min(idle, key=lambda one: one.bound, default=None)
        if (thread is None or thread.bound) and len(self._threads) < self._size:
            thread = PoolThread(len(self._threads) + 1)
            self._threads.append(thread)
        if thread is None:
            self.waiting.add(lease)
        else:
            thread.bound += 1
        return thread

    def came_free(self, thread: PoolThread) -> None:
        """A thread has no user any more: tidy it if that is due, and let the next one use it."""
        if thread.needs_tidying:
            thread.user = self
            thread.executor.submit(self._tidy, thread)
        else:
            self._hand_on(thread)

    def _tidy(self, thread: PoolThread) -> None:
        try:
            thread.tidy(alone=thread.bound == 0)
        finally:
            with self.lock:
                self._hand_on(thread)

    def _hand_on(self, thread: PoolThread) -> None:
        thread.user = None
        while thread.waiting or self.waiting:
            # By turns, or handlers that come back to a thread again and again would keep it.
            thread.served_newcomer = not thread.served_newcomer
            if self.waiting and (thread.served_newcomer or not thread.waiting):
                if self.waiting.take().given(thread):
                    return
            elif thread.waiting.take().go_on():
                return


class Lease:
    """
    The claim of one event line or call on one thread, while it needs one.

    Released, it serves what a handler left running: with a thread for each job. Leases of
    one ``owner``, a connection, wait behind each other. All but ``submit``, ``renew`` and
    ``release`` are called with the pool's lock held.
    """

    def __init__(self, pool: Pool, owner: object = None) -> None:
        self.owner = id(self) if owner is None else owner  # no cycle: many live briefly
        self._pool = pool
        self._thread: PoolThread | None = None
        self._queued: list[Job] = []  # an empty deque takes 700 bytes more
        self._running = 0
        self._has_begun = False
        self._released = False
        self._when_idle: list[Callable[[], None]] = []

    def submit(self, job: Job) -> None:
        with self._pool.lock:
            if self._thread is None and not self._queued:
                self._thread = self._pool.lend(self)
            thread = self._thread
            if thread is not None and thread.user in (None, self):
                self._start(thread, job)
                return
            if thread is not None and not self._queued:
                thread.waiting.add(self)
            self._queued.append(job)

    def given(self, thread: PoolThread) -> bool:
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
            self._start(thread, self._queued.pop(0))
        return True

    def _forget_cancelled(self) -> None:
        """Let go of jobs that nobody waits for, and of the place in the queue if that was all."""
        self._queued = [job for job in self._queued if not job.future.cancelled()]
        if not self._queued:
            self._pool.waiting.discard(self)
            if self._thread is not None:
                self._thread.waiting.discard(self)

    def _unbind(self, thread: PoolThread) -> None:
        self._thread, self._has_begun = None, False
        thread.bound -= 1

    def _start(self, thread: PoolThread, job: Job) -> None:
        thread.user = self
        self._running += 1
        first, self._has_begun = not self._has_begun, True
        thread.executor.submit(self._run, thread, job, first)

    def _run(self, thread: PoolThread, job: Job, first: bool) -> None:
        # Never between two jobs of one handler, nor of two that share: they may have cursors open.
        if first and thread.bound == 1 and thread.has_stale_connection:
            thread.tidy(alone=True)
        deliver = job.run()
        with self._pool.lock:
            self._running -= 1
            self._settle(thread)
            callbacks = self._idle_callbacks()
        # Not before: who has the result may ask for the thread at once, and must find it settled.
        deliver()
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
            else:
                self._forget_cancelled()
            if not idle and when_idle is not None:
                self._when_idle.append(when_idle)
        return idle

    def _settle(self, thread: PoolThread) -> None:
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


def _note_connection(*, connection: Any, **kwargs: Any) -> None:
    thread = getattr(_here, "thread", None)
    if thread is not None:
        thread.opened(connection)


connection_created.connect(_note_connection, dispatch_uid="wskit_channels.leases")
