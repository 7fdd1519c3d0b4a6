"""
Validators: what turns JSON text into a message, and a message into JSON text.

A message class is compiled once into a ``Schema``, which the connection and the
contexts use for every frame. pydantic's is here; others plug in by the same
protocol. Only validation from text is used: pydantic's JSON strict mode is
exactly the coercion rule of ``PROTOCOL 1``, and its Python mode is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NotRequired, Protocol

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import TypedDict

from wskit_channels.protocol import wire
from wskit_channels.protocol.errors import is_finite
from wskit_channels.protocol.messages import Message, Meta, type_of
from wskit_channels.protocol.plain import are_plain, plain_fields, stands_alone
from wskit_channels.protocol.strict import BY_NAME, strictly

__all__ = ["Invalid", "Issue", "PydanticValidator", "Schema", "Validator", "issue_at", "schema_of"]

MAX_ISSUES = 20
MAX_PATH_PART = 64


class Issue(TypedDict):
    """One place that failed: where, a sentence of ours, and the kind of failure."""

    path: list[str | int]
    message: str
    type: str


class Invalid(Exception):
    """Meta or payload that its message class refuses."""

    def __init__(self, issues: Iterable[Issue]) -> None:
        super().__init__("invalid message")
        self.issues = list(issues)[:MAX_ISSUES]
        for issue in self.issues:
            issue["path"] = [
                part if isinstance(part, int) else str(part)[:MAX_PATH_PART]
                for part in issue["path"]
            ]


class Schema(Protocol):
    """
    One message class, compiled.

    Strict at every level: what it lets through has no unknown key, no coerced
    scalar and, with ``may_hold_non_finite`` handled by the caller, no NaN.
    """

    @property
    def message(self) -> type[Any]: ...

    @property
    def prefix(self) -> str:
        """Frame text by ``wire.prefix``, for messages that go out."""
        ...

    @property
    def open_numbers(self) -> bool:
        """Whether a field could take a number that is not finite: the caller screens for them."""
        ...

    def decode(self, text: str) -> tuple[Meta, Any] | None:
        """Meta and payload of a whole frame; None where anything at all is amiss."""
        ...

    @property
    def decode_payload(self) -> Callable[[str], Any] | None:
        """
        The payload of its own text, for frames the rest of which is plainly right.

        Raises ``ValueError`` where anything is amiss. None where ``decode`` has to be asked.
        """
        ...

    def check(self, envelope: Mapping[str, Any]) -> tuple[Meta, Any]:
        """
        The same for a frame that was parsed, with its meta normalised.

        Raises:
            Invalid: With the issues found.
        """
        ...

    def encode(self, message: Any) -> str | None:
        """
        A message's payload as JSON text, or None if it has none.

        Raises:
            ValueError: If it holds what JSON cannot, a number that is not finite included.
        """
        ...


class Validator(Protocol):
    """Compiles message classes of one library."""

    def type_of(self, message: type[Any]) -> str | None:
        """The wire type of a message class, or None if it has none or is not ours."""
        ...

    def compile(self, message: type[Any], type_: str | None = None) -> Schema:
        """
        Make the schema of a class that has a type; ``type_`` is routed instead of its own.

        Raises:
            TypeError: If the class cannot be compiled.
        """
        ...


class PydanticValidator:
    """The validator of ``Message`` classes."""

    def type_of(self, message: type[Any]) -> str | None:
        return type_of(message)

    def compile(self, message: type[Any], type_: str | None = None) -> Schema:
        return PydanticSchema(message, type_)


_PYDANTIC = PydanticValidator()


def schema_of(
    message: type[Any], validator: Validator | None = None, type_: str | None = None
) -> Schema:
    """
    The schema of a message class, compiled at the first need.

    With ``type_`` it is another that is routed by that type. A class names its own
    validator by a ``__wskit_validator__`` attribute; ``validator`` serves foreign classes.

    Raises:
        TypeError: If it is no message class, or one without a type.
    """
    if not isinstance(message, type):
        raise TypeError(f"{message!r} is no message class: derive it from wskit_channels.Message.")
    if type_ is None and (found := message.__dict__.get("__wskit_schema__")) is not None:
        kept: Schema = found
        return kept
    if issubclass(message, Message):
        validator = _PYDANTIC
    else:
        validator = getattr(message, "__wskit_validator__", validator)
    if hasattr(message, "__wskit_type__"):
        _require_type(message)
    if validator is None or validator.type_of(message) is None:
        raise TypeError(
            f"{message.__qualname__} is no message class: derive it from wskit_channels.Message."
        )
    schema = validator.compile(message, type_)
    if type_ is None and validator is _PYDANTIC:
        message.__wskit_schema__ = schema
    return schema


def _require_type(message: type[Any]) -> None:
    if type_of(message) is None:
        raise TypeError(
            f"{message.__qualname__} has no type and cannot be routed or sent. Declare it as "
            f'class {message.__name__}(..., type="...").'
        )


class PydanticSchema:
    """A ``Message`` class as a validator of whole envelopes and a serializer of payloads."""

    __slots__ = (
        "_default_meta",
        "_no_payload",
        "_plain",
        "_serialize",
        "_validate",
        "decode_payload",
        "has_payload",
        "message",
        "open_numbers",
        "prefix",
        "type",
    )

    def __init__(self, message: type[Message], type_: str | None = None) -> None:
        self.message = message
        self.type = type_ or type_of(message) or ""
        self.has_payload = bool(message.model_fields)
        self.prefix = wire.prefix(self.type)
        meta = message.__wskit_meta__
        envelope = TypeAdapter(_envelope(self.type, message, meta, self.has_payload))
        self._validate = strictly(envelope)
        payload = TypeAdapter(message)
        self._serialize = payload.serializer.to_json
        self._plain = plain_fields(payload.core_schema)
        self.decode_payload: Callable[[str], Any] | None = None
        if self.has_payload and meta is Meta and stands_alone(payload.core_schema):
            self.decode_payload = strictly(payload)
        self._default_meta = None if _needs_meta(meta) else meta()
        self._no_payload = None if self.has_payload else message()
        self.open_numbers = _may_be_open(envelope.core_schema)

    def decode(self, text: str) -> tuple[Meta, Any] | None:
        try:
            found = self._validate(text)
        except ValidationError:
            return None
        return found.get(wire.META, self._default_meta), found.get(wire.PAYLOAD, self._no_payload)

    def check(self, envelope: Mapping[str, Any]) -> tuple[Meta, Any]:
        text = wire.dump(envelope)
        try:
            found = self._validate(text)
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
            raise Invalid(map(_issue, errors[:MAX_ISSUES])) from None
        meta = found.get(wire.META, self._default_meta)
        payload = found.get(wire.PAYLOAD, self._no_payload)
        if self.open_numbers and wire.may_hold_non_finite(text):
            # An integer of 400 digits is right for Any, but a float field makes it infinite.
            for key, part in ((wire.META, meta), (wire.PAYLOAD, payload)):
                if not _holds_finite(part):
                    raise Invalid([issue_at([key], "finite_number")])
        return meta, payload

    def encode(self, message: Any) -> str | None:
        if not self.has_payload:
            return None
        if self._plain is not None and are_plain(message.__dict__, self._plain):
            raw = self._serialize(message, by_alias=True)
        else:
            raw = self._serialize(message, by_alias=True, warnings="error")
        # By default pydantic writes null for what is not finite, which is a bug gone silent.
        suspect = self.open_numbers and (b"null" in raw or b"NaN" in raw or b"Infinity" in raw)
        if suspect and not _holds_finite(message):
            raise ValueError(f"{self.type} holds a number that is not finite")
        return raw.decode()


def _holds_finite(model: BaseModel) -> bool:
    return is_finite(model.model_dump())


def _envelope(type_: str, message: type[Message], meta: type[Meta], has_payload: bool) -> Any:
    keys: dict[str, Any] = {
        wire.TYPE: Literal[type_],
        wire.META: meta if _needs_meta(meta) else NotRequired[meta],
    }
    if has_payload:
        keys[wire.PAYLOAD] = message
    return TypedDict(f"{message.__name__}Frame", keys)  # type: ignore[operator]  # made at run time


def _needs_meta(meta: type[Meta]) -> bool:
    return any(field.is_required() for field in meta.model_fields.values())


# Core schema types that hold no number which could be other than finite.
_CLOSED = frozenset(
    [
        "model",
        "model-fields",
        "model-field",
        "typed-dict",
        "typed-dict-field",
        "dataclass",
        "dataclass-args",
        "dataclass-field",
        "int",
        "str",
        "bool",
        "bytes",
        "none",
        "literal",
        "enum",
        "uuid",
        "date",
        "datetime",
        "time",
        "url",
        "multi-host-url",
        "list",
        "set",
        "frozenset",
        "tuple",
        "dict",
        "nullable",
        "union",
        "tagged-union",
        "default",
        "definitions",
        "definition-ref",
        "function-before",
        "function-after",
        "function-wrap",
    ]
)
_NOT_SCHEMAS = frozenset({"metadata", "default", "ref", "config", "expected", "members"})


def _may_be_open(schema: Any) -> bool:
    if isinstance(schema, dict):
        kind = schema.get("type")
        if isinstance(kind, str) and kind not in _CLOSED and not _is_finite_float(schema):
            return True
        return any(
            any(map(_may_be_open, item.values()))
            if key in BY_NAME and isinstance(item, dict)
            else _may_be_open(item)
            for key, item in schema.items()
            if key not in _NOT_SCHEMAS
        )
    if isinstance(schema, list | tuple):
        return any(map(_may_be_open, schema))
    return False


def _is_finite_float(schema: dict[str, Any]) -> bool:
    return schema["type"] == "float" and schema.get("allow_inf_nan") is False


# Sentences of ours by pydantic's error type: pydantic's may echo what the client sent.
_SENTENCES = {
    "missing": "Required",
    "extra_forbidden": "Unknown key",
    "string_type": "Expected a string",
    "string_too_short": "Too short",
    "string_too_long": "Too long",
    "string_pattern_mismatch": "Wrong format",
    "int_type": "Expected an integer",
    "int_parsing": "Expected an integer",
    "int_from_float": "Expected an integer",
    "float_type": "Expected a number",
    "finite_number": "Expected a finite number",
    "bool_type": "Expected true or false",
    "none_required": "Expected null",
    "list_type": "Expected an array",
    "tuple_type": "Expected an array",
    "set_type": "Expected an array",
    "dict_type": "Expected an object",
    "model_type": "Expected an object",
    "model_attributes_type": "Expected an object",
    "dataclass_type": "Expected an object",
    "too_short": "Too few items",
    "too_long": "Too many items",
    "greater_than": "Too small",
    "greater_than_equal": "Too small",
    "less_than": "Too large",
    "less_than_equal": "Too large",
    "multiple_of": "Not a valid step",
    "enum": "Not one of the allowed values",
    "literal_error": "Not one of the allowed values",
    "union_tag_invalid": "Not one of the allowed kinds",
    "union_tag_not_found": "The kind is missing",
    "uuid_parsing": "Expected a UUID",
    "uuid_type": "Expected a UUID",
    "date_parsing": "Expected a date",
    "date_type": "Expected a date",
    "date_from_datetime_parsing": "Expected a date",
    "datetime_parsing": "Expected a date and time",
    "datetime_type": "Expected a date and time",
    "datetime_from_date_parsing": "Expected a date and time",
    "time_parsing": "Expected a time",
    "time_delta_parsing": "Expected a duration",
    "decimal_parsing": "Expected a decimal number",
    "decimal_type": "Expected a decimal number",
    "url_parsing": "Expected a URL",
    "url_type": "Expected a URL",
}


def _issue(error: ErrorDetails) -> Issue:
    return issue_at(error["loc"], error["type"])


def issue_at(path: Iterable[str | int], type_: str) -> Issue:
    """An issue by pydantic's name for the kind of failure, in our own words."""
    return Issue(path=list(path), message=_SENTENCES.get(type_, "Invalid value"), type=type_)
