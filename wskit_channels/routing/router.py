"""
The router: where an application registers its handlers, middleware and hooks.

A router is built while modules are imported and frozen at the first connection:
its own routes and those of merged routers are flattened into a ``RouteTable``.
What is registered after that raises, naming the module, instead of being half seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Generic, Literal, overload

from pydantic import BaseModel
from typing_extensions import TypeVar

from wskit_channels.protocol.heartbeat import Heartbeat
from wskit_channels.protocol.limits import Limits
from wskit_channels.protocol.messages import Request, is_request
from wskit_channels.protocol.topics import Topic
from wskit_channels.protocol.validation import Validator
from wskit_channels.routing.base_context import AnyMessage
from wskit_channels.routing.composition import Composition
from wskit_channels.routing.context import Context
from wskit_channels.routing.hooks import Middleware, Plugin, RouterFrozen
from wskit_channels.routing.idempotency import IdempotencyStore
from wskit_channels.routing.keeper import with_store
from wskit_channels.routing.registrars import On, OnRpc, RouteBuilder
from wskit_channels.routing.results import PublishResult
from wskit_channels.routing.shell import get_shell
from wskit_channels.routing.table import Registration, Route, RouteTable

__all__ = ["Plugin", "Router", "RouterFrozen"]

T = TypeVar("T")
E = TypeVar("E", bound=Exception)
F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M")
MsgT = TypeVar("MsgT")
M2 = TypeVar("M2")
M3 = TypeVar("M3")
M4 = TypeVar("M4")
M5 = TypeVar("M5")
M6 = TypeVar("M6")
R = TypeVar("R", bound=Request[Any, Any])
D_in = TypeVar("D_in", contravariant=True, default=Any)  # a router consumes data


class Router(Composition[D_in], Generic[D_in]):
    """
    Handlers by message type, with the middleware and hooks around them.

    Args:
        data: The class of the connection's data, a pydantic model or a dataclass whose
            fields all have defaults. Assignment to a model's fields is validated: its
            ``validate_assignment`` is switched on. Without it data is an open namespace.
        login_required: Refuse anonymous users with 4401.
        limits: Ceilings for one connection; unset ones come from ``WSKIT``.
        heartbeat: Ping silent clients and close stale ones; by default as ``WSKIT`` has it,
            which is off. False is off whatever that says.
        rpc_timeout: Seconds a call has when its client names none; ``WSKIT``'s by default.
        subprotocols: What the application supports, for selection by ``PROTOCOL 9``.
        idempotency: Where calls of ``idempotent=True`` routes keep their answers.
        validator: For message classes of a library that this one does not know.
        channel_layer: Alias in ``CHANNEL_LAYERS`` of the layer that topics use.
        namespace: Topics are shared by all routers of one namespace.

    Raises:
        TypeError: If ``data`` has a field without a default.
    """

    @overload
    def __init__(
        self: Router[Any],
        *,
        data: None = None,
        login_required: bool = ...,
        limits: Limits | None = ...,
        heartbeat: Heartbeat | Literal[False] | None = ...,
        rpc_timeout: float | None = ...,
        subprotocols: Sequence[str] = ...,
        idempotency: IdempotencyStore | None = ...,
        validator: Validator | None = ...,
        channel_layer: str = ...,
        namespace: str = ...,
    ) -> None: ...
    @overload
    def __init__(
        self,
        *,
        data: type[D_in],
        login_required: bool = ...,
        limits: Limits | None = ...,
        heartbeat: Heartbeat | Literal[False] | None = ...,
        rpc_timeout: float | None = ...,
        subprotocols: Sequence[str] = ...,
        idempotency: IdempotencyStore | None = ...,
        validator: Validator | None = ...,
        channel_layer: str = ...,
        namespace: str = ...,
    ) -> None: ...
    def __init__(
        self,
        *,
        data: Any = None,
        login_required: bool = False,
        limits: Limits | None = None,
        heartbeat: Heartbeat | Literal[False] | None = None,
        rpc_timeout: float | None = None,
        subprotocols: Sequence[str] = (),
        idempotency: IdempotencyStore | None = None,
        validator: Validator | None = None,
        channel_layer: str = "default",
        namespace: str = "",
    ) -> None:
        if data is not None:
            _prepare_data(data)
        super().__init__(data, validator, login_required)
        self.limits = limits or Limits()
        self.heartbeat = heartbeat
        self.rpc_timeout = rpc_timeout
        self.subprotocols = tuple(subprotocols)
        self.idempotency = idempotency
        self.channel_layer = channel_layer
        self.namespace = namespace

    def __repr__(self) -> str:
        return f"<Router with {len(self._registrations)} handlers, {len(self._merges)} merged>"

    # -- handlers

    @overload
    def on(
        self,
        a: type[M],
        /,
        *,
        use: Sequence[Middleware[D_in]] = ...,
        sends: Sequence[Any] = ...,
        concurrent: bool = ...,
    ) -> On[Context[M, D_in]]: ...
    @overload
    def on(
        self,
        a: type[M],
        b: type[M2],
        /,
        *,
        use: Sequence[Middleware[D_in]] = ...,
        sends: Sequence[Any] = ...,
        concurrent: bool = ...,
    ) -> On[Context[M | M2, D_in]]: ...
    @overload
    def on(
        self,
        a: type[M],
        b: type[M2],
        c: type[M3],
        /,
        *,
        use: Sequence[Middleware[D_in]] = ...,
        sends: Sequence[Any] = ...,
        concurrent: bool = ...,
    ) -> On[Context[M | M2 | M3, D_in]]: ...
    @overload
    def on(
        self,
        a: type[M],
        b: type[M2],
        c: type[M3],
        d: type[M4],
        /,
        *,
        use: Sequence[Middleware[D_in]] = ...,
        sends: Sequence[Any] = ...,
        concurrent: bool = ...,
    ) -> On[Context[M | M2 | M3 | M4, D_in]]: ...
    @overload
    def on(
        self,
        a: type[M],
        b: type[M2],
        c: type[M3],
        d: type[M4],
        e: type[M5],
        /,
        *,
        use: Sequence[Middleware[D_in]] = ...,
        sends: Sequence[Any] = ...,
        concurrent: bool = ...,
    ) -> On[Context[M | M2 | M3 | M4 | M5, D_in]]: ...
    @overload
    def on(
        self,
        a: type[M],
        b: type[M2],
        c: type[M3],
        d: type[M4],
        e: type[M5],
        f: type[M6],
        /,
        *,
        use: Sequence[Middleware[D_in]] = ...,
        sends: Sequence[Any] = ...,
        concurrent: bool = ...,
    ) -> On[Context[M | M2 | M3 | M4 | M5 | M6, D_in]]: ...
    def on(
        self,
        *messages: Any,
        use: Sequence[Any] = (),
        sends: Sequence[Any] = (),
        concurrent: bool = False,
    ) -> Any:
        """
        Register a handler for events: ``async def``, or plain ``def`` run in a thread.

        Events of one connection are handled one at a time, in the order of arrival,
        except by a handler registered with ``concurrent=True``. ``use`` is middleware of
        this route, ``sends`` the messages that it may send.

        Raises:
            DuplicateRoute: If a type is taken already.
            TypeError: If a class is no message, has no type, or is a request.
            RouterFrozen: If serving has started.
        """
        if not messages:
            raise TypeError("on() takes at least one message class.")
        for one in messages:
            if is_request(one):
                raise TypeError(f"{one.__qualname__} is a request: register it with rpc().")

        def register(handler: Callable[..., Any]) -> None:
            self._add(
                Registration(
                    messages=messages,
                    handler=handler,
                    middleware=tuple(use),
                    sends=tuple(sends),
                    concurrent=concurrent,
                )
            )

        return On(register)

    def rpc(
        self,
        message: type[R],
        /,
        *,
        use: Sequence[Middleware[D_in]] = (),
        sends: Sequence[Any] = (),
        cancellable: bool = True,
        idempotent: bool = False,
    ) -> OnRpc[R, D_in]:
        """
        Register the handler of a request, which returns the response or calls ``ctx.reply``.

        Calls run concurrently, each in a task of its own, which an abort, the deadline
        and a disconnect cancel. With ``cancellable=False`` they only set
        ``ctx.cancelled``. A plain ``def`` handler runs in a thread, which nothing can
        interrupt: what it answers too late is dropped. With ``idempotent=True`` a call that
        carries an idempotency key runs once, and its answer is replayed.

        Raises:
            DuplicateRoute: If the type is taken already.
            TypeError: If the class is no request.
            RouterFrozen: If serving has started.
        """
        if not is_request(message):
            raise TypeError(f"{message!r} names no response: derive it from Rpc[...], or use on().")

        def register(handler: Callable[..., Any]) -> None:
            self._add(
                Registration(
                    messages=(message,),
                    handler=handler,
                    middleware=tuple(use),
                    sends=tuple(sends),
                    is_call=True,
                    cancellable=cancellable,
                    idempotent=idempotent,
                )
            )

        return OnRpc(register)

    def route(self, message: type[M], /) -> RouteBuilder[M, D_in]:
        """Start a route: ``router.route(Msg).use(middleware).on(handler)``."""
        return RouteBuilder(self, message)

    # -- serving

    def as_asgi(self, **options: Any) -> Callable[..., Any]:
        """
        The ASGI application that serves this router, for a URL pattern.

        Raises:
            AppNotInstalled: If the Django app is not there.
            TypeError: For an option that the consumer does not have.
        """
        return get_shell().as_asgi(self, options)

    @overload
    async def apublish(
        self, topic: Topic[MsgT], message: MsgT, /, *, meta: Mapping[str, Any] | None = ...
    ) -> PublishResult: ...
    @overload
    async def apublish(
        self, topic: str, message: AnyMessage, /, *, meta: Mapping[str, Any] | None = ...
    ) -> PublishResult: ...
    async def apublish(
        self, topic: Any, message: Any, /, *, meta: Mapping[str, Any] | None = None
    ) -> PublishResult:
        """Publish from outside a connection, trusted: no authorisation. Never raises."""
        return await get_shell().apublish(self, topic, message, meta)

    @overload
    def publish(
        self, topic: Topic[MsgT], message: MsgT, /, *, meta: Mapping[str, Any] | None = ...
    ) -> PublishResult: ...
    @overload
    def publish(
        self, topic: str, message: AnyMessage, /, *, meta: Mapping[str, Any] | None = ...
    ) -> PublishResult: ...
    def publish(
        self, topic: Any, message: Any, /, *, meta: Mapping[str, Any] | None = None
    ) -> PublishResult:
        """The same from code that is not async; any thread will do."""
        return get_shell().publish(self, topic, message, meta)

    @overload
    def publish_on_commit(
        self,
        topic: Topic[MsgT],
        message: MsgT,
        /,
        *,
        meta: Mapping[str, Any] | None = ...,
        using: str | None = ...,
    ) -> None: ...
    @overload
    def publish_on_commit(
        self,
        topic: str,
        message: AnyMessage,
        /,
        *,
        meta: Mapping[str, Any] | None = ...,
        using: str | None = ...,
    ) -> None: ...
    def publish_on_commit(
        self,
        topic: Any,
        message: Any,
        /,
        *,
        meta: Mapping[str, Any] | None = None,
        using: str | None = None,
    ) -> None:
        """Publish when the present transaction of a database is committed."""
        get_shell().publish_on_commit(self, topic, message, meta, using)

    def _make_table(self, routes: Mapping[str, Route]) -> RouteTable:
        return with_store(super()._make_table(routes), self.idempotency)

    def make_data(self) -> Any:
        """New data for a connection."""
        return SimpleNamespace() if self._data_class is None else self._data_class()

    @property
    def data_class(self) -> Any:
        """What ``Router(data=)`` was given, or None."""
        return self._data_class


def _prepare_data(data: Any) -> None:
    """See that a data class can be made of nothing, and validates assignment if it can."""
    if isinstance(data, type) and issubclass(data, BaseModel):
        required = [name for name, field in data.model_fields.items() if field.is_required()]
        if not data.model_config.get("validate_assignment"):
            data.model_config["validate_assignment"] = True
            data.model_rebuild(force=True)
    elif dataclasses.is_dataclass(data):
        missing = dataclasses.MISSING
        required = [
            field.name
            for field in dataclasses.fields(data)
            if field.init and field.default is missing and field.default_factory is missing
        ]
    else:
        required = []
    if required:
        raise TypeError(
            f"{data.__qualname__} has fields without a default: {', '.join(required)}. "
            "A connection's data starts as an empty one."
        )
