"""
Validation from JSON text, as strict as ``PROTOCOL 1`` asks.

pydantic's strict mode is that, but for one thing: it looks numbers of literals and enums
up by ``==``, to which ``true``, ``1`` and ``1.0`` are the same, so that a field of
``Literal[1] | bool`` would turn ``true`` into 1. Here such numbers are looked at first.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, Flag
from numbers import Number
from operator import is_not
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import PydanticCustomError, SchemaError, SchemaValidator, core_schema

__all__ = ["BY_NAME", "strictly"]

_SCHEMAS: Final = frozenset(
    {
        "schema",
        "items_schema",
        "values_schema",
        "extras_schema",
        "definitions",
        "steps",
        "lax_schema",
        "strict_schema",
        "json_schema",
        "python_schema",
        "fields",
        "choices",
    }
)
"""Keys of a core schema that hold others, without keys_schema: keys are strings in JSON."""
BY_NAME: Final = frozenset({"fields", "choices"})
"""Those of them that may be dicts of schemas by names of the user's, of which any may be a key."""

_ERRORS: Final = {"literal": "literal_error", "enum": "enum"}
"""pydantic's names for the failures of the schemas that are looked at."""


def strictly(adapter: TypeAdapter[Any]) -> Callable[[str | bytes], Any]:
    """
    What validates JSON text by the adapter's type: no coercion, no unknown key, only aliases.

    It raises ``pydantic.ValidationError``. Plugins of pydantic see nothing of types that name
    numbers.

    Raises:
        TypeError: If a model has an ``__init__`` of its own, which knows none of this.
    """
    schema: Any = adapter.core_schema
    if not isinstance(schema, dict):  # it was deferred, and is built now
        schema = dict(schema)
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
    if schema.get("type") == "model" and schema.get("custom_init"):
        raise TypeError(
            f"{schema['cls'].__qualname__} has an __init__ of its own, by which pydantic validates "
            "laxly, whatever else is asked for. Write a validator instead, or model_post_init()."
        )
    return _changed(schema, {key: _part(key, item) for key, item in schema.items()})


def _part(key: str, item: Any) -> Any:
    if key not in _SCHEMAS:
        return item
    if key == "choices" and isinstance(item, list):
        choices = [_choice(choice) for choice in item]
        return choices if any(map(is_not, choices, item)) else item
    if key in BY_NAME and isinstance(item, dict):
        return _changed(item, {name: _exact(schema) for name, schema in item.items()})
    return _exact(item)


def _choice(choice: Any) -> Any:
    """One choice of a union, under the name that paths of issues have it by."""
    schema = choice[0] if isinstance(choice, tuple) else choice
    exact = _exact(schema)
    if exact is schema:
        return choice
    if isinstance(choice, tuple):
        return (exact, *choice[1:])
    try:
        return exact, SchemaValidator(schema).title
    except SchemaError:  # it refers to definitions, of which there are none here
        return exact


def _changed(old: dict[Any, Any], new: dict[Any, Any]) -> dict[Any, Any]:
    return new if any(map(is_not, new.values(), old.values())) else old


def _looked_at(schema: dict[str, Any]) -> Any:
    kind = schema["type"]
    named = schema["expected"] if kind == "literal" else schema["members"]
    values = [item.value if isinstance(item, Enum) else item for item in named]
    numbers = [value for value in values if isinstance(value, Number)]
    if not numbers:
        return schema
    is_flag = kind == "enum" and issubclass(schema["cls"], Flag)
    inner = {key: item for key, item in schema.items() if key != "ref"}
    return core_schema.no_info_before_validator_function(
        _only(numbers, kind, is_flag=is_flag), inner, ref=schema.get("ref")
    )


def _only(numbers: list[Any], kind: str, *, is_flag: bool) -> Callable[[Any], Any]:
    equal = frozenset(numbers)

    def check(value: Any) -> Any:
        # What equals none is left to pydantic, or to the enum's own `_missing_`. A flag's takes
        # every number that its members add up to.
        if isinstance(value, int | float):
            if is_flag:
                is_wrong = isinstance(value, bool | float)
            else:
                is_wrong = value in equal and not any(
                    value == it and _is_alike(value, it) for it in numbers
                )
            if is_wrong:
                raise PydanticCustomError(_ERRORS[kind], "Not one of the allowed values")
        return value

    return check


def _is_alike(value: float, number: Any) -> bool:
    """Whether JSON writes them alike; a whole number may stand for one with a point."""
    if isinstance(value, bool) or isinstance(number, bool):
        return isinstance(value, bool) and isinstance(number, bool)
    return isinstance(value, int) or not isinstance(number, int)
