"""
When to connect again, and when not to (``PROTOCOL 8``).

Arithmetic only: no clock, no randomness of its own, no sockets. Callers pass ``now`` in
monotonic seconds, and a source of numbers in [0, 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Bye", "Ended", "Reconnect", "Retries", "plain_code"]

ABNORMAL: Final = 1006
"""What ends without a close frame ends with this."""
STALE: Final = 4000
UNAUTHENTICATED: Final = 4401
FINAL_CODES: Final = frozenset({1000, 1008, 4403})
REFUSALS: Final = frozenset({UNAUTHENTICATED, 4403, 4429})
"""Closes that refuse a connection before anything that was sent on it is read."""
SHIFTED: Final = range(4008, 4014)
"""Stand for 1008 to 1013, where a server cannot send those."""
STABLE_AFTER: Final = 5.0
"""Seconds that a connection stands before earlier failures are forgotten."""
TRANSIENT_STATUSES: Final = frozenset({408, 425, 429})
REFUSED_STATUSES: Final = frozenset({401, 403})
MAX_DOUBLINGS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """How often and how fast to connect again; by default for ever."""

    enabled: bool = True
    initial_delay: float = 0.3
    """Seconds before the first new attempt, at most; doubled with each that fails."""

    max_delay: float = 10.0
    max_attempts: int | None = None
    """Attempts in a row that may fail; None is without end."""

    jitter: Literal["full", "none"] = "full"
    """``full`` takes a random part of each delay, so that clients do not come back at once."""

    def __post_init__(self) -> None:
        if self.initial_delay < 0 or self.max_delay < self.initial_delay:
            raise ValueError("Reconnect: 0 <= initial_delay <= max_delay is what is needed.")

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Seconds before attempt number ``attempt``, counted from 0."""
        full = min(self.max_delay, self.initial_delay * 2.0 ** min(attempt, MAX_DOUBLINGS))
        return full * random() if self.jitter == "full" else full


@dataclass(frozen=True, slots=True)
class Bye:
    """What the server said before it closed (``PROTOCOL 7``)."""

    reconnect: bool = True
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a connection, or the attempt to make one, ended."""

    code: int = ABNORMAL
    reason: str = ""
    status: int | None = None
    """The HTTP status that answered the handshake, where one did."""

    cause: BaseException | None = None


def plain_code(code: int) -> int:
    """The standard code that a shifted one stands for; others as they are."""
    return code - 3000 if code in SHIFTED else code


class Retries:
    """
    What one client remembers between connections.

    ``can_refresh`` says whether another token may be had: without that, 4401 is final.
    """

    def __init__(
        self, policy: Reconnect, *, can_refresh: bool, random: Callable[[], float]
    ) -> None:
        self._policy = policy
        self._can_refresh = can_refresh
        self._random = random
        self._failures = 0
        self._refreshed = False
        self._opened_at: float | None = None
        self._bye: Bye | None = None

    def opened(self, now: float) -> None:
        self._opened_at = now
        self._bye = None

    def heard(self) -> None:
        """A frame came. Refused clients get none, so that the token was good."""
        self._refreshed = False

    def said_bye(self, bye: Bye) -> None:
        self._bye = bye

    def next_delay(self, ended: Ended, now: float) -> float | None:
        """Seconds before the next attempt, or None where there is to be none."""
        if self._opened_at is not None and now - self._opened_at >= STABLE_AFTER:
            self._failures, self._refreshed = 0, False
        self._opened_at, bye, self._bye = None, self._bye, None
        policy, code = self._policy, plain_code(ended.code)
        if not policy.enabled or code in FINAL_CODES or (bye is not None and not bye.reconnect):
            return None
        if code == UNAUTHENTICATED or ended.status in REFUSED_STATUSES:
            return self._with_fresh_token()
        if _is_final(ended.status):
            return None
        if policy.max_attempts is not None and self._failures >= policy.max_attempts:
            return None
        delay = policy.delay(self._failures, self._random)
        self._failures += 1
        asked = 0.0 if bye is None or bye.retry_after is None else bye.retry_after
        return asked + delay

    def _with_fresh_token(self) -> float | None:
        if self._refreshed or not self._can_refresh:
            return None
        self._refreshed = True
        return 0.0


def _is_final(status: int | None) -> bool:
    """Whether an HTTP answer will be the same next time."""
    return status is not None and status < 500 and status not in TRANSIENT_STATUSES
