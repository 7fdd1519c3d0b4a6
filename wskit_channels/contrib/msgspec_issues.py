"""
What msgspec says of a frame that it refuses, as an issue of ours.

msgspec stops at the first fault and says it in a sentence, which may hold what
the client sent. Path and kind are read from it, and nothing else is passed on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from msgspec import inspect

from wskit_channels.protocol.validation import Issue, issue_at

__all__ = ["explain"]

Path = list[str | int]
Complaint = Callable[[Any], str | None]
"""Gives msgspec's sentence on a frame that was parsed, or None where it is right."""

_AT = " - at `"
_UNKNOWN = "Object contains unknown field `"
_MISSING = "Object missing required field `"
_IN_KEY = "key` in `"
_SOME_KEY = "[...]"
_INDEX = re.compile(r"\[(\d+)\]")
_BOUND = re.compile(r"Expected `(\w+)` (of length )?(>=|<=|>|<) ")
_EXACT_LENGTH = re.compile(r"Expected `array` of length (\d+)")

_BY_KIND: dict[type[Any], str] = {
    inspect.IntType: "int_type",
    inspect.StrType: "string_type",
    inspect.FloatType: "float_type",
    inspect.BoolType: "bool_type",
    inspect.NoneType: "none_required",
    inspect.DateType: "date_type",
    inspect.DateTimeType: "datetime_type",
    inspect.TimeType: "time_type",
    inspect.TimeDeltaType: "time_delta_type",
    inspect.UUIDType: "uuid_type",
    inspect.DecimalType: "decimal_type",
    inspect.BytesType: "bytes_type",
    inspect.EnumType: "enum",
    inspect.LiteralType: "literal_error",
    inspect.ListType: "list_type",
    inspect.SetType: "set_type",
    inspect.FrozenSetType: "frozen_set_type",
    inspect.DictType: "dict_type",
    inspect.StructType: "model_type",
    inspect.TupleType: "tuple_type",
    inspect.VarTupleType: "tuple_type",
    inspect.NamedTupleType: "tuple_type",
}
_BY_BEGINNING = {
    "Invalid RFC3339 encoded datetime": "datetime_parsing",
    "Invalid RFC3339 encoded date": "date_parsing",
    "Invalid RFC3339 encoded time": "time_parsing",
    "Invalid ISO8601 duration": "time_delta_parsing",
    "Duration is out of range": "time_delta_parsing",
    "Invalid UUID": "uuid_parsing",
    "Invalid decimal string": "decimal_parsing",
    "Invalid base64": "bytes_invalid_encoding",
    "Integer value out of range": "int_parsing_size",
    "Expected `str` matching": "string_pattern_mismatch",
    "Expected `int` that's a multiple of": "multiple_of",
    "Expected `float` that's a multiple of": "multiple_of",
}
_BY_BOUND = {
    ">": "greater_than",
    ">=": "greater_than_equal",
    "<": "less_than",
    "<=": "less_than_equal",
}


def explain(said: str, envelope: dict[str, Any], frame: Any, complaint: Complaint) -> Issue:
    """The issue of a frame, of the class that ``frame`` describes, which msgspec refused."""
    try:
        return _explain(said, _Place(envelope, frame, complaint))
    except (LookupError, ValueError, TypeError):  # another release may word it otherwise
        return issue_at([], "invalid")


def _explain(said: str, place: _Place) -> Issue:
    what, _, where = said.rpartition(_AT)
    if not what:
        what, where = said, "$`"
    in_key = where.startswith(_IN_KEY)
    place.follow(where.removeprefix(_IN_KEY)[1:-1], said)
    if in_key:
        place.enter_some_key(said, of_key=True)
    if place.is_tag:
        return issue_at(place.path[:-1], "union_tag_invalid")
    for beginning in (_UNKNOWN, _MISSING):
        if what.startswith(beginning):
            return _issue_of_key(place, beginning, what[len(beginning) : -1])
    if found := _EXACT_LENGTH.fullmatch(what):
        length = len(place.value)
        if length < int(found[1]):
            return issue_at([*place.path, length], "missing")
        return issue_at(place.path, "too_long")
    return issue_at(place.path, _kind(what, place.kinds))


def _issue_of_key(place: _Place, beginning: str, name: str) -> Issue:
    if beginning == _UNKNOWN:
        return issue_at([*place.path, name], "extra_forbidden")
    if name in place.tags:
        return issue_at(place.path, "union_tag_not_found")
    return issue_at([*place.path, name], "missing")


class _Place:
    """A place in a frame, on the way to where msgspec stopped."""

    def __init__(self, envelope: dict[str, Any], frame: Any, complaint: Complaint) -> None:
        self.path: Path = []
        self.value: Any = envelope
        self.kinds = list(_plain_kinds(frame))
        self.is_tag = False
        self._envelope = envelope
        self._complaint = complaint

    def follow(self, steps: str, said: str) -> None:
        """Go along a path as msgspec writes it."""
        while steps:
            if steps.startswith(_SOME_KEY):
                self.enter_some_key(said)
                steps = steps.removeprefix(_SOME_KEY)
            elif index := _INDEX.match(steps):
                position = int(index[1])
                self._enter(position, (_items(kind, position) for kind in self.kinds))
                steps = steps[index.end() :]
            else:
                name = self._field_named(steps[1:])
                self._enter(name, (_field(kind, name) for kind in self.kinds))
                steps = steps[1 + len(name) :]

    def _enter(self, part: str | int, kinds: Iterable[Sequence[Any]]) -> None:
        tags = self.tags
        self.kinds = [plain for few in kinds for one in few for plain in _plain_kinds(one)]
        self.is_tag = part in tags and not self.kinds
        self.value = self.value[part]
        self.path.append(part)

    @property
    def tags(self) -> set[str]:
        """The keys that tell the classes apart which may stand here."""
        return {kind.tag_field for kind in self.kinds if getattr(kind, "tag_field", None)}

    def _field_named(self, steps: str) -> str:
        """The field that the steps begin with; a declared name may hold dots and brackets."""
        fields = [field for kind in self.kinds for field in getattr(kind, "fields", ())]
        names: set[str] = {field.encode_name for field in fields}
        names |= self.tags
        fitting = (
            name
            for name in names
            if steps.startswith(name) and steps[len(name) :][:1] in ("", ".", "[")
        )
        return max(fitting, key=len)

    def enter_some_key(self, said: str, *, of_key: bool = False) -> None:
        """
        Go on to the entry of an object that is wrong, or to its key.

        msgspec does not tell which it is: cut the object down until one is left that fails.
        """
        entries = list(self.value.items())
        while len(entries) > 1:
            half = entries[: len(entries) // 2]
            self._envelope = _replaced(self._envelope, self.path, dict(half))
            entries = half if self._complaint(self._envelope) == said else entries[len(half) :]
        self.value = dict(entries)
        self._envelope = _replaced(self._envelope, self.path, self.value)
        part = "key_type" if of_key else "value_type"
        self._enter(entries[0][0], ([getattr(kind, part, _ANY)] for kind in self.kinds))
        if of_key:
            self.path.append("[key]")


_ANY = inspect.AnyType()


def _replaced(tree: Any, path: Sequence[str | int], value: Any) -> Any:
    """A copy of a tree with another value at one place."""
    if not path:
        return value
    copy: Any = tree.copy()
    copy[path[0]] = _replaced(tree[path[0]], path[1:], value)
    return copy


def _plain_kinds(kind: Any) -> Iterator[Any]:
    """What a kind may be, without what only wraps it."""
    if isinstance(kind, inspect.Metadata):
        yield from _plain_kinds(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _plain_kinds(one)
    else:
        yield kind


def _items(kind: Any, position: int) -> Sequence[Any]:
    if isinstance(kind, inspect.TupleType):
        return kind.item_types[position : position + 1]
    return [kind.item_type] if hasattr(kind, "item_type") else []


def _field(kind: Any, name: str) -> Sequence[Any]:
    return [field.type for field in getattr(kind, "fields", ()) if field.encode_name == name]


def _kind(what: str, kinds: Sequence[Any]) -> str:
    """The kind of failure in pydantic's words."""
    for beginning, kind in _BY_BEGINNING.items():
        if what.startswith(beginning):
            return kind
    if what.startswith("Number out of range") and any(map(_is_number, kinds)):
        return "finite_number"
    if found := _BOUND.match(what):
        return _bound(found, kinds)
    wanted = {_BY_KIND.get(type(kind), "invalid") for kind in kinds}
    if len(wanted) > 1:
        wanted.discard("none_required")
    if wanted == {"model_type"} and any(kind.tag_field for kind in kinds if hasattr(kind, "cls")):
        return "dict_type"  # where a tag decides
    return wanted.pop() if len(wanted) == 1 else "union_type"


def _is_number(kind: Any) -> bool:
    return isinstance(kind, inspect.FloatType | inspect.AnyType)


def _bound(found: re.Match[str], kinds: Sequence[Any]) -> str:
    expected, is_length, sign = found.groups()
    if is_length:
        ending = "short" if sign == ">=" else "long"
        return f"{'string_' if expected == 'str' else ''}too_{ending}"
    if any(getattr(kind, _EXCLUSIVE.get(sign, ""), None) is not None for kind in kinds):
        sign = sign[0]
    return _BY_BOUND[sign]


_EXCLUSIVE = {">=": "gt", "<=": "lt"}
"""For integers msgspec turns > 3 into >= 4."""
