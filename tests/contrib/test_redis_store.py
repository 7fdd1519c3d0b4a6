"""``contrib/redis.py``: answers and leases in a real server (DESIGN 8)."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.contrib.redis_helpers import refused_address
from tests.helpers import Client, connected, settle, soon
from tests.routing.calls import answer, failure
from tests.routing.messages import Answer, Ask
from tests.store_contract import CONTRACT, kept
from wskit_channels import Router, RpcContext
from wskit_channels.contrib.redis import RedisIdempotencyStore
from wskit_channels.routing import keeper
from wskit_channels.routing.idempotency import IdempotencyStore


@pytest.fixture
def prefix() -> str:
    return f"test:{uuid.uuid4().hex}:"


def patient(address: str, prefix: str = "", **options: Any) -> RedisIdempotencyStore:
    """A store for which a server that is slow to answer, on a busy machine, has not failed."""
    return RedisIdempotencyStore(address, prefix=prefix, timeout=15.0, **options)


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda one: one.__name__)
async def test_the_redis_store_is_a_store(
    promise: Callable[[IdempotencyStore], Awaitable[None]], valkey: str, prefix: str
) -> None:
    store = patient(valkey, prefix)
    assert await kept(promise, store)


async def test_leases_and_answers_end_by_themselves(valkey: str, prefix: str) -> None:
    store = patient(valkey, prefix, lease=60.0, ttl=3600.0)
    server = Redis.from_url(valkey)
    await store.acquire("k", "mine")
    assert 50_000 < await server.pttl(f"{prefix}k") <= 60_000
    await server.pexpire(f"{prefix}k", 20_000)
    await store.renew("k", "mine")
    assert 50_000 < await server.pttl(f"{prefix}k") <= 60_000
    await store.finish("k", "mine", "answer")
    assert 3_590_000 < await server.pttl(f"{prefix}k") <= 3_600_000
    await server.expire(f"{prefix}k", 0)

    assert await store.acquire("k", "theirs") is None
    await server.aclose()


async def test_of_many_that_claim_a_key_at_once_one_gets_it(valkey: str, prefix: str) -> None:
    stores = [patient(valkey, prefix) for _ in range(2)]

    found = await asyncio.gather(*[stores[n % 2].acquire("k", f"claim {n}") for n in range(50)])

    winner = f"claim {found.index(None)}"
    assert [one for one in found if one != winner] == [None]


async def test_a_server_that_is_not_there_is_an_error() -> None:
    with refused_address() as url, pytest.raises(RedisConnectionError):
        await patient(url).acquire("k", "mine")


# -- two processes, of which each has a router and a store of its own


class Somebody:
    is_authenticated = True
    pk = 1


class Node:
    """One process: its calls wait for ``gate`` and answer with the node's name."""

    def __init__(self, name: str, store: IdempotencyStore, gate: asyncio.Event) -> None:
        self.name = name
        self.gate = gate
        self.ran = 0
        self.begun = asyncio.Event()
        self.router: Router[Any] = Router(idempotency=store)
        self.router.rpc(Ask, idempotent=True)(self._ask)

    async def _ask(self, ctx: RpcContext[Ask]) -> Answer:
        self.ran += 1
        self.begun.set()
        await self.gate.wait()
        return Answer(text=self.name)

    async def serve(self, received: Any, receive: Any, send: Any) -> None:
        await self.router.as_asgi()({**received, "user": Somebody()}, receive, send)


class Blind(dict[Any, Any]):
    """Two processes see nothing of each other's calls."""

    def get(self, key: Any, default: Any = None) -> Any:
        return default


async def ask(client: Client, id: str) -> None:
    await client.call("ASK", {}, id=id, idempotencyKey="key", timeoutMs=60_000)


async def test_the_same_key_sent_to_two_processes_at_once_runs_once(
    valkey: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN 8: and the answer is the same."""
    monkeypatch.setattr(keeper, "_under_way", Blind())
    gate = asyncio.Event()
    nodes = [Node(name, patient(valkey, prefix), gate) for name in "ab"]

    async with connected(nodes[0].serve) as one, connected(nodes[1].serve) as other:
        await asyncio.gather(ask(one, "1"), ask(other, "2"))
        await soon(
            asyncio.wait(
                [asyncio.ensure_future(node.begun.wait()) for node in nodes],
                return_when=asyncio.FIRST_COMPLETED,
            )
        )
        gate.set()
        frames = [await one.receive(), await other.receive()]
    assert sum(node.ran for node in nodes) == 1
    text = next(node.name for node in nodes if node.ran)
    assert frames == [answer("1", text), answer("2", text)]


async def test_where_a_process_died_another_runs_the_call_once_the_lease_has_ended(
    valkey: str, prefix: str
) -> None:
    """DESIGN 8: process crash in the middle."""
    server = Redis.from_url(valkey)
    dead = Node("dead", patient(valkey, prefix), asyncio.Event())
    alive = Node("alive", patient(valkey, prefix), asyncio.Event())
    alive.gate.set()

    async with connected(dead.serve) as one, connected(alive.serve) as other:
        await ask(one, "1")
        await soon(dead.begun.wait())
        for task in tuple(keeper._holding):
            task.cancel()  # what is left is the claim, which nobody renews
        await ask(other, "2")
        await settle()
        assert alive.ran == 0
        for key in await server.keys(f"{prefix}*"):
            await server.expire(key, 0)
        assert await other.receive() == answer("2", "alive")
        dead.gate.set()
        assert await one.receive() == answer("1", "dead")
        await ask(other, "3")
        assert await other.receive() == answer("3", "alive")
    await server.aclose()


async def test_without_the_server_calls_with_a_key_are_refused() -> None:
    with refused_address() as url:
        node = Node("a", patient(url), asyncio.Event())
        async with connected(node.serve) as client:
            await ask(client, "1")
            assert await client.receive() == failure(
                "1", "UNAVAILABLE", "Temporarily unavailable", retryable=True
            )
    assert node.ran == 0
