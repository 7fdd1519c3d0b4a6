"""What an attack found that takes a real server to happen: limits and seats in Valkey."""

import asyncio
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.shell_helpers import Pong, connect, disconnect, until
from wskit_channels import Limits, Router, Rpc, RpcContext, rate_limit, seats
from wskit_channels.contrib import redis_seats
from wskit_channels.contrib.redis import RedisLimiter

OPTIONS: dict[str, Any] = {"capacity": 10, "refill_per_second": 0.001, "timeout": 15.0}
"""None comes back while a test runs; a busy machine is no failure."""


@pytest.fixture
def prefix() -> str:
    return f"test:{uuid.uuid4().hex}:"


class Work(Rpc[Pong], type="WORK"):
    pass


class Enter(Rpc[Pong], type="ENTER"):
    pk: int


async def test_a_flood_of_calls_does_not_pass_its_limit(valkey: str, prefix: str) -> None:
    """DESIGN 9: not even where a failing limiter lets calls through."""
    limiter = RedisLimiter(valkey, **OPTIONS, prefix=prefix)
    router = Router[Any]()
    ran: list[str] = []

    @router.rpc(Work, use=[rate_limit(limiter, key=lambda ctx: "k")])
    async def work(ctx: RpcContext[Work]) -> Pong:
        ran.append(ctx.client_id)
        return Pong()

    clients = [await connect(router.as_asgi()) for _ in range(3)]
    for client in clients:
        for number in range(1000):
            client.write("WORK", correlationId=str(number))
    kinds = [(await client.receive())[0] for client in clients for _ in range(1000)]

    assert (len(ran), kinds.count("PONG"), kinds.count("RPC_ERROR")) == (10, 10, 2990)
    await disconnect(*clients)
    await limiter.aclose()


@pytest.fixture
def layer(valkey: str, prefix: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default layer is one of Valkey's."""
    config = {"hosts": [valkey], "prefix": prefix}
    backend = "channels_redis.core.RedisChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
    monkeypatch.setattr(seats, "_by_loop", type(seats._by_loop)())
    monkeypatch.setattr(redis_seats, "TIMEOUT", OPTIONS["timeout"])


def entering(gate: asyncio.Event | None = None) -> Router[Any]:
    """A router that makes anybody whom they say they are, once ``gate`` is open."""
    router = Router[Any](limits=Limits(max_connections_per_user=1, close_timeout=0))

    @router.rpc(Enter, cancellable=gate is None)
    async def enter(ctx: RpcContext[Enter]) -> Pong:
        if gate is not None:
            await gate.wait()
        pk = ctx.payload.pk
        await ctx.login(
            SimpleNamespace(pk=pk, is_authenticated=True, is_active=True, get_username=str)
        )
        return Pong()

    return router


async def taken(server: Redis, prefix: str) -> list[bytes]:
    """Who holds a seat in the server."""
    keys = sorted(await server.keys(f"{prefix}*seats*"))
    return [holder for key in keys for holder in await server.zrange(key, 0, -1)]


@pytest.mark.usefixtures("layer")
async def test_logins_at_once_hold_one_seat(valkey: str, prefix: str) -> None:
    """DESIGN 9: and none once the connection has gone."""
    server = Redis.from_url(valkey)
    client = await connect(entering().as_asgi())
    for number, pk in enumerate((1, 2, 1, 2, 1, 3)):
        client.write("ENTER", {"pk": pk}, correlationId=str(number))
    kinds = [(await client.receive())[0] for _ in range(6)]

    assert kinds == ["PONG"] * 6
    assert (list(seats._held), len(await taken(server, prefix))) == (["user:3"], 1)
    await client.disconnect()
    assert (seats._held, await taken(server, prefix)) == ({}, [])
    await server.aclose()


@pytest.mark.usefixtures("layer")
async def test_logins_that_come_too_late_take_no_seat(valkey: str, prefix: str) -> None:
    """They end after their connection."""
    server, gate = Redis.from_url(valkey), asyncio.Event()
    client = await connect(entering(gate).as_asgi())
    before = asyncio.all_tasks()
    for pk in range(3):
        client.write("ENTER", {"pk": pk}, correlationId=str(pk))
    await until(lambda: len(asyncio.all_tasks() - before) >= 3)
    late = asyncio.all_tasks() - before
    await client.disconnect()
    gate.set()
    await asyncio.wait(late)

    assert (seats._held, await taken(server, prefix)) == ({}, [])
    await server.aclose()
