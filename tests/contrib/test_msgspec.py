"""Struct messages: ``contrib/msgspec.py``, beside messages of pydantic where they are alike."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

import msgspec
import pytest
from pydantic import BaseModel, Field

from tests.contrib.struct_forms import VALUES, Form, StructCat, StructDog, StructForm
from tests.protocol.core import WALL, Route, accepted, frame, in_turn, issues
from wskit_channels import Message as PydanticMessage
from wskit_channels import Meta as PydanticMeta
from wskit_channels import response_of
from wskit_channels.contrib.msgspec import Message, Meta, Rpc
from wskit_channels.protocol.calls import CallTable
from wskit_channels.protocol.connection import Answer, Connection, Decoded
from wskit_channels.protocol.errors import Refused
from wskit_channels.protocol.limits import DEFAULTS
from wskit_channels.protocol.messages import is_request, type_of
from wskit_channels.protocol.validation import schema_of


def connect(*messages: type[Any]) -> Connection:
    return Connection(
        {str(type_of(one)): Route(schema_of(one), is_request(one)) for one in messages},
        DEFAULTS,
        CallTable(10, timeout=30.0),
        client_id="client",
        new_id=lambda: "made-up",
    )


def verdict(connection: Connection, text: str) -> Any:
    """What becomes of a frame: None if it is let in, or the first thing that is wrong with it."""
    decided = connection.receive(text, now=0.0, wall=WALL)
    if isinstance(decided, Answer):
        assert decided.frame is not None
        return json.loads(decided.frame)["payload"]
    assert isinstance(decided, Decoded)
    if decided.refusal is None:
        return None
    assert isinstance(decided.refusal, Refused), decided.refusal
    return issues(in_turn(connection, text))[0]


def payload_of(field: str, value: str) -> str:
    return f'{{"type":"FORM","payload":{{"{field}":{value}}}}}'


# -- side by side

PYDANTIC_IS_LAXER = {
    ("instant", '"1"'): "takes seconds in a string",
    ("instant", '"1.50"'): "takes seconds in a string",
    ("length", '"12:30:00"'): "takes hours, minutes and seconds",
    ("length", '"25:00:00"'): "takes hours, minutes and seconds",
}
WORDED_OTHERWISE = {
    ("choice", "9" * 400),
    ("grade", "9" * 400),
    ("few", '[1,"a",1]'),
    ("pair", '["a",1]'),
    ("pair", "[1,2,3]"),
    ("pair", '[1,"a",1]'),
}
"""Where both refuse, but do not begin with the same fault or call it the same."""


@pytest.mark.parametrize("field", StructForm.__struct_fields__)
def test_verdicts_are_those_of_pydantic(field: str) -> None:
    """PROTOCOL 1 and 2: the same is let in, and of what is refused path, message and type agree."""
    models, structs = connect(Form), connect(StructForm)
    values = [
        value
        for value in VALUES
        if (field, value) not in PYDANTIC_IS_LAXER and (field, value) not in WORDED_OTHERWISE
    ]

    found, expected = (
        {value[:80]: verdict(fresh(connection), payload_of(field, value)) for value in values}
        for connection in (structs, models)
    )

    assert found == expected
    assert None in found.values()
    assert len(set(map(str, found.values()))) > 1


def fresh(connection: Connection) -> Connection:
    """The same without the refusals that were counted."""
    connection._refused_at.clear()
    return connection


@pytest.mark.parametrize(("field", "value"), PYDANTIC_IS_LAXER)
def test_structs_are_the_stricter_ones(field: str, value: str) -> None:
    text = payload_of(field, value)

    assert verdict(connect(Form), text) is None
    assert verdict(connect(StructForm), text)["path"] == ["payload", field]


@pytest.mark.parametrize(("field", "value"), sorted(WORDED_OTHERWISE))
def test_both_refuse(field: str, value: str) -> None:
    text = payload_of(field, value)

    for connection in (connect(Form), connect(StructForm)):
        assert verdict(connection, text)["path"][:2] == ["payload", field]


def test_a_path_has_no_names_of_classes() -> None:
    """It is what is on the wire; pydantic adds the tag of the class that it chose."""
    text = payload_of("pet", '{"type":"cat","n":"x"}')

    assert verdict(connect(StructForm), text) == {
        "path": ["payload", "pet", "n"],
        "message": "Expected an integer",
        "type": "int_type",
    }


def test_only_the_first_fault_is_told() -> None:
    connection = connect(StructForm)

    found = issues(in_turn(connection, '{"type":"FORM","payload":{"whole":"a","flag":1}}'))

    assert [issue["path"] for issue in found] == [["payload", "whole"]]


def test_what_no_class_of_several_takes() -> None:
    class Either(Message, type="EITHER"):
        value: str | int

    text = frame("EITHER", {"value": []})

    assert verdict(connect(Either), text) == {
        "path": ["payload", "value"],
        "message": "Invalid value",
        "type": "union_type",
    }


def test_what_the_client_invents_is_cut_and_never_echoed() -> None:
    """PROTOCOL 3: no input is echoed; path parts that the client invented are cut."""
    name = "` - at `$.payload.whole`" + "x" * 100
    found = issues(in_turn(connect(StructForm), frame("FORM", {name: 1})))

    assert found == [
        {"path": ["payload", name[:64]], "message": "Unknown key", "type": "extra_forbidden"}
    ]
    root = f'{{"type":"FORM","payload":{{}},"{name}":1}}'
    assert verdict(connect(StructForm), root)["path"] == [name[:64]]
    text = frame("FORM", {"colour": "secret"})
    assert "secret" not in json.dumps(in_turn(connect(StructForm), text))


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_the_entry_that_is_wrong_is_found(size: int) -> None:
    """msgspec does not tell its key."""
    for wrong in {0, size // 2, size - 1}:
        entries = {f"k.{n}[{n}]": [n] for n in range(size)}
        entries[f"k.{wrong}[{wrong}]"] = [1, "x"]  # type: ignore[list-item]  # what is tested
        text = frame("FORM", {"lists": entries})

        found = issues(in_turn(connect(StructForm), text))

        assert found[0]["path"] == ["payload", "lists", f"k.{wrong}[{wrong}]", 1]


class Dotted(Message, type="DOTTED"):
    plain: int = msgspec.field(name="a", default=0)
    dotted: dict[str, int] = msgspec.field(name="a.b", default_factory=dict)
    indexed: list[int] = msgspec.field(name="a[0]", default_factory=list)


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"a": "x"}, ["a"]),
        ({"a.b": {"c": "x"}}, ["a.b", "c"]),
        ({"a[0]": [0, "x"]}, ["a[0]", 1]),
    ],
)
def test_declared_names_may_look_like_paths(payload: Any, path: list[Any]) -> None:
    found = issues(in_turn(connect(Dotted), frame("DOTTED", payload)))

    assert [issue["path"] for issue in found] == [["payload", *path]]


# -- frames


class Note(Message, type="NOTE"):
    text: str


class Bare(Message, type="BARE"):
    pass


class TraceMeta(Meta):
    trace_id: str = msgspec.field(name="traceId")


class Traced(Message, type="TRACED", meta=TraceMeta):
    pass


class PydanticNote(PydanticMessage, type="NOTE"):
    text: str


class PydanticBare(PydanticMessage, type="BARE"):
    pass


class PydanticTraceMeta(PydanticMeta):
    trace_id: str = Field(alias="traceId")
    weight: float = 0.0


class PydanticTraced(PydanticMessage, type="TRACED", meta=PydanticTraceMeta):
    pass


class Mixed(Message, type="TRACED", meta=PydanticTraceMeta):
    """A struct whose meta is a model."""


FRAMES = {
    "as it should be": '{"type":"NOTE","meta":{},"payload":{"text":"a"}}',
    "another order": '{"payload":{"text":"a"},"meta":{},"type":"NOTE"}',
    "spaces": ' { "type" : "NOTE" , "payload" : { "text" : "a" } } ',
    "no payload": '{"type":"NOTE"}',
    "null payload": '{"type":"NOTE","payload":null}',
    "array payload": '{"type":"NOTE","payload":[]}',
    "field is missing": '{"type":"NOTE","payload":{}}',
    "payload where none is declared": '{"type":"BARE","payload":{}}',
    "null where none is declared": '{"type":"BARE","payload":null}',
    "unknown key": '{"type":"NOTE","payload":{"text":"a"},"more":1}',
    "unknown key in meta": '{"type":"BARE","meta":{"more":1}}',
    "unknown key in payload": '{"type":"NOTE","payload":{"text":"a","more":1}}',
    "meta by field name": '{"type":"BARE","meta":{"correlation_id":"a"}}',
    "last payload wins": '{"type":"NOTE","payload":{"text":1},"payload":{"text":"a"}}',
    "last payload is wrong": '{"type":"NOTE","payload":{"text":"a"},"payload":{"text":1}}',
    "last type wins": '{"type":"NOTE","type":"BARE"}',
    "last meta wins": '{"type":"BARE","meta":{"more":1},"meta":{}}',
    "null meta": '{"type":"BARE","meta":null}',
    "meta is no object": '{"type":"BARE","meta":["clientId"]}',
    "the server's own keys": '{"type":"BARE","meta":{"clientId":{"a":1},"receivedAt":null}}',
    "standard meta": '{"type":"BARE","meta":{"correlationId":"a","timestamp":1.5,"timeoutMs":1}}',
    "null id": '{"type":"BARE","meta":{"correlationId":null}}',
    "id is a number": '{"type":"BARE","meta":{"correlationId":1}}',
    "null timestamp": '{"type":"BARE","meta":{"timestamp":null}}',
    "timestamp is true": '{"type":"BARE","meta":{"timestamp":true}}',
    "timestamp overflows": '{"type":"BARE","meta":{"timestamp":1e999}}',
    "timeout is 0": '{"type":"BARE","meta":{"timeoutMs":0}}',
    "timeout is a fraction": '{"type":"BARE","meta":{"timeoutMs":1.5}}',
    "timeout is a string": '{"type":"BARE","meta":{"timeoutMs":"1"}}',
    "null key": '{"type":"BARE","meta":{"idempotencyKey":null}}',
    "extended meta": '{"type":"TRACED","meta":{"traceId":"a","correlationId":"b"}}',
    "extended meta is missing": '{"type":"TRACED","meta":{}}',
    "extended meta by name": '{"type":"TRACED","meta":{"trace_id":"a","traceId":"a"}}',
    "extended meta is no string": '{"type":"TRACED","meta":{"traceId":1}}',
    "more than one value": '{"type":"BARE"}{}',
    "truncated": '{"type":"BARE"',
    "byte order mark": '\ufeff{"type":"BARE"}',
    "control character": '{"type":"NOTE","payload":{"text":"\n"}}',
    "lone surrogate": '{"type":"NOTE","payload":{"text":"\\ud800"}}',
    "lone surrogate of an in-process peer": '{"type":"NOTE","payload":{"text":"\ud800"}}',
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_are_judged_as_pydantic_does(name: str) -> None:
    """PROTOCOL 1 to 3."""
    text = FRAMES[name]

    expected = verdict(connect(PydanticNote, PydanticBare, PydanticTraced), text)

    assert verdict(connect(Note, Bare, Traced), text) == expected
    assert verdict(connect(Note, Bare, Mixed), text) == expected


def test_meta_reads_as_pydantics_does() -> None:
    """PROTOCOL 1."""
    text = frame("BARE", correlationId="a", timestamp=1.5, timeoutMs=2000, idempotencyKey="k")

    meta = accepted(connect(Bare), text).meta

    assert (meta.correlation_id, meta.idempotency_key) == ("a", "k")
    assert (meta.timestamp, meta.timeout) == (0.0015, 2.0)
    none_given: Any = Meta()
    assert accepted(connect(Bare), frame("BARE")).meta == none_given


def test_extended_meta_is_of_the_class_that_is_named() -> None:
    text = frame("TRACED", traceId="a", clientId=1)

    struct: Any = TraceMeta(trace_id="a")
    assert accepted(connect(Traced), text).meta == struct
    assert accepted(connect(Mixed), text).meta == PydanticTraceMeta(trace_id="a")


@pytest.mark.parametrize("number", ["1e999", "9" * 400])
def test_a_models_meta_holds_no_infinity(number: str) -> None:
    """PROTOCOL 2."""
    text = f'{{"type":"TRACED","meta":{{"traceId":"a","weight":{number}}}}}'

    assert verdict(connect(Mixed), text) is not None


def test_a_message_without_fields_has_no_payload() -> None:
    """PROTOCOL 1."""
    assert accepted(connect(Bare), '{"type":"BARE"}').payload == Bare()
    assert schema_of(Bare).encode(Bare()) is None


def test_a_request_is_a_call() -> None:
    decoded = accepted(connect(Ask), frame("ASK", {"id": 1}, correlationId="a"))

    assert decoded.call is not None
    assert (decoded.call.id, decoded.payload) == ("a", Ask(id=1))


def test_a_type_of_its_own_is_routed_instead() -> None:
    """As ``mount`` does."""
    schema = schema_of(Note, type_="chat/NOTE")

    assert schema_of(Note) is schema_of(Note)  # compiled once
    decoded: Any = schema.decode('{"type":"chat/NOTE","payload":{"text":"a"}}')
    assert decoded == (Meta(), Note(text="a"))
    assert schema.decode('{"type":"NOTE","payload":{"text":"a"}}') is None
    assert schema_of(Note).prefix == '{"type":"NOTE","meta":{"timestamp":'


# -- out


class Camel(Message, type="CAMEL", rename="camel"):
    room_id: str
    note: str = msgspec.field(name="N", default="")


def test_aliases_are_read_and_written() -> None:
    text = '{"roomId":"a","N":"b"}'

    decoded = accepted(connect(Camel), f'{{"type":"CAMEL","payload":{text}}}')

    assert decoded.payload == Camel(room_id="a", note="b")
    assert schema_of(Camel).encode(decoded.payload) == text


class Open(Message, type="OPEN"):
    value: Any = None
    numbers: list[float | None] = []
    decimal: Decimal = Decimal(0)
    pet: StructCat | StructDog | None = None


WRONG = {
    "another type": lambda: Note(text=1),  # type: ignore[arg-type]  # what is tested
    "NaN": lambda: StructForm(number=math.nan),
    "NaN where null may stand": lambda: Open(numbers=[math.nan]),
    "infinity in Any": lambda: Open(value={"a": [math.inf]}),
    "NaN of a Decimal": lambda: Open(decimal=Decimal("NaN")),
    "beyond a bound": lambda: StructForm(above=3),
    "no JSON": lambda: Open(value=object()),
    "a model in a struct": lambda: Open(value=PydanticNote(text="a")),
    "a key that is no string": lambda: Open(value={(1, 2): 3}),
    "lone surrogate": lambda: Note(text="\ud800"),
    "a class that is not declared": lambda: Open(pet=Sub()),
}


class Sub(StructCat):
    more: int = 0


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
def test_what_is_not_right_is_not_sent(make: Callable[[], Any]) -> None:
    """PROTOCOL 2; and msgspec checks nothing when a message is built."""
    message = make()

    with pytest.raises(ValueError, match=rf"^({message.__wskit_type__} |'utf-8' codec)"):
        schema_of(type(message)).encode(message)


def test_null_and_large_numbers_are_sent() -> None:
    message = Open(value=[None, 10**30, 1e300, "NaN"], numbers=[None, 1.5])

    text = schema_of(Open).encode(message)

    assert text is not None
    assert json.loads(text) == {
        "value": [None, 10**30, 1e300, "NaN"],
        "numbers": [None, 1.5],
        "decimal": "0",
        "pet": None,
    }


@pytest.mark.parametrize("value", [*range(0, 250, 7)])
def test_whatever_is_sent_can_be_read(value: int) -> None:
    message = StructForm(anything={"n": [value]}, by_name={str(value): value}, whole=value)

    payload = schema_of(StructForm).encode(message)

    text = f'{{"type":"FORM","payload":{payload}}}'
    assert accepted(connect(StructForm), text).payload == message


# -- declaring


class Ask(Rpc[Note], type="ASK"):
    id: int


class Told(Rpc[Note, StructCat], type="TOLD"):
    type: str
    meta: str
    response: str
    payload: str


def test_a_request_names_its_response_and_progress() -> None:
    assert (response_of(Ask), Ask.__wskit_progress__) == (Note, Any)
    assert (response_of(Told), Told.__wskit_progress__) == (Note, StructCat)
    assert is_request(Told)
    assert not is_request(Note)


def test_fields_are_keyword_only_and_messages_frozen() -> None:
    with pytest.raises(TypeError, match="positional"):
        Note("a")  # type: ignore[call-arg]  # what is tested
    with pytest.raises(AttributeError, match="immutable"):
        Note(text="a").text = "b"  # type: ignore[misc]  # what is tested


def test_a_type_is_not_inherited() -> None:
    class Longer(Note):
        more: int = 0

    assert (type_of(Note), type_of(Longer)) == ("NOTE", None)
    with pytest.raises(TypeError, match=r"^.*Longer has no type and cannot be routed or sent"):
        schema_of(Longer)


class Loose(msgspec.Struct):
    n: int


class Row(TypedDict):
    n: int


@dataclass
class Record:
    n: int


class Model(BaseModel):
    n: int


class Foreign:
    pass


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            Loose,
            (
                r"^M: Loose would let unknown keys in\. Declare it as "
                r"class Loose\(msgspec\.Struct, forbid_unknown_fields=True\)\.$"
            ),
        ),
        (list[Loose], "^M: Loose would let"),
        (dict[str, Loose | None], "^M: Loose would let"),
        (
            Row,
            (
                r"^M: msgspec lets unknown keys into Row\. Make it a msgspec\.Struct with "
                r"forbid_unknown_fields=True\.$"
            ),
        ),
        (Record, "^M: msgspec lets unknown keys into Record"),
        (
            Model,
            (
                r"^M: Model is a pydantic model, which a struct cannot hold\. Make it a "
                r"msgspec\.Struct with forbid_unknown_fields=True, or derive the message from "
                r"wskit_channels\.Message\.$"
            ),
        ),
        (PydanticNote, "^M: PydanticNote is a pydantic model"),
        (msgspec.Raw, r"^M: msgspec\.Raw is not validated\. Declare Any instead\.$"),
        (
            Foreign,
            r"^M: msgspec cannot validate a Foreign\. Declare what stands for it in JSON\.$",
        ),
    ],
)
def test_what_cannot_be_strict_is_refused_when_declared(kind: Any, message: str) -> None:
    """PROTOCOL 1: strict at every level."""
    with pytest.raises(TypeError, match=message):

        class M(Message, type="M"):
            value: kind


def test_a_class_may_hold_what_is_declared_later() -> None:
    connection = connect(Tree)
    text = frame("TREE", {"branches": [{"branches": [{"branches": []}]}]})

    assert verdict(connection, text) is None
    deep = '{"branches":[' * 300 + "]}" * 300
    assert verdict(connection, f'{{"type":"TREE","payload":{deep}}}')["message"] == "Malformed JSON"
    with pytest.raises(TypeError, match=r"^Late: Loose2 would let unknown keys in"):
        schema_of(Late)


class Late(Message, type="LATE"):
    value: "Loose2"


class Loose2(msgspec.Struct):
    n: int


class Tree(Message, type="TREE"):
    branches: list["Branch"]


class Branch(msgspec.Struct, forbid_unknown_fields=True):
    branches: list["Branch"]


def test_a_named_tuple_and_a_generic_struct_are_strict_enough() -> None:
    connection = connect(Pointed)

    assert verdict(connection, frame("POINTED", {"at": [1, 2], "page": {"item": 1}})) is None
    for payload in (
        {"at": [1, 2, 3], "page": {"item": 1}},
        {"at": [1, 2], "page": {"item": "1"}},
        {"at": [1, 2], "page": {"item": 1, "more": 1}},
    ):
        assert verdict(connection, frame("POINTED", payload)) is not None


T = TypeVar("T")


class Point(NamedTuple):
    x: int
    y: int


class Page(msgspec.Struct, Generic[T], forbid_unknown_fields=True):
    item: T


class Pointed(Message, type="POINTED"):
    at: Point
    page: Page[int]


def test_a_model_cannot_hold_a_struct_message() -> None:
    with pytest.raises(TypeError, match=r"^Note is a struct, which a pydantic model cannot hold"):

        class Holder(BaseModel):
            note: Note


def reserved() -> None:
    class M(Message, type="$m"):
        pass


def empty() -> None:
    class M(Message, type=""):
        pass


def array() -> None:
    class M(Message, type="M", array_like=True):
        pass


def loose() -> None:
    class M(Message, type="M", forbid_unknown_fields=False):
        pass


def no_meta() -> None:
    class M(Message, type="M", meta=Loose):
        pass


def no_response() -> None:
    class M(Rpc, type="M"):  # type: ignore[type-arg]  # what is tested
        pass


def untyped_response() -> None:
    class M(Rpc[Loose], type="M"):
        pass


def request_as_response() -> None:
    class M(Rpc[Ask], type="M"):
        pass


def own_key() -> None:
    class M(Meta):
        client: str = msgspec.field(name="clientId")


def key_twice() -> None:
    class M(Meta):
        when: float = msgspec.field(name="timestamp")


def own_field() -> None:
    class M(Meta):
        timeout_ms: int = 1


def own_property() -> None:
    class M(Meta):
        timeout: int = 1


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (reserved, r"^M: the type '\$m' is reserved"),
        (empty, "^M: type= is a non-empty string"),
        (array, "^M: a payload is an object; array_like is not supported"),
        (loose, "^M: M would let unknown keys in"),
        (no_meta, r"^M: meta= names a subclass of wskit_channels\.contrib\.msgspec\.Meta or of"),
        (no_response, r"^M names no response\. Write class M\(Rpc\[SomeResponse\], type=\.\.\.\)"),
        (untyped_response, "^M: the response 'Loose' has no type"),
        (request_as_response, "^M: the response Ask is itself a request"),
        (own_key, "^M declares the meta key 'clientId'. Extended meta must not use clientId"),
        (key_twice, "^M declares a meta key twice. Extended meta must not use clientId"),
        (own_field, "^M declares the meta key 'timeoutMs'"),
        (own_property, "^M declares the meta key 'timeout'"),
    ],
)
def test_wrong_declarations_are_refused(declare: Callable[[], None], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        declare()
