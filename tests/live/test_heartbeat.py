"""One run of the heartbeat against real servers; its rules are tested with a fake clock."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection

from tests.live.clients import client
from tests.live.crowd import listen_to_the_end, serve
from tests.live.servers import SERVERS

pytestmark = pytest.mark.live

INTERVAL = 1.0
TIMEOUT = 1.0
LONG = 5.0


async def answer_pings(connection: ClientConnection) -> list[str]:
    """The types of what came in five seconds, each ping answered."""
    types: list[str] = []
    try:
        async with asyncio.timeout(LONG):
            while True:
                frame = json.loads(await connection.recv())
                types.append(frame["type"])
                echo = {"echo": frame["meta"]["timestamp"]}
                await connection.send(json.dumps({"type": "$ws:pong", "meta": echo}))
    except TimeoutError:
        return types


@pytest.mark.parametrize("name", sorted(SERVERS))
async def test_a_silent_client_is_closed_and_one_that_answers_is_not(
    name: str, tmp_path: Path
) -> None:
    """PROTOCOL 7: with 4000, within interval and timeout and a second."""
    heartbeat = {"HEARTBEAT_INTERVAL": INTERVAL, "HEARTBEAT_TIMEOUT": TIMEOUT}
    with serve(name, tmp_path / "log", **heartbeat) as server:
        async with client(server.url) as silent, client(server.url) as alive:
            began = time.monotonic()
            answering = asyncio.create_task(answer_pings(alive))
            frames, code = await listen_to_the_end(silent)
            took = time.monotonic() - began

            types = await answering
            assert alive.close_code is None

    assert [frame["type"] for frame in frames] == ["$ws:ping"]
    assert (code, silent.close_reason) == (4000, "HEARTBEAT_TIMEOUT")
    assert INTERVAL + TIMEOUT - 0.2 <= took <= INTERVAL + TIMEOUT + 1
    assert 3 <= len(types) <= LONG / INTERVAL
    assert set(types) == {"$ws:ping"}
