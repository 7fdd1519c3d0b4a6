"""
An ASGI server's side without a socket: an application is called as a server calls it.

What it costs is a list, a future and two function calls a message, the same for all.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["Client", "Echoes", "open_clients"]

Event = dict[str, Any]


def scope_of(path: str) -> Event:
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "subprotocols": [],
    }


class Client:
    """One client of an application; every text that it is sent goes to ``on_text``."""

    def __init__(self, application: Any, path: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[Event] = deque([{"type": "websocket.connect"}])
        self._waiting: asyncio.Future[None] | None = None
        self.on_text: Callable[[str], None] = self.answered_with
        self._accepted = self._loop.create_future()
        self._answered: asyncio.Future[str] = self._loop.create_future()
        self.task = self._loop.create_task(
            application(scope_of(path), self.receive, self.send), context=contextvars.Context()
        )

    async def receive(self) -> Event:
        if not self._inbox:
            self._waiting = self._loop.create_future()
            await self._waiting
            self._waiting = None
        return self._inbox.popleft()

    async def send(self, event: Event) -> None:
        if event["type"] == "websocket.send":
            self.on_text(event["text"])
        elif event["type"] == "websocket.accept":
            self._accepted.set_result(None)
        else:
            raise RuntimeError(f"the application closed the connection: {event}")

    def _put(self, event: Event) -> None:
        self._inbox.append(event)
        waiting = self._waiting
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def tell(self, text: str) -> None:
        self._put({"type": "websocket.receive", "text": text})

    def answered_with(self, text: str) -> None:
        if not self._answered.done():
            self._answered.set_result(text)

    async def ask(self, text: str) -> str:
        """Send a message and wait for the next that comes."""
        self._answered = self._loop.create_future()
        self.tell(text)
        return str(await self._unless_it_ends(self._answered))

    async def opened(self) -> None:
        await self._unless_it_ends(self._accepted)

    async def _unless_it_ends(self, future: asyncio.Future[Any]) -> Any:
        """Wait for ``future``, and raise what the application raised if it comes first."""
        await asyncio.wait({future, self.task}, return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            self.task.result()
            raise RuntimeError("the application ended without an answer")
        return future.result()

    async def leave(self) -> None:
        self._put({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait({self.task}, timeout=10)


async def open_clients(application: Any, path: str, count: int) -> list[Client]:
    clients = [Client(application, path) for _ in range(count)]
    for client in clients:
        await client.opened()
    return clients


class Echoes:
    """
    Sends a message when the last is answered, a given number of times.

    With subscribers, a message counts as answered when all of them have been sent theirs.
    """

    def __init__(self, frame: str, clients: list[Client], *, listeners: list[Client]) -> None:
        self._frame = frame
        self._speaker = clients[0]
        self._expected = len(listeners)
        self._heard = 0
        self._left = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_answer: Callable[[], None] | None = None
        for client in listeners:
            client.on_text = self._hear

    def _hear(self, text: str) -> None:
        self._heard += 1
        if self._heard < self._expected:
            return
        if self.on_answer is not None:
            self.on_answer()
        self._heard = 0
        self._left -= 1
        if self._left > 0:
            self._speaker.tell(self._frame)
        elif not self._done.done():
            self._done.set_result(None)

    async def run(self, times: int) -> None:
        self._left = times
        self._heard = 0
        self._done = asyncio.get_running_loop().create_future()
        self._speaker.tell(self._frame)
        await self._done
