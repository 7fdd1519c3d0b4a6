"""Heartbeats of open connections: ``routing/heartbeat.py``, over the real consumer."""

import asyncio
import json
from typing import Any

import pytest
from django.test import override_settings

from tests.fake_clock import clock, fake_time
from tests.shell_helpers import Client, Ping, connect
from wskit_channels import CloseContext, ConnectionContext, Context, Heartbeat, Router

NOTICE = 0.1
"""Seconds by which a check may be put off, and a little more."""


def router_of(**options: Any) -> tuple[Router[Any], list[tuple[int, str]]]:
    router, ends = Router(**options), list[tuple[int, str]]()

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None: ...

    @router.on_close
    async def closed(ctx: CloseContext[Any]) -> None:
        ends.append((ctx.code, ctx.reason))

    return router, ends


def frames(client: Client) -> list[str]:
    """The types of what the client was sent so far."""
    return [json.loads(one["text"])["type"] for one in client.sent if "text" in one]


@fake_time
async def test_a_silent_client_is_pinged_and_closed() -> None:
    """PROTOCOL 7: pinged after ``interval``, closed with 4000 after ``timeout``."""
    router, ends = router_of(heartbeat=Heartbeat(interval=30.0, timeout=5.0))
    client = await connect(router.as_asgi())
    await clock().advance(29.9)
    assert frames(client) == []

    await clock().advance(NOTICE + 0.1)
    assert frames(client) == ["$ws:ping"]
    await clock().advance(4.8)
    assert ends == []
    await clock().advance(0.2 + NOTICE)

    ping = await client.frame()
    assert (ping.keys(), ping["meta"].keys()) == ({"type", "meta"}, {"timestamp"})
    assert await client.closed() == (4000, "HEARTBEAT_TIMEOUT")
    assert ends == [(4000, "HEARTBEAT_TIMEOUT")]


@pytest.mark.parametrize(
    "frame",
    [{"type": "$ws:pong"}, {"type": "PING", "payload": {}}, "no JSON", {"type": "$ws:abort"}],
    ids=["pong", "event", "malformed", "abort"],
)
def test_any_inbound_frame_proves_life(frame: Any) -> None:
    """PROTOCOL 7: whatever it holds."""

    @fake_time
    async def talk() -> None:
        router, ends = router_of(heartbeat=Heartbeat(interval=30.0, timeout=5.0))
        client = await connect(router.as_asgi())
        text = frame if isinstance(frame, str) else json.dumps(frame)
        for _ in range(5):
            await clock().advance(30.0 + NOTICE)
            assert frames(client)[-1] == "$ws:ping"
            client.inbox.put_nowait({"type": "websocket.receive", "text": text})
            await clock().advance(NOTICE)
        assert ends == []
        await client.disconnect()

    talk()


@fake_time
async def test_a_talking_client_is_never_pinged() -> None:
    """PROTOCOL 7: only silence is asked about."""
    router, ends = router_of(heartbeat=Heartbeat(interval=30.0, timeout=5.0))
    client = await connect(router.as_asgi())
    for _ in range(20):
        await clock().advance(20.0)
        client.write("PING", {})

    assert (frames(client), ends) == ([], [])
    await client.disconnect()


@fake_time
async def test_the_hook_is_told_before_the_close() -> None:
    """DESIGN 2: ``on_stale_connection``."""
    router, ends = router_of(heartbeat=Heartbeat(interval=1.0, timeout=1.0))
    told: list[str] = []

    @router.on_stale_connection
    async def stale(ctx: ConnectionContext[Any]) -> None:
        told.append(ctx.client_id)
        assert ends == []

    client = await connect(router.as_asgi())
    await clock().advance(2.0 + 3 * NOTICE)
    await client.ended()

    assert (len(told), ends) == (1, [(4000, "HEARTBEAT_TIMEOUT")])


@fake_time
async def test_the_hook_may_choose_another_code() -> None:
    """The first close wins."""
    router, ends = router_of(heartbeat=Heartbeat(interval=1.0, timeout=1.0))

    @router.on_stale_connection
    async def stale(ctx: ConnectionContext[Any]) -> None:
        ctx.close(4999, "gone fishing")

    client = await connect(router.as_asgi())
    await clock().advance(2.0 + 3 * NOTICE)
    await client.ended()

    assert ends == [(4999, "gone fishing")]


@fake_time
async def test_a_hook_that_hangs_keeps_nobody_alive() -> None:
    """Issue: a silent client is closed within a second of its time."""
    router, ends = router_of(heartbeat=Heartbeat(interval=1.0, timeout=1.0))

    @router.on_stale_connection
    async def stale(ctx: ConnectionContext[Any]) -> None:
        await asyncio.Event().wait()

    client = await connect(router.as_asgi())
    await clock().advance(2.9)
    assert client.sent[-1]["type"] == "websocket.close"
    await clock().advance(20.0)
    await client.ended()

    assert ends == [(4000, "HEARTBEAT_TIMEOUT")]


@fake_time
async def test_one_timer_serves_all_connections() -> None:
    """No timer per connection, and none once they have gone."""
    router, _ = router_of(heartbeat=Heartbeat(interval=30.0, timeout=5.0))
    clients = [await connect(router.as_asgi()) for _ in range(20)]
    await clock().advance(1.0)  # for what is not the heartbeat's
    assert clock().pending_timers() == 1

    for client in clients:
        await client.disconnect()
    await clock().advance(60.0)
    assert clock().pending_timers() == 0


@fake_time
async def test_it_is_off_unless_configured() -> None:
    """PROTOCOL 7."""
    router, ends = router_of()
    client = await connect(router.as_asgi())
    await clock().advance(10_000.0)

    assert (frames(client), ends, clock().pending_timers()) == ([], [], 0)
    await client.disconnect()


@fake_time
async def test_the_settings_turn_it_on_and_a_router_off() -> None:
    """``WSKIT["HEARTBEAT_INTERVAL"]``, and ``Router(heartbeat=False)``."""
    (on, _), (off, _) = router_of(), router_of(heartbeat=False)
    with override_settings(WSKIT={"HEARTBEAT_INTERVAL": 3, "HEARTBEAT_TIMEOUT": 100}):
        pinged, left = await connect(on.as_asgi()), await connect(off.as_asgi())
        await clock().advance(3.0 + NOTICE)

    assert (frames(pinged), frames(left)) == (["$ws:ping"], [])
    await pinged.disconnect()
    await left.disconnect()


@fake_time
async def test_a_clients_ping_is_answered() -> None:
    """PROTOCOL 7: both directions; the pong copies the timestamp."""
    router, _ = router_of()
    client = await connect(router.as_asgi())
    client.write("$ws:ping", timestamp=123)
    frame = await client.frame()

    assert (frame["type"], frame["meta"]["echo"]) == ("$ws:pong", 123)
    await client.disconnect()
