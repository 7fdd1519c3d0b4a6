"""
What the tests of ``tests.live.pressure`` do from outside: many clients, clients that do
not read, and questions to the server's views.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from tests.live.clients import client
from tests.live.servers import PATIENT, Server, free_port, python

CONNECTING_AT_ONCE = 50
PATIENCE = 60.0
"""Seconds that a test waits for what must come; only a failing test waits that long."""


@contextmanager
def serve(
    name: str,
    log: Path,
    *,
    application: str = "application",
    options: Sequence[str] = (),
    closed: Path | None = None,
    **wskit: Any,
) -> Iterator[Server]:
    """``tests.live.pressure`` under a server, with these ``WSKIT`` settings."""
    allow_many_files()
    port = free_port()
    target = f"tests.live.pressure:{application}"
    argv = {
        "daphne": ["-m", "daphne", *PATIENT, "-v", "0", "-b", "127.0.0.1", "-p", str(port)],
        "uvicorn": ["-m", "uvicorn", "--log-level", "warning", "--port", str(port)],
    }[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRESSURE_WSKIT", json.dumps(wskit))
        if closed is not None:
            patch.setenv("PRESSURE_CLOSED", str(closed))
        with python([*argv, *options, target], port=port, log=log) as server:
            yield server


def allow_many_files() -> None:
    """For this process and the servers that it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if most == resource.RLIM_INFINITY else min(8192, most)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


async def ask(server: Server, path: str) -> dict[str, Any]:
    """The JSON of one of the server's views."""

    def get() -> dict[str, Any]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{server.port}/{path}", timeout=PATIENCE) as response:
            found: dict[str, Any] = json.load(response)
        return found

    return await asyncio.to_thread(get)


async def ask_until(server: Server, wanted: dict[str, Any]) -> dict[str, Any]:
    """The server's figures, once they hold what is wanted; what they are after a minute."""
    return await ask_for(server, lambda figures: figures.items() >= wanted.items())


async def ask_for(server: Server, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The same for what a function finds in them."""
    give_up = time.monotonic() + PATIENCE
    while not enough(figures := await ask(server, "stats/")) and time.monotonic() < give_up:
        await asyncio.sleep(0.1)
    return figures


async def request(connection: ClientConnection, type_: str, id_: str, **payload: Any) -> None:
    """Send a request and do not wait for its answer."""
    meta = {"correlationId": id_}
    await connection.send(json.dumps({"type": type_, "meta": meta, "payload": payload}))


async def gather_crowd(server: Server, count: int) -> list[ClientConnection]:
    """Connect many clients, some at a time."""
    gate = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def connect() -> ClientConnection:
        async with gate:
            return await client(server.url)

    return list(await asyncio.gather(*(connect() for _ in range(count))))


async def disperse(crowd: Sequence[ClientConnection]) -> None:
    """Hang up, all at once."""
    for connection in crowd:
        connection.transport.abort()
    await asyncio.gather(*(connection.wait_closed() for connection in crowd))


async def listen_to_the_end(connection: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """Every frame until the close, and its code."""
    frames = []
    try:
        while True:
            frames.append(json.loads(await connection.recv()))
    except ConnectionClosed:
        assert connection.close_code is not None
        return frames, connection.close_code


class DeafClient:
    """
    A client that sends, and does not read before it is asked to.

    Its buffers are small, so that what the server pushes stays with the server.
    """

    def __init__(self, server: Server) -> None:
        self._protocol = ClientProtocol(parse_uri(server.url), max_size=None)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(("127.0.0.1", server.port))
        self._protocol.send_request(self._protocol.connect())
        self._write()
        while self._protocol.state.name == "CONNECTING":
            self._protocol.receive_data(self._socket.recv(1))
        if self._protocol.handshake_exc is not None:
            raise self._protocol.handshake_exc
        self._protocol.events_received()

    def _write(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._socket.sendall(data)

    def send(self, type_: str, *, id_: str | None = None, **payload: Any) -> None:
        meta = {} if id_ is None else {"correlationId": id_}
        frame = {"type": type_, "meta": meta, "payload": payload}
        self._protocol.send_text(json.dumps(frame).encode())
        self._write()

    def hang_up(self) -> None:
        """Send a close frame, without reading."""
        self._protocol.send_close(1000)
        self._write()

    def read(self, count: int) -> list[dict[str, Any]]:
        """The next messages, at least so many."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            data = self._socket.recv(65536)
            if not data:
                raise EOFError(f"{len(found)} of {count} messages came")
            found += self._messages(data)
        return found

    def read_until(self, is_last: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """All messages up to one."""
        found = self.read(1)
        while not is_last(found[-1]):
            found += self.read(1)
        return found

    def read_to_the_end(self, timeout: float = PATIENCE) -> tuple[list[dict[str, Any]], int]:
        """All messages that still come until the server hangs up, and the close code."""
        self._socket.settimeout(timeout)
        found: list[dict[str, Any]] = []
        try:
            while data := self._socket.recv(65536):
                found += self._messages(data)
        except ConnectionResetError:
            pass
        self._protocol.receive_eof()
        return found, self._protocol.close_code or 0

    def _messages(self, data: bytes) -> list[dict[str, Any]]:
        self._protocol.receive_data(data)
        self._write_back()
        return [
            json.loads(event.data)
            for event in self._protocol.events_received()
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT
        ]

    def _write_back(self) -> None:
        with suppress(OSError):
            self._write()  # the answer to a close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()
