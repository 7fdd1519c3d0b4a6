import asyncio

import pytest

from tests.client.contract import Done, Empty, News, Other, Work
from tests.client.wire import MemoryServer
from tests.fake_clock import clock, fake_time
from tests.helpers import settle
from wskit_channels import Message
from wskit_channels.client import (
    ConnectionClosed,
    InvalidFrame,
    Overflow,
    ServerError,
    UnknownMessage,
)


class AlsoNews(Message, type="NEWS"):
    pass


@fake_time
async def test_handlers_are_called_one_at_a_time_in_order() -> None:
    server = MemoryServer()
    seen: list[str] = []
    client = server.client()

    @client.on(News)
    async def slow(news: News) -> None:
        await settle(5)
        seen.append(f"slow {news.text}")

    @client.on(News)
    def quick(news: News) -> None:
        seen.append(f"quick {news.text}")

    async with client:
        for text in "ab":
            server.link.say("NEWS", {"text": text})
        await settle()

    assert seen == ["slow a", "quick a", "slow b", "quick b"]


@fake_time
async def test_a_handler_may_await_a_request() -> None:
    """The reader does not wait for it."""
    server = MemoryServer()
    client = server.client()
    replies: list[Done] = []

    @client.on(News)
    async def ask(news: News) -> None:
        replies.append(await client.request(Work(n=1)))

    async with client:
        server.link.say("NEWS", {"text": "x"})
        (frame,) = await server.link.heard()
        server.link.say("DONE", {"n": 1}, correlationId=frame["meta"]["correlationId"])
        await settle()

    assert replies == [Done(n=1)]


@fake_time
async def test_a_handler_may_close_the_client() -> None:
    """And goes on afterwards."""
    server = MemoryServer()
    client = server.client()
    states: list[str] = []

    @client.on(News)
    async def stop(news: News) -> None:
        await client.close()
        states.append(client.state)

    async with client:
        server.link.say("NEWS", {"text": "x"})
        await settle()

    assert states == ["closed"]


@fake_time
async def test_a_handler_that_raises_is_told_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = MemoryServer()
    client = server.client()
    errors: list[Exception] = []
    client.on_error(errors.append)
    seen: list[str] = []

    @client.on(News)
    def fail(news: News) -> None:
        seen.append(news.text)
        raise ZeroDivisionError(news.text)

    async with client:
        for text in "ab":
            server.link.say("NEWS", {"text": text})
        await settle()

    assert (seen, [str(error) for error in errors]) == (["a", "b"], ["a", "b"])
    assert [record.message for record in caplog.records] == ["a handler of News raised"] * 2


@fake_time
async def test_a_handler_is_taken_off() -> None:
    server = MemoryServer()
    client = server.client()
    seen: list[News] = []
    handler = client.on(News)(seen.append)
    client.off(News, handler)
    async with client:
        server.link.say("NEWS", {"text": "x"})
        await settle()

    assert seen == []
    with pytest.raises(ValueError, match="not in list"):
        client.off(News, handler)


@fake_time
async def test_a_subscription_gives_what_it_asks_for_from_then_on() -> None:
    server = MemoryServer()
    async with server.client() as client:
        server.link.say("NEWS", {"text": "before"})
        await settle()
        async with client.listen(News, Empty) as both:
            server.link.say("OTHER", {"value": 1})
            server.link.say("EMPTY")
            server.link.say("NEWS", {"text": "x"})
            found = [await anext(both), await anext(both)]
        server.link.say("NEWS", {"text": "after"})
        await settle()

        assert found == [Empty(), News(text="x")]
        assert [message async for message in both] == []


@fake_time
async def test_the_client_iterates_over_everything_since_it_connected() -> None:
    server = MemoryServer()
    async with server.client(messages=[News, Other]) as client:
        server.link.say("NEWS", {"text": "x"})
        server.link.say("STRANGE", [1], room="r")
        server.link.say("OTHER", {"value": None})
        server.link.say("$ws:something")
        server.link.end(1000)
        found = [message async for message in client]

    assert found == [
        News(text="x"),
        UnknownMessage("STRANGE", {"timestamp": 1, "room": "r"}, [1]),
        Other(value=None),
    ]


@fake_time
async def test_iterating_raises_where_the_client_gave_up() -> None:
    server = MemoryServer()
    async with server.client(messages=[News]) as client, client.listen(News) as news:
        server.link.say("NEWS", {"text": "x"})
        server.link.end(4403)
        await client.wait_closed()
        for iterator in (client, news):
            assert await anext(iterator) == News(text="x")
            with pytest.raises(ConnectionClosed, match="4403"):
                await anext(iterator)


@fake_time
async def test_a_lost_connection_does_not_end_an_iteration() -> None:
    server = MemoryServer()
    async with server.client(messages=[News]) as client:
        waiting = asyncio.ensure_future(anext(client))
        server.link.end()
        await clock().advance(1.0)
        server.link.say("NEWS", {"text": "x"})

        assert len(server.links) == 2
        assert await waiting == News(text="x")


@pytest.mark.parametrize(
    ("policy", "kept"), [("drop-oldest", ["4", "5"]), ("drop-newest", ["1", "2"])]
)
def test_a_full_buffer_drops_by_policy_and_tells_once(policy: str, kept: list[str]) -> None:
    @fake_time
    async def story() -> None:
        server = MemoryServer()
        errors: list[Exception] = []
        async with server.client(incoming_size=2, incoming_policy=policy) as client:
            client.on_error(errors.append)
            async with client.listen(News) as news:
                for text in "12345":
                    server.link.say("NEWS", {"text": text})
                await settle()
                found = [(await anext(news)).text, (await anext(news)).text]
        assert found == kept
        assert [type(error) for error in errors] == [Overflow]

    story()


@fake_time
async def test_what_nobody_iterates_overflows_in_silence() -> None:
    server = MemoryServer()
    errors: list[Exception] = []
    async with server.client(incoming_size=1, messages=[News]) as client:
        client.on_error(errors.append)
        for text in "12":
            server.link.say("NEWS", {"text": text})
        await settle()

        assert (await anext(client), errors) == (News(text="2"), [])


@fake_time
async def test_errors_that_answer_no_request_are_told() -> None:
    """PROTOCOL 3."""
    server = MemoryServer()
    errors: list[Exception] = []
    async with server.client(messages=[News]) as client:
        client.on_error(errors.append)
        server.link.say("ERROR", {"code": "NOT_FOUND", "message": "No room"})
        server.link.say("NEWS", {"text": 1})
        server.link.say_text("{")
        await settle()

    assert [type(error) for error in errors] == [ServerError, InvalidFrame, InvalidFrame]
    assert str(errors[0]) == "NOT_FOUND: No room"


@fake_time
async def test_without_a_listener_they_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    server = MemoryServer()
    async with server.client():
        server.link.say("ERROR", {"code": "NOT_FOUND", "message": "No room"})
        await settle()

    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "ServerError: NOT_FOUND: No room")
    ]


@fake_time
async def test_every_frame_is_shown_to_who_asks() -> None:
    server = MemoryServer()
    frames: list[tuple[str, str]] = []
    client = server.client()
    client.on_frame(lambda direction, text: frames.append((direction, text[:13])))
    async with client:
        server.link.say("NEWS", {"text": "x"})
        await settle()

    assert frames == [("out", '{"type":"$ws:'), ("in", '{"type": "NEW')]


@fake_time
async def test_a_type_is_read_as_one_class_only() -> None:
    client = MemoryServer().client(messages=[News])

    with pytest.raises(TypeError, match="AlsoNews and News both have the type 'NEWS'"):
        client.on(AlsoNews)


@fake_time
async def test_a_class_without_a_type_is_refused() -> None:
    with pytest.raises(TypeError, match="Message has no type"):
        MemoryServer().client().on(Message)
