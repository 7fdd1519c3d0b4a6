"""One run of the heartbeat against real servers; its rules are tested with a fake clock."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection

from tests.live.clients import client
from tests.live.crowd import PATIENCE, listen_to_the_end, request, serve
from tests.live.servers import SERVERS

pytestmark = pytest.mark.live

INTERVAL = 1.0
TIMEOUT = 2.5
"""Enough for a client that answers, on a machine that is busy."""

TOO_LATE = INTERVAL + TIMEOUT + 3


async def answer_pings(connection: ClientConnection, types: list[str]) -> None:
    """Answer each frame, pings that is; ``types`` gets the types of what came."""
    while True:
        frame = json.loads(await connection.recv())
        types.append(frame["type"])
        echo = {"echo": frame["meta"]["timestamp"]}
        await connection.send(json.dumps({"type": "$ws:pong", "meta": echo}))


@pytest.mark.parametrize("name", sorted(SERVERS))
async def test_a_silent_client_is_closed_and_one_that_answers_is_not(
    name: str, tmp_path: Path
) -> None:
    """PROTOCOL 7: with 4000, when interval and timeout have passed."""
    heartbeat = {"HEARTBEAT_INTERVAL": INTERVAL, "HEARTBEAT_TIMEOUT": TIMEOUT}
    with serve(name, tmp_path / "log", **heartbeat) as server:
        began = time.monotonic()
        async with client(server.url) as alive, client(server.url) as silent:
            await request(alive, "WAIT", "too late", seconds=TOO_LATE)
            types: list[str] = []
            answering = asyncio.create_task(answer_pings(alive, types))
            frames, code = await listen_to_the_end(silent)
            took = time.monotonic() - began

            meanwhile = len(types)
            async with asyncio.timeout(PATIENCE):
                while "$ws:ping" not in types[meanwhile:]:  # it is still asked afterwards
                    await asyncio.sleep(0.05)
            assert not answering.done()
            assert alive.close_code is None
            answering.cancel()

    assert [frame["type"] for frame in frames] == ["$ws:ping"]
    assert (code, silent.close_reason) == (4000, "HEARTBEAT_TIMEOUT")
    assert took >= INTERVAL + TIMEOUT
    # Nothing but pings: by the server's own clock, it was not too late yet.
    assert set(types[:meanwhile]) == {"$ws:ping"}
