"""A real WebSocket server, by the ``websockets`` library, in the test's own loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.client.wire import Frame

Handler = Callable[[ServerConnection], Awaitable[None]]
Serve = Callable[..., Awaitable[str]]


@pytest.fixture
async def serving() -> AsyncIterator[Serve]:
    """Serve with a handler, until the test ends; the result is the server's URL."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler, **options: Any) -> str:
            server = await stack.enter_async_context(serve(handler, "127.0.0.1", 0, **options))
            port = next(iter(server.sockets)).getsockname()[1]
            return f"ws://127.0.0.1:{port}/ws/"

        yield start


async def receive(socket: ServerConnection) -> Frame:
    """The next frame, the opening ping aside."""
    while True:
        frame: Frame = json.loads(await asyncio.wait_for(socket.recv(), 10))
        if frame["type"] != "$ws:ping":
            return frame


async def send(socket: ServerConnection, type: str, payload: Any = None, **meta: Any) -> None:
    frame: Frame = {"type": type, "meta": {"timestamp": 1, **meta}}
    if payload is not None:
        frame["payload"] = payload
    await socket.send(json.dumps(frame))


async def work(socket: ServerConnection) -> None:
    """Answer ``WORK`` with progress and ``DONE``, everything else with ``NEWS``."""
    while True:
        frame = await receive(socket)
        if frame["type"] == "WORK":
            id_ = frame["meta"]["correlationId"]
            progress = {"stage": "begun"}
            await socket.send(
                json.dumps(
                    {
                        "type": "$ws:rpc-progress",
                        "meta": {"timestamp": 1, "correlationId": id_},
                        "data": progress,
                    }
                )
            )
            await send(socket, "DONE", {"n": frame["payload"]["n"] + 1}, correlationId=id_)
        elif frame["type"] != "$ws:abort":
            await send(socket, "NEWS", {"text": json.dumps(frame.get("payload"))})
