"""
uvicorn: a close that gets out to a client that does not read.

Its ``send`` waits for such a client, also with a close, which then never goes out; and a
socket that it closes itself stays open until everything was read, which also keeps its
shutdown waiting. The protocol object behind ``send`` can do without both.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["let_close_pass", "protocol_behind"]

UNREAD_GRACE = 5.0
"""Seconds that a client has to read what is left before the socket is cut."""


def let_close_pass(send: Any, server_send: Any) -> None:
    """Have the close that is sent next not wait for the client. Does nothing elsewhere."""
    protocol = protocol_behind(server_send) or protocol_behind(send)
    if protocol is None:
        return
    writable = getattr(protocol, "writable", None)
    if isinstance(writable, asyncio.Event):
        writable.set()
    asyncio.get_running_loop().call_later(UNREAD_GRACE, _cut, protocol.transport)


def protocol_behind(send: Any) -> Any | None:
    """The protocol object behind uvicorn's own ``send``; None for any other."""
    protocol = getattr(send, "__self__", None)
    of_uvicorn = type(protocol).__module__.startswith("uvicorn.")
    return protocol if of_uvicorn and hasattr(protocol, "transport") else None


def _cut(transport: asyncio.Transport) -> None:
    # Nothing waits in a transport that has closed, or whose client is only slow to answer.
    if transport.get_write_buffer_size():
        transport.abort()
