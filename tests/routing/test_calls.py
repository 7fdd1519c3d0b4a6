"""``routing/calls.py``: every call is answered once (``PROTOCOL 5.1``, ``5.2``)."""

import asyncio
import logging
import threading
from typing import Any

import pytest

from tests.helpers import Frame, connected
from tests.routing.calls import (
    answer,
    failure,
    internal,
    outcome,
    progress,
    serving,
)
from tests.routing.messages import Answer, Ask, Said, Third
from wskit_channels import (
    Router,
    Rpc,
    RpcContext,
    WsKitError,
)

# -- rule 1: exactly one terminal frame


async def test_the_return_value_is_the_reply() -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        return Answer(text=ctx.payload.text)

    assert await outcome(serving(act), text="x") == [answer("1", "x")]


async def test_reply_is_the_reply() -> None:
    async def act(ctx: RpcContext[Ask]) -> None:
        ctx.reply(Answer(text=ctx.payload.text))

    assert await outcome(serving(act), text="x") == [answer("1", "x")]


async def test_a_reply_goes_out_before_the_handler_has_ended() -> None:
    gate = asyncio.Event()

    async def act(ctx: RpcContext[Ask]) -> None:
        ctx.reply(Answer(text="early"))
        await gate.wait()

    async with connected(serving(act)) as client:
        await client.call("ASK", {}, id="1")
        assert await client.receive() == answer("1", "early")
        assert not gate.is_set()
        gate.set()


async def test_a_plain_handler_answers_by_returning() -> None:
    router = Router()

    @router.rpc(Ask)
    def ask(ctx: RpcContext[Ask]) -> Answer:
        ctx.progress(threading.current_thread() is threading.main_thread())
        return Answer(text=ctx.payload.text)

    async with connected(router) as client:
        await client.call("ASK", {"text": "x"}, id="1")
        assert await client.received(2) == [progress("1", False), answer("1", "x")]


async def test_a_handler_that_forgets_to_answer_is_answered_for() -> None:
    async def act(ctx: RpcContext[Ask]) -> None:
        pass

    assert await outcome(serving(act)) == [
        failure("1", "INTERNAL", "The handler finished without a reply")
    ]


class RoomFull(WsKitError, code="ROOM_FULL", retryable=True):
    pass


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (WsKitError("NOT_FOUND", "No room"), failure("1", "NOT_FOUND", "No room")),
        (RoomFull(message="Full"), failure("1", "ROOM_FULL", "Full", retryable=True)),
        (RuntimeError("secret"), internal("1")),
        (asyncio.CancelledError(), internal("1")),
    ],
    ids=["answer", "the application's own", "bug", "cancelled from within"],
)
async def test_what_a_handler_raises_is_the_answer(error: BaseException, expected: Frame) -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        raise error

    assert await outcome(serving(act)) == [expected]


async def test_error_is_an_answer_after_which_the_handler_carries_on() -> None:
    seen: list[str] = []

    async def act(ctx: RpcContext[Ask]) -> None:
        ctx.error("NOT_FOUND", "No room")
        seen.append("carried on")

    assert await outcome(serving(act)) == [failure("1", "NOT_FOUND", "No room")]
    assert seen == ["carried on"]


async def test_another_class_than_the_response_is_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    async def act(ctx: RpcContext[Ask]) -> Any:
        return Said(text="x")

    assert await outcome(serving(act)) == [internal("1")]
    assert "ASK is answered with a Answer, not Said" in caplog.text


async def test_reply_refuses_another_class_than_the_response() -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        wrong: Any = Said(text="x")
        with pytest.raises(TypeError, match="answered with a Answer, not Said"):
            ctx.reply(wrong)
        return Answer(text="refused")

    assert await outcome(serving(act)) == [answer("1", "refused")]


async def test_a_response_without_fields_has_no_payload() -> None:
    router = Router()

    class Check(Rpc[Third], type="CHECK"):
        pass

    @router.rpc(Check)
    async def check(ctx: RpcContext[Check]) -> Third:
        return Third()

    async with connected(router) as client:
        await client.call("CHECK", id="1")
        assert await client.receive() == {"type": "THIRD", "meta": {"correlationId": "1"}}


async def test_a_reply_carries_extended_meta() -> None:
    async def act(ctx: RpcContext[Ask]) -> None:
        ctx.reply(Answer(text=""), meta={"trace": "t"})

    (frame,) = await outcome(serving(act))
    assert frame["meta"] == {"correlationId": "1", "trace": "t"}


# -- rule 2: the first terminal wins


async def test_a_second_answer_is_dropped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        ctx.reply(Answer(text="first"))
        ctx.reply(Answer(text="second"))
        ctx.error("NOT_FOUND")
        return Answer(text="third")

    with caplog.at_level(logging.DEBUG, "wskit_channels"):
        assert await outcome(serving(act)) == [answer("1", "first")]
    dropped = [record for record in caplog.records if "answer dropped" in record.message]
    assert [record.levelname for record in dropped] == ["DEBUG"] * 3


async def test_an_exception_after_the_answer_is_logged_and_not_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def act(ctx: RpcContext[Ask]) -> None:
        ctx.reply(Answer(text="first"))
        raise RuntimeError("too late to tell")

    assert await outcome(serving(act)) == [answer("1", "first")]
    assert "too late to tell" in caplog.text


async def test_progress_after_the_answer_is_dropped() -> None:
    async def act(ctx: RpcContext[Ask]) -> None:
        ctx.reply(Answer(text="first"))
        ctx.progress(1)

    assert await outcome(serving(act)) == [answer("1", "first")]
