"""
Draining: a server that goes down without cutting anybody off.

New handshakes are refused, every client is told to come back a little later, each at
another time, calls in flight are let end, and the connections are closed with 1012, a
few at a time. ``WSKIT["DRAIN_ON_SIGTERM"]`` has SIGTERM do that first; elsewhere
``await drain()`` does, from an endpoint that is asked before the process is stopped. At the
end of an ASGI lifespan it comes too late where a server closes its sockets first.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

from wskit_channels.conf import get_settings
from wskit_channels.registry import Registry, registry_here

if TYPE_CHECKING:
    from wskit_channels.live import Live

__all__ = ["drain", "drain_on_sigterm"]

logger = logging.getLogger("wskit_channels.drain")

BATCH = 10
"""Connections that are closed at a time, or more, so that there are 50 batches at most."""
MOST_BATCHES = 50

LINGER = 0.3
"""Seconds for the last close frames to leave the server's own buffers."""

ENDING = 15.0
"""Seconds that closed connections have to run their last hooks."""

HURRY = 1.0
"""The same once SIGTERM came for the second time."""


async def drain(*, timeout: float | None = None, window: float | None = None) -> None:  # noqa: ASYNC109 - of the calls in flight, not of this
    """
    Close all connections of this event loop in good order; then, and only then, return.

    Who drains already is joined. From the first call on, new handshakes are refused for
    good: with 503 where the server can, else with 403.

    Args:
        timeout: Seconds that calls in flight have to end; ``WSKIT["DRAIN_TIMEOUT"]``.
        window: Seconds over which closes, and the reconnects that ``$ws:bye`` suggests,
            are spread; ``WSKIT["DRAIN_WINDOW"]``.
    """
    registry = registry_here()
    if registry.drained is None:
        settings = get_settings()
        registry.drained = asyncio.ensure_future(
            _drain(
                registry,
                settings.drain_timeout if timeout is None else timeout,
                settings.drain_window if window is None else window,
            )
        )
    await asyncio.shield(registry.drained)


async def _drain(registry: Registry, timeout: float, window: float) -> None:  # noqa: ASYNC109
    lives = list(registry.live.values())
    random.shuffle(lives)
    logger.info("draining: connections=%s", len(lives))
    for number, live in enumerate(lives):
        # One after another in equal parts of the window, each at random within its part.
        live.say_bye(window * (number + random.random()) / len(lives))  # noqa: S311 - jitter
    until = asyncio.get_running_loop().time() + timeout
    await _let_end(lives, until)
    if lives:
        await _close(lives, window, until)
    await _ended(registry, ENDING, linger=bool(lives))
    logger.info("drained")


async def _ended(registry: Registry, within: float, *, linger: bool) -> None:
    """Wait until the last connection has ended, and its close has left the server."""
    try:
        async with asyncio.timeout(within):
            await registry.emptied()
    except TimeoutError:
        logger.warning("draining: connections that have not ended: %s", len(registry.live))
    if linger:
        await asyncio.sleep(LINGER)


async def _let_end(lives: list[Live], until: float) -> None:
    """Wait for the calls in flight of these connections, and for those that come meanwhile."""
    while calls := {call for live in lives for call in live.calls() if not call.done()}:
        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            logger.warning("draining: calls that did not end in time: %s", len(calls))
            return
        await asyncio.wait(calls, timeout=left)


async def _close(lives: list[Live], window: float, until: float) -> None:
    size = max(BATCH, math.ceil(len(lives) / MOST_BATCHES))
    batches = [lives[start : start + size] for start in range(0, len(lives), size)]
    for number, batch in enumerate(batches):
        if number:
            await asyncio.sleep(window / len(batches))
        await _let_end(batch, until)  # those that came meanwhile
        for live in batch:
            live.transport.close(1012, "RESTART")


# -- SIGTERM


class _SigTerm:
    """The signal, taken over from the server until the drain is done."""

    def __init__(self, loop: asyncio.AbstractEventLoop, previous: Any) -> None:
        self._loop = loop
        self._previous = previous
        self._task: asyncio.Task[None] | None = None
        self._hurry_task: asyncio.Task[None] | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        # Runs between two bytecodes of the main thread, the loop's own perhaps.
        if self._loop.is_closed():
            self._hand_over()
        else:
            self._loop.call_soon_threadsafe(self._received)

    def _received(self) -> None:
        if self._task is None:
            self._task = self._loop.create_task(self._drain())
        elif self._hurry_task is None:
            self._hurry_task = self._loop.create_task(self._hurry())
        else:
            self._hand_over()  # asked for the third time

    async def _drain(self) -> None:
        try:
            await drain()
        except Exception:
            logger.exception("the drain failed")
        self._hand_over()

    async def _hurry(self) -> None:
        """Close all that is left at once: a server's own shutdown may cut it off instead."""
        registry = registry_here()
        lives = list(registry.live.values())
        for live in lives:
            live.transport.close(1012, "RESTART")
        await _ended(registry, HURRY, linger=bool(lives))
        self._hand_over()

    def _hand_over(self) -> None:
        present: object = signal.getsignal(signal.SIGTERM)
        if present is self:
            signal.signal(signal.SIGTERM, self._previous)
            os.kill(os.getpid(), signal.SIGTERM)


def drain_on_sigterm() -> None:
    """
    Have SIGTERM drain the running loop's connections, and then do what it did before.

    Called at the first connection, when the server has set its own handler. Nothing
    happens outside the main thread, and where the event loop itself handles the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        logger.debug("SIGTERM does not drain: this is not the main thread")
        return
    previous: Any = signal.getsignal(signal.SIGTERM)
    if isinstance(previous, _SigTerm) and previous._loop is asyncio.get_running_loop():
        return
    if previous is None or _belongs_to_a_loop(previous):
        registry = registry_here()
        if registry.told_of_sigterm:
            return
        registry.told_of_sigterm = True
        logger.warning(
            "SIGTERM does not drain: this server handles it in its event loop. "
            "Call drain() from an endpoint that is asked before the server is stopped."
        )
        return
    signal.signal(signal.SIGTERM, _SigTerm(asyncio.get_running_loop(), previous))


def _belongs_to_a_loop(handler: Any) -> bool:
    module = str(getattr(handler, "__module__", None) or "")
    return module.partition(".")[0] in ("asyncio", "uvloop")
