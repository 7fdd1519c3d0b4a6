"""
The hub: who of this process is subscribed to what, and the way to other processes.

There is one hub for each event loop, channel layer and namespace. It encodes nothing:
a publish comes as a frame, which every local outbox is handed as it is. Hubs of one
process reach each other directly, never through the in-memory layer, whose queues are
not thread-safe. Other processes are reached through the layer's groups, by a ``Relay``: a
hub is in a topic's group while it has a subscriber, and owns one channel to receive on.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import threading
import weakref
from collections.abc import Coroutine
from typing import Any, Protocol

from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer, get_channel_layer

from wskit_channels import relay
from wskit_channels.protocol.backlog import Entry, entry_of
from wskit_channels.protocol.errors import PubSubError
from wskit_channels.protocol.limits import LimitExceeded
from wskit_channels.relay import Relay
from wskit_channels.routing.functions import observe
from wskit_channels.routing.results import PublishResult
from wskit_channels.routing.table import Hooks

__all__ = ["Hub", "Member", "apublish_frame", "hub_for", "publish_frame"]

logger = logging.getLogger("wskit_channels.hub")

MAX_GROUP_NAME = 99


class Member(Protocol):
    """A subscriber: something that takes frames, in its hub's loop."""

    client_id: str

    def share(self, entry: Entry) -> object: ...


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
        self._relay = None if is_local(layer) else Relay(loop, layer, self)
        self._hooks: dict[int, Hooks] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def observed_by(self, hooks: Hooks) -> None:
        """Have a router's hooks told of what the layer loses, and that it is back."""
        self._hooks[id(hooks)] = hooks

    @property
    def reaches_others(self) -> bool:
        """Whether other processes hear what is published here."""
        return self._relay is not None

    def count(self, topic: str) -> int:
        return len(self._members.get(topic, ()))

    async def join(self, topic: str, member: Member) -> None:
        """
        Deliver a topic to a member from now on.

        Raises:
            PubSubError: ``ADAPTER_ERROR`` if the layer failed; the member is not in then.
        """
        self._members.setdefault(topic, {})[member] = None
        if self._relay is None:
            return
        try:
            await self._settle(self._relay, topic)
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
        if self._relay is not None:
            self._in_background(self._settle_quietly(self._relay, topic))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)  # the loop keeps only a weak reference
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, way: Relay, topic: str) -> None:
        group = group_name(self.namespace, topic)
        await way.settle(topic, group, lambda: topic in self._members)

    async def _settle_quietly(self, way: Relay, topic: str) -> None:
        try:
            await self._settle(way, topic)
        except Exception as error:  # noqa: BLE001 - any layer's; the group expires by itself
            logger.warning("leaving a group failed: %s", type(error).__name__)

    def lost(self, count: int) -> None:
        """Report messages of another process that did not arrive."""
        logger.warning("the channel layer lost messages: %s", count)
        info = LimitExceeded(type="layer_messages", observed=count, limit=0, client_id="")
        for hooks in self._hooks.values():
            self._in_background(observe(hooks.on_limit_exceeded, info))

    def recovered(self, downtime: float) -> None:
        """Report that the layer works again; what was published meanwhile may be lost."""
        for hooks in self._hooks.values():
            self._in_background(observe(hooks.on_layer_recovered, downtime))

    def deliver(self, topic: str, frame: str, exclude: str | None = None) -> int:
        """Queue a frame for every subscriber here but one; how many that were."""
        members = self._members.get(topic)
        if not members:
            return 0
        delivered = 0
        # One for all: a tuple for each of thousands would keep the garbage collector busy.
        entry = entry_of(frame)
        for member in tuple(members):
            if member.client_id != exclude:
                member.share(entry)
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
    try:
        layer = get_channel_layer(alias)
    except Exception as error:
        logger.exception("the channel layer cannot be made: alias=%s", alias)
        return PublishResult(ok=False, error="STATE", cause=error), None
    result = _serve_locally(layer, namespace, topic, frame, exclude)
    if layer is None or is_local(layer):
        return result, None
    if "groups" not in getattr(layer, "extensions", ["groups"]):
        return PublishResult(ok=False, error="UNSUPPORTED", details=result.details), None
    return result, relay.send(layer, group_name(namespace, topic), topic, frame, exclude)


def layer_failed(error: Exception) -> PublishResult:
    """The result of a publish that reached this process' subscribers only."""
    logger.warning("publishing through the channel layer failed: %s", type(error).__name__)
    return PublishResult(
        ok=False,
        error="BACKPRESSURE" if isinstance(error, ChannelFull) else "ADAPTER_ERROR",
        retryable=True,
        details={"delivered_locally": True},
        cause=error,
    )
