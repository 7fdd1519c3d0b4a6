"""
Servers in memory: links whose other end a test holds.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any

from tests.helpers import settle
from wskit_channels.client import Client
from wskit_channels.client.auth import Target
from wskit_channels.client.link import DialFailed, Link, LinkClosed

__all__ = ["MemoryLink", "MemoryServer", "without_times"]

Frame = dict[str, Any]


class MemoryLink:
    """A ``Link``, and what its server does."""

    subprotocol: str | None = None

    def __init__(self, target: Target) -> None:
        self.target = target
        self.written: list[str] = []
        self.closed_with: tuple[int, str] | None = None
        self.aborted = False
        self.answers_close_with: int | None = None
        """What the server's own close frame says, where that crosses ours; else our code."""
        self._to_client: deque[str] = deque()
        self._ended: LinkClosed | None = None
        self._turn = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()

    @property
    def is_open(self) -> bool:
        return self._ended is None

    async def send(self, text: str) -> None:
        if self._ended is not None:
            raise self._ended
        self.written.append(text)
        await self.room.wait()

    async def receive(self) -> str:
        while not self._to_client:
            if self._ended is not None:
                raise LinkClosed(self._ended.code, self._ended.reason)
            self._turn.clear()
            await self._turn.wait()
        return self._to_client.popleft()

    async def close(self, code: int, reason: str) -> None:
        self.closed_with = (code, reason)
        self.end(self.answers_close_with or code, reason)
        await settle(3)

    def abort(self) -> None:
        if self._ended is None:
            self.aborted = True
            self.end()

    def end(self, code: int = 1006, reason: str = "") -> None:
        """The server closes, or the network fails."""
        if self._ended is None:
            self._ended = LinkClosed(code, reason)
            self._turn.set()

    def say(self, type: str, payload: Any = None, /, *, data: Any = None, **meta: Any) -> None:
        """The server sends a frame; keywords are its meta."""
        frame: Frame = {"type": type, "meta": {"timestamp": 1, **meta}}
        if payload is not None:
            frame["payload"] = payload
        if data is not None:
            frame["data"] = data
        self.say_text(json.dumps(frame))

    def say_text(self, text: str) -> None:
        self._to_client.append(text)
        self._turn.set()

    async def heard(self) -> list[Frame]:
        """What the client wrote since the last look, the opening ping aside."""
        await settle()
        frames = [without_times(json.loads(text)) for text in self.written]
        self.written.clear()
        return [frame for frame in frames if frame != {"type": "$ws:ping"}]


class MemoryServer:
    """Accepts what dials it; a test may have attempts fail, or wait."""

    def __init__(self) -> None:
        self.links: list[MemoryLink] = []
        self.failures: deque[Exception] = deque()
        self.is_up = True
        self.accepting = asyncio.Event()
        self.accepting.set()
        self.attempts: list[float] = []

    async def dial(self, target: Target) -> Link:
        self.attempts.append(asyncio.get_running_loop().time())
        await self.accepting.wait()
        if self.failures:
            raise self.failures.popleft()
        if not self.is_up:
            raise DialFailed from ConnectionRefusedError("nobody listens")
        link = MemoryLink(target)
        self.links.append(link)
        return link

    @property
    def link(self) -> MemoryLink:
        """The latest link."""
        return self.links[-1]

    def client(self, **options: Any) -> Client:
        """A client whose backoff always takes half of its range."""
        return Client.over(self.dial, random=lambda: 0.5, **options)


def without_times(frame: Frame) -> Frame:
    """A frame without its time stamp, and without its meta where nothing else is there."""
    meta = {key: value for key, value in frame.get("meta", {}).items() if key != "timestamp"}
    rest = {key: value for key, value in frame.items() if key != "meta"}
    return {**rest, "meta": meta} if meta else rest
