"""
Middleware, composed once when a router is frozen.

Composed around a route's endpoint, a middleware costs one coroutine a message
and nothing where there is none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any, TypeAlias

from wskit_channels.routing.functions import name_of

__all__ = ["CallNext", "compose"]

CallNext: TypeAlias = Callable[[], Awaitable[None]]
"""Runs what comes after a middleware, once; to be awaited, or returned by a plain one."""

Run: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]


class _Next:
    """One middleware's ``call_next`` for one message."""

    __slots__ = ("_ctx", "_inner", "_middleware", "called", "started")

    def __init__(self, middleware: Callable[..., Any], inner: Run, ctx: Any) -> None:
        self._middleware = middleware
        self._inner = inner
        self._ctx = ctx
        self.called = False
        self.started = False

    def __call__(self) -> _Next:
        if self.called:
            raise RuntimeError(f"{name_of(self._middleware)} called call_next() twice.")
        self.called = True
        return self

    def __await__(self) -> Generator[Any, None, None]:
        if self.started:
            raise RuntimeError(f"{name_of(self._middleware)} awaited call_next() twice.")
        self.started = True
        return self._inner(self._ctx).__await__()


def compose(middleware: Sequence[Callable[..., Any]], endpoint: Run) -> Run:
    """Wrap an endpoint so that the first middleware runs outermost."""
    run = endpoint
    for one in reversed(middleware):
        run = _around(one, run)
    return run


def _around(middleware: Callable[..., Any], inner: Run) -> Run:
    async def run(ctx: Any) -> None:
        call_next = _Next(middleware, inner, ctx)
        result = middleware(ctx, call_next)
        if result is not None:
            await result
        if call_next.called and not call_next.started:
            raise RuntimeError(
                f"{name_of(middleware)} called call_next() and dropped what it gave. "
                "Write `await call_next()`, or `return call_next()` in a plain function."
            )
        if not call_next.called:
            ctx._stopped_by(middleware)

    return run
