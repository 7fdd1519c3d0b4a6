import asyncio
from typing import Any

import pytest

from tests.client.contract import Ask, Done, Empty, News, Stage, Work
from tests.client.wire import Frame, MemoryLink, MemoryServer
from tests.fake_clock import clock, fake_time
from tests.helpers import settle
from wskit_channels.client import (
    Client,
    ConnectionClosed,
    InvalidFrame,
    Reconnect,
    RequestTimeout,
    ServerError,
    StateError,
)

SLOWLY = Reconnect(initial_delay=2.0, jitter="none")


def spawn(client: Client, request: Any, **options: Any) -> "asyncio.Task[Any]":
    return asyncio.create_task(client.request(request, **options))


async def only(link: MemoryLink) -> Frame:
    """The one frame that came."""
    (frame,) = await link.heard()
    return frame


def id_of(frame: Frame) -> str:
    found: str = frame["meta"]["correlationId"]
    return found


@fake_time
async def test_a_reply_finds_its_request() -> None:
    """PROTOCOL 5."""
    server = MemoryServer()
    async with server.client() as client:
        first, second = spawn(client, Work(n=1)), spawn(client, Ask())
        frames = await server.link.heard()
        assert frames == [
            {
                "type": "WORK",
                "meta": {"correlationId": id_of(frames[0]), "timeoutMs": 30000},
                "payload": {"n": 1},
            },
            {"type": "ASK", "meta": {"correlationId": id_of(frames[1]), "timeoutMs": 30000}},
        ]
        server.link.say("EMPTY", correlationId=id_of(frames[1]))
        server.link.say("DONE", {"n": 2}, correlationId=id_of(frames[0]))

        assert (await first, await second) == (Done(n=2), Empty())


@fake_time
async def test_a_reply_that_is_not_as_declared_fails_its_request() -> None:
    server = MemoryServer()
    async with server.client() as client:
        task = spawn(client, Work(n=1))
        server.link.say("DONE", {"n": "x"}, correlationId=id_of(await only(server.link)))

        with pytest.raises(InvalidFrame, match=r"payload\.n: Expected an integer"):
            await task


@pytest.mark.parametrize("type_", ["RPC_ERROR", "ERROR"])
def test_an_error_frame_fails_its_request(type_: str) -> None:
    """PROTOCOL 3: whichever of the two carries its id."""

    @fake_time
    async def story() -> None:
        server = MemoryServer()
        async with server.client() as client:
            task = spawn(client, Work(n=1))
            id_ = id_of(await only(server.link))
            server.link.say(type_, {"code": "NOT_FOUND", "message": "No"}, correlationId=id_)
            with pytest.raises(ServerError, match="NOT_FOUND: No"):
                await task

    story()


@fake_time
async def test_another_message_under_the_id_is_no_reply() -> None:
    """``ctx.send(..., inherit_correlation_id=True)`` before the reply."""
    server = MemoryServer()
    async with server.client() as client, client.listen(News) as news:
        task = spawn(client, Work(n=1))
        id_ = id_of(await only(server.link))
        server.link.say("NEWS", {"text": "soon"}, correlationId=id_)
        server.link.say("DONE", {"n": 1}, correlationId=id_)

        assert await task == Done(n=1)
        assert await anext(news) == News(text="soon")


@fake_time
async def test_progress_goes_to_a_callback_in_order() -> None:
    """PROTOCOL 5.3."""
    server = MemoryServer()
    steps: list[Stage] = []
    async with server.client() as client:
        task = spawn(client, Work(n=1), on_progress=steps.append)
        id_ = id_of(await only(server.link))
        for stage in "ab":
            server.link.say("$ws:rpc-progress", data={"stage": stage}, correlationId=id_)
        server.link.say("DONE", {"n": 1}, correlationId=id_)
        await task

    assert steps == [Stage(stage="a"), Stage(stage="b")]


@fake_time
async def test_neither_a_callback_that_raises_nor_bad_progress_loses_the_reply() -> None:
    server = MemoryServer()
    errors: list[str] = []

    def fail(step: Stage) -> None:
        raise ZeroDivisionError(step.stage)

    async with server.client() as client:
        client.on_error(lambda error: errors.append(type(error).__name__))
        task = spawn(client, Work(n=1), on_progress=fail)
        id_ = id_of(await only(server.link))
        server.link.say("$ws:rpc-progress", data={"stage": "a"}, correlationId=id_)
        server.link.say("$ws:rpc-progress", data={"stage": 1}, correlationId=id_)
        server.link.say("DONE", {"n": 1}, correlationId=id_)

        assert await task == Done(n=1)
    assert errors == ["ZeroDivisionError", "InvalidFrame"]


@fake_time
async def test_a_call_is_iterated_for_progress_and_awaited_for_the_reply() -> None:
    server = MemoryServer()
    async with server.client() as client, client.call(Work(n=1)) as call:
        id_ = id_of(await only(server.link))
        server.link.say("$ws:rpc-progress", data={"stage": "a"}, correlationId=id_)
        server.link.say("DONE", {"n": 1}, correlationId=id_)

        assert [step async for step in call] == [Stage(stage="a")]
        assert await call == Done(n=1)


@fake_time
async def test_iterating_raises_what_the_call_failed_with() -> None:
    server = MemoryServer()
    async with server.client() as client:
        call = client.call(Work(n=1))
        id_ = id_of(await only(server.link))
        server.link.say("$ws:rpc-progress", data={"stage": "a"}, correlationId=id_)
        server.link.say("RPC_ERROR", {"code": "ABORTED", "message": "x"}, correlationId=id_)

        assert await anext(call) == Stage(stage="a")
        with pytest.raises(ServerError, match="ABORTED"):
            await anext(call)


@fake_time
async def test_leaving_a_call_aborts_it() -> None:
    """PROTOCOL 5.5."""
    server = MemoryServer()
    async with server.client() as client:
        async with client.call(Work(n=1)):
            id_ = id_of(await only(server.link))

        assert await only(server.link) == {"type": "$ws:abort", "meta": {"correlationId": id_}}


@fake_time
async def test_cancelling_who_waits_aborts_the_call_and_swallows_its_answer() -> None:
    """PROTOCOL 5.5."""
    server = MemoryServer()
    errors: list[Exception] = []
    async with server.client(messages=[Done]) as client:
        client.on_error(errors.append)
        task = spawn(client, Work(n=1))
        id_ = id_of(await only(server.link))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await only(server.link) == {"type": "$ws:abort", "meta": {"correlationId": id_}}
        server.link.say("RPC_ERROR", {"code": "CANCELLED", "message": "x"}, correlationId=id_)
        server.link.say("DONE", {"n": 1}, correlationId=id_)
        server.link.say("NEWS", {"text": "after"})
        assert getattr(await anext(client), "type", None) == "NEWS"
    assert errors == []


@fake_time
async def test_whoever_else_awaits_an_aborted_call_is_told() -> None:
    server = MemoryServer()
    async with server.client() as client:
        call = client.call(Work(n=1))
        waiting = asyncio.ensure_future(call)
        await settle()
        call.abort()
        call.abort()

        with pytest.raises(ServerError, match="CANCELLED: The call was aborted by the client"):
            await waiting


@fake_time
async def test_a_request_that_is_cancelled_in_the_queue_is_never_sent() -> None:
    server = MemoryServer()
    client = server.client()
    task = spawn(client, Work(n=1))
    await settle()
    task.cancel()
    await asyncio.wait({task})
    async with client:
        assert await server.link.heard() == []


@fake_time
async def test_the_timeout_counts_from_the_flush() -> None:
    server = MemoryServer()
    client = server.client()
    task = spawn(client, Work(n=1), timeout=2.0)
    await clock().advance(60.0)
    async with client:
        (frame,) = await server.link.heard()
        assert frame["meta"]["timeoutMs"] == 2000
        await clock().advance(1.9)
        assert not task.done()
        await clock().advance(0.1)

        with pytest.raises(RequestTimeout, match=r"^no answer within 2 s$"):
            await task
        abort = {"type": "$ws:abort", "meta": {"correlationId": id_of(frame)}}
        assert await server.link.heard() == [abort]


@fake_time
async def test_timers_go_off_each_in_its_time() -> None:
    """The later one must not wait for, or lose, the earlier one's timer."""
    server = MemoryServer()
    async with server.client() as client:
        late, soon = spawn(client, Work(n=1), timeout=3.0), spawn(client, Work(n=2), timeout=1.0)
        await clock().advance(1.0)
        assert [late.done(), soon.done()] == [False, True]
        await clock().advance(2.0)
        assert late.done()
        assert [type(task.exception()) for task in (late, soon)] == [RequestTimeout] * 2


@fake_time
async def test_what_is_queued_for_too_long_is_not_sent_later() -> None:
    server = MemoryServer()
    client = server.client()
    task = spawn(client, Work(n=1), queue_timeout=5.0)
    await clock().advance(5.0)

    with pytest.raises(RequestTimeout, match="not sent within the queue_timeout of 5 s"):
        await task
    async with client:
        assert await server.link.heard() == []


@pytest.mark.parametrize("option", ["timeout", "queue_timeout"])
def test_a_timeout_of_nothing_is_refused(option: str) -> None:
    @fake_time
    async def story() -> None:
        options: Any = {option: 0}
        with pytest.raises(ValueError, match=f"^{option} is a number of seconds above 0"):
            MemoryServer().client().call(Work(n=1), **options)

    story()


@fake_time
async def test_without_a_timeout_the_server_decides() -> None:
    server = MemoryServer()
    async with server.client(timeout=None) as client:
        task = spawn(client, Work(n=1))
        frame = await only(server.link)
        assert frame["meta"] == {"correlationId": id_of(frame)}
        await clock().advance(1000.0)
        assert not task.done()
        task.cancel()


@fake_time
async def test_a_lost_connection_fails_what_may_have_run() -> None:
    server = MemoryServer()
    async with server.client() as client:
        task = spawn(client, Work(n=1))
        await server.link.heard()
        server.link.say("NEWS", {"text": "it reads"})
        server.link.end(1011, "BUG")

        with pytest.raises(ConnectionClosed) as caught:
            await task
    expected = (
        "the connection closed with 1011 (BUG): the request may have run; "
        "give idempotency_key= to have it sent again"
    )
    assert (caught.value.code, str(caught.value)) == (1011, expected)


@fake_time
async def test_an_idempotent_request_is_sent_again_under_its_id() -> None:
    server = MemoryServer()
    async with server.client(reconnect=SLOWLY) as client:
        task = spawn(client, Work(n=1), idempotency_key="k", timeout=10.0)
        first = await only(server.link)
        await clock().advance(1.0)
        server.link.end()
        await clock().advance(2.0)
        again = await only(server.link)

        assert again == {**first, "meta": {**first["meta"], "timeoutMs": 7000}}
        server.link.say("DONE", {"n": 1}, correlationId=id_of(first))
        assert await task == Done(n=1)
    assert len(server.links) == 2


@fake_time
async def test_after_the_resend_window_it_fails() -> None:
    server = MemoryServer()
    async with server.client(resend_window=5.0) as client:
        task = spawn(client, Work(n=1), idempotency_key="k")
        await server.link.heard()
        server.is_up = False
        server.link.end(1011, "BUG")
        await clock().advance(5.0)

        with pytest.raises(ConnectionClosed, match=r"1011 .*it was not sent again within resend_"):
            await task
        server.is_up = True
        await clock().advance(10.0)
        assert await server.link.heard() == []


@fake_time
async def test_a_full_queue_refuses_a_request_at_once() -> None:
    server = MemoryServer()
    client = server.client(queue="off")

    with pytest.raises(StateError, match='queue="off" keeps nothing until it is'):
        client.call(Work(n=1))
    async with client:
        with pytest.raises(TypeError, match="is no message class"):
            client.send({"type": "X"})
        server.link.room.clear()  # the server does not read
        for n in range(1000):
            client.send(News(text=str(n)))
        with pytest.raises(StateError, match=r"full: await client\.drain\(\)"):
            client.call(Work(n=1))
        assert client.send(News(text="more")) is False
        server.link.room.set()
        await client.drain()
        assert client.send(News(text="more")) is True


@fake_time
async def test_a_request_that_is_driven_out_fails() -> None:
    server = MemoryServer()
    client = server.client(queue="drop-oldest", queue_size=1)
    call = client.call(Work(n=1))
    client.send(News(text="newer"))

    with pytest.raises(StateError, match="newer frames have driven the request out"):
        await call
    async with client:
        assert await server.link.heard() == [{"type": "NEWS", "payload": {"text": "newer"}}]


@fake_time
async def test_closing_fails_what_is_pending() -> None:
    server = MemoryServer()
    async with server.client() as client:
        task = spawn(client, Work(n=1))
        await server.link.heard()
    with pytest.raises(ConnectionClosed) as caught:
        await task
    assert caught.value.code == 1000
    with pytest.raises(ConnectionClosed, match="the client was closed"):
        client.call(Work(n=1))
    assert client.send(News(text="x")) is False
