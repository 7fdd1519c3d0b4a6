"""A frame in, a decision out: ``protocol/connection.py``."""

import json
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BeforeValidator

from tests.helpers import named
from tests.protocol.core import (
    WALL,
    WALL_MS,
    Bare,
    Find,
    Note,
    Route,
    accepted,
    at_once,
    connect,
    frame,
    in_turn,
    issues,
    strictly,
)
from tests.protocol.test_wire import MALFORMED
from wskit_channels import Message, Meta, WsKitError
from wskit_channels.protocol.calls import CallTable, Move
from wskit_channels.protocol.connection import Abort, Answer, Close, Connection, Decoded
from wskit_channels.protocol.limits import DEFAULTS, LimitExceeded
from wskit_channels.protocol.validation import schema_of

NOTHING = Answer()


def error(
    code: str,
    message: str,
    *,
    id: str | None = None,
    rpc: bool = False,
    retryable: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """An error frame, whole."""
    meta = {"timestamp": WALL_MS} | ({"correlationId": id} if id is not None else {})
    payload = {"code": code, "message": message, "retryable": retryable, **more}
    return {"type": "RPC_ERROR" if rpc else "ERROR", "meta": meta, "payload": payload}


# -- what is accepted


def test_an_event_is_decoded() -> None:
    connection = connect()
    text = frame("NOTE", {"text": "x"}, correlationId="a")

    decoded = accepted(connection, text)

    assert decoded == Decoded(
        Route(schema_of(Note), is_call=False),
        Meta(correlation_id="a"),
        Note(text="x"),
        None,
        len(text),
        WALL,
        "a",
    )


def test_a_call_is_decoded_and_opened() -> None:
    """PROTOCOL 5.4: the deadline counts from arrival."""
    connection = connect()

    decoded = accepted(connection, frame("FIND", {"id": 1}, correlationId="a"), now=100.0)

    assert (decoded.payload, decoded.correlation_id) == (Find(id=1), "a")
    assert decoded.call is connection.calls.find("a")
    assert decoded.call is not None
    assert (decoded.call.deadline, decoded.call.made_up) == (130.0, False)


@pytest.mark.parametrize(
    ("timeout_ms", "deadline"), [(1, 100.001), (2000, 102.0), (300_001, 400.0), (10**400, 400.0)]
)
def test_a_client_names_its_deadline(timeout_ms: int, deadline: float) -> None:
    """PROTOCOL 5.4: capped at 300 s."""
    decoded = accepted(connect(), frame("FIND", {"id": 1}, timeoutMs=timeout_ms), now=100.0)

    assert decoded.call is not None
    assert decoded.call.deadline == deadline


@pytest.mark.parametrize("encode", [str, str.encode], ids=["text", "binary"])
def test_text_and_binary_frames_are_accepted(encode: Any) -> None:
    """PROTOCOL 1; their size is that of the UTF-8."""
    text = '{"type":"NOTE","payload":{"text":"é😀"}}'

    decoded = accepted(connect(), encode(text))

    assert (decoded.payload, decoded.size) == (Note(text="é😀"), len(text.encode()))


SPELLINGS = {
    "type last": '{"payload":{"text":"x"},"type":"NOTE"}',
    "spaced out": ' {\n "type" :\t"NOTE" , "payload" : { "text" : "x" } } ',
    "escaped": r'{"type":"N\u004fTE","payl\u006fad":{"text":"\u0078"}}',
    "other types before": '{"type":"BARE","type":"NOTE","payload":{"text":"x"}}',
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
def test_a_frame_may_be_spelled_in_any_way(text: str) -> None:
    assert accepted(connect(), text).payload == Note(text="x")


# -- what is malformed

PLACES = {
    "typed field": '{{"type":"NOTE","payload":{{"text":{}}}}}',
    "float field": '{{"type":"WEIGH","payload":{{"grams":{}}}}}',
    "Any field": '{{"type":"ANYTHING","payload":{{"value":{}}}}}',
    "Any field, nested": '{{"type":"ANYTHING","payload":{{"value":[{{"a":{}}}]}}}}',
    "meta": '{{"type":"BARE","meta":{{"timestamp":{}}}}}',
    "meta, unknown": '{{"type":"BARE","meta":{{"more":{}}}}}',
    "meta, stripped": '{{"type":"BARE","meta":{{"clientId":{}}}}}',
    "payload": '{{"type":"NOTE","payload":{}}}',
    "root": '{{"type":"BARE","more":{}}}',
    "before the type": '{{"payload":{{"value":{}}},"type":"ANYTHING"}}',
    "unknown type": '{{"type":"NO","payload":{}}}',
    "call": '{{"type":"FIND","meta":{{"correlationId":"a"}},"payload":{{"id":{}}}}}',
    "all of it": "{}",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED)
def test_malformed_json_is_answered(value: str, place: str) -> None:
    """PROTOCOL 2 and 3: in typed and ``Any`` fields and in meta alike, without issues."""
    connection = connect()

    assert at_once(connection, place.format(value)) == error("INVALID_ARGUMENT", "Malformed JSON")
    assert connection.calls.running == 0


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b'{"type":"\xff\xfe"}',
        b'{"type":"\xc0\xaf"}',
        b'{"type":"NOTE","payload":{"text":"\xed\xa0\x80"}}',
        '{"type":"BARE"}'.encode("utf-16"),
    ],
    ids=named,
)
def test_binary_that_is_no_utf8_is_answered(data: bytes) -> None:
    """PROTOCOL 2."""
    answer = at_once(connect(), data)

    assert answer["payload"].pop("message")
    assert answer == {
        "type": "ERROR",
        "meta": {"timestamp": WALL_MS},
        "payload": {"code": "INVALID_ARGUMENT", "retryable": False},
    }


@pytest.mark.parametrize("text", ["null", "1", '"NOTE"', "true", "[]", '["NOTE"]', '[{"type":1}]'])
def test_what_is_no_object_is_answered(text: str) -> None:
    """PROTOCOL 3."""
    assert at_once(connect(), text) == error("INVALID_ARGUMENT", "Not an object")


NO_TYPE = ["{}", '{"type":""}', '{"type":null}', '{"type":1}', '{"type":["NOTE"]}', '{"Type":"A"}']


@pytest.mark.parametrize("text", NO_TYPE)
def test_a_frame_without_a_type_is_answered(text: str) -> None:
    """PROTOCOL 3."""
    expected = error("INVALID_ARGUMENT", "The type is missing or no string")

    assert at_once(connect(), text) == expected


def test_a_frame_without_a_type_is_answered_with_its_id() -> None:
    """PROTOCOL 3: as ERROR, so that whoever waits for it fails at once."""
    answer = at_once(connect(), '{"meta":{"correlationId":"a"}}')

    assert answer == error("INVALID_ARGUMENT", "The type is missing or no string", id="a")


# -- unknown and reserved types


@pytest.mark.parametrize("type_", ["NO", "note", "NOTE "])
def test_an_unknown_type_is_answered(type_: str) -> None:
    """PROTOCOL 3; types are case-sensitive (PROTOCOL 1)."""
    answer = at_once(connect(), frame(type_, {"text": "x"}))

    assert answer == error("UNIMPLEMENTED", "Unknown message type", details={"type": type_})


def test_an_unknown_type_with_an_id_is_a_failed_call() -> None:
    """PROTOCOL 3: whether it was one cannot be known."""
    assert at_once(connect(), frame("NO", correlationId="a")) == error(
        "UNIMPLEMENTED", "Unknown message type", id="a", rpc=True, details={"type": "NO"}
    )


def test_an_unknown_type_is_cut_to_128_characters() -> None:
    """PROTOCOL 3."""
    assert at_once(connect(), frame("é" * 128))["payload"]["details"] == {"type": "é" * 128}
    assert at_once(connect(), frame("é" * 129))["payload"]["details"] == {"type": "é" * 128}


def test_an_unknown_type_comes_before_what_else_is_wrong() -> None:
    """PROTOCOL 3: route lookup stands before validation."""
    answer = at_once(connect(), '{"type":"NO","meta":{"timeoutMs":0},"more":1}')

    assert answer["payload"]["code"] == "UNIMPLEMENTED"


FROM_CLIENT = ["$", "$ws:nothing", "__", "__proto__", "__heartbeat_ack", "ERROR", "RPC_ERROR"]


@pytest.mark.parametrize("type_", FROM_CLIENT)
def test_a_reserved_type_is_ignored(type_: str) -> None:
    """PROTOCOL 3: whatever else it holds."""
    text = frame(type_, {"code": "X"}, correlationId="a")

    assert connect().receive(text, now=0.0, wall=WALL) == NOTHING


# -- control frames


def test_a_ping_is_answered_with_a_pong() -> None:
    """PROTOCOL 7."""
    assert at_once(connect(), frame("$ws:ping", timestamp=12)) == {
        "type": "$ws:pong",
        "meta": {"timestamp": WALL_MS, "echo": 12},
    }


def test_a_ping_needs_no_meta() -> None:
    assert at_once(connect(), '{"type":"$ws:ping"}') == {
        "type": "$ws:pong",
        "meta": {"timestamp": WALL_MS},
    }


def test_a_pong_is_heard_in_silence() -> None:
    assert connect().receive('{"type":"$ws:pong"}', now=0.0, wall=WALL) == NOTHING


def test_a_heartbeat_is_acknowledged() -> None:
    """PROTOCOL 7: ws-kit's own probe; the ack has a meta of its own."""
    assert at_once(connect(), '{"type":"__heartbeat"}') == {
        "type": "__heartbeat_ack",
        "meta": {"ts": WALL_MS},
    }


def test_an_abort_names_its_call() -> None:
    """PROTOCOL 5; whether the call is in flight is looked up later (PROTOCOL 5.5)."""
    abort = connect().receive(frame("$ws:abort", correlationId="a"), now=0.0, wall=WALL)

    assert abort == Abort("a")


@pytest.mark.parametrize("meta", ["{}", "null", '{"correlationId":1}', '{"correlationId":null}'])
def test_an_abort_of_nothing_is_ignored(meta: str) -> None:
    """PROTOCOL 5.5."""
    text = f'{{"type":"$ws:abort","meta":{meta}}}'

    assert connect().receive(text, now=0.0, wall=WALL) == NOTHING


def test_good_control_frames_are_not_counted() -> None:
    """PROTOCOL 3 counts what is refused."""
    connection = connect(max_protocol_errors=0)

    for text in ('{"type":"$ws:ping"}', '{"type":"$ws:pong"}', '{"type":"__heartbeat"}'):
        answer = connection.receive(text, now=0.0, wall=WALL)
        assert isinstance(answer, Answer)
        assert answer.close is None


# -- meta and payload that are invalid


def test_a_refused_event_waits_for_its_turn() -> None:
    """PROTOCOL 3: middleware comes before validation, and may refuse first."""
    connection = connect()
    text = frame("NOTE", {"text": 1}, correlationId="a", timestamp=5)

    decoded = connection.receive(text, now=0.0, wall=WALL)

    assert isinstance(decoded, Decoded)
    assert decoded.payload is None
    assert decoded.meta == Meta(correlation_id="a", sent_at_ms=5)
    assert isinstance(decoded.refusal, WsKitError)


def test_a_refused_event_is_answered_with_its_id() -> None:
    """PROTOCOL 3: a client's ``request()`` against an event handler fails at once."""
    issue = {"path": ["payload", "text"], "message": "Expected a string", "type": "string_type"}

    assert in_turn(connect(), frame("NOTE", {"text": 1}, correlationId="a")) == error(
        "INVALID_ARGUMENT", "Invalid message", id="a", details={"issues": [issue]}
    )


def test_a_refused_call_is_a_failed_one() -> None:
    """PROTOCOL 3; it is open until its turn, with the deadline that it asked for."""
    connection = connect()
    text = frame("FIND", {"id": "1"}, correlationId="a", timeoutMs=1000)

    answer = in_turn(connection, text)

    issue = {"path": ["payload", "id"], "message": "Expected an integer", "type": "int_type"}
    assert answer == error(
        "INVALID_ARGUMENT", "Invalid message", id="a", rpc=True, details={"issues": [issue]}
    )
    call = connection.calls.find("a")
    assert call is not None
    assert call.deadline == 1.0


def test_a_refused_call_without_an_id_is_an_error_without_one() -> None:
    """PROTOCOL 5."""
    answer = in_turn(connect(), frame("FIND", {"id": "1"}))

    assert (answer["type"], answer["meta"]) == ("ERROR", {"timestamp": WALL_MS})


def test_what_is_right_of_a_refused_meta_is_kept_for_middleware() -> None:
    connection = connect()
    text = frame("BARE", correlationId="a", timestamp="x", idempotencyKey="k", more=1)

    decoded = connection.receive(text, now=0.0, wall=WALL)

    assert isinstance(decoded, Decoded)
    assert decoded.meta == Meta(correlation_id="a", idempotency_key="k")


def test_a_number_too_large_for_meta_is_refused() -> None:
    """An integer that no float can hold must not raise."""
    found = issues(in_turn(connect(), frame("BARE", timestamp=10**400)))

    assert [issue["path"] for issue in found] == [["meta", "timestamp"]]


class Buggy(Message, type="BUGGY"):
    value: Annotated[Any, BeforeValidator(lambda value: [][value])]


def test_a_bug_in_a_validator_is_answered_as_one() -> None:
    """PROTOCOL 3: INTERNAL, never the exception's text."""
    assert in_turn(connect(Buggy), frame("BUGGY", {"value": 1}, correlationId="a")) == error(
        "INTERNAL", "Internal server error", id="a"
    )


def test_a_bug_in_a_validator_is_not_held_against_the_client() -> None:
    """PROTOCOL 3 counts malformed, large, unknown and invalid frames."""
    connection = connect(Buggy, max_protocol_errors=0)

    decoded = connection.receive(frame("BUGGY", {"value": 1}), now=0.0, wall=WALL)

    assert isinstance(decoded, Decoded)
    assert isinstance(decoded.refusal, IndexError)


# -- ids


@pytest.mark.parametrize("id_", ["", " ", "\t\n", "x" * 257])
def test_an_events_id_that_cannot_be_carried_is_left_alone(id_: str) -> None:
    """PROTOCOL 1: accepted, but not carried."""
    decoded = accepted(connect(), frame("BARE", correlationId=id_))

    assert (decoded.correlation_id, decoded.meta.correlation_id) == (None, id_)


def test_an_id_of_256_characters_is_carried() -> None:
    """PROTOCOL 1."""
    id_ = "é" * 256

    assert accepted(connect(), frame("BARE", correlationId=id_)).correlation_id == id_
    assert accepted(connect(), frame("FIND", {"id": 1}, correlationId=id_)).correlation_id == id_


@pytest.mark.parametrize("id_", [None, 1, True, ["a"], {}])
def test_an_events_id_that_is_no_string_is_refused(id_: Any) -> None:
    """PROTOCOL 1; the answer carries no id."""
    answer = in_turn(connect(), frame("BARE", correlationId=id_))

    assert [issue["path"] for issue in issues(answer)] == [["meta", "correlationId"]]
    assert answer["meta"] == {"timestamp": WALL_MS}


@pytest.mark.parametrize("meta", [{}, {"correlationId": ""}, {"correlationId": " \t"}])
def test_a_missing_or_blank_id_is_made_up(meta: Any) -> None:
    """PROTOCOL 5: and the reply carries it."""
    decoded = accepted(connect(), frame("FIND", {"id": 1}, **meta))

    assert decoded.correlation_id == "made-up-1"
    assert decoded.call is not None
    assert (decoded.call.id, decoded.call.made_up) == ("made-up-1", True)


OPENS_NOTHING = [
    {"correlationId": None},
    {"correlationId": 1},
    {"correlationId": ["a"]},
    {"correlationId": "x" * 257},
    {"correlationId": " " * 257},
    {"timeoutMs": 0},
    {"timeoutMs": -1},
    {"timeoutMs": 1.5},
    {"timeoutMs": "1"},
    {"timeoutMs": True},
    {"timeoutMs": None},
]


@pytest.mark.parametrize("payload", [{"id": 1}, {"id": "no"}], ids=["valid", "invalid"])
@pytest.mark.parametrize("meta", OPENS_NOTHING, ids=named)
def test_a_call_with_a_bad_id_or_timeout_opens_nothing(meta: Any, payload: Any) -> None:
    """PROTOCOL 3 and 5: answered by the reader at once."""
    connection = connect()

    answer = at_once(connection, frame("FIND", payload, **meta))

    assert (answer["type"], answer["meta"]) == ("ERROR", {"timestamp": WALL_MS})
    assert answer["payload"]["code"] == "INVALID_ARGUMENT"
    assert connection.calls.running == 0


def test_a_bad_timeout_is_told_to_the_call_that_has_it() -> None:
    """PROTOCOL 3: an id that is carried is answered as RPC_ERROR."""
    answer = at_once(connect(), frame("FIND", {"id": 1}, correlationId="a", timeoutMs=0))

    assert (answer["type"], answer["meta"]["correlationId"]) == ("RPC_ERROR", "a")
    assert [issue["path"] for issue in issues(answer)] == [["meta", "timeoutMs"]]


def test_an_id_that_is_too_long_is_named_as_the_issue() -> None:
    found = issues(at_once(connect(), frame("FIND", {"id": 1}, correlationId="x" * 257)))

    assert found == [
        {"path": ["meta", "correlationId"], "message": "Too long", "type": "string_too_long"}
    ]


# -- ids in flight


def in_flight(**limits: Any) -> Connection:
    """A connection with a call "a"."""
    connection = connect(**limits)
    accepted(connection, frame("FIND", {"id": 1}, correlationId="a"))
    return connection


def test_an_id_in_flight_is_refused_without_it() -> None:
    """PROTOCOL 5.8: the details carry it."""
    answer = at_once(in_flight(), frame("FIND", {"id": 2}, correlationId="a"))

    assert answer == error("ALREADY_EXISTS", "This id is in flight", details={"correlationId": "a"})


def test_an_invalid_call_does_not_settle_the_one_in_flight() -> None:
    """PROTOCOL 3: a client settles a pending request on any frame with its id."""
    answer = at_once(in_flight(), frame("FIND", {"id": "no"}, correlationId="a"))

    assert (answer["type"], answer["meta"]) == ("ERROR", {"timestamp": WALL_MS})


@pytest.mark.parametrize(
    "text",
    [
        frame("NO", correlationId="a"),
        '{"meta":{"correlationId":"a"}}',
        frame("FIND", {"id": 1}, correlationId="a", timeoutMs=0),
        '{"type":"FIND","meta":{"correlationId":"a"},"payload":{"id":"' + "x" * 1_000_000 + '"}}',
    ],
    ids=["unknown type", "no type", "bad timeout", "too large"],
)
def test_no_refusal_at_once_carries_an_id_in_flight(text: str) -> None:
    """PROTOCOL 3: ERROR without it, and with it in the details."""
    answer = at_once(in_flight(), text)

    assert (answer["type"], answer["meta"]) == ("ERROR", {"timestamp": WALL_MS})
    assert answer["payload"]["details"]["correlationId"] == "a"


def test_no_event_error_carries_an_id_in_flight() -> None:
    """PROTOCOL 3."""
    answer = in_turn(in_flight(), frame("NOTE", {"text": 1}, correlationId="a"))

    assert (answer["type"], answer["meta"]) == ("ERROR", {"timestamp": WALL_MS})
    assert answer["payload"]["details"].keys() == {"issues", "correlationId"}


def test_a_calls_own_error_carries_its_id() -> None:
    """PROTOCOL 5."""
    connection = in_flight()
    call = connection.calls.find("a")

    text, _ = connection.error_frame(
        WsKitError("NOT_FOUND"), now=WALL, rpc=True, correlation_id="a", call=call
    )

    assert strictly(text) == error("NOT_FOUND", "Not found", id="a", rpc=True)


def test_an_error_frame_needs_an_id_to_be_of_a_call() -> None:
    """PROTOCOL 3."""
    text, _ = connect().error_frame(
        WsKitError("NOT_FOUND"), now=WALL, rpc=True, correlation_id=None
    )

    assert strictly(text) == error("NOT_FOUND", "Not found")


def test_what_an_error_leaves_out_is_told() -> None:
    """PROTOCOL 4: a logged warning."""
    _, notes = connect().error_frame(
        WsKitError("NOT_FOUND", retry_after=1), now=WALL, rpc=False, correlation_id=None
    )

    assert notes == ("retry_after, which NOT_FOUND forbids",)


def test_secrets_of_a_projects_own_are_left_out() -> None:
    connection = Connection(
        {},
        DEFAULTS,
        CallTable(1, 1.0),
        client_id="client",
        new_id=str,
        sensitive=frozenset({"iban"}),
    )

    text, _ = connection.error_frame(
        WsKitError("NOT_FOUND", details={"IBAN": 1, "n": 1}),
        now=WALL,
        rpc=False,
        correlation_id=None,
    )

    assert strictly(text)["payload"]["details"] == {"n": 1}


def test_a_finished_id_may_be_used_again() -> None:
    """PROTOCOL 5.9."""
    connection = in_flight()
    call = connection.calls.find("a")
    assert call is not None
    connection.calls.move(call, Move.REPLY)

    again = accepted(connection, frame("FIND", {"id": 2}, correlationId="a"))

    assert again.call is not call


# -- slots


def test_one_call_too_many_is_told_to_come_again() -> None:
    """PROTOCOL 5.7, and the limit is reported."""
    connection = in_flight(max_inflight_rpcs=1)

    answer = connection.receive(frame("FIND", {"id": 2}, correlationId="b"), now=0.0, wall=WALL)

    assert isinstance(answer, Answer)
    assert answer.frame is not None
    assert strictly(answer.frame) == error(
        "RESOURCE_EXHAUSTED", "Too many calls", id="b", rpc=True, retryable=True, retryAfterMs=100
    )
    assert answer.exceeded == LimitExceeded(
        type="inflight_rpcs", observed=2, limit=1, client_id="client", retry_after=0.1
    )


def test_one_call_too_many_without_an_id_is_an_error_without_one() -> None:
    """PROTOCOL 5: a request that is refused gets no made-up id."""
    answer = at_once(in_flight(max_inflight_rpcs=1), frame("FIND", {"id": 2}))

    assert answer == error("RESOURCE_EXHAUSTED", "Too many calls", retryable=True, retryAfterMs=100)


def test_an_invalid_call_takes_no_slot_that_is_not_there() -> None:
    """PROTOCOL 3: slots are judged before middleware and validation."""
    answer = at_once(in_flight(max_inflight_rpcs=1), frame("FIND", {"id": "no"}))

    assert answer["payload"]["code"] == "RESOURCE_EXHAUSTED"


def test_a_busy_connection_is_no_abuse() -> None:
    """PROTOCOL 3: ids in flight and full slots are not counted."""
    connection = in_flight(max_inflight_rpcs=1, max_protocol_errors=0)

    answers = [at_once(connection, frame("FIND", {"id": 2}, correlationId=id_)) for id_ in "ab"]

    codes = [answer["payload"]["code"] for answer in answers]
    assert codes == ["ALREADY_EXISTS", "RESOURCE_EXHAUSTED"]


# -- frames that are too large


def padded(size: int, text: str = '{"type":"BARE"}') -> str:
    return text + " " * (size - len(text.encode()))


def test_a_frame_of_just_the_limit_is_accepted() -> None:
    """PROTOCOL 3."""
    assert accepted(connect(max_payload_bytes=100), padded(100)).size == 100


def test_a_frame_that_is_too_large_is_answered() -> None:
    """PROTOCOL 3."""
    answer = connect(max_payload_bytes=100).receive(padded(101), now=0.0, wall=WALL)

    assert isinstance(answer, Answer)
    assert answer.frame is not None
    assert strictly(answer.frame) == error(
        "RESOURCE_EXHAUSTED",
        "The frame is too large",
        details={"observed": 101, "limit": 100},
        retryAfterMs=None,
    )
    assert answer.close is None
    assert answer.exceeded == LimitExceeded(
        type="payload_bytes", observed=101, limit=100, client_id="client"
    )


@pytest.mark.parametrize("encode", [str, str.encode], ids=["text", "binary"])
def test_bytes_are_counted_and_not_characters(encode: Any) -> None:
    """PROTOCOL 3: bytes of UTF-8."""
    text = '{"type":"' + "é" * 50 + '"}'

    answer = at_once(connect(max_payload_bytes=100), encode(text))

    assert answer["payload"]["details"] == {"observed": 111, "limit": 100}


def test_a_large_frame_is_not_parsed() -> None:
    """PROTOCOL 3: size comes first, whatever it holds."""
    connection = connect(max_payload_bytes=100)

    for data in ("x" * 101, b"\xff" * 101, "[" * 101, '{"a":"' + "\ud800" * 101):
        assert at_once(connection, data)["payload"]["code"] == "RESOURCE_EXHAUSTED"


LARGE = [
    ("FIND", "RPC_ERROR"),
    ("NO", "RPC_ERROR"),
    ("NOTE", "ERROR"),
]


@pytest.mark.parametrize("encode", [str, str.encode], ids=["text", "binary"])
@pytest.mark.parametrize(("type_", "answer_type"), LARGE)
def test_a_large_frame_is_answered_with_its_id(type_: str, answer_type: str, encode: Any) -> None:
    """PROTOCOL 3: recovered from the first 4 KiB; as RPC_ERROR but for an event."""
    text = frame(type_, {"text": "é" * 4000}, correlationId="a")

    answer = at_once(connect(max_payload_bytes=100), encode(text))

    assert (answer["type"], answer["meta"]["correlationId"]) == (answer_type, "a")


def test_a_large_frames_id_after_4_kib_is_not_looked_for() -> None:
    """PROTOCOL 3."""
    text = '{"payload":"' + "x" * 4096 + '","meta":{"correlationId":"a"},"type":"FIND"}'

    answer = at_once(connect(max_payload_bytes=100), text)

    assert (answer["type"], answer["meta"]) == ("ERROR", {"timestamp": WALL_MS})


@pytest.mark.parametrize("id_", [" ", "x" * 257, 1, None])
def test_a_large_frames_id_that_cannot_be_carried_is_not(id_: Any) -> None:
    """PROTOCOL 1."""
    answer = at_once(connect(max_payload_bytes=10), frame("FIND", {"id": 1}, correlationId=id_))

    assert (answer["type"], answer["meta"]) == ("ERROR", {"timestamp": WALL_MS})


@pytest.mark.parametrize(("limits", "code"), [({}, 1009), ({"close_code": 4009}, 4009)])
def test_a_large_frame_may_close(limits: Any, code: int) -> None:
    """PROTOCOL 3 and 8."""
    connection = connect(max_payload_bytes=100, on_exceeded="close", **limits)

    answer = connection.receive(padded(101), now=0.0, wall=WALL)

    assert answer == Answer(
        exceeded=LimitExceeded(type="payload_bytes", observed=101, limit=100, client_id="client"),
        close=Close(code, "PAYLOAD_TOO_LARGE"),
    )


def test_a_large_frame_may_be_left_to_the_hook() -> None:
    """PROTOCOL 3: nothing is answered."""
    connection = connect(max_payload_bytes=100, on_exceeded="custom")

    answer = connection.receive(padded(101), now=0.0, wall=WALL)

    assert answer == Answer(
        exceeded=LimitExceeded(type="payload_bytes", observed=101, limit=100, client_id="client")
    )


# -- the budget of refused frames

REFUSED: dict[str, str | bytes] = {
    "malformed": "{",
    "no UTF-8": b"\xff",
    "no object": "[]",
    "no type": "{}",
    "too large": "x" * 1_000_001,
    "unknown type": '{"type":"NO"}',
    "reserved type": '{"type":"$mine"}',
    "an error": '{"type":"ERROR"}',
    "invalid payload": '{"type":"NOTE","payload":{}}',
    "invalid meta": '{"type":"BARE","meta":{"more":1}}',
    "invalid call": '{"type":"FIND","payload":{}}',
    "a call's bad id": '{"type":"FIND","meta":{"correlationId":1},"payload":{"id":1}}',
    "a call's long id": frame("FIND", {"id": 1}, correlationId="x" * 257),
}
TOO_MANY = LimitExceeded(type="protocol_errors", observed=101, limit=100, client_id="client")


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_the_101st_refused_frame_closes(data: str | bytes) -> None:
    """PROTOCOL 3: the first 100 within 60 s are answered, the next one is not."""
    connection = connect()
    for _ in range(100):
        decision = connection.receive(data, now=0.0, wall=WALL)
        assert isinstance(decision, Decoded | Answer)
        assert not isinstance(decision, Answer) or decision.close is None

    last = connection.receive(data, now=59.9, wall=WALL)

    assert isinstance(last, Answer)
    assert (last.frame, last.close) == (None, Close(1008, "PROTOCOL_ERRORS"))
    assert last.exceeded is not None


def test_all_kinds_of_refused_frames_are_counted_together() -> None:
    """PROTOCOL 3."""
    connection = connect(max_protocol_errors=len(REFUSED))
    for data in REFUSED.values():
        connection.receive(data, now=0.0, wall=WALL)

    last = connection.receive("{", now=0.0, wall=WALL)

    assert isinstance(last, Answer)
    assert last.close == Close(1008, "PROTOCOL_ERRORS")


def test_good_frames_are_not_counted() -> None:
    connection = connect(max_protocol_errors=1)
    for _ in range(200):
        accepted(connection, '{"type":"BARE"}')

    assert at_once(connection, "{") == error("INVALID_ARGUMENT", "Malformed JSON")


def test_good_frames_pass_when_the_budget_is_used_up() -> None:
    connection = connect(max_protocol_errors=0)

    assert accepted(connection, '{"type":"BARE"}').payload == Bare()


def test_the_window_slides() -> None:
    """PROTOCOL 3: within 60 s, counted from each frame."""
    connection = connect()
    for n in range(100):
        at_once(connection, "{", now=0.0 if n < 50 else 30.0)
    for _ in range(50):
        at_once(connection, "{", now=60.0)

    last = connection.receive("{", now=60.0, wall=WALL)
    assert last == Answer(exceeded=TOO_MANY, close=Close(1008, "PROTOCOL_ERRORS"))
    at_once(connection, "{", now=90.0)


def test_a_large_frame_that_closes_for_abuse_reports_its_size() -> None:
    connection = connect(max_protocol_errors=0)

    answer = connection.receive("x" * 1_000_001, now=0.0, wall=WALL)

    assert answer == Answer(
        exceeded=LimitExceeded(
            type="payload_bytes", observed=1_000_001, limit=1_000_000, client_id="client"
        ),
        close=Close(1008, "PROTOCOL_ERRORS"),
    )


def test_large_frames_that_are_left_to_the_hook_are_counted() -> None:
    """PROTOCOL 3 counts them, answered or not."""
    connection = connect(on_exceeded="custom", max_protocol_errors=1)
    connection.receive("x" * 1_000_001, now=0.0, wall=WALL)

    answer = connection.receive("x" * 1_000_001, now=0.0, wall=WALL)

    assert isinstance(answer, Answer)
    assert answer.close == Close(1008, "PROTOCOL_ERRORS")


# -- whatever comes

JSON_LIKE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["a", "x" * 300, 10**400, " "]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "id", "value", "more"]), inner, max_size=3)
    ),
    max_leaves=5,
)
TYPES = ["NOTE", "ANYTHING", "WEIGH", "BARE", "FIND", "TRACED", "NO", "ERROR", "$ws:ping"]
META_KEYS = ["correlationId", "timestamp", "timeoutMs", "idempotencyKey", "clientId", "trace"]
FRAMES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([*TYPES, "$ws:abort", "__heartbeat"]) | JSON_LIKE,
        "meta": st.dictionaries(st.sampled_from(META_KEYS), JSON_LIKE, max_size=4) | JSON_LIKE,
        "payload": JSON_LIKE,
        "more": JSON_LIKE,
    },
).map(json.dumps)
FAILING = settings(max_examples=300, deadline=None)


def check_decision(data: str | bytes, max_payload_bytes: int) -> None:
    """Whatever a frame holds, it is decided upon, and what is answered is strict JSON."""
    connection = connect(max_payload_bytes=max_payload_bytes)
    accepted(connection, '{"type":"FIND","meta":{"correlationId":"a"},"payload":{"id":1}}')

    decision = connection.receive(data, now=0.0, wall=WALL)

    assert isinstance(decision, Decoded | Answer | Abort)
    if isinstance(decision, Decoded) and decision.refusal is not None:
        connection.calls.disconnect()
        answer = in_turn(connection, data)
        assert answer["payload"]["code"] == "INVALID_ARGUMENT"
    elif isinstance(decision, Answer) and decision.frame is not None:
        answer = strictly(decision.frame)
        assert answer["meta"].get("correlationId") != "a"


@FAILING
@given(FRAMES)
def test_any_frame_is_decided_upon(text: str) -> None:
    """PROTOCOL 2: never an uncaught exception."""
    check_decision(text, 1_000_000)


@FAILING
@given(st.binary() | st.text(st.characters(), max_size=50))
def test_any_text_and_any_bytes_are_decided_upon(data: str | bytes) -> None:
    """PROTOCOL 2."""
    check_decision(data, 1_000_000)


@FAILING
@given(FRAMES, st.integers(0, 400), st.binary(max_size=3))
def test_any_cut_or_broken_frame_is_decided_upon(text: str, cut: int, broken: bytes) -> None:
    """PROTOCOL 2."""
    check_decision(text[:cut], 1_000_000)
    check_decision(text.encode()[:cut] + broken + text.encode()[cut:], 1_000_000)


@FAILING
@given(FRAMES | st.binary(min_size=70) | st.text(st.characters(), min_size=70))
def test_any_frame_that_is_too_large_is_decided_upon(data: str | bytes) -> None:
    """PROTOCOL 3."""
    check_decision(data, 64)
