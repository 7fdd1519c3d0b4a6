"""The relay under load, over a real Valkey: a burst to many sockets, and many topics."""

import asyncio
import itertools
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer  # type: ignore[import-untyped]
from websockets.asyncio.client import ClientConnection

from tests.live.clients import client, receive, send
from tests.live.publisher import END
from tests.live.servers import ROOT, Server, free_port, python
from tests.live.settings import channel_layers
from wskit_channels.hub import group_name, hub_for
from wskit_channels.protocol.backlog import Entry

pytestmark = pytest.mark.live

logger = logging.getLogger(__name__)

PATIENCE = 180.0
SOCKETS = 100
PUBLISHES = 500
TOPICS = 10_000
AT_ONCE = 500
"""Joins that go on at one time: far beyond the 100 connections of a redis-py pool."""


@pytest.fixture
def servers(valkey: str, tmp_path: Path) -> Iterator[list[Server]]:
    """The conformance server three times: twice under daphne, once under uvicorn."""
    with ExitStack() as stack:
        started = []
        for number, name in enumerate(("daphne", "daphne", "uvicorn")):
            port = free_port()
            argv = ["-m", "tests.conformance", "--port", str(port), "--server", name]
            log = tmp_path / f"{name}-{number}"
            server = python([*argv, "--layer", valkey], port=port, log=log)
            started.append(stack.enter_context(server))
        yield started


@pytest.fixture
async def layer(valkey: str) -> AsyncIterator[RedisChannelLayer]:
    """Our settings' layer, in this process."""
    found = RedisChannelLayer(**channel_layers(valkey)["default"]["CONFIG"])
    yield found
    await found.close_pools()


async def close_all(sockets: list[ClientConnection]) -> None:
    """Hang up at once: a close in good order would wait behind frames that nobody reads."""
    for socket in sockets:
        socket.transport.abort()
    await asyncio.gather(*(socket.wait_closed() for socket in sockets))


def run_publisher(layer: str, room: str) -> None:
    env = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    argv = [sys.executable, "-m", "tests.live.publisher", layer, room, str(PUBLISHES)]
    done = subprocess.run(
        argv, cwd=ROOT, env=env, timeout=PATIENCE, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


async def hear(socket: ClientConnection) -> list[str]:
    """Return the texts of the burst, and check that the socket gets nothing behind it."""
    texts: list[str] = []
    while END not in texts:
        frame = await receive(socket)
        if frame["type"] != "USER_JOINED":
            assert frame["type"] == "NEW_MESSAGE"
            texts.append(frame["payload"]["text"])
    await send(socket, "PING", text="more?")
    assert (await receive(socket))["type"] == "PONG"
    return texts


async def test_a_burst_reaches_every_socket_of_three_processes_whole_and_in_order(
    servers: list[Server], valkey: str, record_property: Callable[[str, object], None]
) -> None:
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        sockets: list[ClientConnection] = []
        stack.push_async_callback(close_all, sockets)
        for server in itertools.islice(itertools.cycle(servers), SOCKETS):
            socket = await client(server.url)
            sockets.append(socket)
            await send(socket, "JOIN_ROOM", roomId="burst")
            # Its own, or another's of just before: it is in the room either way.
            assert (await receive(socket))["type"] == "USER_JOINED"
        heard, _ = await asyncio.gather(
            asyncio.gather(*map(hear, sockets)),
            asyncio.to_thread(run_publisher, valkey, "burst"),
        )

    assert heard == [[*map(str, range(PUBLISHES)), END]] * SOCKETS
    for server in servers:
        assert "lost messages" not in server.log.read_text()

    async with asyncio.timeout(PATIENCE):
        bare = await burst_through_bare_groups(valkey)
    figures = {
        "sockets_ours": f"{min(map(len, heard)) - 1} of {PUBLISHES} each",
        "channels_bare": f"{min(bare)} to {max(bare)} of {PUBLISHES} each",
    }
    for name, figure in figures.items():
        record_property(name, figure)
        logger.info("%s: %s", name, figure)


async def burst_through_bare_groups(valkey: str) -> list[int]:
    """
    Send the burst by ``group_send`` alone, with the layer's default capacity.

    Returns:
        How many messages each of the channels got. Nobody receives while it is sent.
    """
    layer = RedisChannelLayer(hosts=[{"address": valkey, "socket_timeout": 30}])
    channels = [await layer.new_channel() for _ in range(SOCKETS)]
    for channel in channels:
        await layer.group_add("bare", channel)
    for number in range(PUBLISHES):
        await layer.group_send("bare", {"type": "number", "number": number})
    for channel in channels:
        await layer.receive(channel)  # makes room for the end
    await layer.group_send("bare", {"type": "end"})
    counts = [1 + await count_messages(layer, channel) for channel in channels]
    for channel in channels:
        await layer.group_discard("bare", channel)
    await layer.close_pools()
    return counts


async def count_messages(layer: RedisChannelLayer, channel: str) -> int:
    count = 0
    while (await layer.receive(channel))["type"] != "end":
        count += 1
    return count


class Subscriber:
    """A member of the hub that keeps its frames."""

    client_id = "subscriber"

    def __init__(self) -> None:
        self.frames: list[str] = []

    def share(self, entry: Entry) -> None:
        self.frames.append(entry[0])


async def groups(layer: RedisChannelLayer, pattern: str) -> int:
    """How many groups the layer keeps whose names match."""
    connection: Any = layer.connection(0)
    return len({key async for key in connection.scan_iter(f"asgi:group:{pattern}", count=1000)})


async def test_ten_thousand_topics_left_leave_nothing_behind(layer: RedisChannelLayer) -> None:
    hub = hub_for(layer, "leaves")
    relay = hub._relay
    assert relay is not None
    member = Subscriber()
    ours = group_name("leaves", "") + "*"
    topics = [f"topic:{number}" for number in range(TOPICS)]
    batches = [topics[start : start + AT_ONCE] for start in range(0, TOPICS, AT_ONCE)]

    async with asyncio.timeout(PATIENCE):
        for batch in batches:
            await asyncio.gather(*(hub.join(topic, member) for topic in batch))
        assert (len(hub._members), len(relay._joined)) == (TOPICS, TOPICS)
        assert await groups(layer, ours) == TOPICS
        assert await groups(layer, relay._own_group) == 1

        for topic in batches[0]:  # so that there is a numbering to forget
            message = {"type": "wskit.publish", "process": "another", "stream": "another.0"}
            numbered: dict[str, Any] = {**message, "number": 1, "topic": topic, "frame": topic}
            await layer.group_send(group_name("leaves", topic), numbered)
        while len(member.frames) < AT_ONCE:
            await asyncio.sleep(0.01)
        assert member.frames == batches[0]
        assert len(relay._expected) == AT_ONCE

        for topic in topics:  # all at once, as when a worker loses its network
            hub.leave(topic, member)
        while hub._tasks:
            await asyncio.gather(*hub._tasks)

    assert (hub._members, hub._tasks) == ({}, set())
    assert (relay._joined, relay._locks, relay._expected) == ({}, {}, {})
    assert (relay._channel, relay._tasks) == (None, [])
    assert await groups(layer, ours) == 0
    assert await groups(layer, relay._own_group) == 0
