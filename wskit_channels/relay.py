"""
The way to other processes: a hub's channel in the layer, its groups, and what gets lost.

A layer can fail, lose a message because a channel is full, or forget who is in a group,
most of it without a word. So what crosses processes is numbered by its publisher for each
group, receivers report the gaps, and a probe sent to a group of the relay's own tells
whether the layer still knows it: if the probe does not come back, every group is joined
again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import threading
import time
import uuid
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from channels.exceptions import ChannelFull

__all__ = ["Relay", "RelayEvents", "send"]

logger = logging.getLogger("wskit_channels.hub")

MESSAGE_TYPE = "wskit.publish"
PROBE_TYPE = "wskit.probe"

FIRST_RETRY, LAST_RETRY = 0.1, 1.0
"""Seconds between attempts to reach a layer that failed."""
PROBE_INTERVAL = 1.0
"""Seconds between probes."""
LAYER_TIMEOUT = 5.0
"""Seconds that one call of the layer may take."""
MAX_CANCELLATIONS, CANCEL_INTERVAL = 50, 0.1
"""How often a task of a relay is cancelled before it is given up, and how long between."""
MAX_AT_ONCE = 50
"""Calls of a layer at once: redis-py's pools raise beyond 100 connections."""
MAX_STREAMS = 4096
"""Groups whose numbering a publisher, and publishers whose numbering a group, remembers."""

_process = uuid.uuid4().hex
"""Marks what this process published, whose echo it ignores."""


def _new_process() -> None:
    global _process
    _process = uuid.uuid4().hex
    _publishers.__dict__.clear()


def this_process() -> str:
    """What marks this process among those of a layer."""
    return _process


@dataclass(slots=True)
class _Stream:
    """The numbering of one thread's messages to one group."""

    id: str
    number: int = 0
    """Of the last message; never used again, since what failed may still arrive."""

    failed: int = 0
    """How many of them failed: their publishers know, so that they are no gaps."""


class _Publisher:
    """One thread's streams, by group."""

    def __init__(self) -> None:
        self._id = uuid.uuid4().hex
        self._count = itertools.count()
        self._streams: OrderedDict[str, _Stream] = OrderedDict()

    def stream(self, group: str) -> _Stream:
        stream = self._streams.pop(group, None) or _Stream(f"{self._id}.{next(self._count)}")
        self._streams[group] = stream
        if len(self._streams) > MAX_STREAMS:
            self._streams.popitem(last=False)
        return stream


_publishers = threading.local()
os.register_at_fork(after_in_child=_new_process)  # workers forked after import are not each other


def send(
    layer: Any, group: str, topic: str, frame: str, exclude: str | None
) -> Coroutine[Any, Any, None]:
    """
    Send a frame to a group; one thread's messages to one group keep their order.

    Tried twice, since the first failure may be that of a connection which was idle while
    the server restarted; receivers drop what comes twice.

    Raises:
        Exception: Whatever the layer raises; ``TimeoutError`` if it takes too long.
    """
    message = {"type": MESSAGE_TYPE, "process": _process, "topic": topic, "frame": frame}
    if exclude is not None:
        message["exclude"] = exclude
    return _send(layer, group, message)


async def _send(layer: Any, group: str, message: dict[str, Any]) -> None:
    publisher: _Publisher | None = getattr(_publishers, "here", None)
    if publisher is None:
        publisher = _publishers.here = _Publisher()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as held:
        async with asyncio.timeout(LAYER_TIMEOUT):  # for waiting; the call has its own
            await held.enter_async_context(_turn_of(loop, layer, group))
            await held.enter_async_context(_gate_of(loop, layer))
        stream = publisher.stream(group)
        stream.number += 1
        message.update(stream=stream.id, number=stream.number, failed=stream.failed)
        try:
            await _try_twice(layer, group, message)
        except BaseException:
            stream.failed += 1
            raise


async def _try_twice(layer: Any, group: str, message: dict[str, Any]) -> None:
    try:
        async with asyncio.timeout(LAYER_TIMEOUT):
            await layer.group_send(group, message)
    except (ChannelFull, TimeoutError):
        raise
    except Exception as error:  # noqa: BLE001 - any layer's
        logger.debug("sending to a group failed, trying again: %s", type(error).__name__)
        async with asyncio.timeout(LAYER_TIMEOUT):
            await layer.group_send(group, message)


_gates: weakref.WeakValueDictionary[tuple[int, int], asyncio.Semaphore] = (
    weakref.WeakValueDictionary()
)


def _gate_of(loop: Any, layer: Any) -> asyncio.Semaphore:
    """What bounds the calls that are made of a layer at once; kept alive by who holds it."""
    gate = _gates.get((id(loop), id(layer)))
    if gate is None:
        gate = _gates[id(loop), id(layer)] = asyncio.Semaphore(MAX_AT_ONCE)
    return gate


_turns: dict[tuple[int, int, str], tuple[asyncio.Lock, list[None]]] = {}


@asynccontextmanager
async def _turn_of(loop: Any, layer: Any, group: str) -> AsyncIterator[None]:
    """Send to one group one after another, so that numbers arrive in order."""
    key = (id(loop), id(layer), group)  # both live at least as long as this does
    lock, users = _turns.setdefault(key, (asyncio.Lock(), []))
    users.append(None)
    try:
        async with lock:
            yield
    finally:
        users.pop()
        if not users:
            _turns.pop(key, None)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """
    Cancel tasks until they have ended, or say that they have not.

    Once is not enough: under Python 3.11 ``asyncio.wait_for``, in which redis-py sends, loses
    a cancellation that comes at the moment when it is done.
    """
    left = set(tasks)
    for _ in range(MAX_CANCELLATIONS):
        if not left:
            return
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_INTERVAL)
    if left:
        logger.warning("%s tasks of a relay do not end", len(left))


class NoAnswer(Exception):
    """The layer took a probe and did not give it back: it has forgotten who is in a group."""


class RelayEvents(Protocol):
    """What a relay tells its hub, in its loop."""

    def deliver(self, topic: str, frame: str, exclude: str | None = None) -> int: ...
    def lost(self, count: int) -> None:
        """Messages of another process did not arrive."""

    def recovered(self, downtime: float) -> None:
        """The layer works again, after so many seconds."""


class Relay:
    """One hub's membership in the layer: its channel, its groups, its receiver and its probe."""

    def __init__(self, loop: asyncio.AbstractEventLoop, layer: Any, events: RelayEvents) -> None:
        self._loop = loop
        self._layer = layer
        self._events = events
        self._gate = _gate_of(loop, layer)
        self._own_group = f"wskit.probe.{uuid.uuid4().hex}"
        # Groups this hub may be in: True where it is for certain, False where an attempt to
        # join failed, was cancelled or is still going on.
        self._joined: dict[str, bool] = {}
        self._locks: dict[str, tuple[asyncio.Lock, list[None]]] = {}
        self._channel: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping: asyncio.Task[None] | None = None
        self._expected: dict[str, OrderedDict[str, tuple[int, int]]] = {}
        self._failed_at: float | None = None
        self._answered: bool | None = None
        """Whether the last probe came back; None where none is on its way."""

    async def settle(self, topic: str, group: str, wanted: Callable[[], bool]) -> None:
        """
        Be in a topic's group if and only if it is wanted by then, whatever happened meanwhile.

        Raises:
            Exception: Whatever the layer raises; ``TimeoutError`` if it takes too long.
        """
        try:
            async with self._turn(group), self._gate, asyncio.timeout(LAYER_TIMEOUT):
                if wanted():
                    if not self._joined.get(group):
                        channel = await self._listen()
                        self._joined[group] = False
                        await self._layer.group_add(group, channel)
                        self._joined[group] = True
                elif group in self._joined:
                    try:
                        await self._layer.group_discard(group, self._channel)
                    finally:
                        del self._joined[group]
                        self._expected.pop(topic, None)
        finally:
            await self._stop_if_idle()

    async def _stop_if_idle(self) -> None:
        if self._joined or self._locks:
            return
        channel, self._channel = self._channel, None
        tasks, self._tasks = self._tasks, []
        await _end(tasks)
        if self._channel is None:  # else another receiver has begun meanwhile
            self._failed_at = self._answered = None
        if channel is not None:
            try:
                async with asyncio.timeout(LAYER_TIMEOUT):
                    await self._layer.group_discard(self._own_group, channel)
            except Exception as error:  # noqa: BLE001 - any layer's; the group expires
                logger.debug("leaving the probe's group failed: %s", type(error).__name__)

    @asynccontextmanager
    async def _turn(self, group: str) -> AsyncIterator[None]:
        """Join and leave one group in turn."""
        lock, users = self._locks.setdefault(group, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[group]

    async def _listen(self) -> str:
        if self._channel is None:
            channel: str = await self._layer.new_channel()
            if self._channel is None:
                self._channel = channel
                self._tasks = [
                    self._loop.create_task(self._receive(channel)),
                    self._loop.create_task(self._watch(channel)),
                ]
        return self._channel

    # -- receiving

    async def _receive(self, channel: str) -> None:
        """Take what other processes published; outlive the layer's failures."""
        retry = 0.0
        while True:
            try:
                if retry:
                    await self._rejoin(channel)
                    await self._probe()  # to have something to receive
                while True:
                    message = await self._layer.receive(channel)
                    if retry:
                        self._works_again()
                        retry = 0.0
                    self._take(message)
            except Exception as error:  # noqa: BLE001 - any layer's, and none may end this
                self._answered = None  # whatever came back, it did so before
                self._failed(error)
                retry = min(LAST_RETRY, retry * 2 or FIRST_RETRY)
                await asyncio.sleep(retry * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("type") == PROBE_TYPE:
            self._answered = True
        elif message.get("type") == MESSAGE_TYPE and message.get("process") != _process:
            topic, frame = message.get("topic"), message.get("frame")
            if not isinstance(topic, str) or not isinstance(frame, str):
                logger.warning("passed over a message of the channel layer that is not ours")
            elif self._is_new(topic, message):
                self._events.deliver(topic, frame, message.get("exclude"))

    def _is_new(self, topic: str, message: dict[str, Any]) -> bool:
        """Whether a message did not come before; one that shows a gap has it reported."""
        stream, number = message.get("stream"), message.get("number")
        if not isinstance(stream, str) or not isinstance(number, int):
            return True  # nobody numbered it
        failed = message.get("failed", 0)
        streams = self._expected.setdefault(topic, OrderedDict())
        # The first one heard of a stream sets the count.
        expected, failed_before = streams.pop(stream, (number, failed))
        is_new = bool(number >= expected)
        streams[stream] = (number + 1, failed) if is_new else (expected, failed_before)
        if len(streams) > MAX_STREAMS:
            streams.popitem(last=False)
        lost = number - expected - (failed - failed_before)
        if is_new and lost > 0:
            self._events.lost(lost)
        return is_new

    # -- health

    async def _watch(self, channel: str) -> None:
        """Probe the way through the layer and back; join again if it is broken, or gets old."""
        refresh = max(0.1, getattr(self._layer, "group_expiry", 86_400) / 3)
        refreshed_at = time.monotonic()
        await self._join_own_group(channel)
        while True:
            await asyncio.sleep(min(refresh, PROBE_INTERVAL))
            try:
                stale = time.monotonic() - refreshed_at >= refresh
                if self._answered is False:
                    self._failed(NoAnswer())
                elif self._answered:
                    self._works_again()
                if stale or self._answered is False:
                    await self._rejoin(channel)
                    refreshed_at = time.monotonic()
                self._answered = False
                await self._probe()
            except Exception as error:  # noqa: BLE001 - any layer's, and none may end this
                self._answered = None
                self._failed(error)

    async def _probe(self) -> None:
        async with self._gate, asyncio.timeout(LAYER_TIMEOUT):
            await self._layer.group_send(self._own_group, {"type": PROBE_TYPE})

    async def _join_own_group(self, channel: str) -> None:
        try:
            async with asyncio.timeout(LAYER_TIMEOUT):
                await self._layer.group_add(self._own_group, channel)
        except Exception as error:  # noqa: BLE001 - the probe will not come back, and say so
            self._failed(error)

    async def _rejoin(self, channel: str) -> None:
        await self._join_own_group(channel)
        for group in list(self._joined):
            async with self._turn(group), self._gate, asyncio.timeout(LAYER_TIMEOUT):
                if self._joined.get(group):
                    await self._layer.group_add(group, channel)
        if not self._joined:  # the last was left while its turn was waited for here
            self._stopping = self._loop.create_task(self._stop_if_idle())

    def _failed(self, error: Exception) -> None:
        if self._failed_at is None:
            self._failed_at = time.monotonic()
            logger.warning("the channel layer failed: %s", type(error).__name__)

    def _works_again(self) -> None:
        self._answered = None  # a probe of before says nothing of now
        if self._failed_at is not None:
            downtime = time.monotonic() - self._failed_at
            self._failed_at = None
            logger.info("the channel layer is back after %.1f s", downtime)
            self._events.recovered(downtime)
