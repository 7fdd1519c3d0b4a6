"""``idempotency.py``: answers and leases in Django's cache (DESIGN 8)."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, ClassVar

import pytest
from django.core.cache import caches
from redis import ConnectionPool

from tests.helpers import connected, soon
from tests.routing.calls import answer, failure
from tests.routing.messages import Answer, Ask
from tests.store_contract import CONTRACT, kept
from wskit_channels import Router, RpcContext
from wskit_channels.idempotency import CacheIdempotencyStore
from wskit_channels.routing.idempotency import IdempotencyStore

DUMMY = "django.core.cache.backends.dummy.DummyCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
REDIS = "django.core.cache.backends.redis.RedisCache"


class Pool(ConnectionPool):
    """Django makes a pool for each context that asks for a cache, and closes none."""

    made: ClassVar[list[ConnectionPool]] = []

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.made.append(self)


@pytest.fixture(params=["locmem", "redis"])
def cache(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    """The alias of a cache, in memory and in a real server."""
    if request.param == "locmem":
        backend: dict[str, Any] = {"BACKEND": LOCMEM, "LOCATION": uuid.uuid4().hex}
    else:
        backend = {
            "BACKEND": REDIS,
            "LOCATION": request.getfixturevalue("valkey"),
            "KEY_PREFIX": uuid.uuid4().hex,
            "OPTIONS": {"pool_class": Pool},
        }
    settings.CACHES = {"default": {"BACKEND": DUMMY}, "answers": backend}
    yield "answers"
    while Pool.made:
        Pool.made.pop().disconnect()


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda one: one.__name__)
async def test_the_cache_store_is_a_store(
    promise: Callable[[IdempotencyStore], Awaitable[None]], cache: str
) -> None:
    store = CacheIdempotencyStore(cache)
    assert await kept(promise, store)


async def test_a_claim_is_gone_with_its_lease(cache: str) -> None:
    store = CacheIdempotencyStore(cache, prefix="p:")
    await store.acquire("k", "mine")
    assert await caches[cache].atouch("p:k", 0)  # the lease ends

    assert await store.acquire("k", "theirs") is None
    assert await store.renew("k", "mine") is False


async def test_of_many_that_claim_a_key_at_once_one_gets_it(cache: str) -> None:
    stores = [CacheIdempotencyStore(cache) for _ in range(2)]

    found = await asyncio.gather(*[stores[n % 2].acquire("k", f"claim {n}") for n in range(20)])

    winner = f"claim {found.index(None)}"
    assert [one for one in found if one != winner] == [None]


async def test_a_cache_that_keeps_nothing_is_an_error(cache: str) -> None:
    with pytest.raises(RuntimeError, match="'default' forgets at once what is put into it"):
        await CacheIdempotencyStore().acquire("k", "mine")


@pytest.mark.parametrize("options", [{"lease": 0.5}, {"ttl": 0.5}])
def test_caches_count_whole_seconds(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a second or more"):
        CacheIdempotencyStore(**options)  # type: ignore[arg-type]  # by name


async def test_behind_a_route(cache: str) -> None:
    """Two routers that share the cache run a call once, and duplicates wait."""
    gate, begun, ran = asyncio.Event(), asyncio.Event(), []

    class Somebody:
        is_authenticated = True
        pk = 1

    def node() -> Any:
        router: Router[Any] = Router(idempotency=CacheIdempotencyStore(cache))

        @router.rpc(Ask, idempotent=True)
        async def handle(ctx: RpcContext[Ask]) -> Answer:
            ran.append(ctx.payload.text)
            begun.set()
            await gate.wait()
            return Answer(text=ctx.payload.text)

        async def serve(received: Any, receive: Any, send: Any) -> None:
            await router.as_asgi()({**received, "user": Somebody()}, receive, send)

        return serve

    async with connected(node()) as one, connected(node()) as other:
        await one.call("ASK", {"text": "x"}, id="1", idempotencyKey="key")
        await soon(begun.wait())
        await other.call("ASK", {"text": "y"}, id="2", idempotencyKey="key")
        refused = failure("2", "INVALID_ARGUMENT", "This key was used for another payload")
        assert await other.receive() == refused
        await other.call("ASK", {"text": "x"}, id="3", idempotencyKey="key")
        gate.set()
        assert await one.receive() == answer("1", "x")
        assert await other.receive() == answer("3", "x")
    assert ran == ["x"]
