"""
A router's routes and hooks, flattened: what serving uses, fixed once and for all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic_core import to_json
from typing_extensions import TypeVar

from wskit_channels.protocol import wire
from wskit_channels.protocol.errors import WsKitError, is_finite
from wskit_channels.protocol.messages import type_of
from wskit_channels.protocol.validation import Schema, Validator, schema_of
from wskit_channels.routing.functions import (
    is_async,
    line_of,
    module_of,
    name_of,
    refuse_view_decorators,
)
from wskit_channels.routing.keeper import Endpoint, idempotent
from wskit_channels.routing.middleware import Run, compose
from wskit_channels.routing.policy import Policy

if TYPE_CHECKING:
    from wskit_channels.routing.idempotency import IdempotencyStore

__all__ = ["DuplicateRoute", "Hooks", "Registration", "Route", "RouteInfo", "RouteTable"]

T = TypeVar("T")
Function = Callable[..., Any]


class DuplicateRoute(ValueError):
    """Two handlers claim one message type."""


@dataclass(slots=True)
class Hooks:
    """A router's hooks, each list in the order of registering."""

    on_upgrade: list[Function] = field(default_factory=list)
    authenticate: list[Function] = field(default_factory=list)
    on_open: list[Function] = field(default_factory=list)
    on_close: list[Function] = field(default_factory=list)
    on_error: list[Function] = field(default_factory=list)
    on_publish: list[Function] = field(default_factory=list)
    on_limit_exceeded: list[Function] = field(default_factory=list)
    on_layer_recovered: list[Function] = field(default_factory=list)
    on_stale_connection: list[Function] = field(default_factory=list)

    def extended(self, other: Hooks) -> Hooks:
        """These and another router's, which come after; ``authenticate`` is the host's."""
        return Hooks(
            **{
                item.name: [*getattr(self, item.name), *getattr(other, item.name)]
                for item in fields(self)
                if item.name != "authenticate"
            },
            authenticate=self.authenticate,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One ``on`` or ``rpc``: a handler and the message classes that it takes."""

    messages: tuple[type[Any], ...]
    handler: Function
    middleware: tuple[Function, ...] = ()
    sends: tuple[type[Any], ...] = ()
    concurrent: bool = False
    is_call: bool = False
    cancellable: bool = True
    idempotent: bool = False

    def __post_init__(self) -> None:
        for function in (self.handler, *self.middleware):
            refuse_view_decorators(function)


@dataclass(frozen=True, slots=True)
class RouteInfo:
    """One row of ``router.routes()``."""

    message: type[Any]
    type: str
    kind: str
    """``"event"`` or ``"rpc"``."""

    handler: str
    module: str
    line: int | None
    middleware: tuple[str, ...]


class Route:
    """One message type, compiled: its schema, and the run from middleware to handler."""

    __slots__ = (
        "_encode_progress",
        "_response",
        "cancellable",
        "concurrent",
        "handler",
        "idempotent",
        "is_call",
        "message",
        "run",
        "schema",
        "type",
    )

    def __init__(
        self,
        type_: str,
        message: type[Any],
        registration: Registration,
        middleware: Sequence[Function],
        validator: Validator | None,
    ) -> None:
        own_type = message_type(message, validator)
        self.type = type_
        self.message = message
        self.schema: Schema = schema_of(message, validator, None if type_ == own_type else type_)
        self.handler = registration.handler
        self.is_call = registration.is_call
        self.concurrent = registration.concurrent
        self.cancellable = registration.cancellable
        self.idempotent = registration.idempotent
        self._response = getattr(message, "__wskit_response__", None)
        self._encode_progress = _progress_encoder(message)
        endpoint: Endpoint = _call_endpoint if self.is_call else _event_endpoint
        if self.idempotent:
            endpoint = idempotent(endpoint)
        self.run: Run = compose(middleware, endpoint(self.handler))

    def check_response(self, message: Any) -> None:
        """
        See that an answer is of the response class.

        Raises:
            TypeError: If it is not.
        """
        if type(message) is not self._response:
            name = getattr(self._response, "__name__", self._response)
            raise TypeError(f"{self.type} is answered with a {name}, not {type(message).__name__}.")

    def progress_frame(self, correlation_id: str, value: Any, now: float) -> str:
        """
        The frame of one progress value.

        Raises:
            ValueError: If it is not what the call declares, or JSON cannot hold it.
        """
        return wire.progress_frame(correlation_id, self._encode_progress(value), now=now)


def message_type(message: type[Any], validator: Validator | None) -> str:
    """
    The wire type of a class that is to be routed.

    Raises:
        TypeError: If it has none.
    """
    found = type_of(message) or (validator.type_of(message) if validator is not None else None)
    if found is None:
        foreign = getattr(message, "__wskit_validator__", None)
        found = foreign.type_of(message) if foreign is not None else None
    if found is None:
        raise TypeError(
            f"{getattr(message, '__qualname__', message)!s} has no type and cannot be routed. "
            'Declare it as class ...(Message, type="...").'
        )
    return found


_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def _progress_encoder(message: type[Any]) -> Callable[[Any], str]:
    kind = getattr(message, "__wskit_progress__", Any)
    own = getattr(getattr(message, "__wskit_validator__", None), "progress_encoder", None)
    if own is not None:
        made: Callable[[Any], str] = own(kind)
        return made
    if kind is Any:

        def encode_any(value: Any) -> str:
            text = to_json(value, by_alias=True, inf_nan_mode="constants").decode()
            suspect = "null" in text or "NaN" in text or "Infinity" in text  # null: in a model
            if suspect and not is_finite(_plain(value)):
                raise ValueError("progress holds a number that is not finite")
            return text

        return encode_any
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def encode(value: Any) -> str:
        checked = adapter.validate_python(value, strict=True)
        text = adapter.dump_json(checked, by_alias=True, warnings="error").decode()
        if "null" in text and not is_finite(_plain(checked)):
            raise ValueError("progress holds a number that is not finite")
        return text

    return encode


def _plain(value: Any) -> Any:
    return _ANY.dump_python(value)


def _event_endpoint(handler: Function) -> Run:
    if is_async(handler):

        async def run(ctx: Any) -> None:
            if ctx._decoded.refusal is not None:
                return _refuse(ctx)
            await handler(ctx)
            return None

        return run

    async def run_in_thread(ctx: Any) -> None:
        if ctx._decoded.refusal is not None:
            return _refuse(ctx)
        found = await ctx._peer.transport.run_sync(handler, ctx)
        if isinstance(found, Awaitable):  # a plain wrapper around an async handler
            await found
        return None

    return run_in_thread


def _call_endpoint(handler: Function) -> Run:
    asynchronous = is_async(handler)

    async def run(ctx: Any) -> None:
        if ctx._decoded.refusal is not None:
            return _refuse(ctx)
        ctx._running.handler_began = True
        if asynchronous:
            answer = await handler(ctx)
        else:
            answer = await ctx._peer.transport.run_sync(handler, ctx)
            if isinstance(answer, Awaitable):  # a plain wrapper around an async handler
                answer = await answer
        if answer is not None:
            ctx.reply(answer)
        return None

    return run


def _refuse(ctx: Any) -> None:
    """Answer a frame whose meta or payload was refused; a validator's bug is raised as one."""
    refusal = ctx._decoded.refusal
    if not isinstance(refusal, WsKitError):
        raise refusal
    ctx._fail(refusal)


class RouteTable:
    """Routes by wire type, hooks, exception mapping and services; never changed once made."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        hooks: Hooks,
        *,
        policy: Policy,
        exceptions: Mapping[type[Exception], Function],
        services: Mapping[type[Any], Any],
        declared: frozenset[type[Any]] | None,
        validator: Validator | None,
    ) -> None:
        self.routes = routes
        self.hooks = hooks
        self.policy = policy
        self.validator = validator
        self.idempotency: IdempotencyStore | None = None
        self.declared = declared
        """Classes that may be sent, where any are declared, responses included."""
        self._exceptions = exceptions
        self._services = services

    def service(self, kind: type[T]) -> T:
        """
        A service by its type.

        Raises:
            LookupError: If no plugin provided one.
        """
        try:
            return self._services[kind]  # type: ignore[no-any-return]  # kept by provide()
        except KeyError:
            raise LookupError(
                f"No {kind.__qualname__} is provided: call router.provide() in a plugin."
            ) from None

    def as_error(self, error: Exception) -> WsKitError | None:
        """What ``@router.exception`` makes of an exception; the nearest class wins."""
        for kind in type(error).__mro__:
            if (make := self._exceptions.get(kind)) is not None:
                made: WsKitError = make(error)
                return made
        return None


def route_info(
    type_: str, message: type[Any], registration: Registration, middleware: Sequence[Function]
) -> RouteInfo:
    handler = registration.handler
    return RouteInfo(
        message=message,
        type=type_,
        kind="rpc" if registration.is_call else "event",
        handler=name_of(handler),
        module=module_of(handler),
        line=line_of(handler),
        middleware=tuple(map(name_of, middleware)),
    )


Flat = tuple[str, type[Any], Registration, tuple[Function, ...]]
"""A route before it is compiled: type, class, registration, all its middleware."""


def keep_first(
    flat: dict[str, Flat], incoming: Iterator[Flat], on_conflict: str
) -> dict[str, Flat]:
    """
    Add routes to those there are.

    Raises:
        DuplicateRoute: If a type is taken, unless ``on_conflict`` is "replace" or "skip".
    """
    for item in incoming:
        type_, _, registration, _ = item
        if type_ in flat:
            if on_conflict == "skip":
                continue
            if on_conflict != "replace":
                old = name_of(flat[type_][2].handler)
                raise DuplicateRoute(
                    f"{type_!r} is already handled by {old}; "
                    f"{name_of(registration.handler)} cannot handle it too. "
                    "Pass on_conflict='replace' or 'skip' to merge() to choose."
                )
        flat[type_] = item
    return flat
