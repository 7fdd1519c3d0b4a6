"""
Log records of one connection: which client and whose, in every record's ``extra``.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from wskit_channels.routing.handshake import Handshake

__all__ = ["ConnectionLogger", "fields"]


class _Connection(Protocol):
    """What is read of a ``Peer``."""

    @property
    def client_id(self) -> str: ...
    @property
    def handshake(self) -> Handshake: ...


def fields(peer: _Connection, /, **more: Any) -> dict[str, Any]:
    """
    The ``extra`` of a line about a connection: ``client_id``, ``user_id`` and what is given.

    The user's primary key is None where there is no user, or none was asked for yet.
    """
    try:
        user_id = peer.handshake.user.pk
    except Exception:  # noqa: BLE001 - a user that is loaded late; a log line fails nobody
        user_id = None
    return {**more, "client_id": peer.client_id, "user_id": user_id}


class ConnectionLogger(logging.LoggerAdapter[logging.Logger]):
    """
    A logger whose records carry ``fields`` of a connection, beside a call's own ``extra``.

    The standard adapter would drop the call's.
    """

    def __init__(self, logger: logging.Logger, peer: _Connection) -> None:
        super().__init__(logger, {"client_id": peer.client_id})
        self._peer = peer

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = fields(self._peer, **(kwargs.get("extra") or {}))
        return msg, kwargs
