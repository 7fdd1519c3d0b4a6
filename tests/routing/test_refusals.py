"""``routing/dispatch.py``: too many refused frames."""

import asyncio
import json
from typing import Any

import pytest

from tests.helpers import connected, settle
from tests.routing.stage import Stage, notes, slow_router
from wskit_channels import (
    CallNext,
    ConnectionContext,
    Limits,
)


def burst(count: int, *frames: str) -> str:
    return frames[count % len(frames)]


INVALID_NOTE = json.dumps({"type": "NOTE", "payload": {"text": 1}})
INVALID_ASK = json.dumps({"type": "ASK", "payload": {"text": 1}, "meta": {"correlationId": "c"}})
INVALID_ASIDE = json.dumps({"type": "THIRD", "payload": {}})


@pytest.mark.parametrize(
    "frames",
    [
        ["{"],
        [INVALID_NOTE],
        [INVALID_ASIDE],
        ["{", INVALID_NOTE],
        ["{", INVALID_NOTE, INVALID_ASK.replace('"c"', '"{}"'), INVALID_ASIDE],
    ],
    ids=["malformed", "events", "concurrent events", "malformed and events", "all kinds"],
)
async def test_of_101_refused_frames_100_are_answered_and_then_the_connection_closes(
    frames: list[str],
) -> None:
    """Refusals must not become an amplifier (PROTOCOL 3)."""
    stage = Stage()

    async with connected(stage.router) as client:
        for number in range(101):
            frame = burst(number, *frames).replace("{}", str(number), 1)
            await client.send_text("{" if frame == "{" else frame)
        answers = await client.received(100)
        assert (await client.closed())[0] == 1008
    assert {frame["payload"]["code"] for frame in answers} == {"INVALID_ARGUMENT"}
    assert [code for code, _ in stage.closes.codes] == [1008]


async def test_concurrent_refusals_are_answered_before_the_close() -> None:
    """Also where middleware takes a while to let them through (PROTOCOL 3)."""
    stage = Stage()

    @stage.router.use
    async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        await settle()
        await call_next()

    async with connected(stage.router) as client:
        for _ in range(101):
            await client.send_text(INVALID_ASIDE)
        answers = await client.received(100)
        assert (await client.closed())[0] == 1008
    assert {frame["payload"]["code"] for frame in answers} == {"INVALID_ARGUMENT"}


async def test_an_answer_is_not_cut_off_by_the_close_for_refused_frames() -> None:
    """What was accepted before is not lost: a valid event is handled first."""
    router, order, gates = slow_router(limits=Limits(max_protocol_errors=1))
    gates["a"] = asyncio.Event()

    async with connected(router) as client:
        await notes(client, "a")
        await client.send_text(INVALID_NOTE)
        await client.send_text(INVALID_NOTE)
        await settle()
        assert client.left_over() == []
        gates["a"].set()
        assert (await client.receive())["payload"]["code"] == "INVALID_ARGUMENT"
        assert (await client.closed())[0] == 1008
    assert order == ["a in", "a out"]


async def test_nothing_is_heard_after_the_close_for_refused_frames() -> None:
    router, order, _ = slow_router(limits=Limits(max_protocol_errors=0))

    async with connected(router) as client:
        await client.send_text("{")
        await notes(client, "late")
        assert (await client.closed())[0] == 1008
    assert order == []


async def test_a_disconnect_in_the_same_burst_ends_the_application_normally() -> None:
    """The application's own interruption of its reader must not look like the server's."""
    stage = Stage(max_protocol_errors=0)

    async with connected(stage.router) as client:
        await client.send_text("{")
        await client.disconnect(1001)
        await client.ended()
        assert [event["type"] for event in client.left_over()] == ["websocket.close"]
    assert [code for code, _ in stage.closes.codes] == [1008]
