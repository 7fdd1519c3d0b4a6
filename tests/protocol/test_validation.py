"""What a message class lets in and out: ``protocol/validation.py``."""

import json
import math
from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from tests.helpers import named
from tests.protocol.core import (
    Anything,
    Bare,
    Note,
    Traced,
    TraceMeta,
    Weigh,
    accepted,
    at_once,
    connect,
    frame,
    in_turn,
    issues,
    strictly,
)
from wskit_channels import Message, message
from wskit_channels.protocol import strict
from wskit_channels.protocol.validation import PydanticValidator, schema_of


class Colour(Enum):
    RED = "red"


class Inner(BaseModel):
    n: int = 0


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    n: int = 0


class Deep(BaseModel):
    inner: Inner = Inner()


class Typed(TypedDict, total=False):
    n: int


@dataclass
class Record:
    n: int = 0


class Form(Message, type="FORM"):
    """One field of each kind, none of them required."""

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
    choice: Literal["a", 1] | None = None
    strings: list[str] = []
    pair: tuple[int, str] | None = None
    several: set[int] = set()
    by_name: dict[str, int] = {}
    inner: Inner = Inner()
    open: Open = Open()
    deep: Deep = Deep()
    inners: list[Inner] = []
    typed: Typed = {}
    record: Record = Record()
    either: Inner | Record | None = None


def payload_of(field: str, value: str) -> str:
    return f'{{"type":"FORM","payload":{{"{field}":{value}}}}}'


# -- coercion


STRINGS: list[tuple[str, str, Any]] = [
    ("day", "2024-02-29", date(2024, 2, 29)),
    ("instant", "2024-02-29T12:30:00Z", datetime(2024, 2, 29, 12, 30, tzinfo=UTC)),
    ("clock", "12:30:00", time(12, 30)),
    ("length", "PT1H", timedelta(hours=1)),
    ("uuid", "12345678-1234-5678-1234-567812345678", UUID(int=0x12345678123456781234567812345678)),
    ("decimal", "1.50", Decimal("1.50")),
    ("colour", "red", Colour.RED),
    ("choice", "a", "a"),
]


@pytest.mark.parametrize(("field", "text", "value"), STRINGS, ids=[row[0] for row in STRINGS])
def test_strings_become_what_the_field_says(field: str, text: str, value: Any) -> None:
    """PROTOCOL 1: strings do become dates, UUIDs, enums and decimals."""
    decoded = accepted(connect(Form), payload_of(field, f'"{text}"'))

    assert getattr(decoded.payload, field) == value
    assert type(getattr(decoded.payload, field)) is type(value)


def test_a_whole_number_is_a_number() -> None:
    """JSON has one type of number."""
    assert accepted(connect(Form), payload_of("number", "1")).payload.number == 1.0


def test_arrays_become_what_the_field_says() -> None:
    connection = connect(Form)

    assert accepted(connection, payload_of("pair", '[1,"a"]')).payload.pair == (1, "a")
    assert accepted(connection, payload_of("several", "[1,2]")).payload.several == {1, 2}


COERCIONS = [
    ("string", "1"),
    ("string", "true"),
    ("string", "null"),
    ("string", '["a"]'),
    ("whole", '"1"'),
    ("whole", "true"),
    ("whole", "1.5"),
    ("whole", '""'),
    ("whole", "null"),
    ("number", '"1.5"'),
    ("number", '"NaN"'),
    ("number", '"Infinity"'),
    ("number", "false"),
    ("flag", "1"),
    ("flag", "0"),
    ("flag", '"true"'),
    ("flag", '"yes"'),
    ("flag", "null"),
    ("day", "0"),
    ("day", "true"),
    ("day", '"tomorrow"'),
    ("instant", "1700000000"),
    ("clock", "43200"),
    ("length", "60"),
    ("uuid", "1"),
    ("uuid", '"1"'),
    ("decimal", "true"),
    ("decimal", '"NaN"'),
    ("decimal", '"Infinity"'),
    ("colour", '"RED"'),
    ("choice", '"1"'),
    ("strings", '"a"'),
    ("strings", '{"0":"a"}'),
    ("strings", "[1]"),
    ("strings", "null"),
    ("pair", '{"0":1,"1":"a"}'),
    ("pair", '["1","a"]'),
    ("several", '["1"]'),
    ("by_name", '[["a",1]]'),
    ("by_name", '{"a":"1"}'),
    ("inner", '{"n":"1"}'),
    ("inner", '{"n":true}'),
    ("inner", "[]"),
    ("inner", "null"),
    ("open", '{"n":"1"}'),
    ("deep", '{"inner":{"n":1.5}}'),
    ("inners", '[{"n":"1"}]'),
    ("typed", '{"n":"1"}'),
    ("record", '{"n":"1"}'),
    ("record", "[1]"),
    ("either", '{"n":"1"}'),
]


@pytest.mark.parametrize(("field", "value"), COERCIONS, ids=map(" ".join, COERCIONS))
def test_no_scalar_is_coerced(field: str, value: str) -> None:
    """PROTOCOL 1: no coercion across JSON types, at every level."""
    found = issues(in_turn(connect(Form), payload_of(field, value)))

    assert {tuple(issue["path"][:2]) for issue in found} == {("payload", field)}


class Grade(Enum):
    TOP = 1
    NONE = "none"


class Level(IntEnum):
    LOW = 0
    HIGH = 1

    @classmethod
    def _missing_(cls, value: object) -> "Level | None":
        return cls.HIGH if value == 2 else None


class Share(Enum):
    WHOLE = 1.0


class Price(Enum):
    ONE = Decimal(1)


class Right(IntFlag):
    READ = 1
    WRITE = 2


class Switch(TypedDict):
    kind: Literal[1]
    on: NotRequired[bool]


class Dial(BaseModel):
    kind: Literal[2] = 2
    metadata: Literal[1] = 1
    """By the name of a part of pydantic's schemas that holds none."""


class Graded(Message, type="GRADED"):
    literal: Literal[1] = 1
    yes: Literal[True] = True
    grade: Grade = Grade.TOP
    level: Level = Level.LOW
    by_name: Literal[Level.HIGH] = Level.HIGH
    share: Share = Share.WHOLE
    price: Price = Price.ONE
    rights: Right = Right.READ
    either: Literal[0, 1] | bool = False
    grades: list[Grade] = []
    tupled: tuple[Grade, int] | None = None
    keyed: dict[str, Literal[1, "x"]] = {}
    dial: Dial | None = None
    tagged: Annotated[Switch | Dial, Field(discriminator="kind")] | None = None
    by_level: dict[Level, int] = {}
    by_right: dict[Right, Grade] = {}
    listed: Literal[1, 2] | list[Level] | None = None


@pytest.mark.parametrize(
    ("field", "values"),
    {
        "literal": ["true", "1.0"],
        "yes": ["1", "1.0"],
        "grade": ["true", "1.0"],
        "level": ["true", "1.0", "false", "0.0"],
        "by_name": ["true", "1.0"],
        "share": ["true"],
        "price": ["true"],
        "rights": ["true", "false", "1.0", "3.0"],
        "by_right": ['{"2": true}'],
        "either": ["1.0"],
        "grades": ["[1, true]"],
        "tupled": ["[true, 1]"],
        "keyed": ['{"a": true}'],
        "dial": ['{"metadata": true}', '{"kind": 2.0}'],
        "tagged": ['{"kind": true}', '{"kind": 2.0}'],
    }.items(),
)
def test_true_is_no_literal_1(field: str, values: list[str]) -> None:
    """PROTOCOL 1: true is not 1; a whole number with a point is no integer elsewhere either."""
    for value in values:
        text = f'{{"type":"GRADED","payload":{{"{field}":{value}}}}}'

        found = issues(in_turn(connect(Graded), text))
        assert {tuple(issue["path"][:2]) for issue in found} == {("payload", field)}
        assert "Not one of the allowed values" in [issue["message"] for issue in found]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("literal", "1", 1),
        ("yes", "true", True),
        ("grade", "1", Grade.TOP),
        ("grade", '"none"', Grade.NONE),
        ("level", "1", Level.HIGH),
        ("level", "2", Level.HIGH),
        ("by_name", "1", Level.HIGH),
        ("share", "1.0", Share.WHOLE),
        ("share", "1", Share.WHOLE),
        ("price", "1", Price.ONE),
        ("rights", "3", Right.READ | Right.WRITE),
        ("by_level", '{"1": 5}', {Level.HIGH: 5}),
        ("by_right", '{"2": 1}', {Right.WRITE: Grade.TOP}),
        ("either", "true", True),
        ("either", "1", 1),
        ("grades", '[1, "none"]', [Grade.TOP, Grade.NONE]),
        ("keyed", '{"a": 1, "b": "x"}', {"a": 1, "b": "x"}),
        ("tagged", '{"kind": 1, "on": true}', {"kind": 1, "on": True}),
        ("tagged", '{"kind": 2}', Dial()),
    ],
)
def test_numbers_that_are_named_are_taken(field: str, value: str, expected: Any) -> None:
    text = f'{{"type":"GRADED","payload":{{"{field}":{value}}}}}'

    found = getattr(accepted(connect(Graded), text).payload, field)

    assert found == expected
    assert type(found) is type(expected)


class Keyed(Message, type="KEYED"):
    by_level: dict[Level, Grade]
    by_right: dict[Right, int]


def test_numbers_that_are_keys_are_read_as_they_are_written() -> None:
    """Keys are strings in JSON, which numbers of enums are read from."""
    keyed = Keyed(by_level={Level.HIGH: Grade.TOP}, by_right={Right.READ: 1})
    schema = schema_of(Keyed)

    decoded = schema.decode(f'{{"type":"KEYED","payload":{schema.encode(keyed)}}}')

    assert decoded is not None
    assert decoded[1] == keyed


def test_paths_name_choices_as_pydantic_does() -> None:
    """The client's issues hold nothing of how numbers are looked at."""
    text = '{"type":"GRADED","payload":{"listed":"x"}}'

    found = issues(in_turn(connect(Graded), text))

    assert [issue["path"] for issue in found] == [
        ["payload", "listed", "literal[1,2]"],
        ["payload", "listed", "list[int-enum[Level]]"],
    ]


def test_a_type_that_is_built_late_is_as_strict() -> None:
    class Late(BaseModel):
        model_config = ConfigDict(defer_build=True)
        step: Literal[1] | bool

    validate = strict.strictly(TypeAdapter(Late))

    assert validate('{"step":true}').step is True
    with pytest.raises(ValidationError):
        validate('{"step":1.0}')


class Own(BaseModel):
    n: int

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)


def test_a_model_with_an_init_of_its_own_is_refused() -> None:
    """pydantic calls it with what came, and asks for no strictness any more."""

    class Holds(Message, type="HOLDS"):
        own: Own | None = None

    class Begun(Own, Message, type="BEGUN"):
        pass

    with pytest.raises(TypeError, match=r"^Own has an __init__ of its own"):
        schema_of(Holds)
    with pytest.raises(TypeError, match=r"Begun has an __init__ of its own"):
        schema_of(Begun)


def test_what_users_put_into_schemas_is_left_alone() -> None:
    class Cat(BaseModel):
        kind: Literal[1]

    class Dog(BaseModel):
        kind: Literal[2]

    context: Any = {"type": "literal"}
    by_kind = Discriminator(
        lambda value: value.get("kind"),
        custom_error_type="no_kind",
        custom_error_message="No kind",
        custom_error_context=context,
    )
    pets = Annotated[Annotated[Cat, Tag(1)] | Annotated[Dog, Tag(2)], by_kind]  # type: ignore[arg-type]  # tags may be numbers

    assert strict.strictly(TypeAdapter(pets))('{"kind":2}') == Dog(kind=2)


# -- strictness

UNKNOWN_KEYS = {
    "root": '{"type":"NOTE","payload":{"text":"x"},"more":1}',
    "root, null": '{"type":"NOTE","payload":{"text":"x"},"more":null}',
    "meta": '{"type":"NOTE","meta":{"more":1},"payload":{"text":"x"}}',
    "meta by field name": '{"type":"NOTE","meta":{"correlation_id":"a"},"payload":{"text":"x"}}',
    "meta by attribute": '{"type":"NOTE","meta":{"timeout":1},"payload":{"text":"x"}}',
    "payload": '{"type":"NOTE","payload":{"text":"x","more":1}}',
    "extended meta": '{"type":"TRACED","meta":{"trace":"x","more":1}}',
    "another message's meta": '{"type":"NOTE","meta":{"trace":"x"},"payload":{"text":"x"}}',
    "nested model": payload_of("inner", '{"more":1}'),
    "nested model that allows it": payload_of("open", '{"more":1}'),
    "model in a model": payload_of("deep", '{"inner":{"more":1}}'),
    "model in a list": payload_of("inners", '[{"n":1},{"more":1}]'),
    "typed dict": payload_of("typed", '{"more":1}'),
    "dataclass": payload_of("record", '{"more":1}'),
    "model in a union": payload_of("either", '{"n":1,"more":1}'),
}


@pytest.mark.parametrize("text", UNKNOWN_KEYS.values(), ids=UNKNOWN_KEYS)
def test_an_unknown_key_is_refused(text: str) -> None:
    """PROTOCOL 1: strict at every level, whatever the nested class says of itself."""
    assert issues(in_turn(connect(Note, Traced, Form), text))


def test_many_keys_are_let_in_where_the_field_says_so() -> None:
    connection = connect(Anything, Form)

    assert accepted(connection, frame("ANYTHING", {"value": {"a": {"b": 1}}})).payload.value == {
        "a": {"b": 1}
    }
    assert accepted(connection, payload_of("by_name", '{"a":1}')).payload.by_name == {"a": 1}


# -- aliases


class Line(BaseModel):
    line_no: int = Field(alias="lineNo")


class Edit(Message, type="EDIT"):
    room_id: str = Field(alias="roomId")
    lines: list[Line] = []


def test_aliases_are_read_and_written() -> None:
    """Keys are never rewritten: what is on the wire is the alias, both ways."""
    text = '{"roomId":"a","lines":[{"lineNo":1}]}'

    decoded = accepted(connect(Edit), f'{{"type":"EDIT","payload":{text}}}')

    assert (decoded.payload.room_id, decoded.payload.lines[0].line_no) == ("a", 1)
    assert schema_of(Edit).encode(decoded.payload) == text


@pytest.mark.parametrize(
    "payload", [{"room_id": "a"}, {"roomId": "a", "lines": [{"line_no": 1}]}], ids=["top", "nested"]
)
def test_field_names_are_refused_on_the_wire(payload: Any) -> None:
    """On the wire only aliases are read."""
    kinds = {issue["type"] for issue in issues(in_turn(connect(Edit), frame("EDIT", payload)))}

    assert kinds == {"missing", "extra_forbidden"}


# -- payload or none


@pytest.mark.parametrize("payload", [None, {}, {"a": 1}, [], "x", 0, False])
def test_a_payload_is_refused_where_none_is_declared(payload: Any) -> None:
    """PROTOCOL 1: null and {} too."""
    assert issues(in_turn(connect(Bare), frame("BARE", payload))) == [
        {"path": ["payload"], "message": "Unknown key", "type": "extra_forbidden"}
    ]


def test_a_message_without_fields_has_no_payload() -> None:
    """PROTOCOL 1."""
    decoded = accepted(connect(Bare), '{"type":"BARE"}')

    assert decoded.payload == Bare()
    assert schema_of(Bare).encode(Bare()) is None


def test_a_missing_payload_is_refused() -> None:
    """PROTOCOL 1: on a message that has fields, even where none is required."""
    for type_ in ("NOTE", "FORM"):
        assert issues(in_turn(connect(Note, Form), frame(type_))) == [
            {"path": ["payload"], "message": "Required", "type": "missing"}
        ]


@pytest.mark.parametrize("payload", [None, [], "x", 0, True])
def test_a_payload_that_is_no_object_is_refused(payload: Any) -> None:
    assert issues(in_turn(connect(Form), frame("FORM", payload))) == [
        {"path": ["payload"], "message": "Expected an object", "type": "model_type"}
    ]


# -- meta


@pytest.mark.parametrize("meta", ["null", "1", '"x"', "true", "[]", '["clientId"]'])
def test_meta_that_is_no_object_means_an_empty_one(meta: str) -> None:
    """PROTOCOL 1."""
    decoded = accepted(connect(Bare), f'{{"type":"BARE","meta":{meta}}}')

    assert decoded.meta.model_dump(exclude_unset=True) == {}


def test_an_empty_meta_lacks_what_is_required() -> None:
    """PROTOCOL 1: missing means ``{}``, which is validated."""
    for text in ('{"type":"TRACED"}', '{"type":"TRACED","meta":null}'):
        assert [issue["path"] for issue in issues(in_turn(connect(Traced), text))] in (
            [["meta"]],
            [["meta", "trace"]],
        )


def test_standard_meta_is_read() -> None:
    """PROTOCOL 1."""
    text = frame("BARE", correlationId="a", timestamp=1.5, timeoutMs=2000, idempotencyKey="k")

    meta = accepted(connect(Bare), text).meta

    assert (meta.correlation_id, meta.idempotency_key) == ("a", "k")
    assert (meta.timestamp, meta.timeout) == (0.0015, 2.0)


def test_extended_meta_is_read() -> None:
    text = frame("TRACED", trace="x", correlationId="a")

    assert accepted(connect(Traced), text).meta == TraceMeta(trace="x", correlation_id="a")


def test_the_servers_own_meta_keys_are_stripped() -> None:
    """PROTOCOL 1: never refused, never seen by a handler."""
    text = frame("TRACED", trace="x", clientId={"any": 1}, receivedAt=None)

    assert accepted(connect(Traced), text).meta == TraceMeta(trace="x")


WRONG_META = [
    ("correlationId", None),
    ("correlationId", 1),
    ("correlationId", True),
    ("correlationId", ["a"]),
    ("timestamp", None),
    ("timestamp", "1"),
    ("timestamp", True),
    ("timeoutMs", None),
    ("timeoutMs", 0),
    ("timeoutMs", -1),
    ("timeoutMs", 1.5),
    ("timeoutMs", "1"),
    ("timeoutMs", True),
    ("idempotencyKey", None),
    ("idempotencyKey", 1),
]


@pytest.mark.parametrize(("key", "value"), WRONG_META)
def test_wrong_standard_meta_is_refused(key: str, value: Any) -> None:
    """PROTOCOL 1: null is not absent."""
    found = issues(in_turn(connect(Bare), frame("BARE", **{key: value})))

    assert [issue["path"] for issue in found] == [["meta", key]]


# -- numbers that are not finite, inwards

NOT_FINITE = ["NaN", "Infinity", "-Infinity", "1e999", "-1E+0999"]


class Numbers(Message, type="NUMBERS"):
    """Names that stand for something else in a compiled schema."""

    number: float = 0.0
    any: Any = None
    metadata: dict[str, Any] = {}
    config: float = 0.0
    default: float = 0.0
    ref: Any = None
    fields: list[float] = []
    members: float = 0.0
    expected: float = 0.0
    loose: Annotated[str, BeforeValidator(str)] = ""
    plain: list = []  # type: ignore[type-arg]  # what is tested
    whole: int = 0


NUMBERS = [
    ("number", "{}"),
    ("any", '[{{"a":{}}}]'),
    ("metadata", '{{"a":{}}}'),
    ("config", "{}"),
    ("default", "{}"),
    ("ref", "{}"),
    ("fields", "[{}]"),
    ("members", "{}"),
    ("expected", "{}"),
    ("loose", "{}"),
    ("plain", "[{}]"),
    ("whole", "{}"),
]


@pytest.mark.parametrize("number", NOT_FINITE)
@pytest.mark.parametrize(("field", "spot"), NUMBERS, ids=[row[0] for row in NUMBERS])
def test_a_number_that_is_not_finite_is_malformed(field: str, spot: str, number: str) -> None:
    """PROTOCOL 2: in typed and ``Any`` fields alike, each alone in its message."""
    only = message("ONLY", {field: Numbers.model_fields[field].annotation})
    if field == "loose":
        only = message("ONLY", {field: Annotated[str, BeforeValidator(str)]})
    text = f'{{"type":"ONLY","payload":{{"{field}":{spot.format(number)}}}}}'

    for given_ in (text, '{"payload"' + text.split('"payload"')[1][:-1] + ',"type":"ONLY"}'):
        answer = at_once(connect(only), given_)
        assert answer["payload"]["code"] == "INVALID_ARGUMENT"
        assert "details" not in answer["payload"]


def test_an_integer_of_hundreds_of_digits_is_one() -> None:
    number = int("9" * 400)

    assert accepted(connect(Anything), frame("ANYTHING", {"value": number})).payload.value == number


@pytest.mark.parametrize("type_first", [True, False])
def test_an_integer_that_overflows_a_float_field_is_refused(type_first: bool) -> None:
    """PROTOCOL 2: a number that overflows to infinity is refused, however it is spelled."""
    parts = ['"type":"WEIGH"', '"payload":{"grams":' + "9" * 400 + "}"]
    text = "{" + ",".join(parts if type_first else parts[::-1]) + "}"

    assert issues(in_turn(connect(Weigh), text)) == [
        {"path": ["payload"], "message": "Expected a finite number", "type": "finite_number"}
    ]


# -- duplicate keys


@pytest.mark.parametrize("type_first", [True, False], ids=["type first", "type last"])
def test_the_last_of_duplicate_keys_wins(type_first: bool) -> None:
    """PROTOCOL 2, at every level."""
    payload = '"payload":{"text":"no"},"payload":{"text":3,"text":"yes"}'
    meta = '"meta":{"correlationId":3,"correlationId":"a"}'
    parts = ['"type":"NOTE"', meta, payload]
    text = "{" + ",".join(parts if type_first else parts[::-1]) + "}"

    decoded = accepted(connect(Note), text)

    assert (decoded.payload, decoded.correlation_id) == (Note(text="yes"), "a")


def test_a_wrong_value_wins_too_where_it_is_last() -> None:
    """PROTOCOL 2."""
    text = '{"type":"NOTE","payload":{"text":"x","text":3}}'

    assert [issue["path"] for issue in issues(in_turn(connect(Note), text))] == [
        ["payload", "text"]
    ]


def test_the_last_type_wins() -> None:
    """PROTOCOL 2."""
    text = '{"type":"NOTE","payload":{"text":"x"},"type":"OTHER"}'

    assert at_once(connect(Note), text)["payload"]["details"] == {"type": "OTHER"}


# -- issues


def test_an_issue_says_where_and_what_in_our_words() -> None:
    """PROTOCOL 3."""
    answer = in_turn(connect(Form), payload_of("inners", '[{"n":1},{"n":"secret"}]'))

    assert issues(answer) == [
        {
            "path": ["payload", "inners", 1, "n"],
            "message": "Expected an integer",
            "type": "int_type",
        }
    ]


@pytest.mark.parametrize(
    ("field", "kind"), [("disliked", "value_error"), ("told", "disliked")], ids=["plain", "custom"]
)
def test_an_issue_of_a_kind_of_the_applications_own(field: str, kind: str) -> None:
    """PROTOCOL 3: never the validator's text, which may hold what it was given."""
    assert issues(in_turn(connect(Chatty), frame("CHATTY", {field: "secret"}))) == [
        {"path": ["payload", field], "message": "Invalid value", "type": kind}
    ]


def test_meta_and_payload_are_judged_together() -> None:
    found = issues(in_turn(connect(Note), frame("NOTE", {"text": 1}, timeoutMs=0)))

    assert [issue["path"] for issue in found] == [["meta", "timeoutMs"], ["payload", "text"]]


def test_issues_are_at_most_20() -> None:
    """PROTOCOL 3."""
    payload = {"text": "x", **{f"more{n}": n for n in range(50)}}

    assert len(issues(in_turn(connect(Note), frame("NOTE", payload)))) == 20


def test_20_issues_are_all_told() -> None:
    payload = {"text": "x", **{f"more{n}": n for n in range(20)}}

    assert len(issues(in_turn(connect(Note), frame("NOTE", payload)))) == 20


def test_path_parts_are_cut_to_64_characters() -> None:
    """PROTOCOL 3: keys that the client invented."""
    payload = {"text": "x", "y" * 64: 1, "z" * 65: 1}

    found = issues(in_turn(connect(Note), frame("NOTE", payload)))

    assert [issue["path"][1] for issue in found] == ["y" * 64, "z" * 64]


MARKER = "m4rk3r"


def shout(value: Any) -> Any:
    raise ValueError(f"I dislike {value}")


def tell(value: Any) -> Any:
    raise PydanticCustomError("disliked", "I dislike {value}", {"value": value})


class Chatty(Message, type="CHATTY"):
    """Fields whose refusals would repeat what they were given."""

    disliked: Annotated[Any, AfterValidator(shout)] = None
    told: Annotated[Any, AfterValidator(tell)] = None
    whole: int = 0
    short: Annotated[str, Field(max_length=1)] = ""
    day: date | None = None
    uuid: UUID | None = None
    choice: Literal["a"] = "a"
    colour: Colour = Colour.RED
    pattern: Annotated[str, Field(pattern="^a$")] = "a"
    inner: Inner = Inner()
    either: int | list[int] = 0
    by_name: dict[str, int] = {}
    several: deque[int] = deque()


marked = st.recursive(
    st.sampled_from([MARKER, f"x{MARKER}", 1, None, True]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([MARKER, "n", "a", "more"]), inner, max_size=3)
    ),
    max_leaves=6,
)
fields_of = [*Chatty.model_fields, MARKER]
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["CHATTY", "NOTE", "BARE", f"{MARKER}-type"]) | marked,
        "meta": st.dictionaries(
            st.sampled_from(["correlationId", "timestamp", "timeoutMs", "idempotencyKey", MARKER]),
            marked,
            max_size=3,
        )
        | marked,
        "payload": st.dictionaries(st.sampled_from(fields_of), marked, max_size=3) | marked,
        MARKER: marked,
    },
)


@settings(max_examples=300, deadline=None)
@given(envelopes)
def test_no_input_is_echoed(envelope: dict[str, Any]) -> None:
    """PROTOCOL 3: but for an unknown type, an id and the paths of issues."""
    connection = connect(Chatty, Note, Bare)
    text = json.dumps(envelope)
    decision: Any = connection.receive(text, now=0.0, wall=1.0)
    answer: dict[str, Any]
    if getattr(decision, "refusal", None) is not None:
        answer = in_turn(connection, text)
    elif getattr(decision, "frame", None) is not None:
        answer = strictly(decision.frame)
    else:
        return

    answer["meta"].pop("correlationId", None)
    details = answer["payload"].get("details", {})
    details.pop("type", None)
    for issue in details.get("issues", ()):
        del issue["path"]
    assert MARKER not in json.dumps(answer)


# -- outwards


class Flat(Message, type="FLAT"):
    x: float | None


class Free(Message, type="FREE"):
    x: Any


class Nested(BaseModel):
    x: float | None


class Holder(Message, type="HOLDER"):
    nested: Nested
    metadata: dict[str, float] = {}


OUT_NOT_FINITE: list[Message] = [
    *(Flat(x=x) for x in (math.nan, math.inf, -math.inf)),
    *(Free(x=x) for x in (math.nan, [math.inf], {"a": {"b": -math.inf}}, Nested(x=math.nan))),
    Free(x=Record(n=math.nan)),  # type: ignore[arg-type]  # nothing checks a dataclass
    Holder(nested=Nested(x=math.nan)),
    Holder(nested=Nested(x=None), metadata={"a": math.inf}),
    message("SHORT", {"config": float})(config=math.nan),
    message("SHORT", {"metadata": dict[str, Any]})(metadata={"a": math.nan}),
]


@pytest.mark.parametrize("sent", OUT_NOT_FINITE, ids=named)
def test_a_number_that_is_not_finite_is_never_sent(sent: Message) -> None:
    """PROTOCOL 2: it is our bug, not a null."""
    with pytest.raises(ValueError, match="holds a number that is not finite"):
        schema_of(type(sent)).encode(sent)


def test_null_is_sent_for_none() -> None:
    assert schema_of(Flat).encode(Flat(x=None)) == '{"x":null}'
    assert schema_of(Free).encode(Free(x=[None, {"NaN": "Infinity"}])) == (
        '{"x":[null,{"NaN":"Infinity"}]}'
    )
    assert schema_of(Holder).encode(Holder(nested=Nested(x=None))) == (
        '{"nested":{"x":null},"metadata":{}}'
    )


@pytest.mark.parametrize("value", [object(), "\ud800", b"\xff", {1, object()}], ids=named)
def test_what_json_cannot_hold_is_never_sent(value: Any) -> None:
    with pytest.raises(ValueError):
        schema_of(Free).encode(Free(x=value))


def test_what_is_sent_is_compact_and_in_the_fields_order() -> None:
    """PROTOCOL 1."""
    form = Form(
        string="é",
        day=date(2024, 2, 29),
        decimal=Decimal("1.50"),
        colour=Colour.RED,
        uuid=UUID(int=1),
    )

    text = schema_of(Form).encode(form)

    assert text is not None
    assert text.startswith('{"string":"é","whole":0,"number":0.0,"flag":false,"day":"2024-02-29",')
    assert '"decimal":"1.50","colour":"red"' in text
    assert " " not in text


# -- schemas


def test_a_schema_is_compiled_once() -> None:
    assert schema_of(Note) is schema_of(Note)


def test_a_subclass_has_a_schema_of_its_own() -> None:
    class Longer(Note, type="LONGER"):
        more: str

    assert schema_of(Note).message is Note
    assert schema_of(Longer).message is Longer


def test_a_schema_may_route_another_type() -> None:
    """For routers that are mounted under a prefix."""
    schema = schema_of(Note, type_="chat:NOTE")

    assert schema.decode(frame("chat:NOTE", {"text": "x"})) is not None
    assert schema.decode(frame("NOTE", {"text": "x"})) is None
    assert schema_of(Note).decode(frame("NOTE", {"text": "x"})) is not None


@pytest.mark.parametrize("foreign", [int, BaseModel, "NOTE", Note(text="x")], ids=named)
def test_what_is_no_message_class_is_refused(foreign: Any) -> None:
    with pytest.raises(TypeError, match=r"is no message class: derive it from .*Message\.$"):
        schema_of(foreign, PydanticValidator())


def test_a_class_may_name_its_own_validator() -> None:
    class Foreign:
        __wskit_validator__: Any = None

    class Theirs(PydanticValidator):
        def type_of(self, message: type[Any]) -> str | None:
            return "FOREIGN"

        def compile(self, message: type[Any], type_: str | None = None) -> Any:
            return ("compiled", message, type_)

    Foreign.__wskit_validator__ = Theirs()

    schema: Any = schema_of(Foreign)
    assert schema == ("compiled", Foreign, None)
