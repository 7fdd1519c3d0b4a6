"""Clients of the live tests."""

import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

RECEIVE_TIMEOUT = 10.0


def client(url: str) -> connect:
    """Connect without compression, limits, keepalive or proxies: only what the test sends."""
    return connect(url, compression=None, max_size=None, ping_interval=None, proxy=None)


async def send(socket: ClientConnection, type_: str, **payload: Any) -> None:
    await socket.send(json.dumps({"type": type_, "payload": payload}))


async def receive(socket: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(await socket.recv())
    return frame
