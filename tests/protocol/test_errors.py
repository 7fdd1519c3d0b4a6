"""Codes, retry rules and what may leave: ``protocol/errors.py``."""

import copy
import math
import pickle
from dataclasses import dataclass
from datetime import date
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from tests.helpers import named
from wskit_channels import UNSET, CloseConnection, ErrorCode, PubSubError, WsKitError
from wskit_channels.protocol.errors import (
    SENSITIVE_KEYS,
    SENTENCES,
    ErrorBody,
    PubSubErrorCode,
    Refused,
    check_close,
    error_body,
    sanitize,
)


class RoomFull(WsKitError, code="ROOM_FULL", retryable=True):
    pass


class Banned(WsKitError, code="BANNED"):
    pass


LASTING: list[ErrorCode] = [
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "INVALID_ARGUMENT",
    "FAILED_PRECONDITION",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "UNIMPLEMENTED",
    "CANCELLED",
]
TRANSIENT: list[ErrorCode] = ["DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "ABORTED"]


def payload(error: WsKitError) -> dict[str, Any]:
    """An error's payload; its message is another test's."""
    body = error_body(error).payload
    del body["message"]
    return body


# -- the table


def test_there_are_13_codes() -> None:
    """PROTOCOL 4."""
    assert {*LASTING, *TRANSIENT, "INTERNAL"} == set(get_args(ErrorCode)) == set(SENTENCES)
    assert len(get_args(ErrorCode)) == 13


@pytest.mark.parametrize("code", [*LASTING, "INTERNAL"])
def test_code_is_not_retryable(code: ErrorCode) -> None:
    """PROTOCOL 4: always on the wire for a standard code."""
    assert payload(WsKitError(code)) == {"code": code, "retryable": False}


@pytest.mark.parametrize("code", TRANSIENT)
def test_code_is_retryable(code: ErrorCode) -> None:
    """PROTOCOL 4; without a number the client uses its own backoff."""
    assert payload(WsKitError(code)) == {"code": code, "retryable": True}


@pytest.mark.parametrize("retryable", [True, False])
@pytest.mark.parametrize("code", get_args(ErrorCode))
def test_an_argument_overrides_the_table(code: ErrorCode, retryable: bool) -> None:
    """PROTOCOL 4."""
    assert payload(WsKitError(code, retryable=retryable)) == {"code": code, "retryable": retryable}


@pytest.mark.parametrize("retry_after", [0, 1.5, None])
@pytest.mark.parametrize("code", LASTING)
def test_retry_after_is_dropped_where_it_is_forbidden(
    code: ErrorCode, retry_after: float | None
) -> None:
    """PROTOCOL 4, and the operator is told."""
    body = error_body(WsKitError(code, "No", retry_after=retry_after))

    assert body == ErrorBody(
        {"code": code, "message": "No", "retryable": False},
        (f"retry_after, which {code} forbids",),
    )


@pytest.mark.parametrize("seconds", [0, 1.5])
@pytest.mark.parametrize("code", [*TRANSIENT, "INTERNAL"])
def test_a_number_makes_an_error_retryable(code: ErrorCode, seconds: float) -> None:
    """PROTOCOL 4."""
    assert payload(WsKitError(code, retry_after=seconds)) == {
        "code": code,
        "retryable": True,
        "retry_after": seconds,
    }


@pytest.mark.parametrize("retryable", [None, True, False])
@pytest.mark.parametrize("code", [*TRANSIENT, "INTERNAL"])
def test_none_makes_an_error_not_retryable(code: ErrorCode, retryable: bool | None) -> None:
    """PROTOCOL 4: null says that a retry is impossible, whatever else is said."""
    assert payload(WsKitError(code, retry_after=None, retryable=retryable)) == {
        "code": code,
        "retryable": False,
        "retry_after": None,
    }


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, math.inf, -math.inf])
def test_retry_after_is_a_duration(seconds: float) -> None:
    with pytest.raises(ValueError, match="retry_after is a number of seconds or None"):
        WsKitError("UNAVAILABLE", retry_after=seconds)


def test_there_is_always_a_message() -> None:
    """PROTOCOL 4: by default a fixed sentence for each code."""
    for code in get_args(ErrorCode):
        assert error_body(WsKitError(code)).payload["message"] == SENTENCES[code]
        assert error_body(WsKitError(code, "")).payload["message"] == SENTENCES[code]
    assert error_body(Banned()).payload["message"] == "BANNED"


def test_a_message_that_utf8_cannot_hold_does_not_cost_the_answer() -> None:
    """PROTOCOL 5.1: a call is answered, whatever its error says."""
    assert error_body(WsKitError("NOT_FOUND", "no \ud800")).payload["message"] == "no ?"


# -- codes of an application's own


def test_an_applications_code_is_declared() -> None:
    """PROTOCOL 4: retryable only if given, retryAfterMs as given."""
    assert payload(Banned()) == {"code": "BANNED"}
    assert payload(Banned(retryable=False)) == {"code": "BANNED", "retryable": False}
    assert payload(RoomFull()) == {"code": "ROOM_FULL", "retryable": True}
    assert payload(Banned(retry_after=2)) == {
        "code": "BANNED",
        "retryable": True,
        "retry_after": 2,
    }
    assert payload(RoomFull(retry_after=None)) == {
        "code": "ROOM_FULL",
        "retryable": False,
        "retry_after": None,
    }


def test_a_subclass_has_the_code_of_its_base() -> None:
    class StillBanned(Banned, retryable=True):
        pass

    assert payload(StillBanned()) == {"code": "BANNED", "retryable": True}


@pytest.mark.parametrize("code", get_args(ErrorCode))
def test_a_standard_code_cannot_be_declared(code: str) -> None:
    with pytest.raises(TypeError, match=f"Mine: {code} is a standard code"):

        class Mine(WsKitError, code=code):
            pass


@pytest.mark.parametrize("code", ["", " "])
def test_a_blank_code_cannot_be_declared(code: str) -> None:
    with pytest.raises(TypeError, match="Mine: an error code is a non-empty string"):

        class Mine(WsKitError, code=code):
            pass


def test_an_error_without_a_code_is_refused() -> None:
    with pytest.raises(TypeError, match=r"WsKitError takes exactly one code; .*\(code, \.\.\.\)"):
        WsKitError()


def test_a_declared_code_is_not_given_again() -> None:
    with pytest.raises(TypeError, match=r"takes exactly one code; write RoomFull\(message=\.\.\."):
        RoomFull("NOT_FOUND")


# -- what may leave


@pytest.mark.parametrize("key", sorted(SENSITIVE_KEYS))
def test_a_secret_never_leaves(key: str) -> None:
    """PROTOCOL 4: case-insensitively, at every level."""
    details = {
        key: "x",
        key.upper(): "x",
        "kept": {key.title(): "x", "in": [{key: "x", "n": 1}]},
    }

    assert sanitize(details) == ({"kept": {"in": [{"n": 1}]}}, [])


def test_which_keys_are_secrets() -> None:
    """PROTOCOL 4."""
    named = (
        "password token authorization cookie secret apikey api_key accesstoken "
        "access_token refreshtoken refresh_token credentials auth bearer jwt"
    )

    assert set(named.split()) == SENSITIVE_KEYS


def test_a_key_that_only_resembles_a_secret_stays() -> None:
    assert sanitize({"author": 1, "tokens": 2}) == ({"author": 1, "tokens": 2}, [])


def test_keys_can_be_added() -> None:
    """PROTOCOL 4."""
    details = {"iban": 1, "in": {"IBAN": 1}, "n": 1}

    assert sanitize(details, SENSITIVE_KEYS | {"iban"}) == ({"in": {}, "n": 1}, [])


def test_values_of_500_characters_stay() -> None:
    """PROTOCOL 4: as JSON."""
    array, object_ = ["x" * 496], {"a": "x" * 492}

    assert sanitize({"array": array, "object": object_}) == (
        {"array": array, "object": object_},
        [],
    )


def test_larger_values_are_dropped_whole() -> None:
    """PROTOCOL 4."""
    array, object_ = ["x" * 497], {"a": "x" * 493}

    assert sanitize({"array": array, "object": object_, "n": 1}) == ({"n": 1}, [])


def test_characters_are_counted_and_not_bytes() -> None:
    assert sanitize({"array": ["é" * 496]}) == ({"array": ["é" * 496]}, [])


def test_long_strings_stay() -> None:
    """PROTOCOL 4 bounds objects and arrays."""
    assert sanitize({"text": "x" * 5000}) == ({"text": "x" * 5000}, [])


def test_plain_data_is_made_of_what_is_not() -> None:
    class Model(BaseModel):
        day: date
        password: str

    @dataclass
    class Record:
        n: int

    details = {"model": Model(day=date(2024, 2, 29), password="x"), "record": Record(1), "t": (1,)}

    assert sanitize(details) == ({"model": {"day": "2024-02-29"}, "record": {"n": 1}, "t": [1]}, [])


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (object(), "object"),
        ([object()], "list"),
        (b"\xff", "bytes"),
        ("\ud800", "str"),
        ({"a": ["\ud800"]}, "dict"),
        (LOOP, "list"),
    ],
    ids=["object", "nested object", "bytes", "surrogate", "nested surrogate", "loop"],
)
def test_what_json_cannot_hold_is_dropped_and_told(value: Any, kind: str) -> None:
    """An error must not cost the answer (PROTOCOL 5.1)."""
    assert sanitize({"bad": value, "n": 1}) == (
        {"n": 1},
        [f"details.bad, a {kind} that JSON cannot hold"],
    )


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": {"b": -math.inf}}], ids=named)
def test_what_is_not_finite_is_dropped_and_told(value: Any) -> None:
    """PROTOCOL 2: never sent."""
    assert sanitize({"bad": value, "n": 1}) == (
        {"n": 1},
        ["details.bad, which holds a number that is not finite"],
    )


@pytest.mark.parametrize("details", [None, {}, {"password": "x"}, {"big": ["x" * 500]}], ids=named)
def test_empty_details_are_left_out(details: dict[str, Any] | None) -> None:
    """PROTOCOL 4."""
    assert "details" not in error_body(WsKitError("NOT_FOUND", details=details)).payload


def test_the_librarys_own_details_have_their_own_bounds() -> None:
    """PROTOCOL 4."""
    own = {"issues": [{"path": ["payload", "password"] * 100}], "token": 1}

    assert error_body(Refused("INVALID_ARGUMENT", own=own)).payload["details"] == own


# -- wrapping


def test_wrap_leaves_an_error_as_it_is() -> None:
    error = Banned()

    assert WsKitError.wrap(error) is error


def test_wrap_takes_nothing_over_from_an_exception() -> None:
    """Its text may hold what no client should see."""
    cause = KeyError("secret")

    error = WsKitError.wrap(cause)

    assert error_body(error).payload == {
        "code": "INTERNAL",
        "message": "Internal server error",
        "retryable": False,
    }
    assert error.__cause__ is cause


def test_wrap_gives_an_exception_a_code() -> None:
    error = WsKitError.wrap(KeyError("x"), "NOT_FOUND", "No such room", details={"room": 1})

    assert error_body(error).payload == {
        "code": "NOT_FOUND",
        "message": "No such room",
        "details": {"room": 1},
        "retryable": False,
    }


def test_retag_keeps_message_and_details() -> None:
    cause = WsKitError("NOT_FOUND", "No such room", details={"room": 1}, retry_after=3)

    error = WsKitError.retag(cause, "UNAVAILABLE")

    assert error_body(error).payload == {
        "code": "UNAVAILABLE",
        "message": "No such room",
        "details": {"room": 1},
        "retryable": True,
    }
    assert error.__cause__ is cause


def test_retag_of_an_application_error_is_a_plain_one() -> None:
    assert type(WsKitError.retag(RoomFull(), "UNAVAILABLE")) is WsKitError


def test_retag_may_change_message_and_details() -> None:
    cause = WsKitError("NOT_FOUND", "No such room", details={"room": 1})

    error = WsKitError.wrap(cause, "ABORTED", "Again", details={})

    assert (error.code, error.message, error.details) == ("ABORTED", "Again", {})


# -- pickling


@pytest.mark.parametrize(
    "error",
    [
        WsKitError("UNAVAILABLE", "Later", details={"a": 1}, retry_after=1.5),
        WsKitError("INTERNAL", retryable=True),
        RoomFull(message="Another room", details={"room": 1}),
        Refused("INVALID_ARGUMENT", own={"issues": []}),
        PubSubError("ADAPTER_ERROR", details={"a": 1}),
    ],
    ids=named,
)
@pytest.mark.parametrize("duplicate", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_errors_can_be_pickled_and_copied(error: WsKitError, duplicate: Any) -> None:
    """They cross processes, in task queues and test runners."""
    again = duplicate(error)

    assert type(again) is type(error)
    assert (again.__dict__, again.args, str(again)) == (error.__dict__, error.args, str(error))
    assert error_body(again) == error_body(error)


def test_unset_stays_the_only_one() -> None:
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET
    assert copy.deepcopy(UNSET) is UNSET
    assert (bool(UNSET), repr(UNSET)) == (False, "UNSET")


# -- topics


@pytest.mark.parametrize("code", get_args(PubSubErrorCode))
def test_only_a_failure_of_the_layer_is_worth_another_try(code: PubSubErrorCode) -> None:
    assert payload(PubSubError(code)) == {"code": code, "retryable": code == "ADAPTER_ERROR"}


# -- closing


@pytest.mark.parametrize("code", [1000, 1008, 1009, 1011, 1012, 1013, 3000, 4000, 4401, 4999])
def test_close_code_may_be_sent(code: int) -> None:
    """PROTOCOL 8."""
    close = CloseConnection(code, "why")

    assert (close.code, close.reason) == (code, "why")


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536])
def test_close_code_may_not_be_sent(code: int) -> None:
    """RFC 6455, 7.4."""
    with pytest.raises(ValueError, match=f"^{code} is no close code that may be sent"):
        CloseConnection(code)


@pytest.mark.parametrize("reason", ["x" * 123, "é" * 61])
def test_close_reason_fits(reason: str) -> None:
    check_close(1000, reason)


@pytest.mark.parametrize("reason", ["x" * 124, "é" * 62, "\ud800"])
def test_close_reason_does_not_fit(reason: str) -> None:
    """RFC 6455, 5.5: 125 bytes, of which the code takes two."""
    with pytest.raises(ValueError):
        CloseConnection(1000, reason)


def test_close_is_normal_by_default() -> None:
    close = CloseConnection()

    assert (close.code, close.reason, str(close)) == (1000, "", "1000")


def test_a_close_can_be_pickled() -> None:
    close = pickle.loads(pickle.dumps(CloseConnection(4000, "why")))

    assert (close.code, close.reason) == (4000, "why")
