"""
JSON Schemas of msgspec's types, for messages that are structs.

msgspec describes what it reads. What it writes has more keys that are always there, namely
the fields that have defaults, unless a struct omits those or a field may be ``UNSET``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wskit_channels.codegen.schemas import REF, JsonSchema, Mode

if TYPE_CHECKING:
    from msgspec import inspect

__all__ = ["is_struct", "struct_schema"]


def is_struct(kind: Any) -> bool:
    return isinstance(getattr(kind, "__struct_fields__", None), tuple)


def struct_schema(kind: Any, mode: Mode) -> JsonSchema | None:
    """The JSON Schema of a type that msgspec knows; None for a struct without fields."""
    import msgspec

    if is_struct(kind) and not kind.__struct_fields__:
        return None
    (schema,), definitions = msgspec.json.schema_components((kind,), ref_template=REF + "{name}")
    if mode == "serialization":
        present = _always_there(msgspec.inspect.type_info(kind))
        for made in definitions.values():
            if isinstance(made.get("title"), str) and made["title"] in present:
                always = present[made["title"]]
                required = [key for key in made["properties"] if key in always]
                made["required"] = sorted({*made.get("required", ()), *required})
    return {**schema, "$defs": definitions}


def _always_there(info: inspect.Type) -> dict[str, set[str]]:
    """Keys that are always written, by the name of their class, of all classes within a type."""
    from msgspec import inspect

    found: dict[str, set[str]] = {}
    for one in _classes(info, set()):
        omits = isinstance(one, inspect.StructType) and one.cls.__struct_config__.omit_defaults
        always = {
            field.encode_name
            for field in one.fields
            if field.required or (not omits and _has_default(field))
        }
        name = one.cls.__name__
        found[name] = found[name] & always if name in found else always
    return found


def _has_default(field: inspect.Field) -> bool:
    """False for what may be ``UNSET``, which msgspec shows as neither required nor defaulted."""
    from msgspec import NODEFAULT

    return field.default is not NODEFAULT or field.default_factory is not NODEFAULT


def _classes(info: Any, seen: set[Any]) -> Iterator[inspect.StructType | inspect.DataclassType]:
    from msgspec import inspect

    if isinstance(info, inspect.StructType | inspect.DataclassType):
        if info.cls in seen:
            return
        seen.add(info.cls)
        yield info
    for name in getattr(info, "__struct_fields__", ()):
        value = getattr(info, name)
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, inspect.Type):
                yield from _classes(inner, seen)
            elif isinstance(inner, inspect.Field):
                yield from _classes(inner.type, seen)
