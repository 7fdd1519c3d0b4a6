"""
An event loop whose time stands still until a test moves it.

``time()`` advances only by ``advance()``; waiting takes no real time. A test that waits
for something that can never happen fails at once instead of hanging.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from tests.helpers import settle

__all__ = ["FakeClockLoop", "clock", "fake_time", "run"]

P = ParamSpec("P")
T = TypeVar("T")

SAFE_TO_WAIT = 1000
"""Turns in a row in which nothing was ready: by then nothing ever will be."""


class _Impatient(selectors.DefaultSelector):
    """Never blocks, and gives up where it would have to for ever."""

    idle = 0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        self.idle = 0 if found or timeout == 0 else self.idle + 1
        if self.idle > SAFE_TO_WAIT:
            raise RuntimeError("the test waits for something that never comes")
        return found


class FakeClockLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own, for tests that use no threads."""

    def __init__(self) -> None:
        self._now = 1000.0
        super().__init__(_Impatient())

    def time(self) -> float:
        return self._now

    async def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer, and everything happen that is due by then."""
        end = self._now + seconds
        await settle()
        while (due := self._next_timer()) is not None and due <= end:
            self._now = max(self._now, due)
            await settle()
        self._now = end
        await settle()

    def make_coarse(self, resolution: float) -> None:
        """Have timers go off early by up to these seconds, as loops may."""
        self._clock_resolution = resolution

    def pending_timers(self) -> int:
        """How many timers would still go off."""
        return len(self._timers())

    def _next_timer(self) -> float | None:
        return min(self._timers(), default=None)

    def _timers(self) -> list[float]:
        scheduled: list[asyncio.TimerHandle] = getattr(self, "_scheduled")  # noqa: B009 - no stub
        return [timer.when() for timer in scheduled if not timer.cancelled()]


def clock() -> FakeClockLoop:
    """The running loop, which must be one with a fake clock."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, FakeClockLoop)
    return loop


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a loop with a fake clock."""
    with asyncio.Runner(loop_factory=FakeClockLoop) as runner:
        return runner.run(main)


def fake_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test that is ``async def`` in a loop with a fake clock."""

    @functools.wraps(test)
    def with_fake_time(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return with_fake_time
