"""
daphne: close codes and reasons that its own ``send`` cannot express.

Its WebSocket layer refuses to send 1008, 1009, 1011, 1012 and 1013 and drops every
reason. The protocol object behind ``send`` can; where ``send`` was wrapped so that it
is out of reach, these codes go out 3,000 higher, as 4008 to 4013 (``PROTOCOL 8``).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["close", "protocol_behind"]

Send = Callable[[dict[str, Any]], Awaitable[None]]

UNSENDABLE = frozenset({1008, 1009, 1011, 1012, 1013})
INSTEAD = 3000


def protocol_behind(send: Any) -> Any | None:
    """The protocol object behind daphne's own ``send``; None for any other."""
    if isinstance(send, functools.partial) and send.args:
        protocol = send.args[0]
        if callable(getattr(protocol, "sendCloseFrame", None)):
            return protocol
    return None


async def close(send: Send, server_send: Any, code: int, reason: str) -> None:
    """
    Close by the best way there is.

    ``send`` is the application's, perhaps wrapped; ``server_send`` the server's own
    where it is known. Works for any server: what is not daphne takes any code.
    """
    protocol = protocol_behind(server_send) or protocol_behind(send)
    if protocol is not None:
        protocol.sendCloseFrame(code=code, reasonUtf8=reason.encode(), isReply=False)
        return
    if code in UNSENDABLE and _is_running():
        code += INSTEAD
    await send({"type": "websocket.close", "code": code, "reason": reason})


def _is_running() -> bool:
    """Whether this process is a daphne server, and not merely one that imported it."""
    reactor = sys.modules.get("twisted.internet.reactor")
    return "daphne.server" in sys.modules and bool(getattr(reactor, "running", False))
