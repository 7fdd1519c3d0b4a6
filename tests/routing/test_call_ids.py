"""``protocol/connection.py`` in use: the ids of calls (``PROTOCOL 3``, ``5.8``, ``5.9``)."""

import asyncio
import uuid
from typing import Any

import pytest

from tests.fake_clock import clock, fake_time
from tests.helpers import Frame, connected, settle
from tests.routing.calls import (
    answer,
    cancelled,
    failure,
    outcome,
    progress,
    serving,
    waits,
)
from tests.routing.messages import Answer, Ask, AskMore, Note, Said, Third
from wskit_channels import (
    Context,
    Limits,
    RpcContext,
    WsKitError,
)


def in_flight(frame: Frame, id: str) -> tuple[str, str]:
    """Type and code of an error about an id in flight, which must stand in its details only."""
    assert "meta" not in frame
    assert frame["payload"]["details"]["correlationId"] == id
    return frame["type"], frame["payload"]["code"]


async def test_an_id_in_flight_is_refused_without_settling_its_call() -> None:
    """ERROR without the id, which stands in the details (PROTOCOL 5.8)."""
    gate = asyncio.Event()

    async def act(ctx: RpcContext[Ask]) -> Answer:
        await gate.wait()
        return Answer(text=ctx.payload.text)

    async with connected(serving(act)) as client:
        await client.call("ASK", {"text": "first"}, id="1")
        await client.call("ASK", {"text": "second"}, id="1")
        frame = await client.receive()
        assert in_flight(frame, "1") == ("ERROR", "ALREADY_EXISTS")
        assert frame["payload"]["details"] == {"correlationId": "1"}
        gate.set()
        assert await client.heard() == [answer("1", "first")]


async def test_an_id_may_be_used_again_while_the_old_handler_still_runs() -> None:
    """The id is free at the terminal frame (PROTOCOL 5.7, 5.9)."""
    gate = asyncio.Event()

    async def act(ctx: RpcContext[Ask]) -> Answer:
        if ctx.payload.text == "old":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await gate.wait()
            ctx.progress("of the old one")
            ctx.error("ABORTED")
        return Answer(text=ctx.payload.text)

    async with connected(serving(act)) as client:
        await client.call("ASK", {"text": "old"}, id="1")
        await settle()
        await client.abort("1")
        assert await client.heard() == [cancelled("1")]
        await client.call("ASK", {"text": "new"}, id="1")
        assert await client.heard() == [answer("1", "new")]
        gate.set()
        assert await client.heard() == []


async def test_an_old_handler_does_not_answer_the_new_call_of_its_id() -> None:
    gate = asyncio.Event()

    async def act(ctx: RpcContext[Ask]) -> Answer:
        if ctx.payload.text == "old":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return Answer(text="from the old one")
        await gate.wait()
        return Answer(text="from the new one")

    async with connected(serving(act)) as client:
        await client.call("ASK", {"text": "old"}, id="1")
        await settle()
        await client.abort("1")
        await client.call("ASK", {"text": "new"}, id="1")
        assert await client.heard() == [cancelled("1")]
        gate.set()
        assert await client.heard() == [answer("1", "from the new one")]


@fake_time
async def test_the_old_deadline_does_not_end_the_new_call_of_its_id() -> None:
    gate = asyncio.Event()

    async def act(ctx: RpcContext[Ask]) -> Answer:
        if ctx.payload.text == "old":
            ctx.reply(Answer(text="old"))
        await gate.wait()
        return Answer(text="new")

    async with connected(serving(act)) as client:
        await client.call("ASK", {"text": "old"}, id="1", timeoutMs=1000)
        assert await client.heard() == [answer("1", "old")]
        await client.call("ASK", {}, id="1", timeoutMs=9000)
        await clock().advance(2)
        gate.set()
        assert await client.heard() == [answer("1", "new")]


async def test_an_events_error_leaves_the_id_of_a_call_in_flight_alone() -> None:
    """A client settles a pending request on any frame with its id (PROTOCOL 3)."""
    router = serving(waits)

    @router.on(Note)
    async def event(ctx: Context[Note]) -> None:
        ctx.error("NOT_FOUND", "No room", details={"room": 7})
        raise WsKitError("ABORTED")

    async with connected(router) as client:
        await client.call("ASK", {}, id="1")
        await client.send("NOTE", {"text": ""}, correlationId="1")
        first, second = await client.heard()
        assert first == {
            "type": "ERROR",
            "payload": {
                "code": "NOT_FOUND",
                "message": "No room",
                "details": {"room": 7, "correlationId": "1"},
                "retryable": False,
            },
        }
        assert in_flight(second, "1") == ("ERROR", "ABORTED")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"type": "NOTE", "payload": {"text": 1}}, "INVALID_ARGUMENT"),
        ({"type": "UNKNOWN"}, "UNIMPLEMENTED"),
        ({"type": ""}, "INVALID_ARGUMENT"),
        ({"type": "NOTE", "payload": {"text": "x" * 2000}}, "RESOURCE_EXHAUSTED"),
        ({"type": "ASK", "payload": {}}, "ALREADY_EXISTS"),
    ],
    ids=["invalid event", "unknown type", "no type", "too large", "second call"],
)
async def test_a_refusal_leaves_the_id_of_a_call_in_flight_alone(frame: Frame, code: str) -> None:
    """Any other refusal goes out without it (PROTOCOL 3)."""
    router = serving(waits, limits=Limits(max_payload_bytes=1000))

    @router.on(Note)
    async def event(ctx: Context[Note]) -> None: ...

    async with connected(router) as client:
        await client.call("ASK", {}, id="1")
        await client.send(frame["type"], frame.get("payload"), correlationId="1")
        (refusal,) = await client.heard()
        assert in_flight(refusal, "1") == ("ERROR", code)


async def test_a_line_that_is_full_leaves_the_id_of_a_call_in_flight_alone() -> None:
    router = serving(waits, limits=Limits(max_pending_events=0))

    @router.on(Third)
    async def event(ctx: Context[Third]) -> None: ...

    async with connected(router) as client:
        await client.call("ASK", {}, id="1")
        await client.send("THIRD", correlationId="1")
        (refusal,) = await client.heard()
        assert in_flight(refusal, "1") == ("ERROR", "RESOURCE_EXHAUSTED")


async def test_an_event_sends_its_id_back_unless_a_call_owns_it() -> None:
    """``inherit_correlation_id`` never carries an id in flight (PROTOCOL 3)."""
    router = serving(waits)

    @router.on(Note)
    async def event(ctx: Context[Note]) -> None:
        ctx.send(Said(text=ctx.payload.text), inherit_correlation_id=True)

    async with connected(router) as client:
        await client.call("ASK", {}, id="1")
        await client.send("NOTE", {"text": "owned"}, correlationId="1")
        await client.send("NOTE", {"text": "free"}, correlationId="2")
        await client.send("NOTE", {"text": "none"})
        assert await client.heard() == [
            {"type": "SAID", "payload": {"text": "owned"}},
            {"type": "SAID", "meta": {"correlationId": "2"}, "payload": {"text": "free"}},
            {"type": "SAID", "payload": {"text": "none"}},
        ]


async def test_a_calls_handler_cannot_send_its_id_in_another_message() -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        with pytest.raises(ValueError, match=r"use ctx\.reply\(\)"):
            ctx.send(Said(text=""), inherit_correlation_id=True)
        ctx.send(Said(text="without"))
        return Answer(text="")

    assert await outcome(serving(act)) == [
        {"type": "SAID", "payload": {"text": "without"}},
        answer("1"),
    ]


@pytest.mark.parametrize("meta", [{}, {"correlationId": ""}, {"correlationId": " \t"}])
async def test_a_call_without_an_id_is_given_one(meta: dict[str, Any]) -> None:
    """A UUID, which the reply carries (PROTOCOL 5)."""

    async def act(ctx: RpcContext[Ask]) -> Answer:
        ctx.progress(1)
        return Answer(text="")

    async with connected(serving(act)) as client:
        await client.send("ASK", {}, **meta)
        first, second = await client.heard()
    made_up = first["meta"]["correlationId"]
    assert str(uuid.UUID(made_up)) == made_up
    assert [first, second] == [progress(made_up, 1), answer(made_up)]


async def test_a_handlers_failure_carries_the_id_that_was_made_up() -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        raise WsKitError("NOT_FOUND", "No room")

    async with connected(serving(act)) as client:
        await client.send("ASK", {})
        (frame,) = await client.heard()
    made_up = frame["meta"]["correlationId"]
    assert str(uuid.UUID(made_up)) == made_up
    assert frame == failure(made_up, "NOT_FOUND", "No room")


async def test_a_refused_call_without_an_id_gets_an_error_without_one() -> None:
    """Refused by validation, by middleware, or for want of a slot (PROTOCOL 5)."""
    router = serving(waits, limits=Limits(max_inflight_rpcs=1))

    async def guard(ctx: Any, call_next: Any) -> None:
        raise WsKitError("PERMISSION_DENIED")

    @router.rpc(AskMore, use=[guard])
    async def guarded(ctx: RpcContext[AskMore]) -> Answer:
        return Answer(text="")

    async with connected(router) as client:
        await client.send("ASK", {"text": 1})
        await settle()
        await client.send("ASK_MORE", {})
        await settle()
        await client.send("ASK", {})
        await client.send("ASK", {})
        frames = await client.heard()
    assert [(frame["type"], frame.get("meta"), frame["payload"]["code"]) for frame in frames] == [
        ("ERROR", None, "INVALID_ARGUMENT"),
        ("ERROR", None, "PERMISSION_DENIED"),
        ("ERROR", None, "RESOURCE_EXHAUSTED"),
    ]


async def test_an_id_of_256_characters_is_carried() -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        return Answer(text="")

    assert await outcome(serving(act), id="x" * 256) == [answer("x" * 256)]


@pytest.mark.parametrize(
    "meta",
    [
        {"correlationId": 7},
        {"correlationId": None},
        {"correlationId": "x" * 257},
        {"correlationId": "1", "timeoutMs": 0},
        {"correlationId": "1", "timeoutMs": -1},
        {"correlationId": "1", "timeoutMs": 1.5},
        {"correlationId": "1", "timeoutMs": "1000"},
        {"correlationId": "1", "timeoutMs": True},
    ],
    ids=str,
)
async def test_a_bad_id_or_timeout_opens_nothing(meta: dict[str, Any]) -> None:
    """It is INVALID_ARGUMENT, and takes no slot (PROTOCOL 5)."""
    opened: list[str] = []
    router = serving(waits, limits=Limits(max_inflight_rpcs=1))

    @router.use
    async def middleware(ctx: Any, call_next: Any) -> None:
        opened.append(ctx.type)
        await call_next()

    async with connected(router) as client:
        await client.send("ASK", {}, **meta)
        (frame,) = await client.heard()
        assert frame["payload"]["code"] == "INVALID_ARGUMENT"
        carried = {"correlationId": "1"} if meta["correlationId"] == "1" else None
        assert (frame["type"], frame.get("meta")) == (
            ("RPC_ERROR", carried) if carried else ("ERROR", None)
        )
        assert opened == []
        await client.call("ASK", {}, id="1")
        await settle()
        assert opened == ["ASK"]


async def test_a_refused_calls_slot_and_id_are_free_again() -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        return Answer(text="")

    async with connected(serving(act, limits=Limits(max_inflight_rpcs=1))) as client:
        await client.call("ASK", {"text": 1}, id="1")
        (frame,) = await client.heard()
        assert (frame["type"], frame["payload"]["code"]) == ("RPC_ERROR", "INVALID_ARGUMENT")
        await client.call("ASK", {}, id="1")
        assert await client.heard() == [answer("1")]


@pytest.mark.parametrize("type_", ["UNKNOWN", "ASK"])
async def test_a_refused_calls_error_carries_its_id(type_: str) -> None:
    """RPC_ERROR if the route is a call or was not found (PROTOCOL 3)."""
    async with connected(serving(waits)) as client:
        await client.call(type_, {"text": 1}, id="1")
        (frame,) = await client.heard()
    assert (frame["type"], frame["meta"]) == ("RPC_ERROR", {"correlationId": "1"})
