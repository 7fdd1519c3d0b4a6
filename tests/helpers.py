"""
A client for tests: one connection to a router, in this process, without a server.

Strict about the end of a test: a frame that nobody received fails it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from channels.testing import WebsocketCommunicator

from wskit_channels import Router

__all__ = ["TIMEOUT", "Client", "Frame", "connected", "settle", "soon"]

T = TypeVar("T")
Frame = dict[str, Any]

TIMEOUT = 30.0
"""Seconds that a test waits for what must come; only a failing test waits that long."""


class Client:
    """One client's end of a connection; behaves towards the application as a server does."""

    def __init__(self, application: Any, path: str = "/", **options: Any) -> None:
        self.communicator = WebsocketCommunicator(application, path, **options)
        self.subprotocol: str | None = None
        self._is_open = True

    @property
    def application(self) -> asyncio.Task[None]:
        """The task that the server runs the application in."""
        task: asyncio.Task[None] = self.communicator.future
        return task

    async def open(self) -> None:
        """Have the handshake accepted."""
        await self.communicator.send_input({"type": "websocket.connect"})
        event = await self._event()
        assert event["type"] == "websocket.accept", event
        self.subprotocol = event.get("subprotocol")

    async def send(self, type: str, payload: Any = None, /, **meta: Any) -> None:
        """Send a message; keywords are its meta."""
        frame: Frame = {"type": type}
        if meta:
            frame["meta"] = meta
        if payload is not None:
            frame["payload"] = payload
        await self.send_text(json.dumps(frame))

    async def send_text(self, text: str) -> None:
        await self.communicator.send_input({"type": "websocket.receive", "text": text})

    async def call(self, type: str, payload: Any = None, /, *, id: str, **meta: Any) -> None:
        await self.send(type, payload, correlationId=id, **meta)

    async def abort(self, id: str) -> None:
        await self.send("$ws:abort", correlationId=id)

    async def receive(self) -> Frame:
        """The next frame, whose time stamp is checked and left out, and its meta where empty."""
        event = await self._event()
        assert event["type"] == "websocket.send", event
        return without_timestamp(json.loads(event["text"]))

    async def received(self, count: int) -> list[Frame]:
        return [await self.receive() for _ in range(count)]

    async def heard(self) -> list[Frame]:
        """All frames that come without time passing and without another thread's help."""
        await settle()
        waiting = self.communicator.output_queue.qsize()
        return await self.received(waiting)

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the application's close, which is answered with a disconnect."""
        event = await self._event()
        assert event["type"] == "websocket.close", event
        code = event.get("code", 1000)
        await self.disconnect(code)
        return code, event.get("reason") or ""

    async def disconnect(self, code: int = 1000) -> None:
        """Leave; does not wait for the application."""
        if self._is_open:
            self._is_open = False
            event = {"type": "websocket.disconnect", "code": code}
            await self.communicator.input_queue.put(event)

    async def ended(self) -> None:
        """Wait for the application to end; raises what it raised."""
        await soon(asyncio.shield(self.application))

    async def ping(self) -> None:
        """Go to the reader and back: what was sent before has been read then."""
        await self.send("$ws:ping")
        assert await self.receive() == {"type": "$ws:pong"}

    def left_over(self) -> list[Any]:
        """Events that nobody received."""
        queue = self.communicator.output_queue
        return [queue.get_nowait() for _ in range(queue.qsize())]

    async def _event(self) -> dict[str, Any]:
        # Not receive_output(): its time-out would cancel the application.
        event: dict[str, Any] = await soon(self.communicator.output_queue.get())
        return event


def without_timestamp(frame: Frame) -> Frame:
    meta = dict(frame["meta"])
    timestamp = meta.pop("timestamp")
    assert isinstance(timestamp, int), frame
    assert abs(timestamp - time.time() * 1000) < 60_000, frame
    rest = {key: value for key, value in frame.items() if key != "meta"}
    return {**rest, "meta": meta} if meta else rest


@asynccontextmanager
async def connected(
    router: Router[Any] | Any, path: str = "/", **options: Any
) -> AsyncIterator[Client]:
    """
    A connection to a router, or to an ASGI application; ended, to its end, afterwards.

    A frame that was sent and not received, or an exception of the application's, fails
    the test.
    """
    application = router.as_asgi() if isinstance(router, Router) else router
    client = Client(application, path, **options)
    try:
        await client.open()
        yield client
    except BaseException:
        client.application.cancel()
        await asyncio.wait({client.application}, timeout=TIMEOUT)
        raise
    await client.disconnect()
    await client.ended()
    assert client.left_over() == []


async def soon(work: Awaitable[T]) -> T:
    """Wait for what must happen; a test that waits in vain fails."""
    return await asyncio.wait_for(work, TIMEOUT)


async def settle(turns: int = 50) -> None:
    """Let the loop run until everything that can go on has; for "and nothing else happens"."""
    for _ in range(turns):
        await asyncio.sleep(0)


def named(value: object) -> str:
    """A test's id for a value: the same in every run, whatever its address."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
