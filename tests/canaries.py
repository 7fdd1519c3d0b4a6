"""
What no log line may hold: values that a test gives a client, and looks for in the log.
"""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["CANARY", "CanaryWatch", "said_by"]

CANARY = "canary-6b1f"
"""Part of every payload, token, cookie and query of a test that looks for them."""

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def said_by(record: logging.LogRecord) -> str:
    """A record's own text and extra fields; not the text of an application's exception."""
    extra: dict[str, Any] = {
        name: value for name, value in vars(record).items() if name not in _PLAIN
    }
    return f"{record.name} {record.getMessage()} {extra!r}"


class CanaryWatch(logging.Handler):
    """Collects the lines of this library in which a canary stands, over a whole test run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("wskit_channels") and CANARY in (text := said_by(record)):
            self.found.append(text)

    def take(self) -> list[str]:
        """What was found since the last time."""
        found, self.found = self.found, []
        return found
