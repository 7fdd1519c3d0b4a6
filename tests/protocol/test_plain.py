"""The short way says what the long way says."""

import json
from functools import cached_property
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    computed_field,
    field_serializer,
    model_validator,
)
from pydantic_core import PydanticSerializationError
from typing_extensions import TypeAliasType

from tests.protocol.core import Anything, Find, Note, Weigh, connect
from wskit_channels import Message
from wskit_channels.protocol import wire
from wskit_channels.protocol.calls import Call
from wskit_channels.protocol.connection import Answer, Decoded
from wskit_channels.protocol.plain import are_plain, plain_fields
from wskit_channels.protocol.validation import schema_of

NOTE = '{"type":"NOTE","meta":{"timestamp":1700000000000},"payload":{"text":"x"}}'
FIND = (
    '{"type":"FIND","meta":{"timestamp":1,"correlationId":"a","timeoutMs":50},"payload":{"id":1}}'
)

HEADS = [
    '{"type":"NOTE","meta":{"timestamp":0},"payload":',
    '{"type":"NOTE","meta":{"timestamp":01},"payload":',
    '{"type":"NOTE","meta":{"timestamp":-1},"payload":',
    '{"type":"NOTE","meta":{"timestamp":1.5},"payload":',
    '{"type":"NOTE","meta":{"timestamp":9999999999999999999999},"payload":',
    '{"type":"NOTE","meta":{"timestamp":1,"correlationId":"é"},"payload":',
    '{"type":"NOTE","meta":{"timestamp":1,"correlationId":"a\\"b"},"payload":',
    '{"type":"NOTE","meta":{"timestamp":1,"correlationId":"a\tb"},"payload":',
    '{"type":"NOTE","meta":{"timestamp":1,"correlationId":" "},"payload":',
    '{"type":"NOTE","meta":{"timestamp":1,"correlationId":""},"payload":',
    '{"type":"NOTE","meta":{"timestamp":1,"correlationId":"a"},"payload":',
    '{"type":"NOTE","meta":{"timestamp":1,"timeoutMs":0},"payload":',
    '{"type":"NOTE","meta":{"timestamp":1,"timeoutMs":5},"payload":',
    '{"type":"NOTE","meta":{"timestamp":1,"clientId":"me"},"payload":',
    '{"type":"FIND","meta":{"timestamp":1,"correlationId":"a","timeoutMs":50},"payload":',
    '{"type":"FIND","meta":{"timestamp":1,"timeoutMs":50},"payload":',
    f'{{"type":"FIND","meta":{{"timestamp":1,"correlationId":"{"a" * 256}"}},"payload":',
    f'{{"type":"FIND","meta":{{"timestamp":1,"correlationId":"{"a" * 257}"}},"payload":',
    '{"type":"WEIGH","meta":{"timestamp":1},"payload":',
    '{"type":"ANYTHING","meta":{"timestamp":1},"payload":',
    '{"type":"TRACED","meta":{"timestamp":1},"payload":',
    '{"type":"BARE","meta":{"timestamp":1},"payload":',
    '{"type":"NO\tTE","meta":{"timestamp":1},"payload":',
    '{"type":"$ws:ping","meta":{"timestamp":1},"payload":',
]
TAILS = [
    '{"text":"x"}}',
    '{"text":"x"}} ',
    '{"text":"x"} }',
    ' {"text":"x"}}',
    '{"text":"x"}',
    '{"text":"x"',
    '{"text":"x"}}}',
    '{"text":"x"},"payload":{"text":"y"}}',
    '{"text":"x"},"type":"FIND"}',
    '{"text":"x"},"meta":{"correlationId":"b"}}',
    '{"text":"x"},"more":1}',
    '{"text":"x","text":"y"}}',
    '{"text":"x","more":1}}',
    '{"text":1}}',
    '{"text":"\ud800"}}',
    '{"text":"\\ud800"}}',
    '{"id":1}}',
    '{"id":1.0}}',
    '{"grams":1}}',
    '{"grams":1e999}}',
    '{"grams":NaN}}',
    '{"value":Infinity}}',
    '{"value":{"a":[1,2,{"b":null}]}}}',
    '{"value":1e400}}',
    "null}",
    "}",
    "",
    "{}}",
    '{"text":"x"}}{"text":"x"}}',
]


def told(text: str, *messages: type[Message]) -> Any:
    """What becomes of a frame, in values that compare."""
    decision = connect(*messages).receive(text, now=5.0, wall=7.0)
    if isinstance(decision, Answer):
        return decision.frame, decision.close, decision.exceeded
    assert isinstance(decision, Decoded)
    call: Call | None = decision.call
    return (
        decision.route,
        decision.meta,
        decision.payload,
        repr(decision.refusal),
        getattr(decision.refusal, "own", None),
        decision.correlation_id,
        call and (call.id, call.deadline, call.made_up),
    )


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("tail", TAILS)
def test_a_frame_is_read_alike_however_it_is_written(head: str, tail: str) -> None:
    """PROTOCOL 2: a space before it keeps a frame from the short way."""
    assert told(head + tail) == told(f" {head}{tail}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from(["NOTE", "WEIGH", "ANYTHING", "FIND"]),
    st.dictionaries(st.sampled_from(["text", "grams", "value", "id"]), JSON, max_size=2),
    st.one_of(st.none(), st.text(max_size=8)),
)
def test_any_payload_is_read_alike(type_: str, payload: Any, id_: str | None) -> None:
    meta = {"timestamp": 1} if id_ is None else {"timestamp": 1, "correlationId": id_}
    envelope = {"type": type_, "meta": meta, "payload": payload}
    for ascii_only in (True, False):
        text = json.dumps(envelope, separators=(",", ":"), ensure_ascii=ascii_only)

        assert told(text) == told(f" {text}")


@pytest.mark.parametrize("text", [NOTE, FIND])
def test_what_clients_write_goes_the_short_way(text: str) -> None:
    """Or the tests above would compare the long way with itself."""
    head = wire.plain_head(text)
    decision = connect().receive(text, now=5.0, wall=7.0)

    assert head is not None
    assert isinstance(decision, Decoded)
    assert isinstance(decision.read_meta, wire.PlainMeta)
    assert decision.meta is decision.meta


def test_meta_of_the_short_way_is_whole() -> None:
    decision = connect().receive(FIND, now=5.0, wall=7.0)

    assert isinstance(decision, Decoded)
    assert (decision.meta.timestamp, decision.meta.timeout) == (0.001, 0.05)
    assert (decision.meta.correlation_id, decision.meta.idempotency_key) == ("a", None)
    assert decision.call is not None
    assert decision.call.deadline == 5.05


Short = TypeAliasType("Short", Annotated[str, Field(max_length=3)])


class Login(Message, type="LOGIN"):
    """Its config reaches what both fields share only where the class is validated alone."""

    model_config = ConfigDict(str_strip_whitespace=True)
    name: Short
    room: Short

    @model_validator(mode="after")
    def _checked(self) -> "Login":
        return self


class Looking(Message, type="LOOKING"):
    """Its validator looks at the envelope."""

    number: int

    @model_validator(mode="before")
    @classmethod
    def _checked(cls, data: Any, info: ValidationInfo) -> Any:
        if (info.data or {}).get("meta"):
            raise ValueError("not with a meta")
        return data


class Linked(Message, type="LINKED"):
    """Its own definitions are shared, too."""

    next: "Linked | None" = None


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        (Login, '{"name":" abc ","room":"x"}'),
        (Login, '{"name":"abc","room":" x "}'),
        (Looking, '{"number":1}'),
        (Linked, '{"next":{"next":null}}'),
    ],
)
def test_a_class_that_may_see_its_envelope_is_always_shown_it(
    message: type[Message], payload: str
) -> None:
    text = f'{{"type":"{message.__wskit_type__}","meta":{{"timestamp":1}},"payload":{payload}}}'

    assert told(text, message) == told(f" {text}", message)
    assert schema_of(message).decode_payload is None


# -- out


class Inner(BaseModel):
    number: int


class Mixed(Message, type="MIXED"):
    text: str
    number: int | None = None
    share: float = 0.5
    flag: bool = False
    id: UUID | None = None


class Nested(Message, type="NESTED"):
    inner: Inner


class Chosen(Message, type="CHOSEN"):
    kind: Literal["a"] = "a"


class Computing(Message, type="COMPUTING"):
    number: int

    @computed_field  # type: ignore[prop-decorator]  # mypy takes none above a property
    @property
    def double(self) -> int:
        return self.number * 2


class Written(Message, type="WRITTEN"):
    number: int

    @field_serializer("number")
    def _written(self, number: int) -> str:
        return f"no. {number}"


class Loose(Message, type="LOOSE"):
    model_config = ConfigDict(extra="allow")
    number: int


class Remembering(Message, type="REMEMBERING"):
    number: int | None = None

    @cached_property
    def text(self) -> str:
        return "computed"


@pytest.mark.parametrize("message", [Note, Find, Weigh, Mixed, Remembering])
def test_plain_values_are_known_as_such(message: type[Message]) -> None:
    assert plain_fields(TypeAdapter(message).core_schema) is not None


@pytest.mark.parametrize("message", [Nested, Chosen, Computing, Written, Loose, Anything])
def test_whatever_is_more_than_a_value_goes_the_long_way(message: type[Message]) -> None:
    assert plain_fields(TypeAdapter(message).core_schema) is None


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Mixed(text="é"), '{"text":"é","number":null,"share":0.5,"flag":false,"id":null}'),
        (Computing(number=1), '{"number":1,"double":2}'),
        (Written(number=1), '{"number":"no. 1"}'),
        (Weigh(grams=1), '{"grams":1.0}'),
    ],
)
def test_messages_are_written(message: Message, text: str) -> None:
    assert schema_of(type(message)).encode(message) == text


@pytest.mark.parametrize(
    "changes",
    [{"text": 1}, {"number": "1"}, {"flag": 1}, {"id": "no id"}, {"share": "1"}],
)
def test_a_value_of_another_type_is_not_sent(changes: dict[str, Any]) -> None:
    """A copy is not validated; what a client could not send does not reach one either."""
    message = Mixed(text="x", id=uuid4()).model_copy(update=changes)

    with pytest.raises(PydanticSerializationError):
        schema_of(Mixed).encode(message)


def test_a_value_that_is_missing_is_not_made_up_for_by_another() -> None:
    whole, lacking = Remembering(), Remembering.model_construct()
    del lacking.__dict__["number"]
    assert (whole.text, lacking.text) == ("computed", "computed")

    assert schema_of(Remembering).encode(whole) == '{"number":null}'
    assert schema_of(Remembering).encode(lacking) == "{}"
    fields = plain_fields(TypeAdapter(Remembering).core_schema)
    assert fields is not None
    assert not are_plain(lacking.__dict__, fields)


def test_subclasses_of_plain_types_are_written_as_ever() -> None:
    class Shouted(str):
        pass

    assert schema_of(Note).encode(Note.model_construct(text=Shouted("x"))) == '{"text":"x"}'
