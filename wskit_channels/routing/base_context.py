"""
What every context has of its connection.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeAlias, cast, overload

from typing_extensions import TypeVar

from wskit_channels.protocol.messages import Message
from wskit_channels.protocol.topics import Topic

if TYPE_CHECKING:
    import logging

    from wskit_channels.routing.handshake import Handshake, User
    from wskit_channels.routing.peer import Peer
    from wskit_channels.routing.results import PublishResult
    from wskit_channels.routing.topics import Topics

__all__ = ["AnyMessage", "BaseContext", "SyncActions"]


class ForeignMessage(Protocol):
    """A message of another library's class: a struct, a dataclass or the like, and no dict."""

    @property
    def __match_args__(self) -> tuple[str, ...]: ...


AnyMessage: TypeAlias = Message | ForeignMessage

T = TypeVar("T")
MsgT = TypeVar("MsgT")
D_co = TypeVar("D_co", covariant=True, default=Any)


class _Publisher(Protocol):
    """What ``CloseContext`` and ``ConnectionContext`` share, for ``SyncActions``."""

    @property
    def _peer(self) -> Peer: ...
    async def publish(
        self, topic: Any, message: Any, /, *, exclude_self: bool = ..., meta: Any = ...
    ) -> PublishResult: ...


class SyncActions:
    """
    The coroutines of a context, for plain ``def`` handlers: they wait for the result.

    Raises:
        RuntimeError: In the event loop's own thread, where waiting would stop it.
    """

    __slots__ = ("_ctx",)

    def __init__(self, ctx: _Publisher) -> None:
        self._ctx = ctx

    @overload
    def publish(
        self,
        topic: Topic[MsgT],
        message: MsgT,
        /,
        *,
        exclude_self: bool = ...,
        meta: Mapping[str, Any] | None = ...,
    ) -> PublishResult: ...
    @overload
    def publish(
        self,
        topic: str,
        message: AnyMessage,
        /,
        *,
        exclude_self: bool = ...,
        meta: Mapping[str, Any] | None = ...,
    ) -> PublishResult: ...
    def publish(
        self,
        topic: Any,
        message: Any,
        /,
        *,
        exclude_self: bool = False,
        meta: Mapping[str, Any] | None = None,
    ) -> PublishResult:
        """``await ctx.publish(...)``"""
        return self._ctx._peer.transport.call(
            self._ctx.publish, topic, message, exclude_self=exclude_self, meta=meta
        )

    def subscribe(self, topic: str | Topic[Any]) -> None:
        """``await ctx.topics.subscribe(...)``"""
        peer = self._ctx._peer
        peer.transport.call(peer.topics.subscribe, topic)

    def unsubscribe(self, topic: str | Topic[Any]) -> None:
        """``await ctx.topics.unsubscribe(...)``"""
        peer = self._ctx._peer
        peer.transport.call(peer.topics.unsubscribe, topic)


class BaseContext(Generic[D_co]):
    """What every context has of its connection."""

    __slots__ = ("_peer",)

    _after_close: ClassVar[bool] = False
    """Whether it may publish although its connection has closed."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    @property
    def data(self) -> D_co:
        """The connection's one live object, as ``Router(data=)`` and ``authenticate`` made it."""
        return cast(D_co, self._peer.data)

    @property
    def user(self) -> User:
        """The connection's user; an anonymous one where nothing authenticates."""
        return self._peer.handshake.user

    @property
    def session(self) -> Any:
        """Django's session, or None where there is none."""
        return self._peer.handshake.session

    @property
    def request(self) -> Handshake:
        """The request that opened this connection."""
        return self._peer.handshake

    @property
    def scope(self) -> MutableMapping[str, Any]:
        """The ASGI scope."""
        return self._peer.handshake.scope

    @property
    def client_id(self) -> str:
        """A UUID v7 that names this connection."""
        return self._peer.client_id

    @property
    def topics(self) -> Topics:
        """The topics that this connection is subscribed to."""
        return self._peer.topics

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry ``client_id``."""
        return self._peer.log

    @property
    def sync(self) -> SyncActions:
        """The coroutines of this context, for plain ``def`` handlers."""
        return SyncActions(self)

    def get(self, service: type[T]) -> T:
        """
        A service that a plugin provided.

        Raises:
            LookupError: If none did.
        """
        return self._peer.table.service(service)

    @overload
    async def publish(
        self,
        topic: Topic[MsgT],
        message: MsgT,
        /,
        *,
        exclude_self: bool = ...,
        meta: Mapping[str, Any] | None = ...,
    ) -> PublishResult: ...
    @overload
    async def publish(
        self,
        topic: str,
        message: AnyMessage,
        /,
        *,
        exclude_self: bool = ...,
        meta: Mapping[str, Any] | None = ...,
    ) -> PublishResult: ...
    async def publish(
        self,
        topic: Any,
        message: Any,
        /,
        *,
        exclude_self: bool = False,
        meta: Mapping[str, Any] | None = None,
    ) -> PublishResult:
        """
        Send a message to everyone subscribed to a topic, this connection included.

        Subscribers of this process are served before it returns. ``meta`` holds
        extended meta keys. Never raises at run time: look at the result.
        """
        return await self._peer.publish(
            topic, message, exclude_self=exclude_self, meta=meta, after_close=self._after_close
        )
