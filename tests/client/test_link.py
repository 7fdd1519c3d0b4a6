import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from tests.client.conftest import Serve, receive, work
from tests.client.contract import Done, News, Work
from wskit_channels.client import Auth, Client, ConnectionClosed, Reconnect

QUICK = Reconnect(initial_delay=0.01, max_delay=0.05)


async def test_a_request_over_a_real_socket(serving: Serve) -> None:
    async with Client(await serving(work)) as client:
        assert await client.request(Work(n=1)) == Done(n=2)


async def test_what_the_handshake_carries(serving: Serve) -> None:
    """PROTOCOL 9."""
    seen: list[Any] = []

    async def note(socket: ServerConnection) -> None:
        request = socket.request
        assert request is not None
        headers = request.headers
        seen.append(
            (request.path, headers["Origin"], headers["X-A"], headers["Sec-WebSocket-Protocol"])
        )
        await socket.wait_closed()

    url = await serving(note, subprotocols=["chat.v1"])
    async with Client(
        url,
        auth=Auth("t0ken", by="subprotocol"),
        headers={"X-A": "1"},
        origin="https://example.org",
        subprotocols=["chat.v1"],
    ) as client:
        assert client.protocol == "chat.v1"
    async with Client(
        url,
        auth=Auth("t0ken", by="query"),
        headers={"X-A": "1"},
        origin="https://example.org",
        subprotocols=["chat.v1"],
    ):
        pass

    assert seen == [
        ("/ws/", "https://example.org", "1", "chat.v1, bearer.t0ken"),
        ("/ws/?access_token=t0ken", "https://example.org", "1", "chat.v1"),
    ]


async def test_a_refused_handshake_says_its_status(serving: Serve) -> None:
    async def refuse(socket: ServerConnection, request: Any) -> Any:
        return socket.respond(403, "no")

    client = Client(await serving(work, process_request=refuse))
    with pytest.raises(ConnectionClosed, match="HTTP 403"):
        await client.connect()


@pytest.mark.parametrize(("code", "reason"), [(4403, "PERMISSION_DENIED"), (1008, "abuse")])
async def test_the_servers_close_code_and_reason_arrive(
    serving: Serve, code: int, reason: str
) -> None:
    """PROTOCOL 8."""

    async def close(socket: ServerConnection) -> None:
        await socket.close(code, reason)

    async with Client(await serving(close)) as client:
        closed = await asyncio.wait_for(client.wait_closed(), 10)

    assert closed is not None
    assert (closed.code, closed.reason) == (code, reason)


async def test_a_connection_that_breaks_ends_with_1006_and_comes_back(serving: Serve) -> None:
    async def break_once(socket: ServerConnection) -> None:
        if len(sockets) == 0:
            sockets.append(socket)
            await receive(socket)
            socket.transport.abort()
        await work(socket)

    sockets: list[ServerConnection] = []
    async with Client(await serving(break_once), reconnect=QUICK) as client:
        with pytest.raises(ConnectionClosed) as caught:
            await client.request(Work(n=1))
        assert caught.value.code == 1006

        assert await client.request(Work(n=2)) == Done(n=3)


async def test_binary_frames_are_read_as_text_and_others_end_the_link(serving: Serve) -> None:
    """PROTOCOL 1: either kind may hold a frame."""

    async def binary(socket: ServerConnection) -> None:
        await socket.send(b'{"type":"NEWS","meta":{"timestamp":1},"payload":{"text":"x"}}')
        await socket.send(b"\xff")
        await socket.wait_closed()

    async with Client(await serving(binary), messages=[News], reconnect=False) as client:
        assert await anext(client) == News(text="x")
        closed = await asyncio.wait_for(client.wait_closed(), 10)

    assert closed is not None
    assert closed.code == 1007


async def test_the_first_frame_is_a_ping_and_the_last_word_is_1000(serving: Serve) -> None:
    seen: list[Any] = []
    ended = asyncio.Event()

    async def note(socket: ServerConnection) -> None:
        try:
            async for text in socket:
                seen.append(json.loads(text)["type"])
        finally:
            seen.append(socket.close_code)
            ended.set()

    async with Client(await serving(note)) as client:
        client.send(News(text="x"))
    await asyncio.wait_for(ended.wait(), 10)

    assert seen == ["$ws:ping", "NEWS", 1000]


async def test_options_of_the_library_go_to_the_library(serving: Serve) -> None:
    async def shout(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"type": "NEWS", "payload": {"text": "x" * 2000}}))
        await socket.wait_closed()

    url = await serving(shout)
    async with Client(url, messages=[News]) as client:
        assert await anext(client) == News(text="x" * 2000)
    async with Client(url, connect_options={"max_size": 100}, reconnect=False) as client:
        closed = await asyncio.wait_for(client.wait_closed(), 10)
    assert closed is not None
    assert closed.code == 1009


def test_a_misspelt_option_is_refused() -> None:
    with pytest.raises(TypeError, match="timout"):
        Client("ws://h/", timout=3)  # type: ignore[call-arg]  # as a caller may


@pytest.mark.parametrize("name", ["queue_size", "pending_requests_limit", "incoming_size"])
def test_a_bound_of_nothing_is_refused(name: str) -> None:
    options: Any = {name: 0}
    with pytest.raises(ValueError, match=f"^{name} is at least 1, not 0.$"):
        Client("ws://h/", **options)
