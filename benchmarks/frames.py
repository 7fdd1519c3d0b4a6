"""
WebSocket frames (RFC 6455), as little of them as a load generator needs.

Frames that go out are masked once and sent many times; of frames that come in only
the header is looked at. The standard library alone: this runs in the generator's process.
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Sequence

TEXT = 0x1
CLOSE = 0x8
PING = 0x9
PONG = 0xA
FIN = 0x80

# Servers unmask whatever the key is, and one key for all frames lets them be made in advance.
MASK = b"\x37\xfa\x21\x3d"


def masked(payload: bytes, opcode: int = TEXT) -> bytes:
    """A whole client frame."""
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", FIN | opcode, 0x80 | size)
    elif size < 65536:
        header = struct.pack("!BBH", FIN | opcode, 0x80 | 126, size)
    else:
        header = struct.pack("!BBQ", FIN | opcode, 0x80 | 127, size)
    key = (MASK * (size // 4 + 1))[:size]
    body = int.from_bytes(payload) ^ int.from_bytes(key)
    return header + MASK + body.to_bytes(size)


def unmasked(payload: bytes, opcode: int = TEXT) -> bytes:
    """A whole server frame, for tests and for the reflector."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", FIN | opcode, size) + payload
    if size < 65536:
        return struct.pack("!BBH", FIN | opcode, 126, size) + payload
    return struct.pack("!BBQ", FIN | opcode, 127, size) + payload


def upgrade(host: str, path: str, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """The request that opens a WebSocket."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Reader:
    """
    Splits a server's bytes into frames.

    Control frames do not count as messages: pings wait in ``pings`` to be answered,
    and ``closed`` tells of a close frame.
    """

    __slots__ = ("_rest", "closed", "pings")

    def __init__(self) -> None:
        self._rest = b""
        self.pings: list[bytes] = []
        self.closed = False

    def count(self, data: bytes) -> int:
        """How many whole messages have arrived with these bytes."""
        if not self._rest and data[0] == 0x81 and len(data) == 2 + data[1] and data[1] < 126:
            return 1  # one short text frame, as nearly always
        return len(self.messages(data, keep=False))

    def messages(self, data: bytes, *, keep: bool = True) -> list[bytes]:
        """The messages that are whole with these bytes; empty bytes each, unless kept."""
        if self._rest:
            data = self._rest + data
        found: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1] & 0x7F, at + 2
            if size == 126:
                start = at + 4
                size = int.from_bytes(data[at + 2 : start])
            elif size == 127:
                start = at + 10
                size = int.from_bytes(data[at + 2 : start])
            if end < start + size:
                break
            first = data[at]
            if first & 0x08:
                self._control(first & 0x0F, data[start : start + size])
            elif first & FIN:
                found.append(data[start : start + size] if keep else b"")
            at = start + size
        self._rest = data[at:]
        return found

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.pings.append(payload)
        elif opcode == CLOSE:
            self.closed = True
