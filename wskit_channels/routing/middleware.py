"""
Middleware, composed once when a router is frozen.

Composed around a route's endpoint, a middleware costs one coroutine a message
and nothing where there is none.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from wskit_channels.routing.functions import name_of

__all__ = ["CallNext", "Run", "compose"]

CallNext: TypeAlias = Callable[[], Awaitable[None]]
"""Runs what comes after a middleware, once; to be awaited, or returned by a plain one."""

_Running: TypeAlias = Coroutine[Any, Any, None]
Run: TypeAlias = Callable[[Any], _Running]


def compose(middleware: Sequence[Callable[..., Any]], endpoint: Run) -> Run:
    """Wrap an endpoint so that the first middleware runs outermost."""
    run = endpoint
    for one in reversed(middleware):
        run = _around(one, run)
    return run


def _around(middleware: Callable[..., Any], inner: Run) -> Run:
    async def run(ctx: Any) -> None:
        following: _Running | None = None

        # A function, as the interpreter calls one faster than an object with __call__.
        def call_next() -> _Running:
            nonlocal following
            if following is not None:
                _called_twice(middleware, following)
            following = inner(ctx)
            return following

        result = middleware(ctx, call_next)
        if result is not None:
            await result
        if following is None:
            ctx._stopped_by(middleware)
        elif following.cr_frame is not None:  # type: ignore[attr-defined]  # None once it ended
            _see_that_it_started(middleware, following)

    return run


def _called_twice(middleware: Callable[..., Any], following: _Running) -> None:
    if inspect.getcoroutinestate(following) == inspect.CORO_CREATED:
        following.close()
    raise RuntimeError(f"{name_of(middleware)} called call_next() twice.")


def _see_that_it_started(middleware: Callable[..., Any], following: _Running) -> None:
    """A middleware may leave what follows to a task, but not drop it."""
    if inspect.getcoroutinestate(following) != inspect.CORO_CREATED:
        return
    following.close()
    raise RuntimeError(
        f"{name_of(middleware)} called call_next() and dropped what it gave. "
        "Write `await call_next()`, or `return call_next()` in a plain function."
    )
