"""Legal topic names: ``protocol/topics.py``."""

from dataclasses import replace
from typing import Any

import pytest

from wskit_channels import PubSubError
from wskit_channels.protocol.limits import DEFAULTS
from wskit_channels.protocol.topics import check_topic


@pytest.mark.parametrize("topic", ["a", "room:1", "A/b_c.d-e:9", ":", "x" * 128])
def test_topic_is_legal(topic: str) -> None:
    """PROTOCOL 6."""
    assert check_topic(topic, DEFAULTS) == topic


@pytest.mark.parametrize("topic", ["", " ", "a b", "a\n", "\na", "é", "a*", "a,b", "a\0", "{a}"])
def test_topic_has_characters_it_must_not(topic: str) -> None:
    """PROTOCOL 6: the whole name matches, a line's end included."""
    with pytest.raises(PubSubError) as caught:
        check_topic(topic, DEFAULTS)

    assert (caught.value.code, caught.value.details) == ("INVALID_TOPIC", {"reason": "pattern"})


def test_topic_is_too_long() -> None:
    """PROTOCOL 6."""
    with pytest.raises(PubSubError) as caught:
        check_topic("x" * 129, DEFAULTS)

    assert caught.value.code == "INVALID_TOPIC"
    assert caught.value.details == {"reason": "length", "length": 129, "max": 128}


@pytest.mark.parametrize("topic", [None, 1, b"a", ["a"]])
def test_topic_is_no_string(topic: Any) -> None:
    with pytest.raises(PubSubError) as caught:
        check_topic(topic, DEFAULTS)

    assert (caught.value.code, caught.value.details) == ("INVALID_TOPIC", {"reason": "type"})


def test_the_pattern_is_configurable() -> None:
    """PROTOCOL 6."""
    limits = replace(DEFAULTS, topic_pattern=r"\w+ö")

    assert check_topic("aö", limits) == "aö"
    with pytest.raises(PubSubError):
        check_topic("room:1", limits)


def test_a_pattern_of_ones_own_does_not_lengthen_topics() -> None:
    """PROTOCOL 6: 128 characters at most."""
    limits = replace(DEFAULTS, topic_pattern=".*")

    assert check_topic("é" * 128, limits) == "é" * 128
    with pytest.raises(PubSubError):
        check_topic("é" * 129, limits)


def test_names_are_case_sensitive() -> None:
    """PROTOCOL 6."""
    limits = replace(DEFAULTS, topic_pattern="room")

    with pytest.raises(PubSubError):
        check_topic("ROOM", limits)
