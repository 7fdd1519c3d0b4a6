"""Declaring messages: ``protocol/messages.py``."""

from typing import Any

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from wskit_channels import Message, Meta, Rpc, message, response_of, rpc
from wskit_channels.protocol.messages import type_of
from wskit_channels.protocol.validation import schema_of

RESERVED = ["$", "$ws:ping", "$mine", "__", "__mine", "ERROR", "RPC_ERROR"]


class Found(Message, type="FOUND"):
    name: str


# -- types


@pytest.mark.parametrize("reserved", RESERVED)
def test_reserved_type_cannot_be_declared(reserved: str) -> None:
    """PROTOCOL 1."""
    with pytest.raises(TypeError, match=r"^Taken: the type '.*' is reserved\."):

        class Taken(Message, type=reserved):
            pass


@pytest.mark.parametrize("reserved", RESERVED)
def test_reserved_type_cannot_be_declared_in_short(reserved: str) -> None:
    with pytest.raises(TypeError, match="is reserved"):
        message(reserved)


@pytest.mark.parametrize("reserved", RESERVED)
def test_reserved_type_cannot_be_a_response(reserved: str) -> None:
    with pytest.raises(TypeError, match="is reserved"):
        rpc("FIND", None, reserved)


def test_a_refusal_lists_what_is_reserved() -> None:
    with pytest.raises(TypeError) as caught:

        class Taken(Message, type="$x"):
            pass

    assert str(caught.value) == (
        "Taken: the type '$x' is reserved. Reserved are all types that start with "
        "'$' or '__', and ERROR, RPC_ERROR."
    )


@pytest.mark.parametrize("type_", ["", 3, b"NOTE", ["NOTE"]])
def test_a_type_is_a_string_with_something_in_it(type_: Any) -> None:
    """PROTOCOL 1."""
    with pytest.raises(TypeError, match="Odd: type= is a non-empty string"):

        class Odd(Message, type=type_):
            pass


def test_a_short_forms_type_is_a_string_with_something_in_it() -> None:
    with pytest.raises(TypeError, match="type= is a non-empty string, not ''"):
        message("")


@pytest.mark.parametrize("type_", ["note", "ERRORS", "_x", "chat:note", "ünïcode", "a b", "A$"])
def test_any_other_type_can_be_declared(type_: str) -> None:
    class Free(Message, type=type_):
        pass

    assert type_of(Free) == type_


def test_a_type_is_not_inherited() -> None:
    class Longer(Found):
        page: int

    assert (type_of(Found), type_of(Longer)) == ("FOUND", None)


def test_a_class_without_a_type_cannot_be_sent() -> None:
    class Longer(Found):
        page: int

    with pytest.raises(TypeError, match=r'Longer has no type .* class Longer\(\.\.\., type="'):
        schema_of(Longer)


def test_fields_are_inherited_from_a_base() -> None:
    class Base(Message):
        room: str

    class Say(Base, type="SAY"):
        text: str

    assert schema_of(Say).encode(Say(room="a", text="b")) == '{"room":"a","text":"b"}'


def test_a_payload_that_is_no_object_is_refused() -> None:
    with pytest.raises(TypeError, match="RootModel is not supported"):

        class Many(Message, RootModel[list[int]], type="MANY"):
            pass


# -- instances


def test_a_message_is_validated_when_it_is_built() -> None:
    with pytest.raises(ValidationError):
        Found(name=3)  # type: ignore[arg-type]  # what is tested


def test_a_message_refuses_unknown_fields() -> None:
    with pytest.raises(ValidationError):
        Found(name="x", page=1)  # type: ignore[call-arg]  # what is tested


def test_a_message_is_frozen() -> None:
    found = Found(name="x")

    with pytest.raises(ValidationError, match="frozen"):
        found.name = "y"  # type: ignore[misc,unused-ignore]  # what is tested


def test_a_message_is_built_by_field_name_and_sent_by_alias() -> None:
    class Renamed(Message, type="RENAMED"):
        room_id: str = Field(alias="roomId")

    built: Any = Renamed.model_validate({"room_id": "a"})

    assert schema_of(Renamed).encode(built) == '{"roomId":"a"}'


def test_a_dump_is_by_alias_like_what_is_sent() -> None:
    class Renamed(Message, type="RENAMED"):
        room_id: str = Field(alias="roomId")

    assert Renamed.model_validate({"roomId": "a"}).model_dump() == {"roomId": "a"}


def test_a_project_may_have_camel_case_throughout() -> None:
    class Base(Message):
        model_config = ConfigDict(alias_generator=to_camel)

    class Move(Base, type="MOVE"):
        room_id: str

    assert schema_of(Move).encode(Move(room_id="a")) == '{"roomId":"a"}'


NAMES = {"type": "t", "meta": "m", "response": "r", "payload": "p"}


def test_fields_may_have_the_envelopes_names() -> None:
    class Odd(Message, type="ODD"):
        type: str
        meta: str
        response: str
        payload: str

    found = schema_of(Odd).check({"type": "ODD", "payload": NAMES})

    assert found == (Meta(), Odd(**NAMES))
    assert type_of(Odd) == "ODD"


def test_a_requests_fields_may_have_the_envelopes_names() -> None:
    class OddRpc(Rpc[Found], type="ODD_RPC"):
        type: str
        meta: str
        response: str
        payload: str

    found = schema_of(OddRpc).check({"type": "ODD_RPC", "payload": NAMES})

    assert found == (Meta(), OddRpc(**NAMES))
    assert response_of(OddRpc) is Found


def test_a_short_forms_fields_may_have_the_envelopes_names() -> None:
    odd = message("ODD", dict.fromkeys(NAMES, str))

    assert schema_of(odd).check({"type": "ODD", "payload": NAMES}) == (Meta(), odd(**NAMES))


# -- requests


def test_a_request_names_its_response() -> None:
    class Find(Rpc[Found], type="FIND"):
        id: int

    assert response_of(Find) is Found


def test_a_request_may_name_its_progress() -> None:
    class Stage(BaseModel):
        done: int

    class Export(Rpc[Found, Stage], type="EXPORT"):
        pass

    assert (response_of(Export), Export.__wskit_progress__) == (Found, Stage)


def test_a_request_without_a_response_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Find names no response\. Write class Find\(Rpc\["):

        class Find(Rpc, type="FIND"):  # type: ignore[type-arg]  # what is tested
            id: int


def test_a_response_without_a_type_is_refused() -> None:
    class Untyped(Message):
        pass

    with pytest.raises(TypeError, match="the response 'Untyped' has no type"):

        class Find(Rpc[Untyped], type="FIND"):
            id: int


def test_a_response_that_is_a_request_is_refused() -> None:
    class Inner(Rpc[Found], type="INNER"):
        pass

    with pytest.raises(TypeError, match="the response Inner is itself a request"):

        class Find(Rpc[Inner], type="FIND"):
            id: int


def test_a_message_has_no_response() -> None:
    with pytest.raises(TypeError, match="names no response; only Rpc classes do"):
        response_of(Found)  # type: ignore[type-var,arg-type,unused-ignore]  # what is tested


# -- the short forms


def test_short_form_of_a_message() -> None:
    ping = message("PING", {"text": str, "times": (int, 1)})

    assert type_of(ping) == "PING"
    assert ping.__module__ == __name__
    assert ping(text="x").model_dump() == {"text": "x", "times": 1}


def test_short_form_without_fields_has_no_payload() -> None:
    """PROTOCOL 1: absent if and only if the message declares no fields."""
    bare = message("BARE")

    assert schema_of(bare).encode(bare()) is None


def test_short_form_of_a_request() -> None:
    find = rpc("FIND", {"id": int}, "FOUND", {"name": str}, progress=int)

    assert (type_of(find), type_of(find.response)) == ("FIND", "FOUND")
    assert response_of(find) is find.response
    assert find.__wskit_progress__ is int
    assert (find(id=3).id, find.response(name="x").name) == (3, "x")


def test_short_form_is_as_strict_as_a_class() -> None:
    with pytest.raises(ValidationError):
        message("PING", {"text": str})(text=3)


# -- extended meta

TAKEN = ["clientId", "receivedAt", "correlationId", "timestamp", "timeoutMs", "idempotencyKey"]


@pytest.mark.filterwarnings("ignore:Field name")  # pydantic says so first
@pytest.mark.parametrize("key", TAKEN)
def test_extended_meta_cannot_declare_a_key_that_is_taken(key: str) -> None:
    """PROTOCOL 1."""
    with pytest.raises(TypeError, match=f"^Taken declares the meta key '{key}'"):
        type("Taken", (Meta,), {"__annotations__": {key: str}, "__module__": __name__})


@pytest.mark.parametrize("key", TAKEN)
@pytest.mark.parametrize(
    "spelling",
    [
        lambda key: Field(alias=key),
        lambda key: Field(validation_alias=key),
        lambda key: Field(serialization_alias=key),
        lambda key: Field(validation_alias=AliasChoices("mine", key)),
        lambda key: Field(validation_alias=AliasPath(key, "mine")),
    ],
    ids=["alias", "validation", "serialization", "choices", "path"],
)
def test_no_alias_gets_round_that(spelling: Any, key: str) -> None:
    with pytest.raises(TypeError, match=f"^Taken declares the meta key '{key}'"):

        class Taken(Meta):
            mine: str = spelling(key)


def test_no_alias_generator_gets_round_that() -> None:
    with pytest.raises(TypeError, match=r"^Taken declares the meta key 'clientId'"):

        class Taken(Meta):
            model_config = ConfigDict(alias_generator=to_camel)
            client_id: str


@pytest.mark.filterwarnings("ignore:Field name")  # pydantic says so first
@pytest.mark.parametrize("name", ["correlation_id", "timeout_ms", "sent_at_ms", "timeout"])
def test_extended_meta_cannot_redeclare_what_every_meta_has(name: str) -> None:
    with pytest.raises(TypeError, match=f"^Taken declares the meta key '{name}'"):
        type("Taken", (Meta,), {"__annotations__": {name: str}, "__module__": __name__})


def test_a_refusal_lists_the_keys_that_are_taken() -> None:
    with pytest.raises(TypeError) as caught:

        class Taken(Meta):
            clientId: str  # noqa: N815 - what is tested

    assert str(caught.value) == (
        "Taken declares the meta key 'clientId'. Extended meta must not use clientId, "
        "correlationId, idempotencyKey, receivedAt, timeoutMs, timestamp: "
        "these are the protocol's own."
    )


def test_extended_meta_may_have_keys_of_its_own() -> None:
    class TraceMeta(Meta):
        trace_id: str = Field(validation_alias=AliasChoices("traceId", "trace"))

    class Traced(Message, type="TRACED", meta=TraceMeta):
        pass

    envelope = {"type": "TRACED", "meta": {"trace": "x", "correlationId": "a"}}
    meta, _ = schema_of(Traced).check(envelope)

    assert isinstance(meta, TraceMeta)
    assert (meta.trace_id, meta.correlation_id) == ("x", "a")
