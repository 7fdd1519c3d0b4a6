"""
Validation from JSON text, as strict as ``PROTOCOL 1`` asks.

pydantic's strict mode is that, but for one thing: it looks numbers of literals and enums
up by ``==``, to which ``true``, ``1`` and ``1.0`` are the same, so that a field of
``Literal[1] | bool`` would turn ``true`` into 1. Here such numbers are looked at first.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from operator import is_not
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import PydanticCustomError, SchemaValidator, core_schema

__all__ = ["strictly"]

_NO_SCHEMAS: Final = frozenset(
    {"metadata", "default", "ref", "config", "expected", "members", "serialization", "cls"}
)
_BY_NAME: Final = frozenset({"fields", "choices"})
"""Keys whose dict is of schemas by names of the user's, of which any may be one of the above."""

_ERRORS: Final = {"literal": "literal_error", "enum": "enum"}
"""pydantic's names for the failures of the schemas that are looked at."""


def strictly(adapter: TypeAdapter[Any]) -> Callable[[str | bytes], Any]:
    """
    What validates JSON text by the adapter's type: no coercion, no unknown key, only aliases.

    It raises ``pydantic.ValidationError``.
    """
    schema: Any = adapter.core_schema
    exact = _exact(schema)
    # Nested models have validators by now, which pydantic would take in place of their schemas.
    validator = (
        adapter.validator if exact is schema else SchemaValidator(exact, _use_prebuilt=False)
    )
    validate_json = validator.validate_json

    def validate(text: str | bytes) -> Any:
        return validate_json(text, strict=True, extra="forbid", by_alias=True, by_name=False)

    return validate


def _exact(schema: Any) -> Any:
    """A core schema whose numbers are looked at first; the same object if it names none."""
    if isinstance(schema, list | tuple):
        items = type(schema)(map(_exact, schema))
        return items if any(map(is_not, items, schema)) else schema
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") in _ERRORS:
        return _looked_at(schema)
    return _changed(schema, {key: _part(key, item) for key, item in schema.items()})


def _part(key: str, item: Any) -> Any:
    if key in _NO_SCHEMAS:
        return item
    if key in _BY_NAME and isinstance(item, dict):
        return _changed(item, {name: _exact(schema) for name, schema in item.items()})
    return _exact(item)


def _changed(old: dict[Any, Any], new: dict[Any, Any]) -> dict[Any, Any]:
    return new if any(map(is_not, new.values(), old.values())) else old


def _looked_at(schema: dict[str, Any]) -> Any:
    kind = schema["type"]
    named = schema["expected"] if kind == "literal" else schema["members"]
    values = [item.value if isinstance(item, Enum) else item for item in named]
    numbers = [value for value in values if isinstance(value, int | float)]
    if not numbers:
        return schema
    inner = {key: item for key, item in schema.items() if key != "ref"}
    return core_schema.no_info_before_validator_function(
        _only(numbers, kind), inner, ref=schema.get("ref")
    )


def _only(numbers: list[int | float], kind: str) -> Callable[[Any], Any]:
    equal = frozenset(numbers)

    def check(value: Any) -> Any:
        # What equals none is left to pydantic, or to the enum's own `_missing_`.
        is_named = isinstance(value, int | float) and value in equal
        if is_named and not any(value == it and _is_alike(value, it) for it in numbers):
            raise PydanticCustomError(_ERRORS[kind], "Not one of the allowed values")
        return value

    return check


def _is_alike(value: float, number: float) -> bool:
    """Whether JSON writes them alike; a whole number may stand for one with a point."""
    if isinstance(value, bool) or isinstance(number, bool):
        return isinstance(value, bool) and isinstance(number, bool)
    return isinstance(value, int) or isinstance(number, float)
