"""
What a client can be told, once for ``Client`` and ``SyncClient``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import TypedDict

from wskit_channels.client.auth import Auth, TokenSource
from wskit_channels.client.inbox import IncomingPolicy
from wskit_channels.client.outqueue import QueuePolicy
from wskit_channels.client.policy import Reconnect
from wskit_channels.protocol.heartbeat import Heartbeat

__all__ = ["ClientOptions", "ClientSettings"]

Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]


class ClientOptions(TypedDict, total=False):
    """Keyword arguments of ``Client`` and ``SyncClient``; ``ClientSettings`` explains them."""

    auth: Auth | TokenSource | None
    headers: Headers
    origin: str | None
    subprotocols: Sequence[str]
    messages: Sequence[type[Any]]
    timeout: float | None
    connect_timeout: float | None
    close_timeout: float
    reconnect: Reconnect | bool
    queue: QueuePolicy
    queue_size: int
    pending_requests_limit: int
    resend_window: float
    incoming_size: int
    incoming_policy: IncomingPolicy
    heartbeat: Heartbeat | None
    connect_options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """The options of a client; durations are seconds."""

    auth: Auth | TokenSource | None = field(default=None, repr=False)
    """A token, a function that returns one, or an ``Auth`` that says how it travels."""

    headers: Headers = field(default_factory=dict, repr=False)
    """Sent with the handshake; a function is asked at each connect."""

    origin: str | None = None
    """The ``Origin`` header, which servers with cookie authentication ask for."""

    subprotocols: Sequence[str] = ()
    messages: Sequence[type[Any]] = ()
    """Classes of messages that the client's iterator gives, beside those of ``on()``."""

    timeout: float | None = 30.0
    """How long a request may take, where it does not say; None leaves that to the server."""

    connect_timeout: float | None = 10.0
    """How long ``connect()`` tries, over several attempts where need be."""

    close_timeout: float = 5.0
    """How long ``close()`` waits for frames that are not written yet."""

    reconnect: Reconnect | bool = True
    queue: QueuePolicy = "drop-newest"
    """Which frames go while offline beyond ``queue_size``; ``off`` keeps none at all."""

    queue_size: int = 1000
    pending_requests_limit: int = 1000
    resend_window: float = 60.0
    """How long after a loss a request with an idempotency key may be sent again; 0 is never."""

    incoming_size: int = 1000
    """Messages that wait for a handler, a subscription or an iterator, each; and progress."""

    incoming_policy: IncomingPolicy = "drop-oldest"
    heartbeat: Heartbeat | None = None
    """Off by default: the ``websockets`` library sends protocol pings of its own."""

    connect_options: Mapping[str, Any] = field(default_factory=dict)
    """Passed to ``websockets.connect``: ``ssl``, ``proxy``, ``max_size``, ``ping_interval``."""

    def __post_init__(self) -> None:
        for name in ("queue_size", "pending_requests_limit", "incoming_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, not {getattr(self, name)}.")

    @property
    def reconnect_policy(self) -> Reconnect:
        if isinstance(self.reconnect, Reconnect):
            return self.reconnect
        return Reconnect(enabled=self.reconnect)

    @property
    def credentials(self) -> Auth | None:
        if self.auth is None or isinstance(self.auth, Auth):
            return self.auth
        return Auth(self.auth)
