"""
Whether one JSON Schema takes all that another takes, and where it does not.

Exact for what this package writes: objects, arrays and tuples, dicts, unions, literals,
bounds and references, recursive ones too. Two patterns or formats that differ are taken to
be narrower, since nobody can tell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

__all__ = ["Comparison", "Document", "Problem"]

Schema: TypeAlias = Any
Document: TypeAlias = Mapping[str, Any]
"""What references, which begin with ``#/``, lead into."""

ANNOTATIONS: Final = frozenset(
    {"title", "description", "default", "examples", "deprecated", "discriminator", "$comment"}
)
LOWER_BOUNDS: Final = ("minLength", "minItems", "minProperties")
UPPER_BOUNDS: Final = ("maxLength", "maxItems", "maxProperties")
AS_IT_IS: Final = ("pattern", "format", "contentEncoding", "contentMediaType", "uniqueItems")
"""Keywords that only narrow: the wider side has none, or the same."""
UNDERSTOOD: Final = frozenset(
    {
        *LOWER_BOUNDS,
        *UPPER_BOUNDS,
        *AS_IT_IS,
        "type",
        "const",
        "minimum",
        "exclusiveMinimum",
        "maximum",
        "exclusiveMaximum",
        "multipleOf",
        "properties",
        "required",
        "additionalProperties",
        "propertyNames",
        "items",
        "additionalItems",
    }
)
ANYTHING: Final[dict[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Problem:
    """One place where something is taken by one schema and not by the other."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """
    Looks for values of a ``narrow`` schema that a ``wide`` one refuses.

    ``wide_is_new`` says which of the two is the later version, for the words. With
    ``reads`` the wide side is a client that reads: it passes over fields that it does not
    know, and misses every field that is gone. With ``lists`` all differences in fields are
    told, whoever they harm.
    """

    wide: Document
    narrow: Document
    wide_is_new: bool
    reads: bool = False
    lists: bool = False

    def problems(self, wide: Schema, narrow: Schema, path: str = "") -> list[Problem]:
        """Where ``wide`` refuses what ``narrow`` takes; none if it takes it all."""
        return list(_Walk(self).schema(wide, narrow, path))


class _Walk:
    """One comparison under way."""

    def __init__(self, comparison: Comparison) -> None:
        self._as = comparison
        # Pairs under way, or found right: recursion ends there. Kept by their ids, alive.
        self._assumed: dict[tuple[int, int], tuple[Any, Any]] = {}

    def schema(self, wide: Schema, narrow: Schema, path: str) -> Iterator[Problem]:
        wide_kinds = list(_alternatives(wide, self._as.wide))
        narrow_kinds = list(_alternatives(narrow, self._as.narrow))
        if any(kind == ANYTHING for kind in wide_kinds):
            return
        for kind in narrow_kinds:
            yield from self._one_kind(wide_kinds, kind, path, alone=len(narrow_kinds) == 1)

    def _one_kind(
        self, wide_kinds: list[Any], kind: Any, path: str, *, alone: bool
    ) -> Iterator[Problem]:
        nearest: list[Problem] | None = None
        for other in wide_kinds:
            before = dict(self._assumed)
            found = list(self._plain(other, kind, path))
            if not found:
                return
            self._assumed = before
            if _akin(other, kind, self._as) and (nearest is None or len(found) < len(nearest)):
                nearest = found
        if nearest is not None:
            yield from nearest
        elif alone and len(wide_kinds) == 1:
            yield from self._plain(wide_kinds[0], kind, path)
        elif kind.get("type") != "boolean" or not _has_both_booleans(wide_kinds):
            yield Problem(path, f"{_told(kind)} is {'gone' if self._as.wide_is_new else 'new'}")

    def _changed(self, path: str, what: str, wide: Any, narrow: Any) -> Problem:
        old, new = (narrow, wide) if self._as.wide_is_new else (wide, narrow)
        return Problem(path, f"{what} was {old}, is {new}")

    # -- two schemas that are no unions

    def _plain(self, wide: Any, narrow: Any, path: str) -> Iterator[Problem]:
        if "const" in wide or "const" in narrow:
            if not _takes_literal(wide, narrow):
                yield self._changed(path, "value", _told(wide), _told(narrow))
            return
        kinds = (wide.get("type"), narrow.get("type"))
        if wide.get("type") is not None and kinds[0] != kinds[1] and kinds != ("number", "integer"):
            yield self._changed(path, "type", _told(wide), _told(narrow))
            return
        yield from self._bounds(wide, narrow, path)
        for keyword in sorted((wide.keys() | narrow.keys()) - UNDERSTOOD - ANNOTATIONS):
            if not keyword.startswith("x-") and wide.get(keyword) != narrow.get(keyword):
                yield Problem(path, f"{keyword} has changed")
        if "object" in kinds:
            yield from self._object(wide, narrow, path)
        if "array" in kinds:
            yield from self._array(wide, narrow, path)

    def _bounds(self, wide: Any, narrow: Any, path: str) -> Iterator[Problem]:
        for keyword in AS_IT_IS:
            if wide.get(keyword) and wide[keyword] != narrow.get(keyword):
                yield self._keyword(path, keyword, wide, narrow)
        for keyword in LOWER_BOUNDS:
            if wide.get(keyword, 0) > narrow.get(keyword, 0):
                yield self._keyword(path, keyword, wide, narrow)
        for keyword in UPPER_BOUNDS:
            if wide.get(keyword, math.inf) < narrow.get(keyword, math.inf):
                yield self._keyword(path, keyword, wide, narrow)
        beyond = {
            "minimum": _lower(wide) > _lower(narrow),
            "maximum": _upper(wide) < _upper(narrow),
        }
        for name in (name for name, differs in beyond.items() if differs):
            yield self._changed(path, name, _told_bound(wide, name), _told_bound(narrow, name))
        step = wide.get("multipleOf")
        if step and (not narrow.get("multipleOf") or narrow["multipleOf"] % step):
            yield self._keyword(path, "multipleOf", wide, narrow)

    def _keyword(self, path: str, keyword: str, wide: Any, narrow: Any) -> Problem:
        values = (json.dumps(one[keyword]) if keyword in one else "free" for one in (wide, narrow))
        return self._changed(path, keyword, *values)

    # -- objects

    def _object(self, wide: Any, narrow: Any, path: str) -> Iterator[Problem]:
        pair = id(wide), id(narrow)
        if pair in self._assumed:
            return
        self._assumed[pair] = wide, narrow
        theirs, ours = wide.get("properties", {}), narrow.get("properties", {})
        for key, schema in theirs.items():
            at = f"{path}.{key}" if path else key
            needed = key in wide.get("required", ())
            if key in ours:
                if needed and key not in narrow.get("required", ()):
                    yield self._changed(at, "it", "required", "optional")
                yield from self.schema(schema, ours[key], at)
            elif needed or self._as.reads or self._as.lists:
                yield self._field(at, needed, added=self._as.wide_is_new)
        yield from self._other_keys(wide, narrow, path)

    def _other_keys(self, wide: Any, narrow: Any, path: str) -> Iterator[Problem]:
        """Keys of the narrow side that the wide one does not name."""
        rest = wide.get("additionalProperties", True)
        named = wide.get("properties", {})
        for key, schema in narrow.get("properties", {}).items():
            if key in named:
                continue
            at = f"{path}.{key}" if path else key
            if (rest is False and not self._as.reads) or self._as.lists:
                needed = key in narrow.get("required", ())
                yield self._field(at, needed, added=not self._as.wide_is_new)
            elif rest is not False:
                yield from self.schema(rest, schema, at)
        any_key = f"{path}[key]"
        ours = narrow.get("additionalProperties", True)
        if rest is False:
            if ours is not False and not (self._as.reads and named):
                yield self._changed(any_key, "it", "refused", "allowed")
        elif ours is not False:
            yield from self.schema(rest, ours, any_key)
            names = wide.get("propertyNames", True), narrow.get("propertyNames", True)
            yield from self.schema(*names, f"{path}[key name]")

    def _field(self, path: str, required: bool, *, added: bool) -> Problem:
        word = "required" if required else "optional"
        return Problem(path, f"{word} field added" if added else "field removed")

    # -- arrays

    def _array(self, wide: Any, narrow: Any, path: str) -> Iterator[Problem]:
        prefixes = [len(_prefix(one)) for one in (wide, narrow)]
        most = narrow.get("maxItems", math.inf)
        for index in range(max(prefixes)):
            if index < most:
                yield from self._item(wide, narrow, index, f"{path}[{index}]")
        if max(prefixes) < most:
            yield from self._item(wide, narrow, max(prefixes), f"{path}[]")

    def _item(self, wide: Any, narrow: Any, index: int, path: str) -> Iterator[Problem]:
        theirs, ours = _item_at(wide, index), _item_at(narrow, index)
        if theirs is False and ours is not False:
            yield self._changed(path, "it", "refused", "allowed")
        elif ours is not False:
            yield from self.schema(theirs, ours, path)


def _reference(schema: Schema) -> str:
    found = schema.get("$ref") if isinstance(schema, dict) else None
    if isinstance(found, str):
        return found
    parts = schema.get("allOf") if isinstance(schema, dict) else None
    return _reference(parts[0]) if isinstance(parts, list) and len(parts) == 1 else ""


def _resolved(reference: str, document: Document) -> Schema:
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def _alternatives(schema: Schema, document: Document) -> Iterator[dict[str, Any]]:
    """The members of a union, each literal one of them; a schema that is none is its own."""
    if schema is False:
        return
    if not isinstance(schema, dict):
        yield ANYTHING
    elif reference := _reference(schema):
        yield from _alternatives(_resolved(reference, document), document)
    elif union := schema.get("anyOf") or schema.get("oneOf"):
        for one in union:
            yield from _alternatives(one, document)
    elif "enum" in schema:
        for value in schema["enum"]:
            yield from _alternatives({"const": value}, document)
    elif "const" in schema:
        value = schema["const"]
        yield {"type": "null"} if value is None else {"const": value}
    elif isinstance(schema.get("type"), list):
        yield from ({**schema, "type": kind} for kind in schema["type"])
    else:
        yield schema if schema.keys() - ANNOTATIONS else ANYTHING


def _akin(wide: Any, narrow: Any, comparison: Comparison) -> bool:
    """Whether two members of unions look like one that has changed."""
    if "const" in wide or "const" in narrow or wide.get("type") != narrow.get("type"):
        return False
    if wide.get("type") != "object":
        return True
    theirs, ours = wide.get("properties", {}), narrow.get("properties", {})
    for key in theirs.keys() & ours.keys():
        values = (
            list(_alternatives(theirs[key], comparison.wide)),
            list(_alternatives(ours[key], comparison.narrow)),
        )
        told_apart = all(kind.keys() == {"const"} for kinds in values for kind in kinds)
        if told_apart and not any(kind in values[0] for kind in values[1]):
            return False
    return True


def _same(one: Any, other: Any) -> bool:
    """Equality as JSON has it: true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _takes_literal(wide: Any, narrow: Any) -> bool:
    if "const" not in narrow:
        return False
    value = narrow["const"]
    if "const" in wide:
        return _same(wide["const"], value)
    undecided = (*AS_IT_IS, "multipleOf", "properties", "items")
    if not _kind_of(value, wide.get("type")) or any(keyword in wide for keyword in undecided):
        return False
    return _within(wide, value)


def _kind_of(value: Any, kind: Any) -> bool:
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "boolean": (bool,),
        "integer": (int,),
        "number": (int, float),
        "array": (list,),
        "object": (dict,),
    }
    right = isinstance(value, kinds.get(str(kind), ()))
    return kind is None or (right and (kind == "boolean" or not isinstance(value, bool)))


def _within(schema: Any, value: Any) -> bool:
    if isinstance(value, str):
        return bool(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf))
    if isinstance(value, int | float) and not isinstance(value, bool):
        exact = {"minimum": value, "maximum": value, "type": schema.get("type")}
        return bool(_lower(schema) <= _lower(exact) and _upper(schema) >= _upper(exact))
    return True


def _has_both_booleans(kinds: Iterable[Any]) -> bool:
    values = [kind["const"] for kind in kinds if "const" in kind]
    return any(value is True for value in values) and any(value is False for value in values)


def _lower(schema: Any) -> tuple[float, bool]:
    """The least number, and whether it is itself left out; an integer's is always taken in."""
    if "exclusiveMinimum" in schema:
        bound = schema["exclusiveMinimum"]
        exclusive = (bound + 1, False) if _is_whole(schema, bound) else (bound, True)
        return max(exclusive, (schema.get("minimum", -math.inf), False))
    return schema.get("minimum", -math.inf), False


def _upper(schema: Any) -> tuple[float, bool]:
    """The same for the greatest; the second part is whether it is taken in."""
    if "exclusiveMaximum" in schema:
        bound = schema["exclusiveMaximum"]
        exclusive = (bound - 1, True) if _is_whole(schema, bound) else (bound, False)
        return min(exclusive, (schema.get("maximum", math.inf), True))
    return schema.get("maximum", math.inf), True


def _is_whole(schema: Any, bound: Any) -> bool:
    return schema.get("type") == "integer" and isinstance(bound, int)


def _told_bound(schema: Any, name: str) -> str:
    exclusive = schema.get(f"exclusive{name.capitalize()}")
    if exclusive is not None:
        return f"{exclusive} (itself left out)"
    return str(schema.get(name, "free"))


def _prefix(schema: Any) -> list[Any]:
    items = schema.get("items", True)
    return items if isinstance(items, list) else []


def _item_at(schema: Any, index: int) -> Any:
    prefix = _prefix(schema)
    if index < len(prefix):
        return prefix[index]
    return schema.get("additionalItems", True) if prefix else schema.get("items", True)


def _told(schema: Any) -> str:
    """A schema in a word or two."""
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    return str(schema.get("type", "anything"))
