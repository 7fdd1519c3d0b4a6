"""``routing/throttle.py``: what changes fast is published now and then."""

import logging
from typing import Any

import pytest

from tests.fake_clock import clock, fake_time
from tests.helpers import Client, Frame, connected, settle
from tests.routing.messages import Note, Other, Said, Third
from wskit_channels import Context, Router, Topic, throttled


class RoomTopic(Topic[Said], pattern="room:{room_id}"):
    room_id: str


def joining(*topics: str) -> Router[Any]:
    """A router whose clients join these topics with THIRD."""
    router = Router()

    @router.on(Third)
    async def join(ctx: Context[Third]) -> None:
        await ctx.topics.subscribe_many(topics)

    return router


async def joined(client: Client) -> None:
    await client.send("THIRD")
    await settle()


def texts(frames: list[Frame]) -> list[Any]:
    return [next(iter(frame["payload"].values())) for frame in frames]


@fake_time
async def test_the_first_goes_at_once_and_the_latest_when_the_window_ends() -> None:
    router = joining("room:1")
    cursor = throttled(router, window=1.0)

    async with connected(router) as client:
        await joined(client)
        cursor.publish("room:1", Said(text="first"))
        assert texts(await client.heard()) == ["first"]
        for text in ("second", "third", "latest"):
            cursor.publish("room:1", Said(text=text))
            await clock().advance(0.25)
        assert await client.heard() == []
        await clock().advance(0.25)
        assert texts(await client.heard()) == ["latest"]


@fake_time
async def test_the_window_starts_anew_with_what_went_at_its_end() -> None:
    router = joining("room:1")
    cursor = throttled(router, window=1.0)

    async with connected(router) as client:
        await joined(client)
        cursor.publish("room:1", Said(text="1"))
        await settle()
        cursor.publish("room:1", Said(text="2"))
        await clock().advance(1.0)
        cursor.publish("room:1", Said(text="3"))
        assert texts(await client.heard()) == ["1", "2"]
        await clock().advance(1.0)
        assert texts(await client.heard()) == ["3"]


@fake_time
async def test_after_a_quiet_window_the_next_goes_at_once() -> None:
    router = joining("room:1")
    cursor = throttled(router, window=1.0)

    async with connected(router) as client:
        await joined(client)
        cursor.publish("room:1", Said(text="1"))
        await clock().advance(1.0)
        cursor.publish("room:1", Said(text="2"))
        assert texts(await client.heard()) == ["1", "2"]
        await clock().advance(1.0)
        assert clock().pending_timers() == 0


@fake_time
async def test_topics_and_classes_are_throttled_each_by_itself() -> None:
    router = joining("room:1", "room:2")
    cursor = throttled(router, window=1.0)

    async with connected(router) as client:
        await joined(client)
        cursor.publish("room:1", Said(text="a"))
        cursor.publish("room:2", Said(text="b"))
        cursor.publish("room:1", Note(text="c"))
        cursor.publish("room:1", Other(number=4))
        assert texts(await client.heard()) == ["a", "b", "c", 4]


@fake_time
async def test_a_typed_topic_and_its_name_are_one() -> None:
    router = joining("room:1")
    cursor = throttled(router, window=1.0)

    async with connected(router) as client:
        await joined(client)
        cursor.publish("room:1", Said(text="1"))
        await settle()
        cursor.publish(RoomTopic(room_id="1"), Said(text="2"))
        assert texts(await client.heard()) == ["1"]
        await clock().advance(1.0)
        assert texts(await client.heard()) == ["2"]


@fake_time
async def test_draining_waits_until_all_is_published() -> None:
    router = joining("room:1")
    cursor = throttled(router, window=1.0)

    async with connected(router) as client:
        await joined(client)
        cursor.publish("room:1", Said(text="1"))
        await settle()
        cursor.publish("room:1", Said(text="2"), meta={"trace": "abc"})
        waiting = clock().create_task(cursor.drain())
        await clock().advance(0.5)
        assert not waiting.done()
        await clock().advance(5.0)
        assert waiting.done()
        first, second = await client.received(2)
        assert (texts([first, second]), second["meta"]) == (["1", "2"], {"trace": "abc"})
        await cursor.drain()  # nothing to wait for


@pytest.mark.parametrize(
    ("topic", "message"),
    [("with space", Said(text="x")), ("room:1", "no message"), (RoomTopic(room_id="1"), Third())],
    ids=["topic", "message", "another class"],
)
def test_a_failure_is_logged_and_the_next_goes(
    topic: Any, message: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """There is nobody left to look at a result; PROTOCOL 6 and DESIGN 7 hold all the same."""

    @fake_time
    async def scenario() -> None:
        router = joining("room:1")
        cursor = throttled(router, window=1.0)
        async with connected(router) as client:
            await joined(client)
            cursor.publish(topic, message)
            await clock().advance(1.0)
            cursor.publish("room:1", Said(text="next"))
            assert texts(await client.heard()) == ["next"]
            await clock().advance(1.0)

    with caplog.at_level(logging.WARNING, "wskit_channels.publish"):
        scenario()
    assert "a throttled publish failed: VALIDATION" in caplog.messages


@pytest.mark.parametrize("window", [0, -1.0])
def test_a_window_is_above_zero(window: float) -> None:
    with pytest.raises(ValueError, match="a number of seconds above 0"):
        throttled(Router(), window=window)


def test_without_an_event_loop_it_raises() -> None:
    with pytest.raises(RuntimeError):
        throttled(Router()).publish("room:1", Said(text="x"))
