"""
One WebSocket: the only module that knows the ``websockets`` library.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from wskit_channels.client.auth import Target
from wskit_channels.client.policy import ABNORMAL

try:
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
    from websockets.protocol import State
    from websockets.typing import Origin, Subprotocol
except ImportError as error:
    raise ImportError(
        'The Python client needs the websockets library: pip install "wskit-channels[client]".'
    ) from error

__all__ = ["Dial", "DialFailed", "Link", "LinkClosed", "websockets_dial"]

MAX_SIZE: Final = 16 * 1024 * 1024
"""Largest frame accepted from the server, in bytes, where the options say nothing else."""


class LinkClosed(Exception):
    """The link has ended; 1006 where no close frame said how."""

    def __init__(self, code: int = ABNORMAL, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class DialFailed(Exception):
    """No link could be made; ``status`` is what HTTP answered, if it did."""

    def __init__(self, status: int | None = None) -> None:
        super().__init__(status)
        self.status = status

    def __str__(self) -> str:
        if self.status is not None:
            return f"the server answered the handshake with HTTP {self.status}"
        return f"no connection: {self.__cause__}"


class Link(Protocol):
    """A connected WebSocket. One task sends, one receives."""

    @property
    def is_open(self) -> bool: ...
    @property
    def subprotocol(self) -> str | None: ...

    async def send(self, text: str) -> None:
        """Write a frame, at once if the link is open; returns when there is room for more."""
        ...

    async def receive(self) -> str:
        """
        Raises:
            LinkClosed: When it has ended.
        """
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close with a handshake, in a time of the library's choice."""
        ...

    def abort(self) -> None:
        """Drop the connection without waiting for the other side."""
        ...


Dial = Callable[[Target], Awaitable[Link]]


def websockets_dial(origin: str | None, options: Mapping[str, Any]) -> Dial:
    """How to connect by the ``websockets`` library; ``options`` are its ``connect()``'s."""

    async def dial(target: Target) -> Link:
        try:
            socket = await connect(
                target.url,
                origin=None if origin is None else Origin(origin),
                additional_headers=dict(target.headers),
                subprotocols=[Subprotocol(name) for name in target.subprotocols] or None,
                **{"max_size": MAX_SIZE, **options},
            )
        except InvalidStatus as error:
            raise DialFailed(error.response.status_code) from error
        except (OSError, InvalidHandshake, EOFError) as error:
            raise DialFailed from error
        return WebSocketLink(socket)

    return dial


class WebSocketLink:
    """A ``Link`` by the ``websockets`` library."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @property
    def is_open(self) -> bool:
        return self._socket.state is State.OPEN

    @property
    def subprotocol(self) -> str | None:
        return self._socket.subprotocol

    async def send(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except ConnectionClosed as closed:
            raise _ended(closed) from None

    async def receive(self) -> str:
        try:
            return await self._socket.recv(decode=True)
        except ConnectionClosed as closed:
            raise _ended(closed) from None

    async def close(self, code: int, reason: str) -> None:
        await self._socket.close(code, reason)

    def abort(self) -> None:
        self._socket.transport.abort()


def _ended(closed: ConnectionClosed) -> LinkClosed:
    # What the server said counts. Where it said nothing, the library may have refused what came
    # (1007, 1009) or found the server dead (1011), and has said so itself.
    frame = closed.rcvd or closed.sent
    if frame is None:
        return LinkClosed()
    return LinkClosed(frame.code, frame.reason)
