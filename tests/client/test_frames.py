import json
from typing import Any

import pytest

from tests.client.contract import Done, Empty, Other, Stage, Work
from wskit_channels.client import InvalidFrame, ServerError, ServerTimeout
from wskit_channels.client.frames import (
    Frame,
    abort_frame,
    message_frame,
    progress_validator,
    request_writer,
)
from wskit_channels.client.policy import Bye


def frame(type: str = "DONE", **keys: Any) -> Frame:
    return Frame.parse(json.dumps({"type": type, "meta": {"timestamp": 1}, **keys}))


def test_a_message_as_it_goes_out() -> None:
    """PROTOCOL 1."""
    text = message_frame(Done(n=1), now=1.5, meta={"trace": "t"})

    assert text == '{"type":"DONE","meta":{"timestamp":1500,"trace":"t"},"payload":{"n":1}}'


def test_a_message_without_fields_has_no_payload() -> None:
    """PROTOCOL 1."""
    assert message_frame(Empty(), now=1.0) == '{"type":"EMPTY","meta":{"timestamp":1000}}'


def test_a_request_as_it_goes_out() -> None:
    """PROTOCOL 5."""
    write = request_writer(Work(n=1), "id", idempotency_key="k", meta={"trace": "t"})
    found = json.loads(write(2.5))
    found["meta"].pop("timestamp")

    assert found == {
        "type": "WORK",
        "meta": {"correlationId": "id", "timeoutMs": 2500, "idempotencyKey": "k", "trace": "t"},
        "payload": {"n": 1},
    }
    assert json.loads(write(0.0001))["meta"]["timeoutMs"] == 1
    assert "timeoutMs" not in json.loads(write(None))["meta"]


@pytest.mark.parametrize("key", ["correlationId", "timestamp", "timeoutMs", "clientId"])
def test_the_protocols_own_meta_is_not_for_callers(key: str) -> None:
    with pytest.raises(ValueError, match=f"'{key}', which is the protocol's own"):
        request_writer(Work(n=1), "id", idempotency_key=None, meta={key: 1})


def test_a_number_that_json_has_not_is_refused_before_it_is_queued() -> None:
    """PROTOCOL 2."""
    with pytest.raises(ValueError, match="not finite"):
        message_frame(Other(value=float("nan")), now=1.0)


def test_an_abort() -> None:
    """PROTOCOL 5."""
    assert abort_frame("id") == '{"type":"$ws:abort","meta":{"correlationId":"id"}}'


@pytest.mark.parametrize("text", ["{", "[]", '{"type": ""}', '{"type": 1}', "NaN", '"\\ud800"'])
def test_what_is_no_frame_is_refused(text: str) -> None:
    """PROTOCOL 2."""
    with pytest.raises(InvalidFrame):
        Frame.parse(text)


def test_a_message_is_validated_strictly() -> None:
    """PROTOCOL 1: no coercion, no unknown key."""
    assert frame(payload={"n": 1}).decode(Done) == Done(n=1)
    for payload in ({"n": "1"}, {"n": 1, "more": 2}, None):
        with pytest.raises(InvalidFrame):
            frame(payload=payload).decode(Done)


def test_a_refusal_says_what_is_wrong() -> None:
    with pytest.raises(InvalidFrame) as caught:
        frame(payload={"n": "1"}).decode(Done)

    expected = "the server's 'DONE' is not as declared (payload.n: Expected an integer)"
    assert str(caught.value) == expected


def test_an_overflowing_number_is_refused() -> None:
    """PROTOCOL 2."""
    with pytest.raises(InvalidFrame):
        Frame.parse('{"type":"OTHER","payload":{"value":1e999}}')


def test_progress_is_what_the_request_says_or_any_json() -> None:
    validator = progress_validator(Work)

    assert frame("$ws:rpc-progress", data={"stage": "a"}).decode_progress(validator) == Stage(
        stage="a"
    )
    assert frame("$ws:rpc-progress", data=[1]).decode_progress(None) == [1]
    with pytest.raises(InvalidFrame):
        frame("$ws:rpc-progress", data={"stage": 1}).decode_progress(validator)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            {"code": "NOT_FOUND", "message": "No", "details": {"a": 1}, "retryable": False},
            ("NOT_FOUND", "No", {"a": 1}, False, None),
        ),
        (
            {"code": "UNAVAILABLE", "message": "m", "retryable": True, "retryAfterMs": 250},
            ("UNAVAILABLE", "m", {}, True, 0.25),
        ),
        ({"code": "OWN", "message": "m", "retryAfterMs": None}, ("OWN", "m", {}, None, None)),
        (None, ("INTERNAL", "INTERNAL", {}, None, None)),
    ],
)
def test_an_error_frame_becomes_an_exception(payload: Any, expected: Any) -> None:
    """PROTOCOL 4."""
    error = frame("RPC_ERROR", payload=payload).as_error()

    found = (error.code, error.message, error.details, error.retryable, error.retry_after)
    assert (type(error), found) == (ServerError, expected)


def test_the_servers_deadline_is_a_timeout_too() -> None:
    error = frame("RPC_ERROR", payload={"code": "DEADLINE_EXCEEDED", "message": "late"}).as_error()

    assert isinstance(error, TimeoutError)
    assert isinstance(error, ServerTimeout)
    assert (str(error), error.code) == ("DEADLINE_EXCEEDED: late", "DEADLINE_EXCEEDED")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"code": 1012, "reconnect": True, "retryAfterMs": 1500}, Bye(True, 1.5)),
        ({"reconnect": False}, Bye(False, None)),
        (None, Bye(True, None)),
    ],
)
def test_a_goodbye(data: Any, expected: Bye) -> None:
    """PROTOCOL 7."""
    assert frame("$ws:bye", data=data).as_bye() == expected
