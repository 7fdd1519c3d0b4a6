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
        called_twice = False

        # A function, as the interpreter calls one faster than an object with __call__.
        def call_next() -> _Running:
            nonlocal following, called_twice
            if following is not None:
                called_twice = True
                raise _twice(middleware)
            following = inner(ctx)
            return following

        try:
            result = middleware(ctx, call_next)
            if result is not None:
                await result
        except BaseException:
            _discard(following)
            raise
        if following is None:
            ctx._stopped_by(middleware)
        elif called_twice:
            _discard(following)
            raise _twice(middleware)
        elif following.cr_frame is not None and _discard(following):  # type: ignore[attr-defined]
            raise RuntimeError(
                f"{name_of(middleware)} called call_next() and dropped what it gave. "
                "Write `await call_next()`, or `return call_next()` in a plain function."
            )

    return run


def _twice(middleware: Callable[..., Any]) -> RuntimeError:
    return RuntimeError(f"{name_of(middleware)} called call_next() twice.")


def _discard(following: _Running | None) -> bool:
    """Have what was never awaited not be complained about by the interpreter."""
    if following is None or inspect.getcoroutinestate(following) != inspect.CORO_CREATED:
        return False
    following.close()
    return True
