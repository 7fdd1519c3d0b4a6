"""``routing/topics.py``: the topics of one connection."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.helpers import connected, settle
from tests.routing.messages import Note, Said, Third
from wskit_channels import CloseContext, ConnectionContext, Context, Limits, PubSubError, Router

Act = Callable[[ConnectionContext[Any]], Awaitable[Any]]


async def in_a_handler(act: Act, **options: Any) -> tuple[Any, list[Any]]:
    """What ``act`` returned in a handler, and the frames that came."""
    router: Router[Any] = Router(**options)
    found: list[Any] = []

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        found.append(await act(ctx))

    async with connected(router) as client:
        await client.send("THIRD")
        frames = await client.heard()
    assert len(found) == 1, frames
    return found[0], frames


async def test_topics_are_a_set_in_the_order_of_subscribing() -> None:
    async def act(ctx: ConnectionContext[Any]) -> Any:
        for topic in ("b", "a", "c", "a"):
            await ctx.topics.subscribe(topic)
        await ctx.topics.unsubscribe("c")
        await ctx.topics.unsubscribe("never")
        topics = ctx.topics
        return list(topics), len(topics), "a" in topics, "c" in topics, topics & {"a", "z"}

    assert (await in_a_handler(act))[0] == (["b", "a"], 2, True, False, {"a"})


async def test_iterating_walks_a_snapshot() -> None:
    async def act(ctx: ConnectionContext[Any]) -> Any:
        for topic in ("a", "b"):
            await ctx.topics.subscribe(topic)
        for topic in ctx.topics:
            await ctx.topics.unsubscribe(topic)
        return list(ctx.topics)

    assert (await in_a_handler(act))[0] == []


async def test_the_publisher_receives_its_own_message_before_its_reply() -> None:
    """Subscribers here are served before the publish returns (PROTOCOL 6)."""

    async def act(ctx: ConnectionContext[Any]) -> Any:
        await ctx.topics.subscribe("room:1")
        await ctx.publish("room:1", Said(text="published"))
        ctx.send(Said(text="sent"))

    _, frames = await in_a_handler(act)
    assert frames == [
        {"type": "SAID", "payload": {"text": "published"}},
        {"type": "SAID", "payload": {"text": "sent"}},
    ]


async def test_the_publisher_may_be_left_out() -> None:
    async def act(ctx: ConnectionContext[Any]) -> Any:
        await ctx.topics.subscribe("room:1")
        return await ctx.publish("room:1", Said(text="x"), exclude_self=True)

    result, frames = await in_a_handler(act)
    assert (result.ok, result.capability, result.matched) == (True, "exact", 0)
    assert frames == []


async def error_of(work: Awaitable[Any]) -> tuple[str, Any]:
    with pytest.raises(PubSubError) as caught:
        await work
    return caught.value.code, caught.value.details


@pytest.mark.parametrize("topic", ["", "with space", "ü", "x" * 129, "line\n"])
async def test_an_invalid_topic_is_refused(topic: str) -> None:
    """``[A-Za-z0-9:_./-]{1,128}``, fullmatch (PROTOCOL 6)."""

    async def act(ctx: ConnectionContext[Any]) -> Any:
        subscribed = (await error_of(ctx.topics.subscribe(topic)))[0]
        published = await ctx.publish(topic, Said(text="x"))
        return subscribed, published.ok, published.error, list(ctx.topics)

    assert (await in_a_handler(act))[0] == (
        "INVALID_TOPIC",
        False,
        "VALIDATION",
        [],
    )


@pytest.mark.parametrize("topic", ["never", "with space"])
async def test_leaving_what_is_not_subscribed_does_nothing(topic: str) -> None:
    """A no-op has no side effects at all: no validation either (DESIGN 7)."""

    async def act(ctx: ConnectionContext[Any]) -> Any:
        await ctx.topics.unsubscribe(topic)
        return list(ctx.topics)

    assert await in_a_handler(act) == ([], [])


async def test_a_connection_has_so_many_topics_at_most() -> None:
    """A topic that is subscribed already is no further one (DESIGN 7)."""

    async def act(ctx: ConnectionContext[Any]) -> Any:
        await ctx.topics.subscribe("a")
        await ctx.topics.subscribe("b")
        await ctx.topics.subscribe("b")
        code, details = await error_of(ctx.topics.subscribe("c"))
        return code, details["limit"], details["current"], list(ctx.topics)

    assert (await in_a_handler(act, limits=Limits(max_topics_per_connection=2)))[0] == (
        "TOPIC_LIMIT_EXCEEDED",
        2,
        2,
        ["a", "b"],
    )


async def test_an_error_that_is_not_caught_answers_the_client() -> None:
    router = Router()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        await ctx.topics.subscribe("with space")

    async with connected(router) as client:
        await client.send("THIRD")
        frame = await client.receive()
    assert (frame["type"], frame["payload"]["code"]) == ("ERROR", "INVALID_TOPIC")


async def test_a_connection_that_closed_subscribes_to_nothing_more() -> None:
    router = Router()
    seen: list[Any] = []

    @router.on_close
    async def closed(ctx: CloseContext[Any]) -> None:
        seen.append((await error_of(ctx.topics.subscribe("room:1")))[0])
        seen.append((await ctx.publish("room:1", Said(text="x"))).matched)

    async with connected(router):
        pass
    assert seen == ["CONNECTION_CLOSED", 0]


async def test_everything_is_unsubscribed_on_close() -> None:
    router = Router()

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        await ctx.topics.subscribe("room:1")

    async with connected(router) as client:
        await client.send("NOTE", {"text": ""})
        await settle()
        assert (await router.apublish("room:1", Said(text="x"))).matched == 1
        assert (await client.receive())["payload"] == {"text": "x"}
    assert (await router.apublish("room:1", Said(text="x"))).matched == 0


async def test_operations_on_one_topic_wait_for_each_other() -> None:
    """Two handlers that subscribe and leave at once end as the last one said (DESIGN 7)."""

    async def act(ctx: ConnectionContext[Any]) -> Any:
        topics = ctx.topics
        await asyncio.gather(topics.subscribe("a"), topics.unsubscribe("a"), topics.subscribe("a"))
        return list(topics), (await ctx.publish("a", Said(text="x"))).matched

    found, frames = await in_a_handler(act)
    assert found == (["a"], 1)
    assert len(frames) == 1


async def test_routers_of_another_namespace_are_not_reached() -> None:
    router, elsewhere = Router(), Router(namespace="elsewhere")

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        await ctx.topics.subscribe("room:1")

    async with connected(router) as client:
        await client.send("THIRD")
        await settle()
        assert (await elsewhere.apublish("room:1", Said(text="x"))).matched == 0
        assert (await Router().apublish("room:1", Said(text="y"))).matched == 1
        assert (await client.receive())["payload"] == {"text": "y"}
