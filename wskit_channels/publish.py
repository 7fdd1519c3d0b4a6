"""
Publishing from outside a connection: views, commands, tasks, signal receivers.

Trusted: no authorisation is asked. ``apublish`` is for async code, ``publish`` for the
rest, in any thread and in a process that serves no sockets. Neither raises at run
time: look at the result.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

from asgiref.sync import async_to_sync

from wskit_channels.conf import get_settings
from wskit_channels.hub import apublish_frame, layer_failed, publish_frame
from wskit_channels.protocol.errors import PubSubError
from wskit_channels.protocol.limits import Limits
from wskit_channels.protocol.topics import check_topic
from wskit_channels.protocol.validation import Validator
from wskit_channels.routing.peer import encode
from wskit_channels.routing.results import PublishResult

__all__ = ["apublish", "publish"]

logger = logging.getLogger("wskit_channels.publish")

_background: set[asyncio.Task[None]] = set()


async def apublish(
    topic: str,
    message: Any,
    /,
    *,
    namespace: str = "",
    channel_layer: str = "default",
    meta: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    validator: Validator | None = None,
) -> PublishResult:
    """
    Send a message to everyone subscribed to a topic, in all processes.

    ``namespace`` and ``channel_layer`` (an alias) are those of the routers to reach;
    ``limits`` has their rules for topic names, ``meta`` extended meta keys.
    """
    frame = _frame(topic, message, meta, limits, validator)
    if isinstance(frame, PublishResult):
        return frame
    return await apublish_frame(channel_layer, namespace, topic, frame)


def publish(
    topic: str,
    message: Any,
    /,
    *,
    namespace: str = "",
    channel_layer: str = "default",
    meta: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    validator: Validator | None = None,
) -> PublishResult:
    """
    ``apublish`` for code that is not async.

    Called in a running event loop's thread it cannot wait for the channel layer: the
    layer's part then goes on in the background, and a failure of it is only logged.
    """
    frame = _frame(topic, message, meta, limits, validator)
    if isinstance(frame, PublishResult):
        return frame
    result, rest = publish_frame(channel_layer, namespace, topic, frame)
    if rest is None:
        return result
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _wait_for(rest, result)
    task = loop.create_task(_log_failure(rest))
    _background.add(task)  # the loop keeps only a weak reference
    task.add_done_callback(_background.discard)
    return result


def _frame(
    topic: str,
    message: Any,
    meta: Mapping[str, Any] | None,
    limits: Limits | None,
    validator: Validator | None,
) -> str | PublishResult:
    """The frame to publish, or what came of it."""
    try:
        settings = get_settings().limits
        check_topic(topic, settings if limits is None else limits.resolved(settings))
        return encode(message, validator, meta=meta)
    except PubSubError as error:
        return PublishResult(ok=False, error="VALIDATION", details=error.details, cause=error)
    except (TypeError, ValueError) as error:
        logger.exception("a message to publish cannot be encoded")
        return PublishResult(ok=False, error="VALIDATION", cause=error)


def _wait_for(rest: Coroutine[Any, Any, None], result: PublishResult) -> PublishResult:
    async def run() -> None:
        await rest

    try:
        async_to_sync(run)()
    except Exception as error:  # noqa: BLE001 - any layer's; publishing never raises
        return layer_failed(error)
    return result


async def _log_failure(rest: Coroutine[Any, Any, None]) -> None:
    try:
        await rest
    except Exception as error:  # noqa: BLE001 - any layer's
        layer_failed(error)
