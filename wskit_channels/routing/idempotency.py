"""
Where the keys and answers of idempotent calls are kept: what a store is, and one in memory.

A store knows nothing of calls. It keeps one text under each key: first a claim, with a lease
after which it is gone, and then an answer, for as long as answers are kept. What the texts
say, and when which is put there, is ``keeper``'s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["IdempotencyStore", "MemoryIdempotencyStore"]

TTL: Final = 24 * 60 * 60.0
LEASE: Final = 60.0
MAX_ANSWER_BYTES: Final = 256 * 1024
MAX_BYTES: Final = 64 * 1024 * 1024


class IdempotencyStore(Protocol):
    """
    Keeps claims and answers; ``Router(idempotency=...)`` takes one.

    Each method is one atomic step, as seen by every process that uses the store, and may be
    repeated: a claim is told from all others by its text. Whatever a method raises means that
    the store cannot be reached; calls are then refused rather than run twice.
    """

    @property
    def lease(self) -> float:
        """Seconds after which a claim that was not renewed is gone."""
        ...

    @property
    def max_answer_bytes(self) -> int:
        """Longest answer that is kept, in bytes of UTF-8."""
        ...

    async def acquire(self, key: str, claim: str) -> str | None:
        """Put the claim where nothing, or the same claim, is; else return what is there."""
        ...

    async def renew(self, key: str, claim: str) -> bool:
        """
        Let the lease of a claim begin anew, also of one that has ended.

        False if something else is there.
        """
        ...

    async def finish(self, key: str, claim: str, answer: str) -> bool:
        """
        Put the answer in the place of the claim, also of one whose lease has ended.

        False if something else is there.
        """
        ...

    async def release(self, key: str, claim: str) -> None:
        """Remove the claim, if it is still there."""
        ...


def check_store(ttl: float, lease: float, max_answer_bytes: int) -> None:
    """Raise ValueError for a store that would keep nothing."""
    given = {"ttl": ttl, "lease": lease, "max_answer_bytes": max_answer_bytes}
    for name, value in given.items():
        if not value > 0:
            raise ValueError(f"{name} is a number above 0, not {value!r}.")


class MemoryIdempotencyStore:
    """
    Answers and leases in this process's memory: for one process, and for tests.

    Several processes need a store that they share, or a retry that reaches another one
    runs again.

    Args:
        ttl: Seconds that an answer is kept.
        lease: Seconds after which a claim that was not renewed is gone.
        max_answer_bytes: Longest answer that is kept.
        max_bytes: Answers kept, in bytes altogether; over it the oldest go, and calls that
            are repeated after that run again.
        clock: Monotonic seconds.

    Raises:
        ValueError: If a number is not above 0.
    """

    def __init__(
        self,
        *,
        ttl: float = TTL,
        lease: float = LEASE,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_store(ttl, lease, max_answer_bytes)
        if max_bytes < max_answer_bytes:
            raise ValueError(f"max_bytes must not be below max_answer_bytes, {max_answer_bytes}.")
        self.lease = lease
        self.max_answer_bytes = max_answer_bytes
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._clock = clock
        # Text and end by key; both are ordered by the end, since each kind lasts equally long.
        self._claims: dict[str, tuple[str, float]] = {}
        self._answers: dict[str, tuple[str, float]] = {}
        self._bytes = 0
        self._lock = threading.Lock()  # a process may have several event loops

    def __len__(self) -> int:
        """How many claims and answers are kept."""
        return len(self._claims) + len(self._answers)

    async def acquire(self, key: str, claim: str) -> str | None:
        """Put the claim where nothing, or the same claim, is; else return what is there."""
        with self._lock:
            found = self._found(key)
            if found not in (None, claim):
                return found
            self._claim(key, claim)
            return None

    async def renew(self, key: str, claim: str) -> bool:
        """Let the lease of a claim begin anew; False if something else is there."""
        with self._lock:
            if self._found(key) not in (None, claim):
                return False
            self._claim(key, claim)
            return True

    async def finish(self, key: str, claim: str, answer: str) -> bool:
        """Put the answer in the place of the claim; False if something else is there."""
        with self._lock:
            if self._found(key) not in (None, claim, answer):
                return False
            self._claims.pop(key, None)
            self._forget(key)
            self._answers[key] = (answer, self._clock() + self._ttl)
            self._bytes += _size(key, answer)
            while self._bytes > self._max_bytes:
                self._forget(next(iter(self._answers)))
            return True

    async def release(self, key: str, claim: str) -> None:
        """Remove the claim, if it is still there."""
        with self._lock:
            if self._found(key) == claim:
                del self._claims[key]

    def _claim(self, key: str, claim: str) -> None:
        self._claims.pop(key, None)
        self._claims[key] = (claim, self._clock() + self.lease)

    def _found(self, key: str) -> str | None:
        """What there is under a key, once everything is gone whose time is up."""
        now = self._clock()
        while (oldest := next(iter(self._claims), None)) and self._claims[oldest][1] <= now:
            del self._claims[oldest]
        while (oldest := next(iter(self._answers), None)) and self._answers[oldest][1] <= now:
            self._forget(oldest)
        found = self._claims.get(key) or self._answers.get(key)
        return None if found is None else found[0]

    def _forget(self, key: str) -> None:
        if (found := self._answers.pop(key, None)) is not None:
            self._bytes -= _size(key, found[0])


def _size(key: str, text: str) -> int:
    return len(key) + len(text.encode())
