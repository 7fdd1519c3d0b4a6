"""
Topic names: what a legal one looks like (``PROTOCOL 6``).
"""

from __future__ import annotations

import re
from functools import lru_cache

from wskit_channels.protocol.errors import PubSubError
from wskit_channels.protocol.limits import Limits

__all__ = ["check_topic"]

_pattern = lru_cache(maxsize=64)(re.compile)


def check_topic(topic: object, limits: Limits) -> str:
    """
    Return a topic name that is legal, as it is.

    Raises:
        PubSubError: ``INVALID_TOPIC``, its details saying why.
    """
    if not isinstance(topic, str):
        raise PubSubError("INVALID_TOPIC", "A topic is a string", details={"reason": "type"})
    if len(topic) > limits.max_topic_length:
        raise PubSubError(
            "INVALID_TOPIC",
            "The topic is too long",
            details={"reason": "length", "length": len(topic), "max": limits.max_topic_length},
        )
    if _pattern(limits.topic_pattern).fullmatch(topic) is None:
        raise PubSubError(
            "INVALID_TOPIC", "The topic has characters it must not", details={"reason": "pattern"}
        )
    return topic
