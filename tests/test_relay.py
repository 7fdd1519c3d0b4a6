"""What crosses processes: numbering, gaps, probes and recovery (DESIGN 7)."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from channels.exceptions import ChannelFull

from tests.fake_clock import clock, fake_time
from tests.shell_helpers import (
    Client,
    Join,
    Number,
    RemoteLayer,
    connect,
    layer_in_use,
    numbers,
    other_tasks,
    until,
)
from wskit_channels import Context, LimitExceeded, Router, hub, relay
from wskit_channels.hub import group_name
from wskit_channels.publish import apublish

GROUP = group_name("", "room:1")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries and probes as often as the loop turns; every test starts its own streams."""
    monkeypatch.setattr(relay, "FIRST_RETRY", 1e-6)
    monkeypatch.setattr(relay, "LAST_RETRY", 1e-5)
    monkeypatch.setattr(relay, "PROBE_INTERVAL", 0.05)
    relay._publishers.__dict__.clear()


@pytest.fixture
def layer() -> Iterator[RemoteLayer]:
    with layer_in_use(RemoteLayer()) as found:
        assert isinstance(found, RemoteLayer)
        yield found


class Watched:
    """A router of rooms that notes what the layer loses, and when it is back."""

    def __init__(self) -> None:
        self.router: Router[Any] = Router()
        self.lost: list[LimitExceeded] = []
        self.downtimes: list[float] = []

        @self.router.on(Join)
        async def join(ctx: Context[Join]) -> None:
            await ctx.topics.subscribe(ctx.payload.topic)
            ctx.send(Number(value=-1))

        self.router.on_limit_exceeded(self.lost.append)
        self.router.on_layer_recovered(self.downtimes.append)

    async def client(self, *topics: str) -> Client:
        client = await connect(self.router.as_asgi())
        for topic in topics:
            client.write("JOIN", {"topic": topic})
            assert await numbers(client, 1) == [-1]
        return client


def crossing(number: int, stream: str = "s", **more: Any) -> dict[str, Any]:
    """A message of another process."""
    frame = f'{{"type":"NUMBER","meta":{{"timestamp":1}},"payload":{{"value":{number}}}}}'
    message = {"type": relay.MESSAGE_TYPE, "process": "another", "topic": "room:1", "frame": frame}
    return {**message, "stream": stream, "number": number, **more}


async def test_messages_are_numbered_for_each_group(layer: RemoteLayer) -> None:
    """(publisher, group, sequence) on what crosses processes."""
    seen: list[tuple[str, int]] = []
    send = layer.group_send

    async def note(group: str, message: Any) -> None:
        seen.append((message["topic"], message["number"]))
        await send(group, message)

    layer.group_send = note  # type: ignore[method-assign]  # a spy on a real layer
    for topic in ("a", "b", "a"):
        assert await apublish(topic, Number(value=1))

    assert seen == [("a", 1), ("b", 1), ("a", 2)]


async def test_a_gap_is_reported_with_its_size(layer: RemoteLayer) -> None:
    """A receiving hub that finds a gap reports it with the count."""
    watched = Watched()
    client = await watched.client("room:1")

    for number in (4, 5, 8):
        await layer.group_send(GROUP, crossing(number))

    assert await numbers(client, 3) == [4, 5, 8]
    await until(lambda: watched.lost)
    await client.disconnect()
    assert [(info.type, info.observed) for info in watched.lost] == [("layer_messages", 2)]


async def test_what_comes_twice_is_delivered_once(layer: RemoteLayer) -> None:
    """A publisher tries twice; the first may have arrived."""
    watched = Watched()
    client = await watched.client("room:1")

    for number in (1, 1, 2):
        await layer.group_send(GROUP, crossing(number))

    assert await numbers(client, 2) == [1, 2]
    await client.disconnect()
    assert watched.lost == []


async def test_a_failed_publish_leaves_no_gap_but_what_was_lost_before_it_does(
    layer: RemoteLayer,
) -> None:
    """A publisher's errors and the reported gaps account for every loss, each once."""
    watched = Watched()
    client = await watched.client("room:1")

    await layer.group_send(GROUP, crossing(1, failed=0))
    # 2 was sent and lost, 3 and 4 failed, and their publishers know.
    await layer.group_send(GROUP, crossing(5, failed=2))

    assert await numbers(client, 2) == [1, 5]
    await until(lambda: watched.lost)
    await client.disconnect()
    assert [info.observed for info in watched.lost] == [1]


async def test_a_publisher_says_how_many_failed(layer: RemoteLayer) -> None:
    """What failed may still arrive, so that its number is not used again."""
    layer.failing.add("group_send")
    failed = await apublish("room:1", Number(value=1))
    layer.failing.clear()
    sent: list[dict[str, Any]] = []

    async def note(group: str, message: Any) -> None:
        sent.append(message)

    layer.group_send = note  # type: ignore[method-assign]  # a spy on a real layer
    await apublish("room:1", Number(value=2))

    assert (failed.ok, failed.error, failed.retryable) == (False, "ADAPTER_ERROR", True)
    assert failed.details == {"delivered_locally": True}
    assert (sent[0]["number"], sent[0]["failed"]) == (2, 1)


async def test_a_connection_that_broke_while_idle_costs_no_publish(layer: RemoteLayer) -> None:
    """The first failure after a restart is a stale connection's; the second try gets through."""
    send, attempts = layer.group_send, []

    async def stale_once(group: str, message: Any) -> None:
        attempts.append(group)
        if len(attempts) == 1:
            raise ConnectionError
        await send(group, message)

    layer.group_send = stale_once  # type: ignore[method-assign]  # fails once, then works

    assert (await apublish("room:1", Number(value=1))).ok
    assert len(attempts) == 2


async def test_a_full_layer_is_backpressure(layer: RemoteLayer) -> None:
    """``BACKPRESSURE``: the same publish may succeed later."""

    async def full(group: str, message: Any) -> None:
        raise ChannelFull

    layer.group_send = full  # type: ignore[method-assign]  # a layer that refuses

    result = await apublish("room:1", Number(value=1))

    assert (result.ok, result.error, result.retryable) == (False, "BACKPRESSURE", True)


async def test_a_layer_without_groups_is_unsupported(layer: RemoteLayer) -> None:
    """``UNSUPPORTED``: no retry will help."""
    layer.extensions = ()  # type: ignore[assignment]  # what such a layer says of itself

    result = await apublish("room:1", Number(value=1))

    assert (result.ok, result.error, result.retryable) == (False, "UNSUPPORTED", False)


async def test_a_layer_that_forgets_its_groups_is_joined_again(layer: RemoteLayer) -> None:
    """A restart without persistence: ``group_send`` succeeds to nobody, and nothing raises."""
    watched = Watched()
    client = await watched.client("room:1")
    await until(lambda: any(name.startswith("wskit.probe.") for name in layer.groups))

    layer.groups.clear()
    await until(lambda: layer.members().get(GROUP))
    await until(lambda: watched.downtimes)
    await layer.group_send(GROUP, crossing(1))

    assert await numbers(client, 1) == [1]
    await client.disconnect()
    assert all(downtime >= 0 for downtime in watched.downtimes)


async def test_groups_are_joined_again_before_they_expire(layer: RemoteLayer) -> None:
    """Channels forgets members after ``group_expiry``, silently."""
    layer.group_expiry = 0.3  # type: ignore[attr-defined]  # as layers that expire have
    client = await Watched().client("room:1")

    def joins() -> int:
        return [call[:2] for call in layer.calls].count(("group_add", GROUP))

    await until(lambda: joins() >= 3)
    await client.disconnect()
    assert joins() >= 3


@fake_time
async def test_the_last_group_left_while_groups_are_joined_again_ends_the_relay(
    layer: RemoteLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Joining again waits for the leaving, which is then not the last to let go."""
    discard, gate = layer.group_discard, asyncio.Event()

    async def slow(group: str, channel: str) -> None:
        await gate.wait()
        await discard(group, channel)

    monkeypatch.setattr(layer, "group_discard", slow)
    client = await Watched().client("room:1")
    layer.groups.clear()  # so that the probe does not come back
    leaving = asyncio.create_task(client.disconnect())
    await clock().advance(0.25)
    gate.set()
    await leaving
    await clock().advance(0.01)

    assert not other_tasks()


@pytest.mark.parametrize("probed", [False, True], ids=["no probe yet", "probed before"])
@pytest.mark.parametrize(
    "broken",
    [("receive", "group_add", "group_send"), ("receive",)],
    ids=["all of it", "what is received"],
)
@fake_time
async def test_a_layer_that_fails_and_works_again_is_told_once(
    layer: RemoteLayer, monkeypatch: pytest.MonkeyPatch, broken: tuple[str, ...], probed: bool
) -> None:
    """
    Sockets stay open; ``on_layer_recovered`` lets an application resync.

    A probe that was answered before says nothing, nor do groups that can be joined: with
    several servers the one that has the channel may be down alone.
    """
    monkeypatch.setattr(relay, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(relay, "LAST_RETRY", 0.04)
    watched = Watched()
    client = await watched.client("room:1")
    if probed:
        await clock().advance(relay.PROBE_INTERVAL * 1.1)

    layer.break_down(*broken)
    await clock().advance(1.0)
    assert all(layer.failures[method] for method in broken)
    assert layer.failures["receive"] < 60  # it backs off, and does not begin anew each time
    assert watched.downtimes == []
    layer.failing.clear()
    await clock().advance(0.2)
    assert len(watched.downtimes) == 1
    await layer.group_send(GROUP, crossing(1))

    assert await numbers(client, 1) == [1]
    await client.disconnect()
    assert len(watched.downtimes) == 1


async def test_a_message_that_nobody_numbered_is_delivered(layer: RemoteLayer) -> None:
    """Another version of this library may run beside this one for a while."""
    client = await Watched().client("room:1")
    message = crossing(1)
    del message["stream"], message["number"]

    await layer.group_send(GROUP, message)

    assert await numbers(client, 1) == [1]
    await client.disconnect()


async def test_nothing_is_left_in_the_layer(layer: RemoteLayer) -> None:
    """Topics subscribed and left: memory and the layer's keys return to zero."""
    client = await Watched().client(*(f"room:{number}" for number in range(900)))
    found = hub.hub_for(layer, "")
    assert len(layer.members()) == 900

    await client.disconnect()
    await until(lambda: not any(layer.groups.values()))

    way = found._relay
    assert way is not None
    assert (found._members, way._joined, way._locks, way._expected) == ({}, {}, {}, {})
    await asyncio.sleep(0)
    assert [task for task in way._tasks if not task.done()] == []


async def test_a_receiver_that_loses_a_cancellation_ends_all_the_same(layer: RemoteLayer) -> None:
    """Python 3.11's ``wait_for`` can lose one, and a layer may wait in it."""
    receive, lost = layer.receive, []

    async def stubborn(channel: str) -> Any:
        while True:
            try:
                return await receive(channel)
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append(channel)

    layer.receive = stubborn  # type: ignore[method-assign]  # a layer that swallows one
    client = await Watched().client("room:1")
    await client.disconnect()

    def receivers() -> list[str]:
        names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
        return [name for name in names if name.startswith("Relay.")]

    await until(lambda: not receivers())
    assert lost


@fake_time
async def test_publishes_that_wait_for_a_hanging_layer_end_together(
    layer: RemoteLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that a publish takes is bounded, however many go to one group."""
    monkeypatch.setattr(relay, "LAYER_TIMEOUT", 0.2)

    async def hangs(group: str, message: Any) -> None:
        await asyncio.Event().wait()

    layer.group_send = hangs  # type: ignore[method-assign]  # a layer that hangs
    publishes = asyncio.gather(*(apublish("room:1", Number(value=number)) for number in range(100)))
    await clock().advance(0.5)
    assert publishes.done()
    results = await publishes

    assert {(result.ok, result.error) for result in results} == {(False, "ADAPTER_ERROR")}
