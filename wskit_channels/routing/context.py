"""
Contexts: what handlers, middleware and hooks hold of a connection.

``ConnectionContext`` is what middleware and ``on_open`` get; ``Context`` adds the
payload of an event and ``RpcContext`` the answers to a call. ``send``, ``error``,
``reply`` and ``progress`` are plain calls: they encode and queue, never block, and
after the connection has closed do nothing but leave a debug line.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, cast

from typing_extensions import TypeVar

from wskit_channels.protocol.errors import UNSET, ErrorCode, Unset, WsKitError
from wskit_channels.protocol.messages import Meta, Request
from wskit_channels.routing.base_context import AnyMessage, BaseContext
from wskit_channels.routing.functions import name_of

if TYPE_CHECKING:
    import asyncio

    from wskit_channels.protocol.connection import Decoded
    from wskit_channels.routing.calls import OnCancel, RunningCall
    from wskit_channels.routing.handshake import User
    from wskit_channels.routing.peer import Peer

__all__ = ["CloseContext", "ConnectionContext", "Context", "RpcContext"]

T = TypeVar("T")
Ext = TypeVar("Ext", bound="AnyMeta")
Resp = TypeVar("Resp")
Prog = TypeVar("Prog")
M_co = TypeVar("M_co", covariant=True)
R_co = TypeVar("R_co", bound=Request[Any, Any], covariant=True)
D_co = TypeVar("D_co", covariant=True, default=Any)

_NO_META = Meta()


class AnyMeta(Protocol):
    """The meta of a message of any library."""

    @property
    def correlation_id(self) -> str | None: ...
    @property
    def idempotency_key(self) -> str | None: ...


class ConnectionContext(BaseContext[D_co]):
    """
    A connection, and in middleware the message that is on its way to a handler.

    In ``on_open`` there is no message: ``type`` is empty and ``meta`` has nothing.
    """

    __slots__ = ("_acted", "_decoded")

    def __init__(self, peer: Peer, decoded: Decoded | None = None) -> None:
        self._peer = peer
        self._decoded = decoded
        self._acted = False

    @property
    def type(self) -> str:
        """The message's wire type."""
        return "" if self._decoded is None else str(self._decoded.route.type)

    @property
    def message_class(self) -> builtins.type[Any] | None:
        """The message's class."""
        return None if self._decoded is None else self._decoded.route.message

    @property
    def meta(self) -> Meta:
        """The message's meta, without the keys that are the server's own."""
        return _NO_META if self._decoded is None else self._decoded.meta

    def meta_as(self, kind: builtins.type[Ext]) -> Ext:
        """
        The message's extended meta, as the class that it declares by ``meta=``.

        Raises:
            TypeError: If the message declares another class.
            WsKitError: In middleware, if meta or payload was refused: the refusal.
        """
        meta: object = self.meta
        if self._decoded is not None and isinstance(self._decoded.refusal, WsKitError):
            raise self._decoded.refusal  # seen by middleware: the meta may be what is wrong
        if not isinstance(meta, kind):
            raise TypeError(f"{self.type} declares the meta {meta.__class__.__name__}.")
        return meta

    @property
    def received_at(self) -> float:
        """When the message, or in ``on_open`` the connection, came; seconds since the epoch."""
        return self._peer.opened_at if self._decoded is None else self._decoded.received_at

    def assign_data(self, **changes: Any) -> None:
        """
        Set several fields of ``data``, all or none.

        Raises:
            AttributeError: For a field that the data does not have.
            pydantic.ValidationError: If the data is a pydantic model and refuses a value.
        """
        self._peer.assign(changes)

    def send(
        self,
        message: AnyMessage,
        /,
        *,
        meta: Mapping[str, Any] | None = None,
        inherit_correlation_id: bool = False,
    ) -> None:
        """
        Queue a message to this client.

        ``meta`` holds extended meta keys. ``inherit_correlation_id`` sends the id of
        the event that is being handled back, unless a call in flight owns it.

        Raises:
            TypeError: If it is no message.
            ValueError: If JSON cannot hold it, or ``meta`` has a key of the protocol's.
        """
        self._acted = True
        inherited = self._inherited_id() if inherit_correlation_id else None
        self._peer.send(message, correlation_id=inherited, meta=meta)

    def _inherited_id(self) -> str | None:
        return None if self._decoded is None else self._decoded.correlation_id

    def error(
        self,
        code: ErrorCode | builtins.type[WsKitError],
        message: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
        retryable: bool | None = None,
        retry_after: float | Unset | None = UNSET,
    ) -> None:
        """
        Answer with an error and carry on; raise ``WsKitError`` to stop instead.

        ``code`` is one of the 13, or a ``WsKitError`` class that declares the
        application's own. ``details`` are cleaned of secrets. ``retry_after`` is in
        seconds; None says that no retry can succeed (``PROTOCOL 4``).
        """
        options: Any = {"details": details, "retryable": retryable, "retry_after": retry_after}
        if isinstance(code, type):
            self._fail(code(message=message, **options))
        else:
            self._fail(WsKitError(code, message, **options))

    def _fail(self, error: WsKitError) -> None:
        self._acted = True
        peer = self._peer
        peer.post(lambda: peer.send_error(error, correlation_id=self._inherited_id()))

    async def drain(self) -> None:
        """Wait until all that is queued for this client was written, or it is gone."""
        await self._peer.transport.drain()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """
        Close this connection after what is queued.

        Raises:
            ValueError: If code or reason cannot go into a close frame.
        """
        self._peer.close(code, reason)

    async def login(self, user: User) -> None:
        """
        Make this the connection's user, everywhere.

        Topics are authorised again, and those that are lost are left. Django's session is
        left alone: a WebSocket cannot hand the browser a new cookie.

        Raises:
            WsKitError: ``RESOURCE_EXHAUSTED`` if the user has as many connections as they
                may; this one is closed with 4429.
        """
        await self._peer.change_user(self._peer.transport.set_user(user))

    async def logout(self) -> None:
        """
        Make the connection anonymous; Django's session is left alone.

        Topics are authorised again. A router that requires a login closes with 4401.
        """
        await self._peer.change_user(self._peer.transport.set_user(None))

    async def refresh_auth(self) -> None:
        """
        Read the user and their permissions anew.

        Topics are authorised again, and those that are lost are left. A user who is gone
        or inactive, whose password has changed or whose session has ended is closed with
        4401.
        """
        await self._peer.change_user(self._peer.transport.refresh_user())

    def spawn(self, coroutine: Coroutine[Any, Any, T], /) -> asyncio.Task[T]:
        """
        Run a coroutine in a task that the connection owns and cancels when it closes.

        Raises:
            RuntimeError: If the connection has closed, or in a plain handler's thread.
        """
        return self._peer.own(coroutine)

    def _stopped_by(self, middleware: Callable[..., Any]) -> None:
        """A middleware did not call on."""
        if not self._acted:
            self._peer.log.debug("%s was dropped by middleware %s", self.type, name_of(middleware))


class Context(ConnectionContext[D_co], Generic[M_co, D_co]):
    """An event that is being handled."""

    __slots__ = ()

    @property
    def payload(self) -> M_co:
        """The message."""
        assert self._decoded is not None  # noqa: S101 - a Context is made of a frame
        return cast(M_co, self._decoded.payload)


class RpcContext(Context[R_co, D_co], Generic[R_co, D_co]):
    """
    A call that is being handled.

    Answer by returning the response, or with ``reply``; the first answer wins, and
    what comes after it is dropped with a debug line (``PROTOCOL 5.2``).
    """

    __slots__ = ("_running",)

    def __init__(self, peer: Peer, decoded: Decoded, running: RunningCall) -> None:
        super().__init__(peer, decoded)
        self._running = running

    def reply(
        self: RpcContext[Request[Resp, Any], Any],
        message: Resp,
        /,
        *,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Answer the call, unless it was answered before.

        Raises:
            TypeError: If the message is not of the response class.
            ValueError: If JSON cannot hold it, or ``meta`` has a key of the protocol's.
        """
        self._acted = True
        running = self._running
        assert self._decoded is not None  # noqa: S101 - a Context is made of a frame
        self._decoded.route.check_response(message)
        frame = self._peer.encode(message, correlation_id=running.call.id, meta=meta)
        if running.keeper is not None:
            running.keeper.replied(message, meta)
        self._peer.post(running.reply, frame)

    def progress(
        self: RpcContext[Request[Any, Prog], Any], value: Prog, /, *, throttle: float | None = None
    ) -> None:
        """
        Report progress, unless the call has ended.

        With ``throttle``, in seconds, values that come sooner after the last are held
        back, of which only the newest is sent: when the time has passed, or right
        before the answer.

        Raises:
            ValueError: If the value is not what the call declares, or JSON cannot hold it.
        """
        assert self._decoded is not None  # noqa: S101 - a Context is made of a frame
        frame = self._decoded.route.progress_frame(self._running.call.id, value, time.time())
        self._peer.post(self._running.progress, frame, throttle)

    def _fail(self, error: WsKitError) -> None:
        self._acted = True
        self._peer.post(self._running.fail, error)

    def _inherited_id(self) -> str | None:
        raise ValueError("A call's id is for its answer alone: use ctx.reply().")

    @property
    def cancelled(self) -> bool:
        """Whether the client gave up, the deadline came or the connection closed."""
        return self._running.cancelled

    async def wait_cancelled(self) -> None:
        """Wait for that; for calls that are registered with ``cancellable=False``."""
        await self._running.wait_cancelled()

    def on_cancel(self, callback: OnCancel, /) -> Callable[[], None]:
        """
        Have a callback run in the loop when that happens; the result unregisters it.

        Callbacks run in the order of registering, plain ones before this call's
        handler sees the cancellation. Registered too late, it runs at once.
        """
        return self._running.on_cancel(callback)

    @property
    def deadline(self) -> float:
        """Until when the call may run, in seconds since the epoch."""
        return time.time() + self._running.time_remaining()

    def time_remaining(self) -> float:
        """Seconds until the deadline; 0 once it has come."""
        return self._running.time_remaining()


class CloseContext(BaseContext[D_co]):
    """
    A connection that has closed, for ``on_close``.

    ``topics`` still lists what it was subscribed to; publishing reaches the others.
    """

    __slots__ = ("_code", "_reason")

    _after_close = True

    def __init__(self, peer: Peer, code: int, reason: str) -> None:
        super().__init__(peer)
        self._code = code
        self._reason = reason

    @property
    def code(self) -> int:
        """The close code: the client's, or ours where this side closed; 1006 without a frame."""
        return self._code

    @property
    def reason(self) -> str:
        return self._reason
