"""What every idempotency store promises; each store's own tests run these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from wskit_channels.routing.idempotency import IdempotencyStore


async def a_claim_holds_its_key(store: IdempotencyStore) -> None:
    assert await store.acquire("k", "mine") is None
    assert await store.acquire("k", "theirs") == "mine"
    assert await store.renew("k", "theirs") is False
    assert await store.finish("k", "theirs", "answer") is False
    await store.release("k", "theirs")
    assert await store.acquire("k", "theirs") == "mine"
    assert await store.acquire("other", "theirs") is None


async def a_claim_may_be_made_twice(store: IdempotencyStore) -> None:
    """As happens where the first time's answer got lost on the way."""
    assert await store.acquire("k", "mine") is None
    assert await store.acquire("k", "mine") is None
    assert await store.renew("k", "mine") is True
    assert await store.finish("k", "mine", "answer") is True
    assert await store.finish("k", "mine", "answer") is True
    assert await store.acquire("k", "mine") == "answer"


async def an_answer_stays(store: IdempotencyStore) -> None:
    assert await store.acquire("k", "mine") is None
    assert await store.finish("k", "mine", "änswer") is True
    await store.release("k", "mine")
    assert await store.renew("k", "mine") is False
    assert await store.acquire("k", "theirs") == "änswer"


async def what_is_released_is_free(store: IdempotencyStore) -> None:
    assert await store.acquire("k", "mine") is None
    await store.release("k", "mine")
    assert await store.acquire("k", "theirs") is None


async def a_lease_that_ended_can_be_had_back_while_nobody_took_it(store: IdempotencyStore) -> None:
    """A process that stood still goes on, and its answer is kept."""
    assert await store.renew("k", "mine") is True
    assert await store.acquire("k", "theirs") == "mine"
    await store.release("k", "mine")
    assert await store.finish("k", "mine", "answer") is True
    assert await store.acquire("k", "theirs") == "answer"


CONTRACT = [
    a_claim_holds_its_key,
    a_claim_may_be_made_twice,
    an_answer_stays,
    what_is_released_is_free,
    a_lease_that_ended_can_be_had_back_while_nobody_took_it,
]


async def kept(
    promise: Callable[[IdempotencyStore], Awaitable[None]], store: IdempotencyStore
) -> bool:
    """Whether a store keeps a promise; what it breaks is told by the promise's own assertion."""
    await promise(store)
    return True
