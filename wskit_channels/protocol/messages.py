"""
Message classes: what users declare once and both sides agree on.

A message *is* a pydantic model of its payload. Its wire type, its meta class
and, for a request, its response hang on the class under dunder names, so that
payloads may have fields called ``type``, ``meta`` or ``response``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, get_origin

from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, RootModel, create_model
from pydantic.fields import FieldInfo
from typing_extensions import TypeVar

from wskit_channels.protocol import wire

__all__ = [
    "DynamicMessage",
    "DynamicRpc",
    "Message",
    "Meta",
    "Request",
    "Rpc",
    "check_response",
    "check_type",
    "is_request",
    "message",
    "response_of",
    "rpc",
    "type_of",
]


class Meta(wire.StandardMeta):
    """
    Base class for extended meta: keys beside the standard ones, checked like a payload.

    ``class TraceMeta(Meta): trace_id: str = Field(alias="traceId")`` is named by
    ``class Ping(Message, type="PING", meta=TraceMeta)`` and read typed by
    ``ctx.meta_as(TraceMeta)``.

    Raises:
        TypeError: When declared with a key that is the server's or the protocol's own.
    """

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        taken = {*wire.RESERVED_META, *wire.STANDARD_META}
        for name in inspect.get_annotations(cls):
            if (field := cls.model_fields.get(name)) is None:
                continue
            clash = taken & {name, *_wire_names(field)}
            if name in wire.StandardMeta.model_fields or name == "timeout":
                clash.add(name)
            if clash:
                raise TypeError(
                    f"{cls.__name__} declares the meta key {min(map(str, clash))!r}. Extended "
                    f"meta must not use {', '.join(sorted(taken))}: these are the protocol's own."
                )


def _wire_names(field: FieldInfo) -> Iterator[str | int]:
    """Every key under which a field is read or written."""
    for alias in (field.alias, field.validation_alias, field.serialization_alias):
        if isinstance(alias, AliasChoices):
            yield from (path[0] for path in alias.convert_to_aliases())
        elif isinstance(alias, AliasPath):
            yield alias.path[0]
        elif alias is not None:
            yield alias


class Message(BaseModel):
    """
    A typed message; its fields are the payload, and no fields means no payload.

    ``type=`` names it on the wire; a class without one is a base for others and
    is not inherited. ``meta=`` names a subclass of ``Meta``. Instances are
    validated when built, and frozen. On the wire only aliases are read and
    written, and an unknown key is refused at every level (``PROTOCOL 1``).

    Raises:
        TypeError: When declared with a reserved or empty type; when routed or sent, if it or a
            model in it has an ``__init__`` of its own, which would validate laxly.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        serialize_by_alias=True,
        # An error of a message that a handler builds wrongly is logged: without its payload.
        hide_input_in_errors=True,
    )

    __wskit_type__: ClassVar[str | None] = None
    __wskit_meta__: ClassVar[type[Meta]] = Meta
    __wskit_response__: ClassVar[type[Any] | None] = None
    __wskit_progress__: ClassVar[Any] = Any

    # The class keywords are for type checkers; they are seen to below, once fields are known.
    def __init_subclass__(
        cls, *, type: str | None = None, meta: type[Meta] | None = None, **config: Any
    ) -> None:
        if issubclass(cls, RootModel):  # before RootModel refuses our config in its own words
            raise TypeError(f"{cls.__name__}: a payload is an object; RootModel is not supported.")
        super().__init_subclass__(**config)

    @classmethod
    def __pydantic_init_subclass__(
        cls, *, type: str | None = None, meta: type[Meta] | None = None, **config: Any
    ) -> None:
        super().__pydantic_init_subclass__(**config)
        if type is not None:
            check_type(cls.__name__, type)
        cls.__wskit_type__ = type
        if meta is not None:
            cls.__wskit_meta__ = meta


def check_type(owner: str, type_: Any) -> None:
    """
    See that a wire type may be declared; ``owner`` is the class's name.

    Raises:
        TypeError: If it is reserved, empty or no string.
    """
    if not isinstance(type_, str) or not type_:
        raise TypeError(f"{owner}: type= is a non-empty string, not {type_!r}.")
    if wire.is_reserved(type_):
        raise TypeError(
            f"{owner}: the type {type_!r} is reserved. Reserved are all types that start with "
            f"{' or '.join(map(repr, wire.RESERVED_PREFIXES))}, and "
            f"{', '.join(wire.RESERVED_TYPES)}."
        )


Resp = TypeVar("Resp")  # invariant, or reply() would widen to accept any class
Prog = TypeVar("Prog", default=Any)


class Request(Generic[Resp, Prog]):
    """What requests of every library have in common; derive yours from an ``Rpc``."""

    __slots__ = ()


class Rpc(Message, Request[Resp, Prog], Generic[Resp, Prog]):
    """
    A request that names its response, and what its progress is.

    ``class GetUser(Rpc[UserResponse], type="GET_USER")``, or
    ``Rpc[UserResponse, Stage]`` where progress is validated as a ``Stage``;
    any JSON otherwise. ``response_of(GetUser)`` gives the response class.

    Raises:
        TypeError: When declared with a type but without a response, or with a response
            that has no type of its own or is itself a request.
    """

    @classmethod
    def __pydantic_init_subclass__(
        cls, *, type: str | None = None, meta: type[Meta] | None = None, **config: Any
    ) -> None:
        super().__pydantic_init_subclass__(type=type, meta=meta, **config)
        arguments = cls.__pydantic_generic_metadata__
        if arguments["origin"] is Rpc:
            response, *progress = arguments["args"]
            if not isinstance(response, TypeVar):
                cls.__wskit_response__ = response
                cls.__wskit_progress__ = progress[0] if progress else Any
        if type is not None:
            check_response(cls)


def is_request(message: Any) -> bool:
    """Whether a message class, of whichever library, is answered."""
    return isinstance(message, type) and issubclass(message, Request)


def check_response(cls: type[Any]) -> None:
    """
    See that a request's class names a response.

    Raises:
        TypeError: If it names none, or one without a type, or another request.
    """
    response = cls.__wskit_response__
    name = cls.__name__
    if not isinstance(response, type):
        raise TypeError(
            f"{name} names no response. Write class {name}(Rpc[SomeResponse], type=...), "
            "or derive it from Message if nothing is answered."
        )
    if is_request(response):
        raise TypeError(f"{name}: the response {response.__name__} is itself a request.")
    if type_of(response) is None:
        raise TypeError(
            f"{name}: the response {getattr(response, '__name__', response)!r} has no type. "
            "Declare it as class ...(Message, type=...)."
        )


def type_of(message: Any) -> str | None:
    """The wire type that a message class declares, or None for a base or a foreign class."""
    found = getattr(message, "__wskit_type__", None)
    return found if isinstance(found, str) else None


def response_of(request: type[Request[Resp, Any]]) -> type[Resp]:
    """
    The response class that a request class names.

    Raises:
        TypeError: If the class is no request.
    """
    response = getattr(request, "__wskit_response__", None)
    if response is None:
        raise TypeError(f"{request!r} names no response; only Rpc classes do.")
    return response  # type: ignore[no-any-return]  # kept by __pydantic_init_subclass__


class DynamicMessage(Message):
    """What ``message()`` returns a class of: fields are ``Any`` to type checkers."""

    if TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...


class DynamicRpc(Rpc[Any, Any]):
    """What ``rpc()`` returns a class of; ``response`` is the class of its answer."""

    response: ClassVar[type[DynamicMessage]]

    def __init_subclass__(cls, *, response: Any = None, progress: Any = Any, **config: Any) -> None:
        super().__init_subclass__(**config)

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        *,
        response: type[DynamicMessage] | None = None,
        progress: Any = Any,
        **config: Any,
    ) -> None:
        cls.__wskit_response__ = response
        cls.__wskit_progress__ = progress
        super().__pydantic_init_subclass__(**config)

    if TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...


def message(
    type: str, fields: Mapping[str, Any] | None = None, *, meta: type[Meta] | None = None
) -> type[DynamicMessage]:
    """
    Declare a message in one line: ``Ping = message("PING", {"text": str})``.

    ``fields`` maps wire names to types, or to ``(type, default)``. The class cannot
    be used as a type in annotations; write a class where that is wanted.

    Raises:
        TypeError: When the type is reserved or empty.
    """
    return _declare(DynamicMessage, type, fields, meta, _caller())


def rpc(
    type: str,
    fields: Mapping[str, Any] | None,
    response_type: str,
    response_fields: Mapping[str, Any] | None = None,
    *,
    progress: Any = Any,
    meta: type[Meta] | None = None,
) -> type[DynamicRpc]:
    """
    Declare a request and its response in one line; ``.response`` is the latter's class.

    ``GetUser = rpc("GET_USER", {"id": str}, "USER_RESPONSE", {"user": UserOut})``

    Raises:
        TypeError: When a type is reserved or empty.
    """
    module = _caller()
    response = _declare(DynamicMessage, response_type, response_fields, None, module)
    keywords = {"response": response, "progress": progress}
    request = _declare(DynamicRpc, type, fields, meta, module, keywords)
    request.response = response
    return request


M = TypeVar("M", bound=Message)


def _declare(
    base: type[M],
    type_: str,
    fields: Mapping[str, Any] | None,
    meta: type[Meta] | None,
    module: str,
    keywords: Mapping[str, Any] | None = None,
) -> type[M]:
    name = "".join(part.capitalize() for part in str(type_).replace("-", "_").split("_"))
    given = {
        key: value if isinstance(value, tuple) and get_origin(value) is None else (value, ...)
        for key, value in (fields or {}).items()
    }
    check_type(name or "message()", type_)
    return create_model(  # type: ignore[no-any-return,call-overload]  # fields are the caller's
        name,
        __base__=base,
        __module__=module,
        __cls_kwargs__={"type": type_, "meta": meta, **(keywords or {})},
        **given,
    )


def _caller() -> str:
    """The module that called ``message()`` or ``rpc()``, which the class is said to be from."""
    name = sys._getframe(2).f_globals.get("__name__", __name__)
    return str(name)
