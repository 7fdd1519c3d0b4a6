"""
The load generator's connections.

Plain non-blocking sockets under one selector, frames masked in advance, replies counted
by their headers. It must cost less than any server it drives; the ``ceiling``
benchmark measures by how much. The standard library alone, so that it starts fast.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.frames import CLOSE, PONG, Reader, masked, upgrade

__all__ = ["PATIENCE", "Connection", "Failed", "Job", "Load", "Stopwatch"]

PATIENCE = 60.0
"""Seconds that something which must come may take."""
CHUNK = 16384
"""Bytes read at a time: a larger buffer costs more to make than the message costs to read."""
LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class Job:
    """What to do, with which frames."""

    kind: str
    port: int = 0
    path: str = "/"
    headers: list[list[str]] = field(default_factory=list)
    greeting: list[list[Any]] = field(default_factory=list)
    """After the handshake, in turn: a frame to send, or None, and messages to wait for."""

    frame: str = ""
    join: str = ""
    connections: int = 1
    seconds: float = 1.0
    server_pid: int = 0
    """Whose processor time to follow; 0: nobody's."""

    expected: int = 0
    """For a burst: messages that should reach each connection."""


class Failed(RuntimeError):
    """The server did not do what it must."""


class Connection:
    """One client's socket; whatever arrives goes to ``on_data``."""

    __slots__ = ("_load", "on_data", "reader", "recv", "send", "sent_at", "sock")

    def __init__(self, load: Load, sock: socket.socket) -> None:
        self._load = load
        self.sock = sock
        self.recv = sock.recv
        self.send = sock.send
        self.reader = Reader()
        self.sent_at = 0.0
        self.on_data: Callable[[bytes], None] = self.ignore

    def readable(self) -> None:
        try:
            data = self.recv(CHUNK)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if data:
            self.on_data(data)
        else:
            self.lost()

    def ignore(self, data: bytes) -> None:
        self.reader.count(data)
        self.answer_pings()

    def answer_pings(self) -> None:
        for payload in self.reader.pings:
            self.send(masked(payload, PONG))
        self.reader.pings.clear()

    def lost(self) -> None:
        self._load.forget(self)


class Load:
    """The connections of one job, and the loop that serves them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.selector = selectors.DefaultSelector()
        self.open: set[Connection] = set()
        self._request = upgrade(
            f"{LOOPBACK}:{job.port}", job.path, [(name, value) for name, value in job.headers]
        )

    def turn(self, timeout: float) -> bool:
        """Serve what is readable; whether anything was."""
        ready = self.selector.select(timeout)
        for key, _ in ready:
            key.data()
        return bool(ready)

    def until(self, met: Callable[[], bool], patience: float = PATIENCE) -> bool:
        """Serve until a condition is met; False if it is not in time."""
        give_up = time.perf_counter() + patience
        while not met():
            left = give_up - time.perf_counter()
            if left <= 0:
                return False
            self.turn(min(left, 0.2))
        return True

    def forget(self, connection: Connection) -> None:
        if connection in self.open:
            self.open.discard(connection)
            self.selector.unregister(connection.sock)
            connection.sock.close()

    def connect(self, count: int) -> list[Connection]:
        """
        Open connections, a hundred at a time, and go through the peer's greeting.

        Raises:
            Failed: If the server refuses one.
        """
        made: list[Connection] = []
        while len(made) < count:
            batch = [self.start() for _ in range(min(100, count - len(made)))]
            greeted = [Greeting(connection, self.job.greeting) for connection in batch]
            self._await(greeted, "a handshake was not answered")
            made += batch
        return made

    def start(self) -> Connection:
        sock = socket.create_connection((LOOPBACK, self.job.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        connection = Connection(self, sock)
        self.open.add(connection)
        self.selector.register(sock, selectors.EVENT_READ, connection.readable)
        connection.send(self._request)
        return connection

    def ask_all(self, connections: list[Connection], frame: str) -> None:
        """Send a frame on each and wait for one message in return."""
        greeted = [Greeting(one, [[frame, 1]], upgraded=True) for one in connections]
        self._await(greeted, f"no answer to {frame!r}")

    def _await(self, greeted: list[Greeting], otherwise: str) -> None:
        if not self.until(lambda: all(one.done for one in greeted)):
            raise Failed(otherwise)

    def close(self) -> None:
        """Say goodbye on all connections and wait until the server has let go of them."""
        goodbye = masked((1000).to_bytes(2), CLOSE)
        for connection in list(self.open):
            connection.on_data = connection.ignore
            try:
                connection.send(goodbye)
            except OSError:
                self.forget(connection)
        self.until(lambda: all(one.reader.closed for one in self.open), 10.0)
        for connection in list(self.open):
            self.forget(connection)


class Stopwatch:
    """Seconds since it was made, and processor shares of this process and of the server."""

    def __init__(self, server_pid: int) -> None:
        self._server_pid = server_pid
        self._begun = time.perf_counter()
        self._own = time.process_time()
        self._server = cpu_seconds(server_pid)

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._begun

    def shares(self, units: int) -> dict[str, Any]:
        """
        Processor shares so far, and the server's microseconds for each unit of its work.

        The latter changes less than a rate where others use the machine, too.
        """
        elapsed, own = self.elapsed, time.process_time() - self._own
        found: dict[str, Any] = {"generator_cpu": own / elapsed}
        now = cpu_seconds(self._server_pid)
        if now is not None and self._server is not None and units:
            used = now - self._server
            found["server_cpu"] = used / elapsed
            found["cpu_microseconds"] = used / units * 1e6
        return found


def cpu_seconds(pid: int) -> float | None:
    """Processor time that a process has used so far, where ``/proc`` tells."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Greeting:
    """A connection from its handshake to the end of what its peer wants said first."""

    def __init__(
        self, connection: Connection, steps: list[list[Any]], *, upgraded: bool = False
    ) -> None:
        self._connection = connection
        self._steps = iter(steps)
        self._awaited = 0
        self._head = None if upgraded else b""
        self.done = False
        connection.on_data = self._data
        if upgraded:
            self._next()

    def _data(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise Failed(f"the handshake was answered with {head[:80]!r}")
            self._head = None
            self._next()
        if data:
            self._awaited -= self._connection.reader.count(data)
        self._connection.answer_pings()
        if self._awaited <= 0 and not self.done:
            self._next()

    def _next(self) -> None:
        while self._awaited <= 0:
            step = next(self._steps, None)
            if step is None:
                self.done = True
                self._connection.on_data = self._connection.ignore
                return
            frame, expected = step
            self._awaited += expected
            if frame is not None:
                self._connection.send(masked(frame.encode()))
