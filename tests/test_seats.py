"""Connections per user and per address: ``seats.py``, over the real consumer."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.shell_helpers import PATIENCE, Ping, connect, disconnect, until
from wskit_channels import Context, LimitExceeded, Limits, Router, seats
from wskit_channels.contrib import redis_seats
from wskit_channels.contrib.redis_seats import RedisSeats


def router_of(**limits: Any) -> tuple[Router[Any], list[LimitExceeded]]:
    router = Router(limits=Limits(**limits))
    reports: list[LimitExceeded] = []

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Ping())

    @router.on_limit_exceeded
    async def report(info: LimitExceeded) -> None:
        reports.append(info)

    return router, reports


def of_user(pk: int | None, address: str = "192.0.2.1") -> dict[str, Any]:
    """A scope's user and client."""
    user = SimpleNamespace(pk=pk, is_authenticated=pk is not None, is_active=True)
    return {"user": user, "client": [address, 1234]}


async def refused(router: Router[Any], **scope: Any) -> None:
    client = await connect(router.as_asgi(), **scope)
    assert await client.closed() == (4429, "TOO_MANY_CONNECTIONS")


async def test_connections_of_a_user() -> None:
    """DESIGN 9: at the limit, one over it, and after one has gone."""
    router, reports = router_of(max_connections_per_user=2)
    open_ = [await connect(router.as_asgi(), **of_user(1, f"192.0.2.{n}")) for n in range(2)]

    await refused(router, **of_user(1, "192.0.2.9"))
    other = await connect(router.as_asgi(), **of_user(2))
    assert [(one.type, one.observed, one.limit) for one in reports] == [
        ("connections_per_user", 3, 2)
    ]

    await open_[0].disconnect()
    again = await connect(router.as_asgi(), **of_user(1))
    assert len(reports) == 1
    await disconnect(open_[1], other, again)


async def test_connections_of_an_address() -> None:
    """DESIGN 9: whoever they are, anonymous or not."""
    router, reports = router_of(max_connections_per_ip=1)
    first = await connect(router.as_asgi(), **of_user(None))

    await refused(router, **of_user(5))
    await refused(router, **of_user(None))
    elsewhere = await connect(router.as_asgi(), **of_user(5, "198.51.100.7"))

    assert [(one.type, one.observed, one.limit) for one in reports] == [
        ("connections_per_ip", 2, 1)
    ] * 2
    await disconnect(first, elsewhere)


async def test_anonymous_users_are_not_one_user() -> None:
    """They are many people: their addresses tell them apart."""
    router, reports = router_of(max_connections_per_user=1)
    clients = [await connect(router.as_asgi(), **of_user(None)) for _ in range(3)]

    assert reports == []
    await disconnect(*clients)


async def test_no_limit_unless_asked() -> None:
    """DESIGN 9: off."""
    router, reports = router_of()
    clients = [await connect(router.as_asgi(), **of_user(1)) for _ in range(20)]

    assert (reports, seats._held) == ([], {})
    await disconnect(*clients)


async def test_who_is_refused_takes_no_seat() -> None:
    """Neither over the limit nor by authentication."""
    router, _ = router_of(max_connections_per_user=1, max_connections_per_ip=5)
    first = await connect(router.as_asgi(), **of_user(1))
    for _ in range(10):
        await refused(router, **of_user(1))
    assert {key: len(held) for key, held in seats._held.items()} == {
        "ip:192.0.2.1": 1,
        "user:1": 1,
    }

    await first.disconnect()
    assert seats._held == {}


async def test_a_server_that_cancels_a_connection_frees_its_seat() -> None:
    """However it ends."""
    router, _ = router_of(max_connections_per_user=1)
    client = await connect(router.as_asgi(), **of_user(1))
    client.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client.ended()

    assert seats._held == {}


# -- across processes


def in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on connections are as of a process that knows nothing of those before."""
    monkeypatch.setattr(seats, "_held", {})
    monkeypatch.setattr(seats, "_by_loop", type(seats._by_loop)())


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow server is waited for, and not passed over."""
    monkeypatch.setattr(redis_seats, "TIMEOUT", PATIENCE)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("layer", ["core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"])
async def test_processes_of_one_redis_layer_count_together(
    valkey: str, monkeypatch: pytest.MonkeyPatch, settings: Any, layer: str
) -> None:
    """DESIGN 9: at the limit, one over it, and after one has gone elsewhere."""
    config = {"BACKEND": f"channels_redis.{layer}", "CONFIG": {"hosts": [valkey], "prefix": layer}}
    settings.CHANNEL_LAYERS = {"default": config}
    router, reports = router_of(max_connections_per_user=2)
    here = await connect(router.as_asgi(), **of_user(7))
    in_another_process(monkeypatch)
    there = await connect(router.as_asgi(), **of_user(7))

    await refused(router, **of_user(7))
    assert [(one.type, one.observed, one.limit) for one in reports] == [
        ("connections_per_user", 3, 2)
    ]

    await there.disconnect()
    again = await connect(router.as_asgi(), **of_user(7))
    await again.disconnect()
    monkeypatch.undo()
    await here.disconnect()


async def test_without_its_server_a_process_counts_alone(
    monkeypatch: pytest.MonkeyPatch, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is kept out because a counter is away."""
    config = {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": ["redis://127.0.0.1:1"]},
    }
    settings.CHANNEL_LAYERS = {"default": config}
    monkeypatch.setattr(seats, "_by_loop", type(seats._by_loop)())
    router, reports = router_of(max_connections_per_user=1)

    client = await connect(router.as_asgi(), **of_user(7))
    await refused(router, **of_user(7))

    assert [one.observed for one in reports] == [2]
    assert [text for text in caplog.messages if "counted in this process only" in text]
    await client.disconnect()


async def milliseconds(server: Any) -> int:
    """The time by a server's clock."""
    seconds, micros = await server.time()
    return int(seconds) * 1000 + int(micros) // 1000


@pytest.mark.usefixtures("patient")
async def test_the_seats_of_a_process_that_died_are_free_again(valkey: str) -> None:
    """Their leases end; those of a living one are renewed."""
    dead = RedisSeats([valkey], prefix="dead", lease=60, renew_every=1000)
    alive = RedisSeats([valkey], prefix="dead", lease=60, renew_every=0.05)
    server: Any = Redis.from_url(valkey, decode_responses=True)
    key, began = "dead:wskit-seats:user:1", await milliseconds(server)
    assert await dead.take("user:1", "a", 2) is None
    assert await alive.take("user:1", "b", 2) is None
    assert await alive.take("user:1", "c", 2) == 2
    end = await server.zscore(key, "a")
    assert began + 60_000 <= end <= await milliseconds(server) + 60_000

    await server.zadd(key, {"a": 1, "b": 1})  # both leases end
    give_up = time.monotonic() + PATIENCE
    while await server.zscore(key, "b") == 1:
        assert time.monotonic() < give_up, "no lease was renewed"
    assert await server.zscore(key, "b") >= end
    assert await alive.take("user:1", "c", 2) is None
    assert await alive.take("user:1", "d", 2) == 2

    await alive.leave("user:1", "b")
    await alive.leave("user:1", "c")
    await dead.leave("user:1", "a")
    await server.aclose()


@pytest.mark.usefixtures("patient")
async def test_a_seat_that_is_held_already_is_not_counted_twice(valkey: str) -> None:
    """A client id takes one seat, however often it asks."""
    counter = RedisSeats([valkey], prefix="twice")
    assert [await counter.take("user:1", "a", 1) for _ in range(3)] == [None] * 3
    await counter.leave("user:1", "a")
    assert await counter.take("user:1", "b", 1) is None
    await counter.leave("user:1", "b")
    await until(lambda: counter._renewing is None)
