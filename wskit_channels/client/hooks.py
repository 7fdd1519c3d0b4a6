"""
Functions of the user's that watch the client, and what happens when one of them raises.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Literal

__all__ = ["Direction", "Hooks", "State"]

logger = logging.getLogger("wskit_channels.client")

State = Literal["closed", "connecting", "open", "reconnecting", "closing"]
Direction = Literal["in", "out"]


class Hooks:
    def __init__(self) -> None:
        self.on_error: list[Callable[[Exception], object]] = []
        self.on_state: list[Callable[[State], object]] = []
        self.on_frame: list[Callable[[Direction, str], object]] = []

    def report(self, error: Exception) -> None:
        """Tell of an error that no call raises; it is logged where nobody listens."""
        if not self.on_error:
            logger.warning("%s: %s", type(error).__name__, error)
        _run(self.on_error, error)

    def failed(self, error: Exception, what: str) -> None:
        """Log an exception of the user's own code, and tell of it."""
        logger.error("%s raised", what, exc_info=error)
        _run(self.on_error, error)

    def state(self, state: State) -> None:
        _run(self.on_state, state)

    def frame(self, direction: Direction, text: str) -> None:
        if self.on_frame:
            _run(self.on_frame, direction, text)


def _run(hooks: Iterable[Callable[..., Any]], *arguments: Any) -> None:
    for hook in tuple(hooks):
        try:
            hook(*arguments)
        except Exception:
            logger.exception("a hook of the client raised: %r", hook)
