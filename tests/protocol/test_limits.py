"""Ceilings: ``protocol/limits.py``."""

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from wskit_channels import UNSET, Limits
from wskit_channels.protocol.limits import DEFAULTS

NUMBERS = [
    "max_payload_bytes",
    "close_code",
    "max_inflight_rpcs",
    "max_pending_events",
    "max_pending_bytes",
    "close_timeout",
    "max_protocol_errors",
    "max_topics_per_connection",
    "max_topic_length",
    "socket_buffer_limit_bytes",
    "max_connections_per_user",
    "max_connections_per_ip",
]


def test_defaults() -> None:
    """The numbers that the protocol names (PROTOCOL 3, 5.7, 6)."""
    assert (DEFAULTS.max_payload_bytes, DEFAULTS.on_exceeded) == (1_000_000, "send")
    assert (DEFAULTS.close_code, DEFAULTS.max_protocol_errors) == (1009, 100)
    assert (DEFAULTS.max_inflight_rpcs, DEFAULTS.max_topic_length) == (1000, 128)
    assert DEFAULTS.topic_pattern == "[A-Za-z0-9:_./-]{1,128}"


def test_every_limit_has_a_default() -> None:
    assert [field.name for field in fields(Limits) if getattr(DEFAULTS, field.name) is UNSET] == []


def test_limits_are_unset_until_they_are_resolved() -> None:
    assert {getattr(Limits(), field.name) for field in fields(Limits)} == {UNSET}


def test_what_is_given_stays_when_the_rest_is_resolved() -> None:
    """0 and a value equal to the default are given, too."""
    settings = Limits(
        **{
            **{field.name: getattr(DEFAULTS, field.name) for field in fields(Limits)},
            "close_code": 4009,
        }
    )

    resolved = Limits(max_inflight_rpcs=0, max_payload_bytes=10).resolved(settings)

    assert (resolved.max_inflight_rpcs, resolved.max_payload_bytes) == (0, 10)
    assert (resolved.close_code, resolved.max_protocol_errors) == (4009, 100)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("on_exceeded", "explode"),
        ("on_slow_consumer", "wait"),
        ("drop_progress_on_backpressure", 1),
    ],
)
def test_a_choice_that_is_none_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field} is .*, not {value}"):
        Limits(**{field: value})


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("value", [-1, -0.5, True])
def test_a_number_that_cannot_be_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field} must not be {value}"):
        Limits(**{field: value})


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="on_exceeded is 'send', 'close' or 'custom', not drop"):
        Limits(on_exceeded="drop")  # type: ignore[arg-type]  # what is tested


def test_limits_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        DEFAULTS.close_code = 4000  # type: ignore[misc]  # what is tested
