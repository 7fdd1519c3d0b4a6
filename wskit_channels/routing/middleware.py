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
_Layer: TypeAlias = tuple[Callable[..., Any], Run]


_NOT_CALLED, _CALLED, _STARTED = range(3)


class _Next:
    """One middleware's ``call_next`` for one message."""

    __slots__ = ("_ctx", "_layer", "state")

    def __init__(self, layer: _Layer, ctx: Any) -> None:
        self._layer = layer
        self._ctx = ctx
        self.state = _NOT_CALLED

    def __call__(self) -> _Next:
        if self.state != _NOT_CALLED:
            raise RuntimeError(f"{name_of(self._layer[0])} called call_next() twice.")
        self.state = _CALLED
        return self

    def __await__(self) -> Generator[Any, None, None]:
        if self.state == _STARTED:
            raise RuntimeError(f"{name_of(self._layer[0])} awaited call_next() twice.")
        self.state = _STARTED
        return self._layer[1](self._ctx).__await__()


def compose(middleware: Sequence[Callable[..., Any]], endpoint: Run) -> Run:
    """Wrap an endpoint so that the first middleware runs outermost."""
    run = endpoint
    for one in reversed(middleware):
        run = _around(one, run)
    return run


def _around(middleware: Callable[..., Any], inner: Run) -> Run:
    layer = (middleware, inner)

    async def run(ctx: Any) -> None:
        call_next = _Next(layer, ctx)
        result = middleware(ctx, call_next)
        if result is not None:
            await result
        if call_next.state != _STARTED:
            _not_started(middleware, call_next, ctx)

    return run


def _not_started(middleware: Callable[..., Any], call_next: _Next, ctx: Any) -> None:
    """See to a message that a middleware did not pass on, which it may have meant to."""
    if call_next.state == _CALLED:
        raise RuntimeError(
            f"{name_of(middleware)} called call_next() and dropped what it gave. "
            "Write `await call_next()`, or `return call_next()` in a plain function."
        )
    ctx._stopped_by(middleware)
