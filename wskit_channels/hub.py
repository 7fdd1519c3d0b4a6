"""
The hub: who of this process is subscribed to what, and the way to other processes.

There is one hub for each event loop, channel layer and namespace. It encodes nothing:
a publish comes as a frame, which every local outbox is handed as it is. Hubs of one
process reach each other directly, never through the in-memory layer, whose queues are
not thread-safe. Other processes are reached through the layer's groups; a hub is in a
topic's group while it has a subscriber, and owns one channel to receive on.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import re
import threading
import uuid
import weakref
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol

from channels.layers import InMemoryChannelLayer, get_channel_layer

from wskit_channels.protocol.errors import PubSubError
from wskit_channels.routing.results import PublishResult

__all__ = ["Hub", "Member", "apublish_frame", "hub_for", "publish_frame"]

logger = logging.getLogger("wskit_channels.hub")

MESSAGE_TYPE = "wskit.publish"
MAX_GROUP_NAME = 99
FIRST_RETRY, LAST_RETRY = 0.1, 5.0
"""Seconds between attempts to reach a layer that failed."""

_process = uuid.uuid4().hex
"""Marks what this process published, whose echo it ignores."""


def _new_process() -> None:
    global _process
    _process = uuid.uuid4().hex


os.register_at_fork(after_in_child=_new_process)  # workers forked after import are not each other


class Member(Protocol):
    """A subscriber: something that takes frames, in its hub's loop."""

    client_id: str

    def write(self, frame: str) -> None: ...


def is_local(layer: Any) -> bool:
    """Whether a layer reaches no other process."""
    return layer is None or isinstance(layer, InMemoryChannelLayer)


def group_name(namespace: str, topic: str) -> str:
    """
    The layer's group of a topic: ASCII, under 100 characters, one for each topic.

    What a group's name must not hold is written as ``_`` and two hex digits a byte, so
    that ``__`` can stand between namespace and topic. A name that is too long is
    hashed; it has no underscore, and so meets none that is not.
    """
    name = f"wskit.{_ascii(namespace)}__{_ascii(topic)}"
    if len(name) <= MAX_GROUP_NAME:
        return name
    digest = hashlib.sha256(f"{_ascii(namespace)}__{_ascii(topic)}".encode()).hexdigest()
    return f"wskit.sha256.{digest}"


def _ascii(text: str) -> str:
    return re.sub(
        r"[^A-Za-z0-9.-]",
        lambda match: "".join(f"_{byte:02x}" for byte in match[0].encode()),
        text,
    )


_hubs: weakref.WeakValueDictionary[tuple[int, int, str], Hub] = weakref.WeakValueDictionary()
_hubs_lock = threading.Lock()


def hub_for(layer: Any, namespace: str) -> Hub:
    """The running loop's hub for a layer and a namespace; kept alive by who holds it."""
    loop = asyncio.get_running_loop()
    key = (id(loop), id(layer), namespace)  # a hub holds both, so that ids are not used again
    with _hubs_lock:
        hub = _hubs.get(key)
        if hub is None:
            hub = _hubs[key] = Hub(loop, layer, namespace)
    return hub


def _hubs_of(layer: Any, namespace: str) -> list[Hub]:
    with _hubs_lock:
        hubs = list(_hubs.values())
    return [hub for hub in hubs if hub.layer is layer and hub.namespace == namespace]


class Hub:
    """
    The subscribers of one event loop, by topic, in the order of subscribing.

    Used in its loop's thread, but for ``hand_over``.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, layer: Any, namespace: str) -> None:
        self.loop = loop
        self._thread = threading.get_ident()
        self.layer = layer
        self.namespace = namespace
        self._members: dict[str, dict[Member, None]] = {}
        # Topics whose group this hub may be in: True where it is for certain, False where an
        # attempt to join failed, was cancelled or is still going on.
        self._joined: dict[str, bool] = {}
        self._locks: dict[str, tuple[asyncio.Lock, list[None]]] = {}
        self._channel: str | None = None
        self._receiver: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def count(self, topic: str) -> int:
        return len(self._members.get(topic, ()))

    async def join(self, topic: str, member: Member) -> None:
        """
        Deliver a topic to a member from now on.

        Raises:
            PubSubError: ``ADAPTER_ERROR`` if the layer failed; the member is not in then.
        """
        self._members.setdefault(topic, {})[member] = None
        if is_local(self.layer):
            return
        try:
            await self._settle(topic)
        except BaseException as error:
            self.leave(topic, member)
            if isinstance(error, Exception):
                logger.warning("joining a group failed: %s", type(error).__name__)
                raise PubSubError("ADAPTER_ERROR", "The channel layer failed") from error
            raise

    def leave(self, topic: str, member: Member) -> None:
        """Deliver no more to a member; the layer's group is left behind its back."""
        members = self._members.get(topic)
        if members is None or members.pop(member, self) is self or members:
            return
        del self._members[topic]
        if not is_local(self.layer):
            task = self.loop.create_task(self._settle_quietly(topic))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _settle_quietly(self, topic: str) -> None:
        try:
            await self._settle(topic)
        except Exception as error:  # noqa: BLE001 - any layer's; the group expires by itself
            logger.warning("leaving a group failed: %s", type(error).__name__)

    async def _settle(self, topic: str) -> None:
        """Be in a topic's group if and only if it has members, whatever happened meanwhile."""
        group = group_name(self.namespace, topic)
        try:
            async with self._turn(topic):
                if topic in self._members:
                    if not self._joined.get(topic):
                        channel = await self._listen()
                        self._joined[topic] = False
                        await self.layer.group_add(group, channel)
                        self._joined[topic] = True
                elif topic in self._joined:
                    try:
                        await self.layer.group_discard(group, self._channel)
                    finally:
                        del self._joined[topic]
        finally:
            if not self._members and not self._joined and self._receiver is not None:
                self._receiver.cancel()
                self._receiver = self._channel = None

    @asynccontextmanager
    async def _turn(self, topic: str) -> AsyncIterator[None]:
        """Join and leave one group in turn."""
        lock, users = self._locks.setdefault(topic, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[topic]

    async def _listen(self) -> str:
        if self._channel is None:
            channel: str = await self.layer.new_channel()
            if self._channel is None:
                self._channel = channel
                self._receiver = self.loop.create_task(self._receive(channel))
        return self._channel

    async def _receive(self, channel: str) -> None:
        """Take what other processes published; outlive the layer's failures."""
        retry = 0.0
        while True:
            try:
                if retry:
                    await self._rejoin(channel)
                    logger.info("the channel layer is back")
                    retry = 0.0
                while True:
                    self._take(await self.layer.receive(channel))
            except Exception as error:  # noqa: BLE001 - any layer's, and none may end this
                if not retry:
                    logger.warning("the channel layer failed: %s", type(error).__name__)
                retry = min(LAST_RETRY, retry * 2 or FIRST_RETRY)
                await asyncio.sleep(retry * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _rejoin(self, channel: str) -> None:
        for topic in list(self._joined):
            async with self._turn(topic):
                if self._joined.get(topic):
                    await self.layer.group_add(group_name(self.namespace, topic), channel)

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("type") == MESSAGE_TYPE and message.get("process") != _process:
            self.deliver(message["topic"], message["frame"], message.get("exclude"))

    def deliver(self, topic: str, frame: str, exclude: str | None = None) -> int:
        """Queue a frame for every subscriber here but one; how many that were."""
        members = self._members.get(topic)
        if not members:
            return 0
        delivered = 0
        for member in tuple(members):
            if member.client_id != exclude:
                member.write(frame)
                delivered += 1
        return delivered

    def hand_over(self, topic: str, frame: str, exclude: str | None) -> int:
        """``deliver`` from any thread; how many subscribers there are."""
        if self.loop.is_closed():
            return 0
        if threading.get_ident() == self._thread:
            return self.deliver(topic, frame, exclude)
        count = self.count(topic)
        if count:
            try:
                self.loop.call_soon_threadsafe(self.deliver, topic, frame, exclude)
            except RuntimeError:  # it closed just now, and its sockets with it
                return 0
        return count


def _serve_locally(
    layer: Any, namespace: str, topic: str, frame: str, exclude: str | None
) -> PublishResult:
    matched = sum(hub.hand_over(topic, frame, exclude) for hub in _hubs_of(layer, namespace))
    if is_local(layer):
        return PublishResult(ok=True, capability="exact", matched=matched)
    return PublishResult(ok=True, details={"matched_local": matched})


def _message(topic: str, frame: str, exclude: str | None) -> dict[str, Any]:
    message = {"type": MESSAGE_TYPE, "process": _process, "topic": topic, "frame": frame}
    return message if exclude is None else {**message, "exclude": exclude}


async def apublish_frame(
    alias: str, namespace: str, topic: str, frame: str, *, exclude: str | None = None
) -> PublishResult:
    """Hand a frame to all subscribers: this process' at once, the others' by the layer."""
    result, rest = publish_frame(alias, namespace, topic, frame, exclude=exclude)
    if rest is None:
        return result
    try:
        await rest
    except Exception as error:  # noqa: BLE001 - any layer's; publishing never raises
        return layer_failed(error)
    return result


def publish_frame(
    alias: str, namespace: str, topic: str, frame: str, *, exclude: str | None = None
) -> tuple[PublishResult, Coroutine[Any, Any, None] | None]:
    """The same up to the layer: the result if that succeeds, and what is left to await."""
    layer = get_channel_layer(alias)
    result = _serve_locally(layer, namespace, topic, frame, exclude)
    if layer is None or is_local(layer):
        return result, None
    return result, layer.group_send(group_name(namespace, topic), _message(topic, frame, exclude))


def layer_failed(error: Exception) -> PublishResult:
    logger.warning("publishing through the channel layer failed: %s", type(error).__name__)
    return PublishResult(
        ok=False,
        error="ADAPTER_ERROR",
        retryable=True,
        details={"delivered_locally": True},
        cause=error,
    )
