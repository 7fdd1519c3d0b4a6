"""
JSON Schemas of what goes over the wire, all classes of a contract in one go.

Made together, they share their definitions, and pydantic gives each a name of its own:
two classes of one name get their modules in front, and a class whose values read and
written differ becomes an ``-Input`` and an ``-Output``. What a client sends is described
as it is validated, what it is sent as it is serialized; both by alias.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from wskit_channels.codegen.docs import field_docs

__all__ = [
    "REF",
    "ContractError",
    "Give",
    "JsonSchema",
    "Mode",
    "Wanted",
    "json_schemas",
    "reachable",
]

JsonSchema: TypeAlias = dict[str, Any]
Mode: TypeAlias = Literal["validation", "serialization"]

REF = "#/$defs/"
"""What every reference to a definition begins with."""


class ContractError(TypeError):
    """A router whose contract cannot be written down; the text says what to change."""


Give: TypeAlias = Callable[[Any, Mode], JsonSchema | None]
"""
Makes the JSON Schema (2020-12) of a kind, with what it refers to in its ``$defs``.

None for a message without payload. A validator of another library has this as a method
``json_schema(kind, mode)``; kinds are message classes, meta classes and kinds of progress.
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One schema that is asked for."""

    key: Hashable
    name: str
    """What the developer knows it by."""

    mode: Mode
    kind: Any
    """A class, or any annotation."""

    give: Give | None
    """What makes the schema; None for pydantic."""


class _Generator(GenerateJsonSchema):
    """pydantic's generator, taught what this library does on its way in and out."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        # A message goes out with all its fields, those that have defaults included.
        if self.mode == "serialization" and field["type"] != "typed-dict-field":
            return field.get("serialization_exclude_if") is None
        return super().field_is_required(field, total)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if self.mode == "serialization":  # whoever reads need not know what was left out
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # "Room Id" says no more than room_id

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = self._closed(super().model_schema(schema))
        _describe(made, schema["cls"])
        return made

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        return self._closed(super().dataclass_schema(schema))

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        return self._closed(super().typed_dict_schema(schema))

    def _closed(self, made: JsonSchemaValue) -> JsonSchemaValue:
        """Unknown keys are refused at every level, whatever a class says of itself."""
        if "properties" in made:
            if self.mode == "validation":
                made["additionalProperties"] = False
            else:
                made.setdefault("additionalProperties", False)
        return made


def _describe(made: JsonSchemaValue, cls: type[BaseModel]) -> None:
    """Give fields the docstrings below them, where they have no description of their own."""
    for name, doc in field_docs(cls).items():
        field = cls.model_fields.get(name)
        if field is None or field.description is not None:
            continue
        for key in (field.alias, field.validation_alias, field.serialization_alias, name):
            if isinstance(key, str) and key in made.get("properties", {}):
                made["properties"][key] = {**made["properties"][key], "description": doc}
                break


def json_schemas(
    wanted: Iterable[Wanted],
) -> tuple[dict[Hashable, JsonSchema], dict[str, JsonSchema]]:
    """
    Schemas by their keys, and the definitions that they refer to.

    A key is missing where there is no payload.

    Raises:
        ContractError: If a class has no JSON Schema.
    """
    foreign: dict[Hashable, JsonSchema] = {}
    ours: list[Wanted] = []
    for one in wanted:
        if one.give is None:
            ours.append(one)
        elif (given := one.give(one.kind, one.mode)) is not None:
            foreign[one.key] = given
    made, shared = TypeAdapter.json_schemas(map(_entry, ours), schema_generator=_Generator)
    definitions: dict[str, JsonSchema] = dict(shared.get("$defs", {}))
    found: dict[Hashable, JsonSchema] = {key: schema for (key, _), schema in made.items()}
    for key, schema in foreign.items():
        found[key] = _merged(schema, definitions)
    return found, definitions


def _entry(one: Wanted) -> tuple[Hashable, Mode, TypeAdapter[Any]]:
    """What pydantic makes a schema of; tried alone first, so that an error names the class."""
    try:
        entry = (one.key, one.mode, TypeAdapter(one.kind))
        TypeAdapter.json_schemas([entry], schema_generator=_Generator)
    except PydanticUserError as error:
        raise ContractError(
            f"{one.name} has no JSON Schema: {error.message} "
            "Annotate the field with pydantic's WithJsonSchema."
        ) from error
    return entry


def _merged(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    """Move a schema's own definitions to the shared ones, renamed where a name is taken."""
    own: Mapping[str, JsonSchema] = schema.get("$defs", {})
    others = _unlike(own, definitions)
    for number in itertools.count(1):
        suffix = "" if number == 1 else str(number)
        names = {REF + name: REF + name + suffix for name in others}
        bodies = {
            names.get(REF + name, REF + name).removeprefix(REF): _renamed(body, names)
            for name, body in own.items()
        }
        if all(definitions.get(name, body) == body for name, body in bodies.items()):
            break
    definitions.update(bodies)
    rest = {key: value for key, value in schema.items() if key not in ("$defs", "$schema")}
    renamed: JsonSchema = _renamed(rest, names)
    return renamed


def _unlike(own: Mapping[str, JsonSchema], shared: Mapping[str, JsonSchema]) -> set[str]:
    """Definitions that mean another thing than the shared one of their name."""
    found = {name for name in own if name in shared and shared[name] != own[name]}
    while more := {
        name
        for name in own.keys() - found
        if name in shared and found.intersection(_references(own[name]))
    }:
        found |= more
    return found


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    if isinstance(schema, dict):
        return {
            key: names.get(value, value)
            if key == "$ref" and isinstance(value, str)
            else _renamed(value, names)
            for key, value in schema.items()
        }
    if isinstance(schema, list):
        return [_renamed(item, names) for item in schema]
    return schema


def reachable(
    schemas: Iterable[Any], definitions: Mapping[str, JsonSchema]
) -> dict[str, JsonSchema]:
    """The definitions that these schemas refer to, also by way of others."""
    seen: set[str] = set()
    waiting = [name for schema in schemas for name in _references(schema)]
    while waiting:
        name = waiting.pop()
        if name not in seen and name in definitions:
            seen.add(name)
            waiting += _references(definitions[name])
    return {name: definitions[name] for name in sorted(seen)}


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(REF)
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)
