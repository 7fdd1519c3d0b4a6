"""
The short way for what is plainly right, in and out; all else goes the long way.

In: a frame as clients write it has its payload validated alone, without the envelope. Out:
by default pydantic's serializer writes what is not of a field's type, with a warning.
Having it raise instead takes longer than all the rest, and a look at the types of a few
plain values does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from wskit_channels.protocol import wire
from wskit_channels.protocol.messages import Meta

if TYPE_CHECKING:
    import re

    from wskit_channels.protocol.validation import Schema

__all__ = ["PlainFields", "are_plain", "decode", "plain_fields", "stands_alone"]

_AMISS: Final[tuple[Meta, None]] = (Meta(), None)


def decode(
    schema: Schema, text: str, head: re.Match[str] | None
) -> tuple[Meta | wire.PlainMeta, Any]:
    """Meta and payload of a frame with this ``wire.plain_head``; no payload if it is amiss."""
    if schema.open_numbers and wire.may_hold_non_finite(text):
        return _AMISS
    try:
        if head is None or schema.decode_payload is None or text[-1] != "}":
            return schema.decode(text) or _AMISS
        return wire.PlainMeta(head), schema.decode_payload(text[head.end() : -1])
    except Exception:  # noqa: BLE001 - amiss, or a validator's bug: the long way finds out
        return _AMISS


def stands_alone(core_schema: Mapping[str, Any]) -> bool:
    """
    Whether a model's payload is validated alike with its envelope and without.

    A validator of the whole model is told of the envelope, and definitions that its fields
    share have the envelope's config.
    """
    kind: str = core_schema["type"]
    return kind == "model" and bool(core_schema["schema"]["type"] == "model-fields")


PlainFields = tuple[tuple[str, frozenset[type[Any]]], ...]
"""Every field of a message, with the very types that its serializer takes without a word."""

_SCALARS: Final[Mapping[str, type[Any]]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "none": NoneType,
    "uuid": UUID,
}
_ABSENT: Final = object()


def are_plain(values: Mapping[str, Any], fields: PlainFields) -> bool:
    """Whether a message's values are all there, and all of their fields' types."""
    if len(values) != len(fields):
        return False
    for name, types in fields:  # noqa: SIM110 - a generator would take twice as long
        if type(values.get(name, _ABSENT)) not in types:
            return False
    return True


def plain_fields(core_schema: Mapping[str, Any]) -> PlainFields | None:
    """The fields of a model's core schema; None if any is more than a plain value."""
    fields = core_schema.get("schema", {})
    if (
        not stands_alone(core_schema)
        or "serialization" in core_schema
        or core_schema.get("config", {}).get("extra_fields_behavior") != "forbid"
        or "serialization" in fields
        or fields.get("computed_fields")
    ):
        return None
    found = tuple((name, _types(field["schema"])) for name, field in fields["fields"].items())
    return found if all(types for _, types in found) else None


def _types(schema: Mapping[str, Any]) -> frozenset[type[Any]]:
    """The types of a field's values; none if they are not all plain, or written by a function."""
    kind = schema["type"]
    if "serialization" in schema:
        return frozenset()
    if kind in _SCALARS:
        return frozenset({_SCALARS[kind]})
    if kind in ("default", "nullable", "function-before", "function-after"):
        inner = _types(schema["schema"])
        return inner | {NoneType} if inner and kind == "nullable" else inner
    return frozenset()
