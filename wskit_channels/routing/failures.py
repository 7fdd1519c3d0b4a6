"""
What is answered when a handler or a middleware raises (``PROTOCOL 3``).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from wskit_channels.protocol.errors import CloseConnection, WsKitError
from wskit_channels.routing.functions import from_within, name_of
from wskit_channels.routing.log import fields
from wskit_channels.routing.shell import get_shell

if TYPE_CHECKING:
    from wskit_channels.routing.context import Context
    from wskit_channels.routing.peer import Peer

__all__ = ["fail"]

logger = logging.getLogger("wskit_channels.dispatch")


async def fail(
    peer: Peer, ctx: Context[Any, Any], error: Exception, cause: BaseException | None = None
) -> None:
    """
    Answer an exception: as it is, as it is mapped, or as a bug, which is logged.

    ``cause`` is what is logged in the place of an ``error`` that only says what happened.
    """
    if isinstance(error, CloseConnection):
        peer.transport.close(error.code, error.reason)
        return
    try:
        answer = _answer_to(peer, error)
    except Exception as broken:  # noqa: BLE001 - a mapping that raises is one more bug
        broken.__cause__, error, answer = error, broken, None
    if answer is None:
        logger.error(
            "handler failed: type=%s client=%s",
            ctx.type,
            peer.client_id,
            exc_info=cause or error,
            extra=fields(peer, message_type=ctx.type),
        )
        answer = await _ask_hooks(peer, error, ctx) or WsKitError("INTERNAL")
    ctx._fail(answer)


def _answer_to(peer: Peer, error: Exception) -> WsKitError | None:
    if isinstance(error, WsKitError):
        return error
    return peer.table.as_error(error) or get_shell().as_error(error)


async def _ask_hooks(peer: Peer, error: Exception, ctx: Context[Any, Any]) -> WsKitError | None:
    answer: WsKitError | None = None
    for hook in peer.table.hooks.on_error:
        try:
            found = hook(error, ctx)
            if isinstance(found, Awaitable):
                found = await from_within(found)
        except Exception:
            logger.exception("hook failed: hook=%s", name_of(hook), extra=fields(peer))
        else:
            if isinstance(found, WsKitError) and answer is None:
                answer = found
    return answer
