import asyncio
import logging
import re
import string
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, channel_layers, get_channel_layer
from django.test import override_settings
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.shell_helpers import (
    PATIENCE,
    LayerFailed,
    Number,
    RemoteLayer,
    connect,
    disconnect,
    in_room,
    in_thread,
    join,
    layer_in_use,
    numbers,
    other_tasks,
    publish_elsewhere,
    rooms,
    until,
)
from wskit_channels import Limits, PublishResult, control, hub, relay
from wskit_channels.protocol.backlog import Entry
from wskit_channels.protocol.limits import DEFAULTS
from wskit_channels.publish import apublish, publish

TOPIC_CHARACTERS = string.ascii_letters + string.digits + ":_./-"
topics = st.text(TOPIC_CHARACTERS, min_size=1, max_size=128)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """And however slow a test is, nothing goes to the layer but what it is about."""
    monkeypatch.setattr(relay, "FIRST_RETRY", 1e-6)
    monkeypatch.setattr(relay, "LAST_RETRY", 1e-5)
    monkeypatch.setattr(relay, "LAYER_TIMEOUT", PATIENCE)  # a server may be slow, too
    monkeypatch.setattr(relay, "PROBE_INTERVAL", 3600.0)
    monkeypatch.setattr(control, "PATIENCE", 3600.0)


@pytest.fixture
def layer() -> Iterator[RemoteLayer]:
    with layer_in_use(RemoteLayer()) as found:
        assert isinstance(found, RemoteLayer)
        yield found


GROUP = hub.group_name("", "room:1")


# -- every layer


@pytest.fixture(params=["memory", "none", "remote", "core", "pubsub"])
def any_layer(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each kind of layer as the project's: what reaches no other process, and what does."""
    name: str = request.param
    if name == "remote":
        with layer_in_use(RemoteLayer()):
            yield name
        return
    configured: dict[str, Any] = {}
    if name == "memory":
        configured = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    elif name != "none":
        host = {"address": request.getfixturevalue("valkey"), "socket_timeout": None}
        class_ = "core.RedisChannelLayer" if name == "core" else "pubsub.RedisPubSubChannelLayer"
        configured = {
            "default": {
                "BACKEND": f"channels_redis.{class_}",
                "CONFIG": {"hosts": [host], "prefix": f"test-{uuid.uuid4().hex}"},
            }
        }
    with override_settings(CHANNEL_LAYERS=configured):
        yield name


class TestOnEveryLayer:
    """``PROTOCOL 6`` holds whatever the channel layer is."""

    @pytest.fixture(autouse=True)
    def use_layer(self, any_layer: str) -> None:
        self.layer = any_layer

    async def test_a_publish_reaches_every_subscriber_and_nobody_else(self) -> None:
        """PROTOCOL 6: the publisher's own among them."""
        application = rooms().as_asgi()
        inside = [await in_room(application, "room:1") for _ in range(3)]
        outside = await in_room(application, "room:2")

        inside[0].write("SAY", {"topic": "room:1", "value": 1})
        outside.write("SAY", {"topic": "room:2", "value": 2})

        assert [await numbers(client, 1) for client in inside] == [[1], [1], [1]]
        assert await numbers(outside, 1) == [2]
        await disconnect(*inside, outside)

    async def test_the_publisher_is_left_out_where_it_asks_to_be(self) -> None:
        """PROTOCOL 6: ``exclude_self``."""
        application = rooms().as_asgi()
        one, other = [await in_room(application, "room:1") for _ in range(2)]

        one.write("SAY", {"topic": "room:1", "value": 1, "exclude_self": True})

        assert await numbers(other, 1) == [1]
        assert await one.receive() == ("SAID", {"topics": ["room:1"], "problem": None})
        await disconnect(one, other)

    async def test_a_reply_comes_after_the_publish_before_it(self) -> None:
        """PROTOCOL 6: subscribers of this process are served before the publish returns."""
        client = await in_room(rooms().as_asgi(), "room:1")

        for value in range(20):
            client.write("SAY", {"topic": "room:1", "value": value})
        found = [(await client.receive())[0] for _ in range(40)]

        assert found == ["NUMBER", "SAID"] * 20
        await client.disconnect()

    async def test_who_has_left_gets_nothing_more(self) -> None:
        """PROTOCOL 6: subscribing is the server's act, and so is its undoing."""
        client = await in_room(rooms().as_asgi(), "room:1", "room:2")
        client.write("LEAVE", {"topic": "room:1"})
        assert await client.receive() == ("SAID", {"topics": ["room:2"], "problem": None})

        client.write("SAY", {"topic": "room:1", "value": 1})
        client.write("SAY", {"topic": "room:2", "value": 2})

        assert [(await client.receive())[0] for _ in range(3)] == ["SAID", "NUMBER", "SAID"]
        await client.disconnect()

    async def test_subscribing_twice_is_subscribing_once(self) -> None:
        """DESIGN 7: a no-op has no side effects."""
        client = await in_room(rooms().as_asgi(), "room:1", "room:1")

        client.write("SAY", {"topic": "room:1", "value": 1})

        assert [(await client.receive())[0] for _ in range(2)] == ["NUMBER", "SAID"]
        await client.disconnect()

    async def test_nothing_is_left_when_the_last_has_gone(self) -> None:
        """DESIGN 7: everything is unsubscribed on close; the hub needs no receiver then."""
        application = rooms().as_asgi()
        clients = [await in_room(application, "room:1", f"own:{number}") for number in range(3)]

        await disconnect(*clients)
        result = await apublish("room:1", Number(value=1))

        assert (result.ok, result.matched or 0) == (True, 0)
        channel_layer = get_channel_layer()
        if isinstance(channel_layer, RemoteLayer):
            await until(lambda: not other_tasks())
            assert channel_layer.members() == {}

    async def test_the_result_says_how_many_only_where_that_is_known(self) -> None:
        """DESIGN 7: "exact" with a layer that reaches one process, else "unknown"."""
        application = rooms().as_asgi()
        clients = [await in_room(application, "room:1") for _ in range(3)]

        result = await apublish("room:1", Number(value=1))

        if self.layer in ("memory", "none"):
            assert result == PublishResult(ok=True, capability="exact", matched=3)
        else:
            assert (result.ok, result.capability, result.matched) == (True, "unknown", None)
        await disconnect(*clients)

    async def test_another_process_is_heard_where_the_layer_reaches_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """DESIGN 7: other processes are reached by the layer's groups, in their order."""
        if self.layer in ("memory", "none"):
            pytest.skip("reaches no other process")
        client = await in_room(rooms().as_asgi(), "room:1", "room:2")

        for value in range(10):
            await publish_elsewhere(monkeypatch, f"room:{1 + value % 2}", value)

        assert await numbers(client, 10) == list(range(10))
        await client.disconnect()

    async def test_two_hundred_connections_get_a_hundred_publishes_in_order(self) -> None:
        """BASELINES 3: where ``group_send`` loses a third, the hub loses none."""
        application = rooms().as_asgi()
        publisher = await connect(application)
        clients = [await in_room(application, "room:1") for _ in range(200)]

        for value in range(100):
            publisher.write("SAY", {"topic": "room:1", "value": value})

        for client in clients:
            assert await numbers(client, 100) == list(range(100))
        await disconnect(publisher, *clients)


# -- one process


async def test_namespaces_keep_topics_apart() -> None:
    """DESIGN 7: topics are shared by all routers of one namespace."""
    chat = await in_room(rooms(namespace="chat").as_asgi(), "room:1")
    shop = await in_room(rooms(namespace="shop").as_asgi(), "room:1")

    assert await apublish("room:1", Number(value=1), namespace="chat") == PublishResult(
        ok=True, capability="exact", matched=1
    )
    assert await apublish("room:1", Number(value=2), namespace="shop")
    assert await apublish("room:1", Number(value=3)) == PublishResult(
        ok=True, capability="exact", matched=0
    )

    assert (await numbers(chat, 1), await numbers(shop, 1)) == ([1], [2])
    await disconnect(chat, shop)


async def test_routers_of_one_namespace_share_topics() -> None:
    """DESIGN 7: ``namespace=""`` shares topics among all routers of the project."""
    one = await in_room(rooms().as_asgi(), "room:1")
    other = await in_room(rooms().as_asgi(), "room:1")

    one.write("SAY", {"topic": "room:1", "value": 1})

    assert (await numbers(one, 1), await numbers(other, 1)) == ([1], [1])
    await disconnect(one, other)


async def test_layers_keep_topics_apart() -> None:
    """DESIGN 7: there is one hub for each loop, layer and namespace."""
    with layer_in_use(InMemoryChannelLayer(), "other"):
        client = await in_room(rooms(channel_layer="other").as_asgi(), "room:1")

        assert (await apublish("room:1", Number(value=1))).matched == 0
        assert (await apublish("room:1", Number(value=2), channel_layer="other")).matched == 1

        assert await numbers(client, 1) == [2]
        await client.disconnect()


async def test_loops_of_one_process_reach_each_other() -> None:
    """DESIGN 7: hubs of one process know each other."""
    here = await in_room(rooms().as_asgi(), "room:1")

    async def elsewhere() -> tuple[Any, list[int]]:
        there = await in_room(rooms().as_asgi(), "room:1")
        result = await apublish("room:1", Number(value=1))
        found = await numbers(there, 1)
        await there.disconnect()
        return result, found

    found = await asyncio.to_thread(asyncio.run, elsewhere())

    assert found == (PublishResult(ok=True, capability="exact", matched=2), [1])
    assert await numbers(here, 1) == [1]
    await here.disconnect()


async def test_a_loop_that_has_closed_is_no_subscriber() -> None:
    """DESIGN 7: a hub leaves with its loop, also where its sockets never closed."""
    loop = asyncio.new_event_loop()
    member = Subscriber("gone")

    async def join_there() -> hub.Hub:
        found = hub.hub_for(get_channel_layer(), "")
        await found.join("room:1", member)
        return found

    left = await asyncio.to_thread(loop.run_until_complete, join_there())
    loop.close()

    result = await apublish("room:1", Number(value=1))

    assert left.count("room:1") == 1
    assert (result, member.frames) == (PublishResult(ok=True, capability="exact", matched=0), [])


class Subscriber:
    """A member of a hub without a socket."""

    def __init__(self, client_id: str = "one") -> None:
        self.client_id = client_id
        self.frames: list[str] = []

    def share(self, entry: Entry) -> None:
        self.frames.append(entry[0])


async def test_what_waits_for_many_is_kept_once() -> None:
    """An entry for each of thousands would set off full garbage collections."""
    found, entries = hub.hub_for(get_channel_layer(), ""), list[Entry]()

    class Keeping(Subscriber):
        def share(self, entry: Entry) -> None:
            entries.append(entry)

    members = [Keeping(str(number)) for number in range(3)]
    for member in members:
        await found.join("room:1", member)
    found.deliver("room:1", "é")
    for member in members:
        found.leave("room:1", member)

    assert [entry[:2] for entry in entries] == [("é", 2)] * 3
    assert entries[0] is entries[1] is entries[2]


async def test_a_subscriber_that_leaves_while_it_is_served_disturbs_no_other() -> None:
    """DESIGN 6: writing may end a connection; a publish walks on."""
    found = hub.hub_for(get_channel_layer(), "")

    class Leaves(Subscriber):
        def share(self, entry: Entry) -> None:
            super().share(entry)
            found.leave("room:1", self)

    leaving, staying = Leaves("leaving"), Subscriber("staying")
    for member in (leaving, staying):
        await found.join("room:1", member)

    delivered = [found.deliver("room:1", str(number)) for number in range(2)]
    found.leave("room:1", staying)

    assert delivered == [2, 1]
    assert (leaving.frames, staying.frames) == (["0"], ["0", "1"])


# -- the layer


async def test_no_receiver_before_the_first_subscription(layer: RemoteLayer) -> None:
    """DESIGN 7: a process that serves no topics owns no channel."""
    client = await connect(rooms().as_asgi())
    client.write("SAY", {"topic": "room:1", "value": 1})
    assert await client.receive() == ("SAID", {"topics": [], "problem": None})
    await client.disconnect()

    assert layer.calls == [("group_send", GROUP)]


async def test_a_group_is_joined_with_the_first_and_left_with_the_last(
    layer: RemoteLayer,
) -> None:
    """DESIGN 7: and by nobody in between."""
    application = rooms().as_asgi()
    clients = [await in_room(application, "room:1") for _ in range(3)]
    channel = "specific.remote!1"
    joined = [("new_channel",), ("group_add", GROUP, channel)]
    assert layer.calls == joined

    await disconnect(*clients[:2])
    assert layer.calls == joined
    await disconnect(clients[2])
    await until(lambda: not other_tasks())

    assert layer.calls == [*joined, ("group_discard", GROUP, channel)]
    assert layer.members() == {}


async def test_one_channel_serves_all_topics_of_the_process(layer: RemoteLayer) -> None:
    """DESIGN 7: it owns the one channel on which the process receives."""
    application = rooms().as_asgi()
    clients = [await in_room(application, f"room:{number}", "all") for number in range(3)]

    assert {channel for group in layer.members().values() for channel in group} == {
        "specific.remote!1"
    }
    assert len(layer.members()) == 4
    await disconnect(*clients)
    await until(lambda: not other_tasks())
    assert layer.members() == {}


async def test_the_first_after_the_last_joins_anew(
    layer: RemoteLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN 7: leaving is not for ever."""
    application = rooms().as_asgi()
    await (await in_room(application, "room:1")).disconnect()
    client = await in_room(application, "room:1")
    await publish_elsewhere(monkeypatch, "room:1", 1)

    assert await numbers(client, 1) == [1]
    await client.disconnect()
    await until(lambda: not other_tasks())


async def test_the_layers_echo_is_ignored(
    layer: RemoteLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PROTOCOL 6: what this process published it has served already."""
    client = await in_room(rooms().as_asgi(), "room:1")

    await apublish("room:1", Number(value=1))
    await publish_elsewhere(monkeypatch, "room:1", 2)

    assert await numbers(client, 2) == [1, 2]
    await client.disconnect()


async def test_another_process_leaves_the_publisher_out_as_well(
    layer: RemoteLayer,
) -> None:
    """PROTOCOL 6: the message says who is not to get it, by its client id."""
    await layer.group_add(GROUP, "probe")
    found = hub.hub_for(layer, "")
    await hub.apublish_frame("default", "", "room:1", "a frame", exclude="me")
    message = await layer.receive("probe")
    assert message["frame"] == "a frame"
    me, other = Subscriber("me"), Subscriber("other")
    for member in (me, other):
        await found.join("room:1", member)

    await layer.send("specific.remote!1", {**message, "process": "another"})
    await until(lambda: other.frames)

    assert (me.frames, other.frames) == ([], ["a frame"])
    for member in (me, other):
        found.leave("room:1", member)
    await until(lambda: not other_tasks())


async def test_a_message_of_somebody_else_is_passed_over(layer: RemoteLayer) -> None:
    """DESIGN 7: a group's name is public; whatever is sent to it ends nothing."""
    client = await in_room(rooms().as_asgi(), "room:1")

    for message in ({"type": "chat.message"}, {"type": "wskit.publish", "process": "another"}):
        await layer.group_send(GROUP, message)
    await layer.group_send(
        GROUP,
        {
            "type": "wskit.publish",
            "process": "another",
            "topic": "room:1",
            "frame": '{"type":"NUMBER","meta":{"timestamp":1},"payload":{"value":3}}',
        },
    )

    assert await numbers(client, 1) == [3]
    await client.disconnect()


# -- a layer that fails


async def test_a_publish_that_the_layer_refuses_says_what_was_done(layer: RemoteLayer) -> None:
    """PROTOCOL 6: ``ok=False``, ``ADAPTER_ERROR``, delivered locally."""
    client = await in_room(rooms().as_asgi(), "room:1")
    layer.break_down("group_send")

    result = await apublish("room:1", Number(value=1))

    assert isinstance(result.cause, LayerFailed)
    assert result == PublishResult(
        ok=False,
        error="ADAPTER_ERROR",
        retryable=True,
        details={"delivered_locally": True},
        cause=result.cause,
    )
    assert await numbers(client, 1) == [1]
    await client.disconnect()


@pytest.mark.parametrize("method", ["new_channel", "group_add"])
async def test_a_subscribe_that_the_layer_refuses_leaves_nothing_behind(
    layer: RemoteLayer, method: str
) -> None:
    """DESIGN 7: ``PubSubError`` ``ADAPTER_ERROR``; the same may be tried again."""
    client = await connect(rooms().as_asgi())
    layer.break_down(method)
    client.write("JOIN", {"topic": "room:1"})
    assert await client.receive() == ("SAID", {"topics": [], "problem": "ADAPTER_ERROR"})
    await until(lambda: other_tasks() == {client.task})
    await apublish("room:1", Number(value=1))
    layer.failing.clear()

    await join(client, "room:1")
    await apublish("room:1", Number(value=2))

    assert await numbers(client, 1) == [2]
    assert layer.members() == {GROUP: {f"specific.remote!{2 if method == 'group_add' else 1}"}}
    await client.disconnect()
    await until(lambda: not other_tasks())


async def test_a_subscribe_that_fails_takes_no_other_subscriber_with_it(
    layer: RemoteLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN 7: errors are the operation's own."""
    application = rooms().as_asgi()
    inside, outside = await in_room(application, "room:1"), await connect(application)
    layer.break_down("group_add")

    outside.write("JOIN", {"topic": "room:2"})
    assert await outside.receive() == ("SAID", {"topics": [], "problem": "ADAPTER_ERROR"})
    await join(outside, "room:1")  # this process is in that group already
    await publish_elsewhere(monkeypatch, "room:1", 1)

    assert (await numbers(inside, 1), await numbers(outside, 1)) == ([1], [1])
    await disconnect(inside, outside)
    await until(lambda: not other_tasks())


async def test_the_receiver_outlives_failures_and_rejoins_every_group(
    layer: RemoteLayer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """DESIGN 7: it backs off, rejoins every group and logs once; sockets stay open."""
    client = await in_room(rooms().as_asgi(), "room:1", "room:2")
    with caplog.at_level(logging.WARNING, "wskit_channels"):
        layer.break_down("receive", "group_add")
        await until(lambda: layer.failures["group_add"] > 3)
        layer.groups.clear()
        layer.failing.clear()
        await until(lambda: len(layer.members()) == 2)

    await publish_elsewhere(monkeypatch, "room:1", 1)
    await publish_elsewhere(monkeypatch, "room:2", 2)

    assert await numbers(client, 2) == [1, 2]
    assert len(caplog.records) == 1
    await client.disconnect()
    await until(lambda: not other_tasks())


async def test_a_group_that_cannot_be_left_keeps_no_receiver(layer: RemoteLayer) -> None:
    """DESIGN 7: no receiver is needed after the last, whether or not the layer let go."""
    client = await in_room(rooms().as_asgi(), "room:1")
    layer.break_down("group_discard")

    await client.disconnect()
    await until(lambda: layer.failures["group_discard"])
    await until(lambda: not other_tasks())

    assert layer.calls[-1][:2] == ("group_discard", GROUP)


async def test_a_close_in_the_middle_of_a_subscribe_leaves_the_group(layer: RemoteLayer) -> None:
    """DESIGN 7: everything is unsubscribed, also when the close comes in the middle."""
    layer.gates["group_add"] = asyncio.Event()
    client = await connect(rooms().as_asgi())
    client.write("JOIN", {"topic": "room:1"})
    await until(layer.members)

    await client.disconnect()
    layer.gates["group_add"].set()
    await until(lambda: not other_tasks())

    assert layer.members() == {}


async def test_a_close_during_one_of_two_subscribes_leaves_the_other_in(
    layer: RemoteLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN 7: operations on one topic wait for each other, and none undoes another's."""
    application = rooms().as_asgi()
    layer.gates["group_add"] = asyncio.Event()
    leaving, staying = await connect(application), await connect(application)
    leaving.write("JOIN", {"topic": "room:1"})
    await until(layer.members)
    staying.write("JOIN", {"topic": "room:1"})
    await leaving.disconnect()
    layer.gates["group_add"].set()
    assert await staying.receive() == ("SAID", {"topics": ["room:1"], "problem": None})

    await publish_elsewhere(monkeypatch, "room:1", 1)

    assert await numbers(staying, 1) == [1]
    await staying.disconnect()
    await until(lambda: not other_tasks())
    assert layer.members() == {}


# -- topics


@pytest.mark.parametrize(
    "topic",
    ["", " ", "room 1", "räume", "room#1", "room:1\n", "x" * 129, "a*b", "{room}"],
)
async def test_an_illegal_topic_is_refused(topic: str) -> None:
    """PROTOCOL 6: ``[A-Za-z0-9:_./-]{1,128}``, the whole of it."""
    client = await connect(rooms().as_asgi())

    client.write("JOIN", {"topic": topic})
    client.write("SAY", {"topic": topic, "value": 1})

    assert await client.receive() == ("SAID", {"topics": [], "problem": "INVALID_TOPIC"})
    assert await client.receive() == ("SAID", {"topics": [], "problem": "VALIDATION"})
    await client.disconnect()


async def test_topics_are_case_sensitive() -> None:
    """PROTOCOL 6."""
    client = await in_room(rooms().as_asgi(), "room:a")

    assert (await apublish("Room:A", Number(value=1))).matched == 0
    assert (await apublish("room:a", Number(value=2))).matched == 1

    await client.disconnect()


async def test_a_connection_has_no_more_topics_than_its_limit() -> None:
    """DESIGN 9: ``max_topics_per_connection``; leaving one makes room."""
    router = rooms(limits=Limits(max_topics_per_connection=2))
    client = await in_room(router.as_asgi(), "a", "b", "a")

    client.write("JOIN", {"topic": "c"})
    assert await client.receive() == (
        "SAID",
        {"topics": ["a", "b"], "problem": "TOPIC_LIMIT_EXCEEDED"},
    )
    client.write("LEAVE", {"topic": "a"})
    client.write("JOIN", {"topic": "c"})

    assert await client.receive() == ("SAID", {"topics": ["b"], "problem": None})
    assert await client.receive() == ("SAID", {"topics": ["b", "c"], "problem": None})
    await client.disconnect()


async def test_on_close_sees_the_topics_and_reaches_the_others() -> None:
    """DESIGN 2: ``on_close`` has topics, read only, and publish."""
    router = rooms()
    seen: list[Any] = []

    @router.on_close
    async def on_close(ctx: Any) -> None:
        if not seen:
            seen.append(list(ctx.topics))
            seen.append(await ctx.publish("room:1", Number(value=7)))

    application = router.as_asgi()
    leaving, staying = [await in_room(application, "room:1") for _ in range(2)]
    await leaving.disconnect()

    assert await numbers(staying, 1) == [7]
    assert seen == [["room:1"], PublishResult(ok=True, capability="exact", matched=1)]
    await staying.disconnect()


# -- group names


@example("a:", "a_3a")
@given(topics, topics)
def test_topics_have_groups_of_their_own(one: str, other: str) -> None:
    """DESIGN 7: the group name is an injective encoding."""
    assume(one != other)

    assert hub.group_name("", one) != hub.group_name("", other)


@example("a__b", "c", "a", "b__c")
@example("a", "x" * 128, "b", "x" * 128)
@example("a", "b", "", "a_b")
@given(
    st.text(max_size=40) | st.text("a_:", max_size=6),
    topics | st.text("a_:", min_size=1, max_size=6),
    st.text(max_size=40) | st.text("a_:", max_size=6),
    topics | st.text("a_:", min_size=1, max_size=6),
)
def test_namespaces_have_groups_of_their_own(ns: str, topic: str, ns2: str, topic2: str) -> None:
    """DESIGN 7: of namespace and topic together."""
    assume((ns, topic) != (ns2, topic2))

    assert hub.group_name(ns, topic) != hub.group_name(ns2, topic2)


@given(st.text(max_size=200), topics)
def test_every_group_name_is_one_that_channels_takes(namespace: str, topic: str) -> None:
    """DESIGN 7: ASCII, hashed when it would pass 99 characters."""
    assume("\ud800" not in namespace)
    name = hub.group_name(namespace, topic)

    assert InMemoryChannelLayer().require_valid_group_name(name)
    assert name.isascii()
    assert len(name) <= 99


@given(topics)
def test_the_topics_tried_here_are_the_legal_ones(topic: str) -> None:
    """PROTOCOL 6: what these properties are about is what may be subscribed."""
    assert re.fullmatch(DEFAULTS.topic_pattern, topic)


def test_a_name_that_was_hashed_is_no_other_topics_name() -> None:
    """DESIGN 7: a digest cannot be written as a topic."""
    name = hub.group_name("", "x" * 128)

    assert name != hub.group_name("", name)
    assert hub.group_name("", name.removeprefix("wskit.")) != name


# -- from another thread


async def test_a_publish_from_another_thread_comes_at_once() -> None:
    """DESIGN 7: by ``call_soon_threadsafe``, not with the loop's next timer."""
    client = await in_room(rooms().as_asgi(), "room:1")

    result = await asyncio.to_thread(in_thread, lambda: publish("room:1", Number(value=1)))

    assert result == PublishResult(ok=True, capability="exact", matched=1)
    assert await numbers(client, 1) == [1]
    await client.disconnect()


async def test_subscribers_are_served_in_their_loops_own_thread() -> None:
    """DESIGN 7: nothing of a connection is thread-safe."""
    found, threads = hub.hub_for(get_channel_layer(), ""), list[int]()

    class Noting(Subscriber):
        def share(self, entry: Entry) -> None:
            threads.append(threading.get_ident())

    member = Noting()
    await found.join("room:1", member)
    in_thread(lambda: publish("room:1", Number(value=1)))
    publish("room:1", Number(value=2))
    await until(lambda: len(threads) == 2)
    found.leave("room:1", member)

    assert set(threads) == {threading.get_ident()}


def test_a_loop_that_has_closed_in_this_thread_is_no_subscriber_either() -> None:
    """DESIGN 7: a script may run one loop after the other."""
    member = Subscriber()
    held: list[hub.Hub] = []

    async def join_once() -> None:
        held.append(hub.hub_for(get_channel_layer(), ""))
        await held[0].join("room:1", member)

    asyncio.run(join_once())

    assert publish("room:1", Number(value=1)) == PublishResult(
        ok=True, capability="exact", matched=0
    )
    assert member.frames == []


async def test_the_hub_of_a_loop_is_one_as_long_as_somebody_holds_it() -> None:
    """DESIGN 7: keyed weakly: a layer that was exchanged takes its hub along."""
    old = hub.hub_for(get_channel_layer(), "")
    assert hub.hub_for(get_channel_layer(), "") is old

    with override_settings(CHANNEL_LAYERS=dict(channel_layers.configs)):
        assert hub.hub_for(get_channel_layer(), "") is not old
