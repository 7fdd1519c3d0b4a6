"""``routing/calls.py``: progress, and its throttle (``PROTOCOL 5.3``)."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from tests.fake_clock import clock, fake_time
from tests.helpers import connected
from tests.routing.calls import (
    answer,
    cancelled,
    failure,
    internal,
    outcome,
    progress,
    serving,
    too_late,
)
from tests.routing.messages import Answer, Ask
from wskit_channels import (
    Router,
    Rpc,
    RpcContext,
    WsKitError,
)


async def test_progress_arrives_in_order_and_the_answer_last() -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        for number in range(3):
            ctx.progress({"done": number})
            await asyncio.sleep(0)
        return Answer(text="")

    assert await outcome(serving(act)) == [
        progress("1", {"done": 0}),
        progress("1", {"done": 1}),
        progress("1", {"done": 2}),
        answer("1"),
    ]


async def test_progress_of_two_calls_is_told_apart() -> None:
    together = asyncio.Barrier(2)

    async def act(ctx: RpcContext[Ask]) -> Answer:
        for number in range(2):
            await together.wait()
            ctx.progress(f"{ctx.payload.text}{number}")
        return Answer(text="")

    async with connected(serving(act)) as client:
        await client.call("ASK", {"text": "a"}, id="1")
        await client.call("ASK", {"text": "b"}, id="2")
        frames = await client.received(6)
    for id_, text in (("1", "a"), ("2", "b")):
        assert [frame for frame in frames if frame["meta"]["correlationId"] == id_] == [
            progress(id_, f"{text}0"),
            progress(id_, f"{text}1"),
            answer(id_),
        ]


class Stage(BaseModel):
    done: int


class Typed(Rpc[Answer, Stage], type="TYPED"):
    pass


async def test_typed_progress_is_validated() -> None:
    """Progress is validated when its type is given (DESIGN 1)."""
    router = Router()

    @router.rpc(Typed)
    async def typed(ctx: RpcContext[Any]) -> Answer:
        ctx.progress(Stage(done=1))
        with pytest.raises(ValueError, match="done"):
            ctx.progress({"done": "many"})
        return Answer(text="refused")

    async with connected(router) as client:
        await client.call("TYPED", id="1")
        assert await client.received(2) == [progress("1", {"done": 1}), answer("1", "refused")]


@pytest.mark.parametrize("value", [float("nan"), {"deep": [float("inf")]}])
async def test_progress_that_is_not_finite_is_a_bug(value: Any) -> None:
    """Out, a non-finite number is our bug, never sent (PROTOCOL 2)."""

    async def act(ctx: RpcContext[Ask]) -> Answer:
        ctx.progress(value)
        return Answer(text="")

    assert await outcome(serving(act)) == [internal("1")]


@fake_time
async def test_throttled_progress_keeps_its_leading_edge_and_its_last_value() -> None:
    """What comes too soon is held; of several only the newest is sent, when time has passed."""
    numbers: asyncio.Queue[int] = asyncio.Queue()

    async def act(ctx: RpcContext[Ask]) -> Answer:
        while number := await numbers.get():
            ctx.progress(number, throttle=1.0)
        return Answer(text="")

    async with connected(serving(act)) as client:
        await client.call("ASK", {}, id="1")
        for number in (1, 2, 3):
            numbers.put_nowait(number)
        assert await client.heard() == [progress("1", 1)]
        await clock().advance(0.9)
        assert await client.heard() == []
        await clock().advance(0.1)
        assert await client.heard() == [progress("1", 3)]
        await clock().advance(0.9)
        numbers.put_nowait(4)
        assert await client.heard() == []
        await clock().advance(0.1)
        assert await client.heard() == [progress("1", 4)]
        await clock().advance(5)
        numbers.put_nowait(5)
        assert await client.heard() == [progress("1", 5)]
        numbers.put_nowait(0)
        assert await client.heard() == [answer("1")]


@fake_time
async def test_held_progress_goes_out_right_before_the_answer() -> None:
    """The last value is never lost, and never comes after the terminal frame."""

    async def act(ctx: RpcContext[Ask]) -> Answer:
        for number in range(5):
            ctx.progress(number, throttle=1.0)
        return Answer(text="")

    async with connected(serving(act)) as client:
        await client.call("ASK", {}, id="1")
        assert await client.heard() == [progress("1", 0), progress("1", 4), answer("1")]
        await clock().advance(5)
        assert await client.heard() == []


@fake_time
async def test_held_progress_goes_out_right_before_a_failure() -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        ctx.progress(1, throttle=1.0)
        ctx.progress(2, throttle=1.0)
        raise WsKitError("NOT_FOUND", "No room")

    assert await outcome(serving(act)) == [
        progress("1", 1),
        progress("1", 2),
        failure("1", "NOT_FOUND", "No room"),
    ]


async def throttles(ctx: RpcContext[Ask]) -> None:
    ctx.progress(1, throttle=60.0)
    ctx.progress(2, throttle=60.0)
    await asyncio.Event().wait()


@fake_time
async def test_held_progress_goes_out_right_before_a_cancellation() -> None:
    async with connected(serving(throttles)) as client:
        await client.call("ASK", {}, id="1")
        assert await client.heard() == [progress("1", 1)]
        await client.abort("1")
        assert await client.heard() == [progress("1", 2), cancelled("1")]


@fake_time
async def test_held_progress_goes_out_right_before_the_deadline() -> None:
    async with connected(serving(throttles)) as client:
        await client.call("ASK", {}, id="1", timeoutMs=5000)
        await clock().advance(5)
        assert await client.heard() == [progress("1", 1), progress("1", 2), too_late("1")]


@fake_time
async def test_held_progress_is_not_sent_after_a_disconnect() -> None:
    async with connected(serving(throttles)) as client:
        await client.call("ASK", {}, id="1")
        assert await client.heard() == [progress("1", 1)]
        await client.disconnect()
        await client.ended()
        await clock().advance(120)
        assert client.left_over() == []


@fake_time
async def test_progress_without_a_throttle_replaces_what_was_held() -> None:
    async def act(ctx: RpcContext[Ask]) -> None:
        ctx.progress(1, throttle=1.0)
        ctx.progress(2, throttle=1.0)
        ctx.progress(3)
        await asyncio.Event().wait()

    async with connected(serving(act)) as client:
        await client.call("ASK", {}, id="1")
        assert await client.heard() == [progress("1", 1), progress("1", 3)]
        await clock().advance(5)
        assert await client.heard() == []
