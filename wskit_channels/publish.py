"""
Publishing from outside a connection: views, commands, tasks, signal receivers.

Trusted: no authorisation is asked. ``apublish`` is for async code, ``publish`` for the
rest, in any thread and in a process that serves no sockets. Neither raises at run
time: look at the result. ``namespace`` and ``channel_layer``, an alias, are those of
the routers to reach; ``meta`` holds extended meta keys.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, overload

from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction
from typing_extensions import TypeVar

from wskit_channels.conf import get_settings
from wskit_channels.hub import apublish_frame, layer_failed, publish_frame
from wskit_channels.protocol.topics import Topic
from wskit_channels.routing.base_context import AnyMessage
from wskit_channels.routing.publishing import Publication, prepare
from wskit_channels.routing.results import PublishResult

__all__ = ["apublish", "publish", "publish_on_commit"]

MsgT = TypeVar("MsgT")
Meta = Mapping[str, Any] | None

logger = logging.getLogger("wskit_channels.publish")

_background: set[asyncio.Task[None]] = set()


@overload
async def apublish(
    topic: Topic[MsgT],
    message: MsgT,
    /,
    *,
    namespace: str = ...,
    channel_layer: str = ...,
    meta: Meta = ...,
) -> PublishResult: ...
@overload
async def apublish(
    topic: str,
    message: AnyMessage,
    /,
    *,
    namespace: str = ...,
    channel_layer: str = ...,
    meta: Meta = ...,
) -> PublishResult: ...
async def apublish(
    topic: Any,
    message: Any,
    /,
    *,
    namespace: str = "",
    channel_layer: str = "default",
    meta: Meta = None,
) -> PublishResult:
    """Send a message to everyone subscribed to a topic, in all processes."""
    return await adeliver(_prepare(topic, message, meta), namespace, channel_layer)


@overload
def publish(
    topic: Topic[MsgT],
    message: MsgT,
    /,
    *,
    namespace: str = ...,
    channel_layer: str = ...,
    meta: Meta = ...,
) -> PublishResult: ...
@overload
def publish(
    topic: str,
    message: AnyMessage,
    /,
    *,
    namespace: str = ...,
    channel_layer: str = ...,
    meta: Meta = ...,
) -> PublishResult: ...
def publish(
    topic: Any,
    message: Any,
    /,
    *,
    namespace: str = "",
    channel_layer: str = "default",
    meta: Meta = None,
) -> PublishResult:
    """
    ``apublish`` for code that is not async.

    Called in a running event loop's thread it cannot wait for the channel layer: the
    layer's part then goes on in the background, and a failure of it is only logged.
    """
    return deliver(_prepare(topic, message, meta), namespace, channel_layer)


@overload
def publish_on_commit(
    topic: Topic[MsgT],
    message: MsgT,
    /,
    *,
    namespace: str = ...,
    channel_layer: str = ...,
    meta: Meta = ...,
    using: str | None = ...,
) -> None: ...
@overload
def publish_on_commit(
    topic: str,
    message: AnyMessage,
    /,
    *,
    namespace: str = ...,
    channel_layer: str = ...,
    meta: Meta = ...,
    using: str | None = ...,
) -> None: ...
def publish_on_commit(
    topic: Any,
    message: Any,
    /,
    *,
    namespace: str = "",
    channel_layer: str = "default",
    meta: Meta = None,
    using: str | None = None,
) -> None:
    """
    Publish when the present transaction of a database (``using``) is committed.

    At once outside a transaction; never if it, or the savepoint around the call, is
    rolled back. A failure is logged.
    """
    options: Any = {"namespace": namespace, "channel_layer": channel_layer, "meta": meta}
    on_commit(partial(publish, topic, message, **options), using)


def on_commit(publishing: Callable[[], PublishResult], using: str | None) -> None:
    """Have a publish done on commit, and its failure logged: nobody sees the result."""

    def publish_now() -> None:
        result = publishing()
        if not result.ok:
            logger.warning("a publish on commit failed: %s", result.error)

    try:
        transaction.on_commit(publish_now, using=using, robust=True)
    except SynchronousOnlyOperation:  # in async code, where Django has no transactions
        publish_now()


def _prepare(topic: str | Topic[Any], message: Any, meta: Meta) -> Publication | PublishResult:
    return prepare(topic, message, meta, limits=get_settings().limits, validator=None)


async def adeliver(
    publication: Publication | PublishResult, namespace: str, channel_layer: str
) -> PublishResult:
    """Hand a prepared publish to the hubs and the layer; a result is handed through."""
    if isinstance(publication, PublishResult):
        return publication
    return await apublish_frame(channel_layer, namespace, *publication)


def deliver(
    publication: Publication | PublishResult, namespace: str, channel_layer: str
) -> PublishResult:
    """The same for code that is not async."""
    if isinstance(publication, PublishResult):
        return publication
    result, rest = publish_frame(channel_layer, namespace, *publication)
    if rest is None:
        return result
    failure = run_anywhere(rest)
    return result if failure is None else layer_failed(failure)


def run_anywhere(work: Coroutine[Any, Any, None]) -> Exception | None:
    """
    Run a coroutine to its end and return what it raised.

    In a running event loop's thread that cannot be waited for: it then goes on in the
    background, and what it raises is only logged.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return async_to_sync(_outcome)(work)
    task = loop.create_task(_log_failure(work))
    _background.add(task)  # the loop keeps only a weak reference
    task.add_done_callback(_background.discard)
    return None


async def _outcome(work: Coroutine[Any, Any, None]) -> Exception | None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 - any layer's; publishing never raises
        return error
    return None


async def _log_failure(work: Coroutine[Any, Any, None]) -> None:
    failure = await _outcome(work)
    if failure is not None:
        layer_failed(failure)
