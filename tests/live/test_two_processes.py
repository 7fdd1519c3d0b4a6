"""One room, two server processes, a real Valkey between them."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection

from tests.live.clients import client, receive, send
from tests.live.servers import Server, free_port, python

pytestmark = pytest.mark.live

PUBLISHES = 500
PATIENCE = 120.0


@pytest.fixture
def servers(valkey: str, tmp_path: Path) -> Iterator[list[Server]]:
    """The conformance server twice: once under daphne, once under uvicorn."""
    with ExitStack() as stack:
        started = []
        for name in ("daphne", "uvicorn"):
            port = free_port()
            argv = ["-m", "tests.conformance", "--port", str(port), "--server", name]
            server = python([*argv, "--layer", valkey], port=port, log=tmp_path / name)
            started.append(stack.enter_context(server))
        yield started


async def enter(socket: ClientConnection, room: str) -> str:
    """Join a room; return the connection's client id."""
    await send(socket, "JOIN_ROOM", roomId=room)
    joined = await receive(socket)
    assert joined["type"] == "USER_JOINED"
    user_id: str = joined["payload"]["userId"]
    return user_id


async def test_a_burst_reaches_the_other_process_whole_and_in_order(
    servers: list[Server],
) -> None:
    here, there = servers
    async with (
        asyncio.timeout(PATIENCE),
        client(here.url) as speaker,
        client(there.url) as listener,
    ):
        await enter(listener, "burst")
        for number in range(PUBLISHES):
            await send(speaker, "SEND_MESSAGE", roomId="burst", text=str(number))
        heard = [(await receive(listener))["payload"]["text"] for _ in range(PUBLISHES)]

    assert heard == [str(number) for number in range(PUBLISHES)]


async def test_a_close_is_heard_in_the_other_process(servers: list[Server]) -> None:
    here, there = servers
    async with asyncio.timeout(PATIENCE), client(there.url) as listener:
        await enter(listener, "left")
        async with client(here.url) as leaver:
            left_id = await enter(leaver, "left")
            assert (await receive(listener))["type"] == "USER_JOINED"
        left = await receive(listener)

    assert (left["type"], left["payload"]) == ("USER_LEFT", {"userId": left_id})
