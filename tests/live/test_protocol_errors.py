"""What a client that only talks nonsense gets, from real servers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close

from tests.live.clients import RECEIVE_TIMEOUT, client, receive
from tests.live.servers import Server, daphne

pytestmark = pytest.mark.live


async def flood(url: str) -> tuple[list[dict[str, Any]], Close | None]:
    """Send 101 malformed frames; return the answers, and the server's close frame if one came."""
    answers: list[dict[str, Any]] = []
    async with asyncio.timeout(RECEIVE_TIMEOUT), client(url) as socket:
        for _ in range(101):
            await socket.send("{")
        try:
            while True:
                answers.append(await receive(socket))
        except ConnectionClosed as closed:
            return answers, closed.rcvd


async def test_the_hundred_and_first_malformed_frame_closes(server: Server) -> None:
    """Refusals must not become an amplifier (PROTOCOL 3); daphne sends the real code too."""
    answers, close = await flood(server.url)

    assert [(each["type"], each["payload"]["code"]) for each in answers] == [
        ("ERROR", "INVALID_ARGUMENT")
    ] * 100
    assert close is not None
    assert close.code == 1008
    assert close.reason != ""


async def test_behind_a_wrapped_send_daphne_closes_with_4008(tmp_path: Path) -> None:
    """Where daphne's protocol object cannot be reached, the code moves to 4000 (PROTOCOL 8)."""
    with daphne("tests.live.app:wrapped", tmp_path / "server.log") as server:
        answers, close = await flood(server.url)

    assert len(answers) == 100
    assert close is not None
    assert close.code == 4008
