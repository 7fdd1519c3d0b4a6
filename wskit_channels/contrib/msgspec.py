"""
Messages as ``msgspec.Struct`` classes, and their validator: the extra ``[msgspec]``.

Same router, same wire and same strictness as with pydantic, in less time. A
struct message is declared, routed and sent as any other; the two kinds may live
in one router, but not inside one another.

msgspec does not validate what is built, so that a message is validated when it
is encoded: what it could not read back is never sent.
"""

from __future__ import annotations

import builtins
import contextlib
import inspect
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeAlias, get_args, get_origin

import msgspec
from typing_extensions import TypeVar, dataclass_transform

from wskit_channels.contrib.msgspec_schema import StructSchema, ValueEncoder, survey
from wskit_channels.protocol import wire
from wskit_channels.protocol.messages import Meta as PydanticMeta
from wskit_channels.protocol.messages import Request, check_response, check_type, type_of

__all__ = ["Message", "Meta", "MsgspecValidator", "Rpc"]


class MsgspecValidator:
    """The validator of struct messages, which name it themselves."""

    def type_of(self, message: builtins.type[Any]) -> str | None:
        return type_of(message) if isinstance(message, _MessageType) else None

    def compile(self, message: builtins.type[Any], type_: str | None = None) -> StructSchema:
        schema = StructSchema(message, type_ or type_of(message) or "")
        if type_ is None:  # where schema_of() looks first
            message.__wskit_schema__ = schema
        return schema

    def progress_encoder(self, kind: Any) -> ValueEncoder:
        """
        What makes JSON text of a call's progress.

        Raises:
            TypeError: If the declared kind of progress lets unknown keys in.
        """
        return ValueEncoder("progress", kind)


class _StructType(msgspec.StructMeta):
    """Makes fields keyword-only in each subclass: the one setting that msgspec does not inherit."""

    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **config: Any
    ) -> Any:
        return super().__new__(mcls, name, bases, namespace, **{"kw_only": True, **config})


class _MetaType(_StructType):
    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **config: Any
    ) -> Any:
        try:
            cls: Any = super().__new__(mcls, name, bases, namespace, **config)
        except ValueError:  # two fields of one key: it was one of Meta's
            raise _key_is_taken(name, "a meta key twice") from None
        if any(isinstance(base, _MetaType) for base in bases):
            _check_meta_keys(cls)
        return cls


def _check_meta_keys(cls: type[msgspec.Struct]) -> None:
    own = inspect.get_annotations(cls)
    for name, key in zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True):
        if name not in own:
            continue
        clash = _TAKEN & {name, key} or {name} & {*Meta.__struct_fields__, "timeout"}
        if clash:
            raise _key_is_taken(cls.__name__, f"the meta key {min(clash)!r}")


def _key_is_taken(owner: str, what: object) -> TypeError:
    return TypeError(
        f"{owner} declares {what}. Extended meta must not use {', '.join(sorted(_TAKEN))}: "
        "these are the protocol's own."
    )


_TAKEN = {*wire.RESERVED_META, *wire.STANDARD_META}


class _MessageType(_StructType):
    def __new__(
        mcls,
        name: str,
        bases: tuple[builtins.type, ...],
        namespace: dict[str, Any],
        /,
        *,
        type: str | None = None,
        meta: builtins.type[Any] | None = None,
        **config: Any,
    ) -> Any:
        cls: Any = super().__new__(mcls, name, bases, namespace, **config)
        if type is not None:
            check_type(name, type)
        cls.__wskit_type__ = type
        if meta is not None:
            _check_meta_class(name, meta)
            cls.__wskit_meta__ = meta
        for base in namespace.get("__orig_bases__", ()):
            if get_origin(base) is not None and base.__origin__ is globals().get("Rpc"):
                _name_response(cls, *get_args(base))
        if type is not None:
            _check_message(cls)
        return cls


def _check_meta_class(owner: str, meta: Any) -> None:
    if not (isinstance(meta, type) and issubclass(meta, Meta | PydanticMeta)):
        raise TypeError(
            f"{owner}: meta= names a subclass of wskit_channels.contrib.msgspec.Meta or of "
            f"wskit_channels.Meta, not {meta!r}."
        )


def _name_response(cls: Any, response: Any, progress: Any = Any) -> None:
    if not isinstance(response, TypeVar):
        cls.__wskit_response__ = response
        cls.__wskit_progress__ = progress


def _check_message(cls: Any) -> None:
    if cls.__struct_config__.array_like:
        raise TypeError(f"{cls.__name__}: a payload is an object; array_like is not supported.")
    if issubclass(cls, Request):
        check_response(cls)
    with contextlib.suppress(NameError):  # it names a class that comes later: seen to at first use
        survey(cls.__name__, cls)


if TYPE_CHECKING:
    _Text: TypeAlias = str | None
    _Number: TypeAlias = float | None
    _Whole: TypeAlias = int | None
else:  # absent is None to us, but null on the wire is refused
    _Text, _Number = str, float
    _Whole = Annotated[int, msgspec.Meta(gt=0)]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Meta(msgspec.Struct, metaclass=_MetaType, frozen=True, forbid_unknown_fields=True):
    """
    The meta of struct messages, and the base class of extended meta.

    ``class TraceMeta(Meta): trace_id: str = msgspec.field(name="traceId")`` is named by
    ``class Ping(Message, type="PING", meta=TraceMeta)``. It reads like the ``Meta`` of
    other messages.

    Raises:
        TypeError: When declared with a key that is the server's or the protocol's own.
    """

    correlation_id: _Text = msgspec.field(default=None, name=wire.CORRELATION_ID)
    """The id that answers carry, or None."""

    idempotency_key: _Text = msgspec.field(default=None, name=wire.IDEMPOTENCY_KEY)
    """The client's key for a call that is not to run twice, or None."""

    sent_at_ms: _Number = msgspec.field(default=None, name=wire.TIMESTAMP)
    timeout_ms: _Whole = msgspec.field(default=None, name=wire.TIMEOUT_MS)

    @property
    def timestamp(self) -> float | None:
        """When the client says it sent the message, in seconds since the epoch."""
        return None if self.sent_at_ms is None else self.sent_at_ms / 1000

    @property
    def timeout(self) -> float | None:
        """How long the client waits for an answer, in seconds."""
        meta: Any = self  # a StandardMeta by its fields
        return wire.timeout_of(meta)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Message(msgspec.Struct, metaclass=_MessageType, frozen=True, forbid_unknown_fields=True):
    """
    A typed message; its fields are the payload, and no fields means no payload.

    ``type=`` names it on the wire; a class without one is a base for others and is
    not inherited. ``meta=`` names a subclass of ``Meta``, this module's or pydantic's.
    Other class keywords are msgspec's: ``rename="camel"``. Instances are frozen, and
    validated when they are sent. Structs that are nested in it are declared with
    ``forbid_unknown_fields=True``.

    Raises:
        TypeError: When declared with a reserved or empty type, or with a field that
            would let unknown keys in.
    """

    __wskit_type__: ClassVar[str | None] = None
    __wskit_meta__: ClassVar[builtins.type[Any]] = Meta
    __wskit_response__: ClassVar[builtins.type[Any] | None] = None
    __wskit_progress__: ClassVar[Any] = Any
    __wskit_validator__: ClassVar[MsgspecValidator] = MsgspecValidator()

    if TYPE_CHECKING:

        def __init_subclass__(
            cls,
            *,
            type: str | None = None,
            meta: builtins.type[Any] | None = None,
            **config: Any,
        ) -> None: ...

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        raise TypeError(
            f"{cls.__name__} is a struct, which a pydantic model cannot hold. Derive both from "
            "wskit_channels.Message, or both from wskit_channels.contrib.msgspec.Message."
        )


Resp = TypeVar("Resp")  # invariant, or reply() would widen to accept any class
Prog = TypeVar("Prog", default=Any)


class Rpc(Message, Request[Resp, Prog], Generic[Resp, Prog]):
    """
    A request that names its response, and what its progress is.

    ``class GetUser(Rpc[UserResponse], type="GET_USER")``, or
    ``Rpc[UserResponse, Stage]`` where progress is validated as a ``Stage``;
    any JSON otherwise.

    Raises:
        TypeError: When declared with a type but without a response, or with a response
            that has no type of its own or is itself a request.
    """
