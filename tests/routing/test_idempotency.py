"""``routing/idempotency.py``: the store in memory (DESIGN 8)."""

from collections.abc import Awaitable, Callable

import pytest

from tests.store_contract import CONTRACT, kept
from wskit_channels.routing.idempotency import IdempotencyStore, MemoryIdempotencyStore


class Now:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda one: one.__name__)
async def test_the_memory_store_is_a_store(
    promise: Callable[[IdempotencyStore], Awaitable[None]],
) -> None:
    store = MemoryIdempotencyStore()
    assert await kept(promise, store)


async def test_a_claim_ends_with_its_lease_unless_it_is_renewed() -> None:
    now = Now()
    store = MemoryIdempotencyStore(lease=60.0, clock=now)
    await store.acquire("k", "mine")
    now.seconds = 59.0
    assert await store.renew("k", "mine") is True
    now.seconds = 118.0
    assert await store.acquire("k", "theirs") == "mine"
    now.seconds = 119.0

    assert await store.acquire("k", "theirs") is None
    assert await store.finish("k", "mine", "too late") is False


async def test_an_answer_is_kept_for_as_long_as_it_was_said() -> None:
    now = Now()
    store = MemoryIdempotencyStore(ttl=100.0, clock=now)
    await store.finish("k", "mine", "answer")
    now.seconds = 99.0
    assert await store.acquire("k", "theirs") == "answer"
    now.seconds = 100.0

    assert await store.acquire("k", "theirs") is None


async def test_what_has_ended_takes_no_memory() -> None:
    now = Now()
    store = MemoryIdempotencyStore(ttl=100.0, clock=now)
    for number in range(100):
        await store.acquire(f"left {number}", "mine")
        await store.finish(f"done {number}", "mine", "answer")
    assert len(store) == 200
    now.seconds = 100.0
    await store.acquire("k", "mine")

    assert len(store) == 1


async def test_over_its_bound_the_oldest_answers_go() -> None:
    store = MemoryIdempotencyStore(max_answer_bytes=10, max_bytes=25)
    for key in ("a", "b", "c"):
        await store.acquire(key, "mine")
        await store.finish(key, "mine", "ääää.")  # nine bytes, ten with the key

    assert await store.acquire("c", "theirs") == "ääää."
    assert await store.acquire("b", "theirs") == "ääää."
    assert await store.acquire("a", "theirs") is None


@pytest.mark.parametrize(
    "options",
    [{"ttl": 0}, {"lease": -1}, {"max_answer_bytes": 0}, {"lease": float("nan")}],
)
def test_a_store_that_would_keep_nothing_is_refused(options: dict[str, float]) -> None:
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"^{name} is a number above 0, not"):
        MemoryIdempotencyStore(**options)  # type: ignore[arg-type]  # by name


def test_one_answer_fits() -> None:
    with pytest.raises(ValueError, match="max_bytes must not be below"):
        MemoryIdempotencyStore(max_answer_bytes=100, max_bytes=99)
