"""A room of real sockets."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import ClientConnection

from tests.live.clients import client, receive, send
from tests.live.servers import Server

pytestmark = pytest.mark.live

LISTENERS = 200
PUBLISHES = 100
PATIENCE = 120.0


async def listen(socket: ClientConnection) -> list[int]:
    """Return the numbers heard, up to the last that is said."""
    heard: list[int] = []
    while not heard or heard[-1] != PUBLISHES - 1:
        heard.append((await receive(socket))["payload"]["number"])
    return heard


async def test_two_hundred_sockets_hear_a_hundred_publishes_in_order(server: Server) -> None:
    """None is lost and none overtakes another; stock group_send loses a third of these."""
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        listeners = []
        for _ in range(LISTENERS):
            socket = await stack.enter_async_context(client(server.url))
            await send(socket, "JOIN", room="full")
            assert (await receive(socket))["type"] == "JOINED"
            listeners.append(socket)
        publisher = await stack.enter_async_context(client(server.url))
        for number in range(PUBLISHES):
            await send(publisher, "SAY", room="full", number=number)

        heard = await asyncio.gather(*map(listen, listeners))

    assert heard == [list(range(PUBLISHES))] * LISTENERS
