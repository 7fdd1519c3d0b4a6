from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from wskit_channels.conf import DEFAULT_OF, LIMIT_KEYS, Settings, get_settings
from wskit_channels.protocol.errors import SENSITIVE_KEYS
from wskit_channels.protocol.limits import DEFAULTS, Limits


def test_defaults() -> None:
    """DESIGN 9 and PROTOCOL 5, 6, 9: the numbers that hold without any settings."""
    assert asdict(get_settings()) == {
        "limits": {
            "max_payload_bytes": 1_000_000,
            "on_exceeded": "send",
            "close_code": 1009,
            "max_inflight_rpcs": 1000,
            "max_pending_events": 1024,
            "max_pending_bytes": 4 * 1024 * 1024,
            "close_timeout": 5.0,
            "max_protocol_errors": 100,
            "max_topics_per_connection": 1000,
            "topic_pattern": "[A-Za-z0-9:_./-]{1,128}",
            "max_topic_length": 128,
            "socket_buffer_limit_bytes": 1024 * 1024,
            "drop_progress_on_backpressure": True,
            "on_slow_consumer": "close",
            "max_connections_per_user": 0,
            "max_connections_per_ip": 0,
        },
        "rpc_timeout": 30.0,
        "max_rpc_timeout": 300.0,
        "database_threads": 8,
        "sensitive_detail_keys": (),
        "close_on_unauthenticated": False,
        "close_on_permission_denied": False,
        "heartbeat_interval": 0.0,
        "heartbeat_timeout": 5.0,
        "drain_on_sigterm": False,
        "drain_timeout": 10.0,
        "drain_window": 5.0,
        "revalidate_interval": 60.0,
        "trusted_proxies": (),
        "token_parameter": "access_token",
        "token_subprotocol_prefix": "bearer.",
    }


def test_settings_are_read_late_and_anew() -> None:
    """DESIGN 10: ``override_settings`` is honoured."""
    before = get_settings()
    with override_settings(WSKIT={"RPC_TIMEOUT": 1.5, "DATABASE_THREADS": 2}):
        within = get_settings()
    after = get_settings()

    assert within == Settings(rpc_timeout=1.5, database_threads=2)
    assert before == after == Settings()


def test_a_limit_is_a_key_like_the_others() -> None:
    """DESIGN 10: one dict; DESIGN 9: limits are resolved one by one."""
    with override_settings(WSKIT={"MAX_PAYLOAD_BYTES": 10, "TOPIC_PATTERN": "[a-z]+"}):
        limits = get_settings().limits

    assert limits == Limits(max_payload_bytes=10, topic_pattern="[a-z]+").resolved(DEFAULTS)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"MAX_PAYLOAD_BYTE": 1}, "MAX_PAYLOAD_BYTE"),
        ({"rpc_timeout": 1}, "rpc_timeout"),
        ({"LIMITS": {}}, "LIMITS"),
        ({"B": 1, "A": 2}, "A, B"),
        ({7: 1}, "7"),
    ],
)
def test_unknown_keys_are_refused(given: Any, named: str) -> None:
    """DESIGN 10: by name, so that a typo is found."""
    with (
        override_settings(WSKIT=given),
        pytest.raises(ImproperlyConfigured, match=rf"^WSKIT has unknown keys {named}\.$"),
    ):
        get_settings()


@pytest.mark.parametrize(
    "given",
    [
        [],
        None,
        {"RPC_TIMEOUT": 0},
        {"RPC_TIMEOUT": "30"},
        {"MAX_RPC_TIMEOUT": -1},
        {"DATABASE_THREADS": 0},
        {"DATABASE_THREADS": True},
        {"DATABASE_THREADS": None},
        {"DATABASE_THREADS": 2.5},
        {"MAX_PAYLOAD_BYTES": -1},
        {"MAX_PAYLOAD_BYTES": "1MB"},
        {"MAX_PAYLOAD_BYTES": None},
        {"CLOSE_TIMEOUT": "5"},
        {"TOPIC_PATTERN": 5},
        {"TOPIC_PATTERN": "["},
        {"ON_EXCEEDED": "ignore"},
        {"TOKEN_PARAMETER": None},
        {"SENSITIVE_DETAIL_KEYS": "iban"},
    ],
    ids=str,
)
def test_a_value_that_makes_no_sense_is_refused(given: Any) -> None:
    """STYLE 6: strict about typos; found at the start and not at the first message."""
    with override_settings(WSKIT=given), pytest.raises(ImproperlyConfigured, match=r"^WSKIT"):
        get_settings()


def test_secrets_of_the_project_are_added_to_the_built_in_ones() -> None:
    """PROTOCOL 4: settings can add keys; case does not matter."""
    with override_settings(WSKIT={"SENSITIVE_DETAIL_KEYS": ["IBAN"]}):
        assert get_settings().sensitive == SENSITIVE_KEYS | {"iban"}


def test_every_key_is_documented_with_its_default() -> None:
    """E001 points there."""
    text = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    listed = {row[0].strip("| `"): row[1].strip("`") for row in rows}
    defaults = {key: repr(getattr(DEFAULTS, name)) for key, name in LIMIT_KEYS.items()}
    defaults |= {key: repr(value) for key, value in DEFAULT_OF.items()}

    assert listed == defaults
