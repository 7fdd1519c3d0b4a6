"""
TypeScript types of JSON Schemas.

What a schema says beyond TypeScript's types (lengths, patterns, formats) is left to the
server to check; what it does not say at all becomes ``unknown``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from wskit_channels.codegen.schemas import REF, JsonSchema

__all__ = ["TypeNames", "comment", "declaration", "literal", "property_name", "type_of_schema"]

INDENT = "  "

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_WORDS = """
    Array AsyncIterable Boolean Date Error Function Map Number Object Omit Partial Pick Promise
    Readonly Record Required Set String Symbol any as async await bigint boolean break case catch
    class const continue debugger default delete do else enum export extends false finally for
    function if implements import in instanceof interface let never new null number object of
    package private protected public return static string super switch symbol this throw true
    try type typeof undefined unknown var void while with yield
"""
_TAKEN = frozenset(_WORDS.split())
"""Names that a type of ours must not have, or generated code would mean something else."""

_SIMPLE = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "null": "null",
}


class TypeNames:
    """TypeScript names of definitions, each given once."""

    def __init__(self, definitions: Iterable[str], taken: Iterable[str] = ()) -> None:
        used = {*_TAKEN, *taken}
        self._names: dict[str, str] = {}
        for definition in sorted(definitions, key=lambda name: (_plain(name) != name, name)):
            name = base = _plain(definition)
            number = 2
            while name in used:
                name, number = f"{base}{number}", number + 1
            used.add(name)
            self._names[definition] = name

    def __getitem__(self, definition: str) -> str:
        return self._names[definition]

    def of(self, reference: str) -> str:
        return self._names[reference.removeprefix(REF)]


def _plain(definition: str) -> str:
    """A definition's name as an identifier: ``Page_Line_`` is ``PageLine``."""
    if _IDENTIFIER.fullmatch(definition) and not re.search(r"__|_$", definition):
        return definition
    parts = re.findall(r"[A-Za-z0-9$]+", definition)
    name = "".join(part[0].upper() + part[1:] for part in parts)
    return name if _IDENTIFIER.match(name) else f"Model{name}"


def literal(value: Any) -> str:
    """A JSON value as a TypeScript literal type."""
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        inner = (f"{property_name(key)}: {literal(item)}" for key, item in value.items())
        return f"{{ {'; '.join(inner)} }}"
    return (
        json.dumps(value, ensure_ascii=False)
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def property_name(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else literal(name)


def comment(text: str, indent: str = "") -> str:
    """A doc comment with its line end; nothing where there is nothing to say."""
    if not text.strip():
        return ""
    lines = [line.rstrip() for line in text.strip().replace("*/", "*\\/").splitlines()]
    if len(lines) == 1:
        return f"{indent}/** {lines[0]} */\n"
    body = "".join(f"{indent} * {line}".rstrip() + "\n" for line in lines)
    return f"{indent}/**\n{body}{indent} */\n"


def declaration(name: str, schema: JsonSchema, names: TypeNames) -> str:
    """An exported type of a definition: an interface where it is an object of known keys."""
    doc = comment(str(schema.get("description", "")))
    if _is_record(schema) and not _index_signature(schema, names):
        return f"{doc}export interface {name} {type_of_schema(schema, names)}\n"
    return f"{doc}export type {name} = {type_of_schema(schema, names)};\n"


def type_of_schema(schema: Any, names: TypeNames, indent: str = "") -> str:
    """The type of a schema as TypeScript; ``indent`` is that of the line on which it stands."""
    if not isinstance(schema, dict):
        return "never" if schema is False else "unknown"
    if "$ref" in schema:
        return names.of(schema["$ref"])
    if "const" in schema:
        return literal(schema["const"])
    if "enum" in schema:
        return _union(map(literal, schema["enum"]))
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _union(type_of_schema(one, names, indent) for one in schema[key])
    if "allOf" in schema:
        parts = (_grouped(type_of_schema(one, names, indent)) for one in schema["allOf"])
        return " & ".join(parts) or "unknown"
    kind = schema.get("type")
    if isinstance(kind, list):
        each = ({**schema, "type": one} for one in kind)
        return _union(type_of_schema(one, names, indent) for one in each)
    if kind == "array":
        return _array(schema, names, indent)
    if kind == "object":
        return _object(schema, names, indent)
    return _SIMPLE.get(str(kind), "unknown")


def _union(members: Iterable[str]) -> str:
    kinds = list(dict.fromkeys(members))
    if "unknown" in kinds:
        return "unknown"
    # null last, as people write it
    kinds.sort(key=lambda one: one == "null")
    return " | ".join(one for one in kinds if one != "never") or "never"


def _grouped(kind: str) -> str:
    """A type as it may stand before ``[]``, ``?`` and ``&``."""
    return kind if re.fullmatch(r"[A-Za-z0-9_$]+(\[\])*", kind) else f"({kind})"


def _array(schema: JsonSchema, names: TypeNames, indent: str) -> str:
    items = schema.get("items", True)
    if "prefixItems" not in schema:
        return f"{_grouped(type_of_schema(items, names, indent))}[]"
    least = schema.get("minItems", 0)
    prefix = [_grouped(type_of_schema(one, names, indent)) for one in schema["prefixItems"]]
    parts = [one if at < least else f"{one}?" for at, one in enumerate(prefix)]
    if items is not False and schema.get("maxItems", -1) != len(prefix):
        parts.append(f"...{_grouped(type_of_schema(items, names, indent))}[]")
    return f"[{', '.join(parts)}]"


def _is_record(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object" and bool(schema.get("properties"))


def _object(schema: JsonSchema, names: TypeNames, indent: str) -> str:
    index = _index_signature(schema, names, indent)
    if not _is_record(schema):
        return index or "{ [key: string]: never }"
    required = schema.get("required", ())
    inner = indent + INDENT
    lines = ["{\n"]
    for key, value in schema["properties"].items():
        if isinstance(value, dict):
            lines.append(comment(_property_doc(value), inner))
        mark = "" if key in required else "?"
        kind = type_of_schema(value, names, inner)
        lines.append(f"{inner}{property_name(key)}{mark}: {kind};\n")
    lines.append(f"{indent}}}")
    record = "".join(lines)
    return f"{record} & {index}" if index else record


def _property_doc(schema: Mapping[str, Any]) -> str:
    doc = str(schema.get("description", ""))
    if "default" in schema and "const" not in schema:
        value = json.dumps(schema["default"], ensure_ascii=False)
        doc = f"{doc}\n\n@default {value}" if doc else f"@default {value}"
    return f"{doc}\n\n@deprecated" if schema.get("deprecated") else doc


def _index_signature(schema: JsonSchema, names: TypeNames, indent: str = "") -> str:
    """The type of keys that are not named: of a dict, and of a class that takes any more."""
    is_record = _is_record(schema)
    rest = schema.get("additionalProperties", not is_record)
    kinds = [rest, *schema.get("patternProperties", {}).values()]
    kind = _union(type_of_schema(one, names, indent) for one in kinds)
    if kind == "never":
        return ""
    if (keys := schema.get("propertyNames")) and ({"enum", "const", "$ref"} & keys.keys()):
        return f"Partial<Record<{type_of_schema(keys, names, indent)}, {kind}>>"
    # A named key would have to fit a narrower kind as well.
    return f"{{ [key: string]: {'unknown' if is_record else kind} }}"
