"""Draining: ``drain.py``, with real consumers and a clock that a test moves."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.test import override_settings

from tests.fake_clock import clock, fake_time
from tests.shell_helpers import Client, Ping, connect, until
from wskit_channels import CloseContext, Context, Router, RpcContext, message, rpc
from wskit_channels.drain import drain

Work = rpc("WORK", {"name": str}, "DONE", {"name": str})
Slow = message("SLOW", {})


class Server:
    """A router with calls that end when a test lets them, and what its clients met."""

    def __init__(self, **options: Any) -> None:
        self.router: Router[Any] = Router(**options)
        self.ends: list[tuple[int, str]] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.running: list[str] = []
        self.router.rpc(Work)(self._work)
        self.router.on(Ping)(self._ping)
        self.router.on_close(self._closed)

    async def _work(self, ctx: RpcContext[Any]) -> None:
        name = ctx.payload.name
        self.running.append(name)
        await self.gates.setdefault(name, asyncio.Event()).wait()
        ctx.reply(Work.response(name=name))

    async def _ping(self, ctx: Context[Ping]) -> None:
        ctx.send(Ping(text=ctx.payload.text))

    async def _closed(self, ctx: CloseContext[Any]) -> None:
        self.ends.append((ctx.code, ctx.reason))

    async def clients(self, count: int) -> list[Client]:
        return [await connect(self.router.as_asgi()) for _ in range(count)]


def byes(client: Client) -> list[dict[str, Any]]:
    frames = [json.loads(event["text"]) for event in client.sent if "text" in event]
    return [frame["data"] for frame in frames if frame["type"] == "$ws:bye"]


@fake_time
async def test_every_client_is_told_and_then_closed() -> None:
    """PROTOCOL 7 and 8: ``$ws:bye``, then 1012; ``on_close`` runs for every connection."""
    server = Server()
    clients = await server.clients(100)

    draining = asyncio.ensure_future(drain(timeout=10.0, window=5.0))
    await clock().advance(0.0)
    assert [len(byes(client)) for client in clients] == [1] * 100
    await clock().advance(6.0)
    await draining

    assert [await _ending(client) for client in clients] == [(1012, "RESTART")] * 100
    assert server.ends == [(1012, "RESTART")] * 100
    first = byes(clients[0])[0]
    assert (first["code"], first["reason"], first["reconnect"]) == (1012, "RESTART", True)


async def _ending(client: Client) -> tuple[int, str]:
    await client.ended()
    return client.sent[-1]["code"], client.sent[-1]["reason"]


@fake_time
async def test_reconnects_are_spread_over_the_window() -> None:
    """No tenth of the window holds more than a fifth: here a tenth, but for rounding."""
    server = Server()
    clients = await server.clients(50)
    draining = asyncio.ensure_future(drain(window=10.0))
    await clock().advance(12.0)
    await draining

    tenths = [byes(client)[0]["retryAfterMs"] // 1000 for client in clients]
    assert all(4 <= tenths.count(tenth) <= 6 for tenth in range(10)), tenths


@fake_time
async def test_closes_are_spread_over_the_window() -> None:
    """A few at a time, so that ``on_close`` hooks do not all run at once."""
    server = Server()
    await server.clients(40)
    draining = asyncio.ensure_future(drain(window=8.0))
    closed = []
    for _ in range(4):
        await clock().advance(1.9)
        closed.append(len(server.ends))
        await clock().advance(0.1)
    await clock().advance(1.0)
    await draining

    assert closed == [10, 20, 30, 40]


@fake_time
async def test_a_call_in_flight_may_end_first() -> None:
    """It is answered, and its connection is closed right then."""
    server = Server()
    (client,) = await server.clients(1)
    client.write("WORK", {"name": "a"}, correlationId="1")
    await until(lambda: server.running)
    draining = asyncio.ensure_future(drain(timeout=10.0, window=5.0))
    await clock().advance(9.0)
    assert server.ends == []

    server.gates["a"].set()
    await clock().advance(0.5)
    await draining

    types = [json.loads(event["text"])["type"] for event in client.sent if "text" in event]
    assert types == ["$ws:bye", "DONE"]
    assert await _ending(client) == (1012, "RESTART")


@fake_time
async def test_a_call_that_does_not_end_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    """``drain_timeout``: then its handler is cancelled with its connection."""
    server = Server()
    (client,) = await server.clients(1)
    client.write("WORK", {"name": "never"}, correlationId="1")
    await until(lambda: server.running)
    draining = asyncio.ensure_future(drain(timeout=10.0, window=5.0))
    await clock().advance(11.0)
    await draining

    assert server.ends == [(1012, "RESTART")]
    assert "draining: calls that did not end in time: 1" in caplog.messages


@fake_time
async def test_until_the_close_a_client_is_still_served() -> None:
    """Nothing that a client sends meanwhile is lost without a word."""
    server = Server()
    client, busy = await server.clients(2)
    busy.write("WORK", {"name": "a"}, correlationId="1")
    await until(lambda: server.running)
    draining = asyncio.ensure_future(drain())
    await clock().advance(1.0)
    client.write("PING", {"text": "still there?"})
    await clock().advance(1.0)

    assert (await client.receive())[0] == "$ws:bye"
    assert await client.receive() == ("PING", {"text": "still there?"})
    server.gates["a"].set()
    await clock().advance(10.0)
    await draining


@fake_time
async def test_new_handshakes_are_refused_from_then_on() -> None:
    """With 503 where the server has denial responses, else as every server refuses."""
    server = Server()
    await drain()

    plain = Client(server.router.as_asgi())
    assert await plain.event() == {"type": "websocket.close"}
    extensions = {"websocket.http.response": {}}
    denied = Client(server.router.as_asgi(), extensions=extensions)
    start, body = await denied.event(), await denied.event()

    assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
    assert dict(start["headers"])[b"retry-after"].isdigit()
    assert body["type"] == "websocket.http.response.body"
    await plain.ended()
    await denied.ended()
    assert server.ends == []


@fake_time
async def test_a_handshake_that_was_under_way_is_refused() -> None:
    """It began before the drain; nobody would say goodbye to it later."""
    server = Server()
    admit = asyncio.Event()

    @server.router.authenticate
    async def slowly(handshake: Any) -> bool:
        await admit.wait()
        return True

    client = Client(server.router.as_asgi())
    await clock().advance(0.0)
    await drain()
    admit.set()

    assert await client.event() == {"type": "websocket.close"}
    await client.ended()


@fake_time
async def test_a_socket_that_is_being_accepted_is_closed_at_once() -> None:
    """The drain has counted the connections by then."""
    server = Server()
    client = Client(server.router.as_asgi())
    client.may_send.clear()  # the server takes its time to accept
    await clock().advance(0.0)
    await drain()
    client.may_send.set()
    await clock().advance(5.0)
    await client.ended()

    assert len(byes(client)) == 1
    assert (client.sent[-1]["code"], server.ends) == (1012, [])


@fake_time
async def test_who_drains_already_is_joined() -> None:
    """A second call waits for the same end; clients hear of it once."""
    server = Server()
    clients = await server.clients(20)
    drains = [asyncio.ensure_future(drain(window=4.0)) for _ in range(3)]
    await clock().advance(1.0)
    drains[0].cancel()
    await clock().advance(5.0)
    await asyncio.gather(*drains[1:])

    assert [len(byes(client)) for client in clients] == [1] * 20


# -- SIGTERM


@contextmanager
def sigterm_kept() -> Iterator[list[int]]:
    """Note SIGTERM, as a server would that has set its own handler."""
    received: list[int] = []
    old = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, old)


DRAINING = {"DRAIN_ON_SIGTERM": True, "DRAIN_WINDOW": 0}


async def test_sigterm_drains_and_then_does_what_it_did() -> None:
    """The server gets its signal when every client has been told."""
    server = Server()
    with sigterm_kept() as received, override_settings(WSKIT=DRAINING):
        (client,) = await server.clients(1)
        os.kill(os.getpid(), signal.SIGTERM)
        await client.ended()
        assert (received, server.ends) == ([], [(1012, "RESTART")])
        await until(lambda: received)

    assert (received, len(byes(client))) == ([signal.SIGTERM], 1)


async def test_a_second_sigterm_is_obeyed_at_once() -> None:
    """Who asks twice means now."""
    server = Server()
    with sigterm_kept() as received, override_settings(WSKIT=DRAINING):
        (client,) = await server.clients(1)
        client.write("WORK", {"name": "never"}, correlationId="1")
        await until(lambda: server.running)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: byes(client))
        assert received == []

        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: received)

        server.gates["never"].set()
        await client.ended()


async def test_sigterm_is_left_alone_unless_asked() -> None:
    """It is opt-in."""
    server = Server()
    with sigterm_kept() as received:
        (client,) = await server.clients(1)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: received)

        assert byes(client) == []
        await client.disconnect()


async def test_a_loop_that_handles_the_signal_itself_keeps_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its handler would run whatever is set over it: the operator is told the way out."""
    server, received = Server(), list[str]()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, received.append, "loop's")
    try:
        with override_settings(WSKIT=DRAINING):
            (client,) = await server.clients(1)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: received)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)

    assert (received, byes(client)) == (["loop's"], [])
    assert [text for text in caplog.messages if "Call drain()" in text] != []
    await client.disconnect()
