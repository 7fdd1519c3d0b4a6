"""
Threads for plain handlers and the ORM: a bounded pool for all connections.

Without it ``sync_to_async``, and so the ORM, would run every connection's work in
one thread. Here each event line and each call takes a thread when it first needs one
and keeps it until its handler has ended, so that it meets its own connections again.
A handler that waits, for something else than the database, lets others use its thread
meanwhile, where there are more handlers than threads; one that has a transaction open
does not, so that a transaction never meets another's thread. A thread's database
connections live and die by ``CONN_MAX_AGE``: they are looked at when nobody is bound to
the thread any more, and only then, and only when one needs closing. The rules of that
are in ``leases``.

``sync_to_async`` finds the pool through asgiref's thread-sensitive context, which is
how Django's own handlers give each request a thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext
from django.core.signals import setting_changed

from wskit_channels.conf import get_settings
from wskit_channels.leases import Job, Lease, Pool

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ConnectionWork", "enter_pool", "leave_pool", "pooled", "pooled_context"]

_work: contextvars.ContextVar[ConnectionWork | None] = contextvars.ContextVar(
    "wskit_work", default=None
)


class _PoolExecutor(Executor):
    """What asgiref is told to submit to: the present lease, or one for this job alone."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        # Below async_to_sync, in a TestCase say, plain code runs in the thread that waits above.
        above = AsyncToSync.loop_thread_executors.get(asyncio.get_running_loop())
        if above is not None:
            return above.submit(fn, *args, **kwargs)
        job = Job(lambda: fn(*args, **kwargs))
        work = _work.get()
        if work is not None:
            work.submit(job)
        else:
            single = Lease(_front_pool())
            single.submit(job)
            single.release()
        return job.future


FRONT_THREADS = 4
"""Threads at most, beside ``DATABASE_THREADS``, for what no handler does."""

_pools: list[Pool] = []
_fronts: list[Pool] = []
_pools_lock = threading.Lock()


def _after_fork() -> None:
    global _pools_lock
    _pools_lock = threading.Lock()
    _pools.clear()  # a child has none of its parent's threads
    _fronts.clear()


os.register_at_fork(after_in_child=_after_fork)


def _pool() -> Pool:
    with _pools_lock:
        if not _pools:
            _pools.append(Pool(get_settings().database_threads))
        return _pools[0]


def _front_pool() -> Pool:
    """
    Threads for what no handler does: handshakes, and looking again at who may stay.

    Of their own, so that one client's thousand calls keep nobody from connecting. With one
    thread for all, as in Channels, there is no other.
    """
    pool = _pool()
    with _pools_lock:
        if get_settings().database_threads == 1:
            return pool
        if not _fronts:
            _fronts.append(Pool(min(FRONT_THREADS, get_settings().database_threads)))
        return _fronts[0]


def _forget_pool(*, setting: str, **kwargs: Any) -> None:
    if setting == "WSKIT":
        with _pools_lock:
            _pools.clear()  # its threads end when their leases do
            _fronts.clear()


setting_changed.connect(_forget_pool, dispatch_uid="wskit_channels.threads")

# One key for the whole process: which lease a job goes to is told by _work.
_KEY = ThreadSensitiveContext()
_EXECUTOR = _PoolExecutor()
SyncToAsync.context_to_thread_executor[_KEY] = _EXECUTOR


@contextmanager
def pooled() -> Iterator[None]:
    """Have ``sync_to_async`` use the pool, one thread a job, in this task and its children."""
    token = enter_pool()
    try:
        yield
    finally:
        leave_pool(token)


def enter_pool() -> contextvars.Token[Any]:
    """``pooled`` for as long as a connection lives: a generator of its own would cost memory."""
    return SyncToAsync.thread_sensitive_context.set(_KEY)


def leave_pool(token: contextvars.Token[Any]) -> None:
    SyncToAsync.thread_sensitive_context.reset(token)


def pooled_context() -> contextvars.Context:
    """A copy of the present context variables in which ``sync_to_async`` uses the pool."""
    context = contextvars.copy_context()
    context.run(SyncToAsync.thread_sensitive_context.set, _KEY)
    return context


class ConnectionWork:
    """
    ``Work`` of ``routing.shell``: context variables in which ``sync_to_async`` uses a lease.

    Made of its connection's ``pooled_context``. The lease is made with the first job: most
    handlers of a busy connection need no thread.
    """

    __slots__ = ("_base", "_held", "_lease", "context")

    def __init__(self, base: contextvars.Context) -> None:
        self._base = base
        self._lease: Lease | None = None
        self._held = True
        self.context = base.copy()
        self.context.run(_work.set, self)

    def submit(self, job: Job) -> None:
        if self._lease is None:
            self._lease = Lease(_pool(), owner=id(self._base))
            if not self._held:
                self._lease.release()
        self._lease.submit(job)

    def begin(self) -> None:
        self._held = True
        if self._lease is not None:
            self._lease.renew()

    def release(self, ended: Callable[[], None] | None = None) -> None:
        self._held = False
        idle = self._lease is None or self._lease.release(_in_loop(ended))
        if idle and ended is not None:
            ended()


def _in_loop(ended: Callable[[], None] | None) -> Callable[[], None] | None:
    """What calls a function in the present loop, from any thread."""
    if ended is None:
        return None
    loop, then = asyncio.get_running_loop(), ended

    def call() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(then)

    return call
