"""One message with a field of each kind, as a struct and as a model, and what is put into it."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import BaseModel, Field, FiniteFloat

from wskit_channels import Message
from wskit_channels.contrib.msgspec import Message as StructMessage


class Colour(Enum):
    RED = "red"


class Grade(IntEnum):
    TOP = 1


class Inner(BaseModel):
    n: int = 0


class Deep(BaseModel):
    inner: Inner = Inner()


class Cat(BaseModel):
    type: Literal["cat"]
    n: int = 0


class Dog(BaseModel):
    type: Literal["dog"]
    m: int = 0


class Form(Message, type="FORM"):
    string: str = ""
    whole: int = 0
    number: FiniteFloat = 0.0  # what every float of a struct is
    flag: bool = False
    day: date | None = None
    instant: datetime | None = None
    clock: time | None = None
    length: timedelta | None = None
    uuid: UUID | None = None
    decimal: Decimal | None = None
    colour: Colour | None = None
    grade: Grade | None = None
    choice: Literal["a", 1] | None = None
    strings: list[str] = []
    pair: tuple[int, str] | None = None
    numbers: tuple[int, ...] = ()
    several: set[int] = set()
    frozen: frozenset[int] = frozenset()
    by_name: dict[str, int] = {}
    by_day: dict[date, int] = {}
    lists: dict[str, list[int]] = {}
    nothing: None = None
    anything: Any = None
    inner: Inner = Inner()
    deep: Deep = Deep()
    inners: list[Inner] = []
    named: dict[str, Inner] = {}
    pet: Annotated[Cat | Dog, Field(discriminator="type")] | None = None
    above: Annotated[int, Field(gt=3)] = 4
    at_least: Annotated[int, Field(ge=3)] = 4
    below: Annotated[int, Field(lt=9)] = 4
    at_most: Annotated[int, Field(le=9)] = 4
    step: Annotated[int, Field(multiple_of=2)] = 4
    over: Annotated[FiniteFloat, Field(gt=3)] = 4.0
    short: Annotated[str, Field(min_length=2, max_length=3)] = "aa"
    few: Annotated[list[int], Field(min_length=1, max_length=2)] = [1]
    pattern: Annotated[str, Field(pattern="^a")] = "a"


class StructInner(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    n: int = 0


class StructDeep(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    inner: StructInner = StructInner()


class StructCat(msgspec.Struct, tag="cat", forbid_unknown_fields=True):
    n: int = 0


class StructDog(msgspec.Struct, tag="dog", forbid_unknown_fields=True):
    m: int = 0


class StructForm(StructMessage, type="FORM"):
    string: str = ""
    whole: int = 0
    number: float = 0.0
    flag: bool = False
    day: date | None = None
    instant: datetime | None = None
    clock: time | None = None
    length: timedelta | None = None
    uuid: UUID | None = None
    decimal: Decimal | None = None
    colour: Colour | None = None
    grade: Grade | None = None
    choice: Literal["a", 1] | None = None
    strings: list[str] = []
    pair: tuple[int, str] | None = None
    numbers: tuple[int, ...] = ()
    several: set[int] = set()
    frozen: frozenset[int] = frozenset()
    by_name: dict[str, int] = {}
    by_day: dict[date, int] = {}
    lists: dict[str, list[int]] = {}
    nothing: None = None
    anything: Any = None
    inner: StructInner = StructInner()
    deep: StructDeep = StructDeep()
    inners: list[StructInner] = []
    named: dict[str, StructInner] = {}
    pet: StructCat | StructDog | None = None
    above: Annotated[int, msgspec.Meta(gt=3)] = 4
    at_least: Annotated[int, msgspec.Meta(ge=3)] = 4
    below: Annotated[int, msgspec.Meta(lt=9)] = 4
    at_most: Annotated[int, msgspec.Meta(le=9)] = 4
    step: Annotated[int, msgspec.Meta(multiple_of=2)] = 4
    over: Annotated[float, msgspec.Meta(gt=3)] = 4.0
    short: Annotated[str, msgspec.Meta(min_length=2, max_length=3)] = "aa"
    few: Annotated[list[int], msgspec.Meta(min_length=1, max_length=2)] = msgspec.field(
        default_factory=lambda: [1]
    )
    pattern: Annotated[str, msgspec.Meta(pattern="^a")] = "a"


# fmt: off
VALUES = [
    '"1"', "1", "2", "3", "9", "10", "-0", "1.0", "1.5", "1e2", "true", "false", "null",
    '""', '"a"', '"b"', '"aaaa"', '"red"', '"RED"',
    "NaN", "Infinity", "1e999", "-1e999", '"NaN"', '"Infinity"', '"\\u004eaN"', '"\\ud800"',
    "9" * 400, "9" * 5000,
    '"tomorrow"', '"2024-02-29"', '"2024-02-30"', '"2024-02-29T12:30:00Z"',
    '"2024-02-29T12:30:00"', '"12:30:00"', '"25:00:00"', '"PT1H"', '"1.50"',
    '"12345678-1234-5678-1234-567812345678"',
    "[]", '["1"]', "[1]", '[1,"a"]', '[1,"a",1]', '["a",1]', "[1,2,3]", "[true]",
    '[{"n":1},{"n":"1"}]', '[{"n":1},{"more":2}]',
    "{}", '{"n":1}', '{"n":"1"}', '{"n":true}', '{"more":1}',
    '{"inner":{"more":1}}', '{"inner":{"n":1.5}}',
    '{"x":1,"y":true}', '{"x":[1,"2"]}', '{"x":[1],"y":[2,"2"],"z":["3"]}',
    '{"a":{"n":1},"b":{"n":"x"},"c":{"n":2}}', '{"a":{"n":1},"b":{"more":"x"}}',
    '{"2024-02-29":1}', '{"2024-02-29":1,"tomorrow":1}', '{"2024-02-29":"x"}',
    '{"type":"cat"}', '{"type":"cat","n":2}', '{"type":"cow"}', '{"type":1}', '{"n":1,"n":"1"}',
    '{"n":"1","n":1}',
    "[" * 150 + "]" * 150, "[" * 190 + "]" * 190, "[" * 250 + "]" * 250, "[" * 5000 + "]" * 5000,
]
# fmt: on
