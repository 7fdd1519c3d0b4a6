"""
What every publish has in common, wherever it comes from.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from wskit_channels.protocol import wire
from wskit_channels.protocol.errors import PubSubError
from wskit_channels.protocol.limits import Limits
from wskit_channels.protocol.topics import Topic, check_topic, topic_name
from wskit_channels.protocol.validation import Validator, schema_of
from wskit_channels.routing.results import PublishResult

__all__ = ["Publication", "encode", "prepare"]

logger = logging.getLogger("wskit_channels.publish")

Publication = tuple[str, str]
"""A topic's name and the frame for it."""


def prepare(
    topic: str | Topic[Any],
    message: Any,
    meta: Mapping[str, Any] | None,
    *,
    limits: Limits,
    validator: Validator | None,
    normalize: Callable[[str], str] | None = None,
) -> Publication | PublishResult:
    """
    What to publish where; a result if it cannot be.

    ``VALIDATION`` for a topic or message that is not right, ``PAYLOAD_TOO_LARGE`` for a
    frame of more than ``socket_buffer_limit_bytes``.
    """
    try:
        if isinstance(topic, Topic) and not isinstance(message, topic.__wskit_messages__):
            raise TypeError(f"{type(topic).__name__} takes no {type(message).__name__}")
        name = topic_name(topic)
        if normalize is not None:
            name = normalize(name)
        check_topic(name, limits)
        frame = encode(message, validator, meta=meta)
    except PubSubError as error:
        return PublishResult(ok=False, error="VALIDATION", details=error.details, cause=error)
    except Exception as error:
        logger.exception("a message cannot be published")
        return PublishResult(ok=False, error="VALIDATION", cause=error)
    size = len(frame) if frame.isascii() else len(frame.encode())
    limit = limits.socket_buffer_limit_bytes
    if size > limit:  # to one client a frame of any size may go; to many it may not
        details = {"observed": size, "limit": limit}
        return PublishResult(ok=False, error="PAYLOAD_TOO_LARGE", details=details)
    return name, frame


def encode(
    message: Any,
    validator: Validator | None = None,
    *,
    correlation_id: str | None = None,
    meta: Mapping[str, Any] | None = None,
) -> str:
    """
    The frame of a message, stamped now.

    Raises:
        TypeError: If it is no message.
        ValueError: If JSON cannot hold it, or ``meta`` has a key of the protocol's.
    """
    schema = schema_of(type(message), validator)
    suffix = ""
    if correlation_id is not None or meta:
        suffix = wire.meta_suffix(correlation_id, _extended(meta) if meta else None)
    return wire.frame(schema.prefix, time.time(), suffix, schema.encode(message))


def _extended(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    if taken := sorted(set(meta) & {*wire.RESERVED_META, *wire.STANDARD_META}):
        raise ValueError(f"meta must not set {', '.join(taken)}: the protocol does.")
    return meta
