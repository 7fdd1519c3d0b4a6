"""
What a publish came to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["PublishError", "PublishResult"]

PublishError = Literal[
    "VALIDATION",
    "ACL_PUBLISH",
    "STATE",
    "BACKPRESSURE",
    "PAYLOAD_TOO_LARGE",
    "UNSUPPORTED",
    "ADAPTER_ERROR",
    "CONNECTION_CLOSED",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishResult:
    """
    What a publish came to; publishing never raises at run time.

    True in a condition if and only if it succeeded.
    """

    ok: bool
    capability: Literal["exact", "estimate", "unknown"] = "unknown"
    """How far ``matched`` can be trusted; "unknown" across processes."""

    matched: int | None = None
    """Subscribers that the message was queued for, where that is known."""

    error: PublishError | None = None
    retryable: bool = False
    """Whether the same publish may succeed later."""

    details: Mapping[str, Any] | None = None
    cause: BaseException | None = None

    def __bool__(self) -> bool:
        return self.ok
