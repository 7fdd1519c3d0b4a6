"""
A router's contract: what its clients may send, what they are sent, and what can go wrong.

Read from a router without freezing it, and neutral: TypeScript and AsyncAPI are written
from this and from nothing else. Everything is in a fixed order, so that the same router
gives the same files.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from pydantic import BaseModel

from wskit_channels.codegen.docs import doc_of
from wskit_channels.codegen.schemas import (
    REF,
    ContractError,
    Give,
    JsonSchema,
    Mode,
    Wanted,
    json_schemas,
    reachable,
)
from wskit_channels.codegen.scope import Scope
from wskit_channels.codegen.structs import is_struct, struct_schema
from wskit_channels.protocol import wire
from wskit_channels.protocol.errors import (
    SENTENCES,
    TRANSIENT_CODES,
    PubSubErrorCode,
    WsKitError,
)
from wskit_channels.protocol.messages import Message, Meta, response_of
from wskit_channels.protocol.topics import Topic
from wskit_channels.protocol.validation import Validator
from wskit_channels.routing.composition import Composition
from wskit_channels.routing.table import Flat, message_type

__all__ = [
    "Contract",
    "ErrorContract",
    "MessageContract",
    "RouteContract",
    "TopicContract",
    "contract_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageContract:
    """One message as it goes one way."""

    type: str
    name: str
    """The class's name."""

    doc: str
    payload: JsonSchema | None
    """None for a message without payload."""

    meta: JsonSchema | None
    """An object of the extended meta keys alone; None where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteContract:
    """What a client may send: an event, or a request with its answer."""

    message: MessageContract
    doc: str
    """The handler's docstring."""

    response: MessageContract | None
    """None for an event."""

    progress: JsonSchema | None
    """``{}`` for a request whose progress may be any JSON; None for an event."""

    sends: tuple[str, ...]
    """Types that the handler is declared to send, beside its response."""

    idempotent: bool = False
    """Whether a request with an ``idempotencyKey`` runs once, however often it is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicContract:
    """A kind of topic. Its name is the server's business and never goes over the wire."""

    name: str
    pattern: str
    doc: str
    messages: tuple[str, ...]
    """Types that may be published there; none where any may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorContract:
    """One error code."""

    code: str
    doc: str
    retryable: bool | None
    """None where each error says for itself, or none says."""

    origin: Literal["standard", "topics", "application"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """All that a client can know of a router."""

    routes: tuple[RouteContract, ...]
    sent: tuple[MessageContract, ...]
    """What the server sends of its own accord, by type; responses are at their routes."""

    topics: tuple[TopicContract, ...]
    errors: tuple[ErrorContract, ...]
    definitions: Mapping[str, JsonSchema]
    """What schemas refer to by ``#/$defs/NAME``."""

    login_required: bool
    authenticates: bool
    """Whether the router decides by a hook of its own whom to admit."""

    subprotocols: tuple[str, ...]


def contract_of(router: Composition[Any]) -> Contract:
    """
    Read the contract of a router, with all that is merged into it.

    Raises:
        ContractError: If a message has no JSON Schema, or two classes that differ are sent
            by one type.
    """
    return _Reading(router).contract()


class _Reading:
    """One reading of a router: first which schemas are wanted, then what they came out as."""

    def __init__(self, router: Composition[Any]) -> None:
        self._router = router
        self._validator: Validator | None = router.validator
        self._flat = [flat for _, flat in sorted(router._flatten().items())]
        declared = list(_declared(router, self._flat))
        self._scope = Scope(_functions(router, self._flat), declared)
        self._topics = self._scope.topics()
        self._sent = sorted(
            {id(one): one for one in self._sendable(declared)}.values(),
            key=lambda one: (self._type_of(one), one.__module__, one.__qualname__),
        )
        self._wanted: list[Wanted] = []
        self._schemas: dict[Hashable, JsonSchema] = {}
        self._definitions: dict[str, JsonSchema] = {}

    def contract(self) -> Contract:
        for _, message, registration, _ in self._flat:
            self._want(message, "validation")
            if registration.is_call:
                self._want(response_of(message), "serialization")
                self._want_progress(message)
        for message in self._sent:
            self._want(message, "serialization")
        self._schemas, self._definitions = json_schemas(self._wanted)
        routes = tuple(map(self._route, self._flat))
        sent = tuple(self._merged())
        router = self._router
        return Contract(
            routes=routes,
            sent=sent,
            topics=tuple(map(self._topic, self._topics)),
            errors=tuple(_errors(self._scope.errors())),
            definitions=reachable(_schemas_of(routes, sent), self._definitions),
            login_required=router.login_required,
            authenticates=bool(router._hooks.authenticate),
            subprotocols=tuple(getattr(router, "subprotocols", ())),
        )

    # -- which classes

    def _sendable(self, declared: Iterable[Any]) -> Iterator[type[Any]]:
        for one in declared:
            if not (isinstance(one, type) and issubclass(one, WsKitError | Topic)):
                self._type_of(one)
                yield one
        for topic in self._topics:
            yield from filter(self._is_message, topic.__wskit_messages__)

    def _type_of(self, message: type[Any]) -> str:
        return message_type(message, self._validator)

    def _is_message(self, one: type[Any]) -> bool:
        """Whether it is sent as it is: a topic may also take any message, or those of a base."""
        try:
            self._type_of(one)
        except TypeError:
            return False
        return True

    # -- which schemas

    def _want(self, message: type[Any], mode: Mode) -> None:
        if not issubclass(message, Message) or message.model_fields:
            self._add("payload", message, mode, message)
        meta = getattr(message, "__wskit_meta__", Meta)
        if meta is not Meta:
            self._add("meta", message, mode, meta)

    def _want_progress(self, message: type[Any]) -> None:
        progress = getattr(message, "__wskit_progress__", Any)
        if progress is not Any:
            self._add("progress", message, "serialization", progress)

    def _add(self, part: str, message: type[Any], mode: Mode, kind: Any) -> None:
        name = f"The {part} of {message.__module__}.{message.__qualname__}"
        ours = issubclass(message, Message) or (
            isinstance(kind, type) and issubclass(kind, BaseModel)  # a struct's meta may be one
        )
        give = None if ours else self._giver(message)
        self._wanted.append(Wanted((part, message, mode), name, mode, kind, give))

    def _giver(self, message: type[Any]) -> Give:
        validator = getattr(message, "__wskit_validator__", self._validator)
        give: Give | None = getattr(validator, "json_schema", None)
        if give is None and is_struct(message):
            give = struct_schema
        if give is None:
            raise ContractError(
                f"{type(validator).__qualname__} makes no JSON Schema of {message.__qualname__}: "
                "it needs a method json_schema(kind, mode)."
            )
        return give

    # -- what they came out as

    def _message(self, message: type[Any], mode: Mode, type_: str | None = None) -> MessageContract:
        meta = self._schemas.get(("meta", message, mode))
        return MessageContract(
            type=type_ or self._type_of(message),
            name=message.__name__,
            doc=doc_of(message),
            payload=self._schemas.get(("payload", message, mode)),
            meta=None if meta is None else self._extended(meta),
        )

    def _extended(self, meta: JsonSchema) -> JsonSchema | None:
        """A meta class's own keys: the standard ones are the same for every message."""
        name = meta.get("$ref", "").removeprefix(REF)
        whole = self._definitions[name] if name else meta
        own = {
            key: value
            for key, value in whole["properties"].items()
            if key not in wire.STANDARD_META
        }
        required = [key for key in whole.get("required", ()) if key in own]
        made: JsonSchema = {"type": "object", "properties": own}
        if required:
            made["required"] = required
        return made if own else None

    def _route(self, flat: Flat) -> RouteContract:
        type_, message, registration, _ = flat
        response = progress = None
        if registration.is_call:
            response = self._message(response_of(message), "serialization")
            progress = self._schemas.get(("progress", message, "serialization"), {})
        sends = (one for one in registration.sends if any(one is sent for sent in self._sent))
        return RouteContract(
            message=self._message(message, "validation", type_),
            doc=doc_of(registration.handler),
            response=response,
            progress=progress,
            sends=tuple(sorted({self._type_of(one) for one in sends})),
            idempotent=registration.idempotent,
        )

    def _merged(self) -> Iterator[MessageContract]:
        """What is sent, each type once."""
        by_type: dict[str, tuple[type[Any], MessageContract]] = {}
        for one in self._sent:
            made = self._message(one, "serialization")
            first, kept = by_type.setdefault(made.type, (one, made))
            if (kept.payload, kept.meta) != (made.payload, made.meta):
                raise ContractError(
                    f"{made.type!r} is sent as {first.__module__}.{first.__qualname__} and as "
                    f"{one.__module__}.{one.__qualname__}, which clients cannot tell apart: give "
                    "one of them another type."
                )
        return (made for _, made in by_type.values())

    def _topic(self, topic: type[Topic[Any]]) -> TopicContract:
        messages = filter(self._is_message, topic.__wskit_messages__)
        return TopicContract(
            name=topic.__name__,
            pattern=topic.__wskit_pattern__,
            doc=doc_of(topic),
            messages=tuple(sorted(set(map(self._type_of, messages)))),
        )


def _declared(router: Composition[Any], flat: Iterable[Flat]) -> Iterator[Any]:
    """What stands in ``sends``: of routes, and of the routers themselves."""
    for _, _, registration, _ in flat:
        yield from registration.sends
    for one in router._tree():
        yield from one._sends


def _functions(router: Composition[Any], flat: Iterable[Flat]) -> Iterator[Callable[..., Any]]:
    """All that an application wrote for its router."""
    for _, _, registration, middleware in flat:
        yield registration.handler
        yield from middleware
    for one in router._tree():
        hooks, policy = one._hooks, one._policy
        for hook in fields(hooks):
            yield from getattr(hooks, hook.name)
        for rule in fields(policy):
            yield from (bound.function for bound in getattr(policy, rule.name))


def _errors(declared: Iterable[type[WsKitError]]) -> Iterator[ErrorContract]:
    for code, sentence in SENTENCES.items():
        retryable = None if code == "INTERNAL" else code in TRANSIENT_CODES
        yield ErrorContract(code=code, doc=sentence, retryable=retryable, origin="standard")
    for code in get_args(PubSubErrorCode):
        retryable = code == "ADAPTER_ERROR"
        yield ErrorContract(code=code, doc="", retryable=retryable, origin="topics")
    known = {*SENTENCES, *get_args(PubSubErrorCode)}
    for error in declared:
        code = error.declared_code or ""
        if code not in known:
            known.add(code)
            yield ErrorContract(
                code=code,
                doc=doc_of(error),
                retryable=error.declared_retryable,
                origin="application",
            )


def _schemas_of(
    routes: Iterable[RouteContract], sent: Iterable[MessageContract]
) -> Iterator[JsonSchema | None]:
    for route in routes:
        yield route.progress
        for message in (route.message, route.response):
            if message is not None:
                yield message.payload
                yield message.meta
    for message in sent:
        yield message.payload
        yield message.meta
