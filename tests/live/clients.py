"""Clients of the live tests."""

import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.frame_watch import problem_of

RECEIVE_TIMEOUT = 60.0
"""Seconds that a test waits for what must come; only a failing test waits that long."""


def client(url: str) -> connect:
    """Connect without compression, limits, keepalive or proxies: only what the test sends."""
    return connect(
        url,
        compression=None,
        max_size=None,
        open_timeout=RECEIVE_TIMEOUT,
        ping_interval=None,
        proxy=None,
    )


async def send(socket: ClientConnection, type_: str, **payload: Any) -> None:
    await socket.send(json.dumps({"type": type_, "payload": payload}))


class _Whatever:
    """The meta keys that handlers of the servers here give."""

    def __contains__(self, key: object) -> bool:
        return True


async def receive(socket: ClientConnection) -> dict[str, Any]:
    """The next frame, which a ws-kit client would take."""
    text = str(await socket.recv())
    assert problem_of(text, _Whatever()) is None, text
    frame: dict[str, Any] = json.loads(text)
    return frame
