"""Names and spelling on the wire: ``protocol/wire.py``."""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wskit_channels.protocol import wire

MALFORMED = {
    "empty": "",
    "blank": " \n",
    "no JSON": "hello",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity, nested": '{"a":[-Infinity]}',
    "1e999": "1e999",
    "1E+0999": "1E+0999",
    "-1e999, nested": '[{"a":-1e999}]',
    "1e999 without an e": "1" + "0" * 400 + ".0",
    "lone high surrogate": r'"\ud800"',
    "lone low surrogate": r'"\udc00"',
    "surrogates the wrong way round": r'"\udc00\ud800"',
    "lone surrogate as a key": r'{"\ud800":1}',
    "a str that is no text": '"\ud800"',
    "deep arrays": "[" * 100_000 + "]" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "4,301 digits": "9" * 4301,
    "trailing garbage": "{}x",
    "two values": "{}{}",
    "trailing comma": '{"a":1,}',
    "comment": "{/**/}",
    "single quotes": "{'a':1}",
    "byte order mark": "\ufeff{}",
    "bare control character": '"a\nb"',
    "cut": '{"a":',
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_malformed_json_is_refused(text: str) -> None:
    """PROTOCOL 2: anything but one JSON value of finite numbers and whole characters."""
    with pytest.raises(ValueError):
        wire.parse(text)


WELL_FORMED: dict[str, tuple[str, Any]] = {
    "4,300 digits": ("9" * 4300, int("9" * 4300)),
    "almost infinite": ("1.7e308", 1.7e308),
    "too small to tell from 0": ("1e-999", 0.0),
    "a surrogate pair": (r'"\ud83d\ude00"', "😀"),
    "NaN in a string": ('{"a":"NaN 1e999 Infinity"}', {"a": "NaN 1e999 Infinity"}),
    "NUL in a string": (r'"\u0000"', "\0"),
    "space around": (" \t\r\n1 ", 1),
}


@pytest.mark.parametrize(("text", "value"), WELL_FORMED.values(), ids=WELL_FORMED)
def test_well_formed_json_is_read(text: str, value: Any) -> None:
    assert wire.parse(text) == value


def test_the_last_of_duplicate_keys_wins() -> None:
    """PROTOCOL 2."""
    assert wire.parse('{"a":1,"b":{"c":1,"c":2},"a":3}') == {"a": 3, "b": {"c": 2}}


digits = st.text("0123456789", min_size=1, max_size=330)


@settings(max_examples=200, deadline=None)
@example("9" * 309, None, None, "e")
@example("9" * 200, None, 110, "e")
@given(digits, st.none() | digits, st.none() | st.integers(-400, 400), st.sampled_from("eE"))
def test_no_number_that_overflows_goes_unnoticed(
    whole: str, fraction: str | None, exponent: int | None, e: str
) -> None:
    """What is never wrong when it says no lets most frames go without a second parse."""
    text = whole + (f".{fraction}" if fraction else "")
    text += f"{e}{exponent:+05d}" if exponent is not None else ""

    assert wire.may_hold_non_finite(text) or math.isfinite(float(text))


RESERVED = ["$", "$ws:abort", "$mine", "__", "__heartbeat", "__mine", "ERROR", "RPC_ERROR"]


@pytest.mark.parametrize("type_", RESERVED)
def test_type_is_reserved(type_: str) -> None:
    """PROTOCOL 1."""
    assert wire.is_reserved(type_)


@pytest.mark.parametrize("type_", ["error", "ERRORS", "_private", "A$", "a__", "rpc_error", " $"])
def test_type_is_free(type_: str) -> None:
    """Types are case-sensitive and only whole names and prefixes are reserved (PROTOCOL 1)."""
    assert not wire.is_reserved(type_)


@pytest.mark.parametrize("id_", ["a", " a ", "x" * 256, "é" * 256])
def test_id_is_carried(id_: str) -> None:
    """PROTOCOL 1: a non-blank string of at most 256 characters."""
    assert wire.carries_id(id_)


@pytest.mark.parametrize("id_", ["", " ", "\t\n", "x" * 257, None, 1, True, ["a"], {}])
def test_id_is_not_carried(id_: Any) -> None:
    """PROTOCOL 1."""
    assert not wire.carries_id(id_)


@pytest.mark.parametrize("meta", [None, 1, "x", True, [], ["clientId"], ...])
def test_meta_that_is_no_object_means_an_empty_one(meta: Any) -> None:
    """PROTOCOL 1."""
    assert wire.normalised_meta(meta) == {}


def test_reserved_meta_keys_are_stripped() -> None:
    """PROTOCOL 1: stripped before validation, and those alone."""
    meta = {"clientId": "x", "correlationId": "a", "receivedAt": None, "clientid": 1}

    assert wire.normalised_meta(meta) == {"correlationId": "a", "clientid": 1}


def test_standard_meta_is_read_in_seconds() -> None:
    """Milliseconds exist on the wire alone."""
    meta = wire.StandardMeta.model_validate_json('{"timestamp":1500.5,"timeoutMs":250}')

    assert (meta.timestamp, meta.timeout) == (1.5005, 0.25)


def test_standard_meta_may_be_empty() -> None:
    meta = wire.StandardMeta.model_validate_json("{}")

    assert (meta.correlation_id, meta.idempotency_key) == (None, None)
    assert (meta.timestamp, meta.timeout) == (None, None)


def test_a_timeout_of_hundreds_of_digits_is_some_seconds() -> None:
    meta = wire.StandardMeta.model_validate_json('{"timeoutMs":' + "9" * 400 + "}")

    assert meta.timeout == 1e9


# -- frames that go out: each whole, so that it is compact and its keys are in order


def test_message_frame() -> None:
    """PROTOCOL 1: timestamp, then correlationId, then extended meta, and nothing else."""
    suffix = wire.meta_suffix("a b", {"z": 1, "a": "é"})

    assert wire.frame(wire.prefix("NOTE"), 1.5, suffix, '{"text":"x"}') == (
        '{"type":"NOTE","meta":{"timestamp":1500,"correlationId":"a b","z":1,"a":"é"},'
        '"payload":{"text":"x"}}'
    )


def test_message_frame_without_payload_and_id() -> None:
    assert wire.frame(wire.prefix("BARE"), 1.5) == '{"type":"BARE","meta":{"timestamp":1500}}'


def test_what_goes_into_a_frame_is_escaped() -> None:
    text = wire.frame(wire.prefix('a"b\\'), 0.0, wire.meta_suffix('"\n'))

    assert json.loads(text) == {"type": 'a"b\\', "meta": {"timestamp": 0, "correlationId": '"\n'}}


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf], {"NaN": math.nan}])
def test_extended_meta_that_is_not_finite_is_never_sent(value: Any) -> None:
    """PROTOCOL 2."""
    with pytest.raises(ValueError, match="not finite"):
        wire.meta_suffix(None, {"x": value})


def test_extended_meta_may_say_nan() -> None:
    assert wire.meta_suffix(None, {"x": "NaN Infinity"}) == ',"x":"NaN Infinity"'


def test_progress_frame() -> None:
    """PROTOCOL 5: the key is ``data``."""
    assert wire.progress_frame("a", '{"done":3}', now=1.5) == (
        '{"type":"$ws:rpc-progress","meta":{"timestamp":1500,"correlationId":"a"},'
        '"data":{"done":3}}'
    )


def test_progress_frame_without_data() -> None:
    assert wire.progress_frame("a", None, now=1.5) == (
        '{"type":"$ws:rpc-progress","meta":{"timestamp":1500,"correlationId":"a"}}'
    )


def test_heartbeat_ack_has_a_meta_of_its_own() -> None:
    """PROTOCOL 7: ``ts``, and no timestamp."""
    assert wire.heartbeat_ack_frame(now=1.5) == '{"type":"__heartbeat_ack","meta":{"ts":1500}}'


def test_pong_copies_the_timestamp_of_its_ping() -> None:
    """PROTOCOL 7."""
    assert wire.pong_frame(12.5, now=1.5) == (
        '{"type":"$ws:pong","meta":{"timestamp":1500,"echo":12.5}}'
    )


@pytest.mark.parametrize("echo", [None, "12", True, [1], {}])
def test_pong_echoes_numbers_alone(echo: Any) -> None:
    assert wire.pong_frame(echo, now=1.5) == '{"type":"$ws:pong","meta":{"timestamp":1500}}'


def test_bye_frame() -> None:
    """PROTOCOL 7."""
    assert wire.bye_frame(code=1012, reason="DRAIN", retry_after=0.5, now=1.5) == (
        '{"type":"$ws:bye","meta":{"timestamp":1500},'
        '"data":{"code":1012,"reason":"DRAIN","reconnect":true,"retryAfterMs":500}}'
    )


def test_error_frame() -> None:
    """PROTOCOL 4: seconds become milliseconds here."""
    body = {"code": "UNAVAILABLE", "message": "Later", "retryable": True, "retry_after": 1.5}

    assert wire.error_frame(body, now=1.5, rpc=True, correlation_id="a") == (
        '{"type":"RPC_ERROR","meta":{"timestamp":1500,"correlationId":"a"},"payload":'
        '{"code":"UNAVAILABLE","message":"Later","retryable":true,"retryAfterMs":1500}}'
    )


def test_error_frame_with_a_retry_that_is_impossible() -> None:
    """PROTOCOL 4: null, not absent."""
    body = {"code": "INTERNAL", "message": "Never", "retry_after": None}

    assert wire.error_frame(body, now=1.5, rpc=False, correlation_id=None) == (
        '{"type":"ERROR","meta":{"timestamp":1500},"payload":'
        '{"code":"INTERNAL","message":"Never","retryAfterMs":null}}'
    )


@pytest.mark.parametrize(
    ("seconds", "ms"), [(0.0, 0), (0.1, 100), (1.001, 1001), (2.3, 2300), (1e306, 10**12)]
)
def test_durations_are_whole_milliseconds(seconds: float, ms: int) -> None:
    """PROTOCOL's first rule; none is cut by a floating point's last digit."""
    assert wire.duration_ms(seconds) == ms


# -- what is read of a frame that is too large to parse


def test_type_and_id_are_recovered_from_a_start() -> None:
    """PROTOCOL 3."""
    text = '{"type":"NOTE","meta":{"correlationId":"a"},"payload":{"text":"' + "x" * 10_000

    assert wire.recover(text) == ("NOTE", "a")


def test_what_stands_after_the_first_4_kib_is_not_recovered() -> None:
    """PROTOCOL 3."""
    text = '{"payload":"' + "x" * 4096 + '","type":"NOTE","meta":{"correlationId":"a"}}'

    assert wire.recover(text) == (None, None)


def test_half_an_id_is_not_recovered() -> None:
    """An id that is cut would be another call's."""
    head = '{"type":"NOTE","meta":{"correlationId":"'
    text = head + "a" * (4096 - len(head) - 2) + "bcdefgh" + '"}}'

    assert wire.recover(text) == ("NOTE", None)


@pytest.mark.parametrize("text", ["[1", "NOTE", '"\ud800"', "[" * 4096, '{"type":3,"meta":[]}', ""])
def test_nothing_is_recovered_of_what_is_no_frame(text: str) -> None:
    assert wire.recover(text) == (None, None)
