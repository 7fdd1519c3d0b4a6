"""
What the tests of the Django side share: a client without a server, and channel layers.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import threading
import weakref
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from channels.layers import BaseChannelLayer, channel_layers
from django.db import connection

from wskit_channels import Context, Message, PubSubError, Router, control, hub, relay
from wskit_channels.routing.publishing import encode

PATIENCE = 20.0
"""Seconds after which a test that waits for something has failed."""

Event = dict[str, Any]
END: Event = {"type": "the application has ended"}


async def as_coroutine(served: Awaitable[None]) -> None:
    await served


class Client:
    """
    A client's end of an ASGI application in this process, as a server would drive it.

    The application runs from the start, with the handshake waiting for it. ``sent`` is
    everything that it sent; a test reads from ``events`` or by ``receive``.
    """

    def __init__(
        self,
        application: Callable[..., Awaitable[None]],
        path: str = "/",
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        subprotocols: Sequence[str] = (),
        query: str = "",
        **scope: Any,
    ) -> None:
        self.scope: Event = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": list(headers),
            "subprotocols": list(subprotocols),
            **scope,
        }
        self.inbox: asyncio.Queue[Event] = asyncio.Queue()
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.sent: list[Event] = []
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.inbox.put_nowait({"type": "websocket.connect"})
        served = application(self.scope, self.inbox.get, self._send)
        # A server's connections know nothing of the test's context variables.
        self.task = asyncio.get_running_loop().create_task(
            as_coroutine(served), context=contextvars.Context()
        )
        self.task.add_done_callback(lambda _: self.events.put_nowait(END))

    async def _send(self, event: Event) -> None:
        await self.may_send.wait()
        self.sent.append(event)
        self.events.put_nowait(event)

    async def event(self) -> Event:
        """The next event that the application sends, or the exception that ends it."""
        async with asyncio.timeout(PATIENCE):
            event = await self.events.get()
        if event is END:
            self.task.result()
            raise AssertionError("the application ended and sent nothing more")
        return event

    async def accepted(self) -> Client:
        """Wait for the handshake to be accepted; the client itself, for ``await open_(...)``."""
        event = await self.event()
        assert event["type"] == "websocket.accept", event
        return self

    def write(self, type_: str, payload: Any = None, **meta: Any) -> None:
        """Put a frame into the application's way."""
        frame: Event = {"type": type_}
        if payload is not None:
            frame["payload"] = payload
        if meta:
            frame["meta"] = meta
        self.inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(frame)})

    async def frame(self) -> Event:
        """The next frame, decoded."""
        event = await self.event()
        assert event["type"] == "websocket.send", event
        found: Event = json.loads(event["text"])
        return found

    async def receive(self) -> tuple[str, Any]:
        """The next frame's type and payload."""
        frame = await self.frame()
        return frame["type"], frame.get("payload")

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the close that comes next, once the application has ended."""
        event = await self.event()
        assert event["type"] == "websocket.close", event
        await self.ended()
        return event.get("code", 1000), event.get("reason", "")

    async def disconnect(self, code: int = 1000, reason: str = "") -> None:
        """Close as a client does, and wait for the application to finish."""
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        await self.ended()

    async def ended(self) -> None:
        """Wait for the application to finish; raises what it raised."""
        async with asyncio.timeout(PATIENCE):
            await self.task


async def connect(application: Callable[..., Awaitable[None]], **options: Any) -> Client:
    """Open a client and wait until it is accepted."""
    return await Client(application, **options).accepted()


async def disconnect(*clients: Client) -> None:
    await asyncio.gather(*(client.disconnect() for client in clients))


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0)


def other_tasks() -> set[asyncio.Task[Any]]:
    """The tasks of this loop beside the test's own."""
    return asyncio.all_tasks() - {asyncio.current_task()}


def in_thread(function: Callable[[], Any]) -> Any:
    """Run a function in a plain thread to its end; its result."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join(PATIENCE)
    assert found, "the thread raised, or is stuck"
    return found[0]


@contextmanager
def layer_in_use(layer: BaseChannelLayer, alias: str = "default") -> Iterator[BaseChannelLayer]:
    """Have an alias stand for a layer."""
    old = channel_layers.set(alias, layer)
    try:
        yield layer
    finally:
        if old is None:
            channel_layers.backends.pop(alias, None)
        else:
            channel_layers.set(alias, old)


class LayerFailed(Exception):
    """What ``RemoteLayer`` raises on demand."""


ORDERS = hub.group_name(control.NAMESPACE, control.TOPIC)
"""The group in which a process hears orders to disconnect somebody."""

PROBE = "wskit.probe."
"""Groups with this prefix are for a relay's probe of itself."""


class RemoteLayer(BaseChannelLayer):
    """
    A channel layer that is not the in-memory one, as one over the network would be.

    ``failing`` names the methods that raise; ``failures`` counts how often they did.
    ``calls`` are the method calls so far, without ``receive`` and those for a probe.
    """

    extensions = ("groups",)

    def __init__(self) -> None:
        super().__init__()
        self.failing: set[str] = set()
        self.failures: dict[str, int] = defaultdict(int)
        self.calls: list[tuple[str, ...]] = []
        self.groups: dict[str, set[str]] = defaultdict(set)
        self.gates: dict[str, asyncio.Event] = {}
        self._queues: dict[str, asyncio.Queue[Event | None]] = defaultdict(asyncio.Queue)
        self._channels = 0

    def members(self) -> dict[str, set[str]]:
        """The groups of topics that have members."""
        return {
            group: set(channels)
            for group, channels in self.groups.items()
            if channels and not group.startswith(PROBE) and group != ORDERS
        }

    async def _enter(self, method: str, *arguments: str) -> None:
        if not any(argument.startswith(PROBE) for argument in arguments):
            self.calls.append((method, *arguments))
        self._fail(method)

    def _fail(self, method: str) -> None:
        if method in self.failing:
            self.failures[method] += 1
            raise LayerFailed(method)

    async def _pass(self, method: str) -> None:
        """Wait where a test holds a method up after it has done its work."""
        if gate := self.gates.get(method):
            await gate.wait()

    def break_down(self, *methods: str) -> None:
        """Fail from now on; who waits in ``receive`` meets that at once."""
        self.failing.update(methods)
        if "receive" in methods:
            for queue in self._queues.values():
                queue.put_nowait(None)

    async def new_channel(self, prefix: str = "specific.") -> str:
        await self._enter("new_channel")
        self._channels += 1
        return f"{prefix}remote!{self._channels}"

    async def group_add(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        await self._enter("group_add", group, channel)
        self.groups[group].add(channel)
        await self._pass("group_add")

    async def group_discard(self, group: str, channel: str) -> None:
        await self._enter("group_discard", group, channel)
        self.groups[group].discard(channel)

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        await self._enter("group_send", group)
        for channel in sorted(self.groups[group]):
            self._queues[channel].put_nowait(dict(message))

    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        await self._enter("send", channel)
        self._queues[channel].put_nowait(dict(message))

    async def receive(self, channel: str) -> Event:
        while True:
            self._fail("receive")
            message = await self._queues[channel].get()
            if message is not None:
                return message


class Caught(logging.Handler):
    """Records of a logger and those below it, whatever the test run does with logging."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def messages(self, level: int) -> list[str]:
        return [one.getMessage() for one in self.records if one.levelno == level]


def thread_and_transaction() -> tuple[int, bool]:
    """The present thread, and whether its database connection is in a transaction."""
    return threading.get_ident(), connection.in_atomic_block


class Ping(Message, type="PING"):
    text: str = ""


class Pong(Message, type="PONG"):
    text: str = ""


class Number(Message, type="NUMBER"):
    value: int


class Join(Message, type="JOIN"):
    topic: str


class Leave(Message, type="LEAVE"):
    topic: str


class Say(Message, type="SAY"):
    topic: str
    value: int
    exclude_self: bool = False


class Said(Message, type="SAID"):
    """What came of a SAY, or of a JOIN or LEAVE; ``problem`` is an error's code."""

    topics: list[str] = []
    problem: str | None = None


def rooms(**options: Any) -> Router[Any]:
    """A router whose clients join topics, leave them, and say numbers there."""
    router = Router(**options)

    @router.on(Join)
    async def join(ctx: Context[Join]) -> None:
        problem = None
        try:
            await ctx.topics.subscribe(ctx.payload.topic)
        except PubSubError as error:
            problem = error.code
        ctx.send(Said(topics=list(ctx.topics), problem=problem))

    @router.on(Leave)
    async def leave(ctx: Context[Leave]) -> None:
        await ctx.topics.unsubscribe(ctx.payload.topic)
        ctx.send(Said(topics=list(ctx.topics)))

    @router.on(Say)
    async def say(ctx: Context[Say]) -> None:
        said = ctx.payload
        result = await ctx.publish(
            said.topic, Number(value=said.value), exclude_self=said.exclude_self
        )
        ctx.send(Said(topics=list(ctx.topics), problem=result.error))

    return router


async def join(client: Client, *topics: str) -> None:
    """Have a client join topics that it may join."""
    for topic in topics:
        client.write("JOIN", {"topic": topic})
        type_, said = await client.receive()
        assert (type_, said["problem"]) == ("SAID", None)


async def in_room(application: Any, *topics: str) -> Client:
    """A client that has joined topics."""
    client = await connect(application)
    await join(client, *topics)
    return client


async def numbers(client: Client, count: int) -> list[int]:
    """The next ``count`` frames, which are numbers."""
    found = [await client.receive() for _ in range(count)]
    assert {type_ for type_, _ in found} <= {"NUMBER"}, found
    return [payload["value"] for _, payload in found]


async def publish_elsewhere(
    monkeypatch: pytest.MonkeyPatch, topic: str, value: int, namespace: str = ""
) -> None:
    """Publish a number as a process does that serves none of this one's sockets."""
    frame = encode(Number(value=value))
    with monkeypatch.context() as patch:  # only for as long as nothing else can run
        patch.setattr(relay, "_process", "another")
        patch.setattr(hub, "_hubs", weakref.WeakValueDictionary())
        _, rest = hub.publish_frame("default", namespace, topic, frame)
    assert rest is not None, "the layer reaches no other process"
    await rest
