"""
Throttled publishing, for what changes faster than anyone can look: live cursors, sliders.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from wskit_channels.protocol.topics import Topic, topic_name
from wskit_channels.routing.router import Router

__all__ = ["Throttled", "throttled"]

logger = logging.getLogger("wskit_channels.publish")

_Publish = tuple[Any, Any, Mapping[str, Any] | None]
"""Topic, message and meta."""


def throttled(router: Router[Any], *, window: float = 0.05) -> Throttled:
    """
    A publisher that lets one message through for each topic and class in ``window`` seconds.

    The first goes as soon as the loop turns; of those that come before that, or within the
    window, the latest goes, at its end, so that the last one is never lost.

    Raises:
        ValueError: If the window is not above 0.
    """
    return Throttled(router, window)


class Throttled:
    """What ``throttled`` returns. Messages of one topic and class keep their order."""

    def __init__(self, router: Router[Any], window: float) -> None:
        if window <= 0:
            raise ValueError(f"window is a number of seconds above 0, not {window}.")
        self._router = router
        self._window = window
        self._latest: dict[tuple[int, str, type[Any]], _Publish] = {}
        self._tasks: dict[tuple[int, str, type[Any]], asyncio.Task[None]] = {}

    def publish(
        self, topic: str | Topic[Any], message: Any, /, *, meta: Mapping[str, Any] | None = None
    ) -> None:
        """
        Publish now, or at the end of the window if nothing newer comes. Never blocks.

        Failures are logged, as there is nobody left to look at a result.

        Raises:
            RuntimeError: Where no event loop runs: publish directly there.
        """
        loop = asyncio.get_running_loop()
        key = (id(loop), topic_name(topic), type(message))
        self._latest[key] = (topic, message, meta)
        if key not in self._tasks:
            self._tasks[key] = loop.create_task(self._publish(key))

    async def drain(self) -> None:
        """Wait until all that was handed over is published; for tests and shutdown."""
        here = id(asyncio.get_running_loop())
        while tasks := [task for key, task in self._tasks.items() if key[0] == here]:
            await asyncio.wait(tasks)

    async def _publish(self, key: tuple[int, str, type[Any]]) -> None:
        try:
            while key in self._latest:
                topic, message, meta = self._latest.pop(key)
                result = await self._router.apublish(topic, message, meta=meta)
                if not result.ok:
                    logger.warning("a throttled publish failed: %s", result.error)
                await asyncio.sleep(self._window)
        finally:
            del self._tasks[key]
