"""
daphne: close codes and reasons that its own ``send`` cannot express, and the wait that
it leaves out.

Its WebSocket layer refuses to send 1008, 1009, 1011, 1012 and 1013 and drops every
reason. The protocol object behind ``send`` can; where ``send`` was wrapped so that it
is out of reach, these codes go out 3,000 higher, as 4008 to 4013 (``PROTOCOL 8``).

``send`` returns at once whether or not the client reads, and Twisted buffers without
bound. A producer registered with the transport is told when that buffer has filled and
when it is empty again; where the transport is out of reach, nobody can know.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["WriteFlow", "close", "flow_behind", "protocol_behind"]

logger = logging.getLogger("wskit_channels.servers")

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


class WriteFlow:
    """
    A push producer, in Twisted's words: the transport pauses it while its buffer is full.

    The buffer counts as full above 64 KiB, Twisted's default, and is then waited for to
    run empty.
    """

    def __init__(self, *, paused: bool = False) -> None:
        self.paused = paused
        self._waiters: list[asyncio.Future[None]] = []

    async def resumed(self) -> None:
        """Wait until the transport takes more or is lost."""
        while self.paused:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    # Twisted's names

    def pauseProducing(self) -> None:  # noqa: N802
        self.paused = True

    def resumeProducing(self) -> None:  # noqa: N802
        self.paused = False
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    stopProducing = resumeProducing  # noqa: N815 - the connection is lost: nobody need wait


def flow_behind(send: Any, server_send: Any) -> WriteFlow | None:
    """
    The flow of daphne's transport; None for any other server.

    None as well, logged once, where daphne's own ``send`` was wrapped: what it still
    holds for the client is unknown then, and unbounded.
    """
    protocol = protocol_behind(server_send) or protocol_behind(send)
    if protocol is None:
        if _is_running():
            _warn_of_unknown_buffer("its send is wrapped")
        return None
    try:
        transport = protocol.transport
        flow = WriteFlow(paused=bool(getattr(transport, "producerPaused", False)))
        transport.unregisterProducer()  # the HTTP channel's, which has handed the socket over
        transport.registerProducer(flow, True)
    except Exception as error:  # noqa: BLE001 - whatever another version has become
        _warn_of_unknown_buffer(f"{type(error).__name__}: {error}")
        return None
    return flow


@functools.lru_cache(maxsize=8)
def _warn_of_unknown_buffer(why: str) -> None:
    logger.warning(
        "what daphne buffers for a client that does not read is unknown, and so unbounded: %s. "
        "Route with websocket_application(), or keep daphne's send from being wrapped.",
        why,
    )


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
