"""
Struct classes as validators of whole frames and encoders of payloads.

msgspec is strict by itself: it coerces no scalar, and refuses NaN, Infinity, what
overflows to them and lone surrogates in every field. What is left to do here is
to see that every nested class refuses unknown keys, and that nothing is nested
deeper than the other parser allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import isfinite
from typing import Any, Literal

import msgspec
from msgspec import inspect
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from wskit_channels.contrib.msgspec_issues import explain
from wskit_channels.protocol import wire
from wskit_channels.protocol.messages import Meta as PydanticMeta
from wskit_channels.protocol.strict import strictly
from wskit_channels.protocol.validation import Invalid, issue_at

__all__ = ["StructSchema", "ValueEncoder", "survey"]

MAX_OPEN_BRACKETS = 150
"""A frame with more of them than this may be nested too deep."""

# How a string may spell a Decimal that is not finite; an escape may spell anything.
_NOT_FINITE = re.compile(r"nan|inf|\\", re.IGNORECASE)

_to_json = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Survey:
    """What has to be looked out for in values of a class."""

    is_deep: bool = False
    """Whether the class itself sets no bound to nesting."""

    has_decimals: bool = False
    hides_nan: bool = False
    """Whether null may stand where a number does: it is how msgspec writes NaN."""

    _done: set[type[Any]] = field(default_factory=set)


def survey(owner: str, kind: Any) -> Survey:
    """
    See that a class, with all that is nested in it, is one that can be validated.

    Raises:
        TypeError: If it lets unknown keys in, or is none of msgspec's.
        NameError: If an annotation cannot be resolved yet.
    """
    found = Survey()
    _survey(owner, inspect.type_info(kind), found, ())
    return found


def _survey(owner: str, kind: Any, found: Survey, above: tuple[type[Any], ...]) -> None:
    if isinstance(kind, inspect.StructType):
        if kind.cls in above:
            found.is_deep = True
        if kind.cls in found._done:
            return
        found._done.add(kind.cls)
        above = (*above, kind.cls)
    if why := _refusal(kind):
        raise TypeError(f"{owner}: {why}")
    found.is_deep = found.is_deep or isinstance(kind, inspect.AnyType)
    found.has_decimals = found.has_decimals or isinstance(kind, inspect.DecimalType)
    found.hides_nan = found.hides_nan or _hides_nan(kind)
    for part in _parts(kind):
        _survey(owner, part, found, above)


def _hides_nan(kind: Any) -> bool:
    if isinstance(kind, inspect.UnionType):
        kinds = {type(getattr(one, "type", one)) for one in kind.types}
        return {inspect.FloatType, inspect.NoneType} <= kinds
    return isinstance(kind, inspect.AnyType)


def _refusal(kind: Any) -> str | None:
    if isinstance(kind, inspect.StructType) and not kind.forbid_unknown_fields:
        return (
            f"{kind.cls.__name__} would let unknown keys in. Declare it as "
            f"class {kind.cls.__name__}(msgspec.Struct, forbid_unknown_fields=True)."
        )
    if isinstance(kind, inspect.DataclassType | inspect.TypedDictType):
        return (
            f"msgspec lets unknown keys into {kind.cls.__name__}. Make it a "
            "msgspec.Struct with forbid_unknown_fields=True."
        )
    if isinstance(kind, inspect.RawType):
        return "msgspec.Raw is not validated. Declare Any instead."
    if isinstance(kind, inspect.CustomType):
        name = kind.cls.__name__
        if issubclass(kind.cls, BaseModel):
            return (
                f"{name} is a pydantic model, which a struct cannot hold. Make it a "
                "msgspec.Struct with forbid_unknown_fields=True, or derive the message from "
                "wskit_channels.Message."
            )
        return f"msgspec cannot validate a {name}. Declare what stands for it in JSON."
    return None


def _parts(kind: Any) -> Iterator[Any]:
    for name in ("type", "item_type", "key_type", "value_type"):
        if isinstance(part := getattr(kind, name, None), inspect.Type):
            yield part
    for name in ("types", "item_types"):
        yield from getattr(kind, name, ())
    for one in getattr(kind, "fields", ()):
        yield one.type


class ValueEncoder:
    """
    Makes JSON text of values of one class.

    msgspec writes whatever a field holds, so that a value counts as right when the
    text is read back without complaint.
    """

    __slots__ = ("_decode", "_has_decimals", "_hides_nan", "_owner")

    def __init__(self, owner: str, kind: Any) -> None:
        self._owner = owner
        found = survey(owner, kind)
        self._has_decimals = found.has_decimals
        self._hides_nan = found.hides_nan
        self._decode = msgspec.json.Decoder(kind).decode

    def __call__(self, value: Any) -> str:
        """
        The value as JSON text.

        Raises:
            ValueError: If it does not fit its class, or JSON cannot hold it.
        """
        try:
            raw = _to_json(value)
            self._decode(raw)
        except msgspec.ValidationError as error:
            raise ValueError(f"{self._owner} does not fit its class: {error}") from None
        except (TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{self._owner} cannot be JSON: {error}") from error
        text = raw.decode()
        # What is not finite is written as null, or by a Decimal as its name.
        suspect = (self._hides_nan and "null" in text) or (
            self._has_decimals and _NOT_FINITE.search(text)
        )
        if suspect and not_finite_at(value) is not None:
            raise ValueError(f"{self._owner} holds a number that is not finite")
        return text


def not_finite_at(value: Any) -> list[str | int] | None:
    """The path to a number that is not finite, if there is one."""
    plain = msgspec.to_builtins(value, builtin_types=(Decimal,))
    text = to_json(plain, inf_nan_mode="constants")  # quicker than a look at each value
    return _not_finite_at(plain, []) if b"NaN" in text or b"Infinity" in text else None


def _not_finite_at(value: Any, path: list[str | int]) -> list[str | int] | None:
    if isinstance(value, float):
        return None if isfinite(value) else path
    if isinstance(value, Decimal):
        return None if value.is_finite() else path
    inner: Any = ()
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, Sequence | set | frozenset) and not isinstance(value, str):
        inner = enumerate(value)
    for key, item in inner:
        if (found := _not_finite_at(item, [*path, key])) is not None:
            return found
    return None


class StructSchema:
    """A struct message, compiled; a ``Schema``."""

    __slots__ = (
        "_decode",
        "_frame",
        "_has_decimals",
        "_is_deep",
        "_keys",
        "_no_payload",
        "_read_meta",
        "_write",
        "decode_payload",
        "has_payload",
        "message",
        "open_numbers",
        "prefix",
        "type",
    )

    def __init__(self, message: type[Any], type_: str) -> None:
        self.message = message
        self.type = type_
        # A tag is a key like others.
        self.has_payload = bool(message.__struct_fields__ or message.__struct_config__.tag)
        self.prefix = wire.prefix(type_)
        self._no_payload = None if self.has_payload else message()
        meta = message.__wskit_meta__
        self._read_meta = _MetaReader(meta) if issubclass(meta, PydanticMeta) else None
        self.open_numbers = self._read_meta is not None
        self._frame = _frame(message, type_, meta, self.has_payload)
        found = survey(message.__name__, self._frame if self._read_meta is None else message)
        self._is_deep = found.is_deep
        self._has_decimals = found.has_decimals
        self._write = ValueEncoder(type_, message)
        self._keys = frozenset(self._frame.__struct_fields__)
        self._decode = msgspec.json.Decoder(self._frame).decode
        self.decode_payload = None  # a whole frame is decoded as fast

    def decode(self, text: str) -> tuple[Any, Any] | None:
        try:
            if self._is_deep and text.count("[") + text.count("{") > MAX_OPEN_BRACKETS:
                wire.parse(text)
            found = self._decode(text)
            if self._has_decimals and self._is_not_finite(text, found):
                return None
            payload = found.payload if self.has_payload else self._no_payload
            meta = found.meta if self._read_meta is None else self._read_meta(found.meta)
        except (ValueError, RecursionError):
            return None
        return meta, payload

    def check(self, envelope: Mapping[str, Any]) -> tuple[Any, Any]:
        for key in envelope:  # or its name could be read as a path, where msgspec tells it
            if key not in self._keys:
                raise Invalid([issue_at([key], "extra_forbidden")])
        try:
            found = self._decode(wire.dump(envelope))
        except msgspec.ValidationError as error:
            frame = inspect.type_info(self._frame)
            issue = explain(str(error), dict(envelope), frame, self._complaint)
            raise Invalid([issue]) from None
        if self._has_decimals and (path := self._not_finite(found)) is not None:
            raise Invalid([issue_at(path, "finite_number")])
        payload = found.payload if self.has_payload else self._no_payload
        if self._read_meta is None:
            return found.meta, payload
        try:
            return self._read_meta(found.meta), payload
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
            issues = (issue_at([wire.META, *one["loc"]], one["type"]) for one in errors)
            raise Invalid(issues) from None

    def _is_not_finite(self, text: str, found: Any) -> bool:
        if wire.may_hold_non_finite(text):  # a Decimal takes 1e999, which no frame may hold
            return True
        return _NOT_FINITE.search(text) is not None and self._not_finite(found) is not None

    def _not_finite(self, found: Any) -> list[str | int] | None:
        return not_finite_at(found if self._read_meta is None else {wire.PAYLOAD: found.payload})

    def _complaint(self, envelope: Any) -> str | None:
        try:
            self._decode(wire.dump(envelope))
        except msgspec.ValidationError as error:
            return str(error)
        return None

    def encode(self, message: Any) -> str | None:
        return self._write(message) if self.has_payload else None


def _frame(message: type[Any], type_: str, meta: type[Any], has_payload: bool) -> Any:
    """The class of this message's frames."""
    given: tuple[Any, ...]
    if issubclass(meta, PydanticMeta):
        given = wire.META, msgspec.Raw, msgspec.Raw(b"{}")
    elif any(one.required for one in msgspec.structs.fields(meta)):
        given = wire.META, meta
    else:
        given = wire.META, meta, meta()
    fields: list[Any] = [(wire.TYPE, Literal[type_]), given]
    if has_payload:
        fields.append((wire.PAYLOAD, message))
    return msgspec.defstruct(
        f"{message.__name__}Frame", fields, forbid_unknown_fields=True, kw_only=True, gc=False
    )


class _MetaReader:
    """Validates meta of a pydantic class, which msgspec leaves as it is."""

    def __init__(self, meta: type[PydanticMeta]) -> None:
        self._validate = strictly(TypeAdapter(meta))

    def __call__(self, raw: msgspec.Raw) -> PydanticMeta:
        """
        The meta that a JSON text holds.

        Raises:
            pydantic.ValidationError: If it is not right.
        """
        found: PydanticMeta = self._validate(bytes(raw))
        if not _is_finite(found):
            raise ValidationError.from_exception_data(
                type(found).__name__, [{"type": "finite_number", "loc": (), "input": None}]
            )
        return found


def _is_finite(meta: PydanticMeta) -> bool:
    return _not_finite_at(meta.model_dump(), []) is None
