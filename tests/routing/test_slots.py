"""``routing/dispatch.py``: how many calls are in flight (``PROTOCOL 5.7``)."""

import _weakrefset
import asyncio
import gc
import tracemalloc
from asyncio import base_events, events

from tests.helpers import connected, settle
from tests.routing.calls import (
    answer,
    cancelled,
    serving,
    waits,
)
from tests.routing.messages import Answer, Ask
from wskit_channels import (
    LimitExceeded,
    Limits,
    RpcContext,
)


async def test_at_most_so_many_calls_are_in_flight() -> None:
    """The next one gets RESOURCE_EXHAUSTED with retryAfterMs 100, and the hook is told."""
    router = serving(waits, limits=Limits(max_inflight_rpcs=2))
    reports: list[LimitExceeded] = []
    router.on_limit_exceeded(reports.append)

    async with connected(router) as client:
        for id_ in ("1", "2", "3"):
            await client.call("ASK", {}, id=id_)
        (frame,) = await client.heard()
        await settle()
    assert (frame["type"], frame["meta"]) == ("RPC_ERROR", {"correlationId": "3"})
    assert {**frame["payload"], "message": ""} == {
        "code": "RESOURCE_EXHAUSTED",
        "message": "",
        "retryable": True,
        "retryAfterMs": 100,
    }
    assert [(report.type, report.limit) for report in reports] == [("inflight_rpcs", 2)]


async def test_an_aborted_calls_slot_is_free_when_its_handler_has_ended() -> None:
    """Tiny deadlines and quick aborts cannot start unbounded work."""
    gate = asyncio.Event()

    async def act(ctx: RpcContext[Ask]) -> Answer:
        if ctx.payload.text == "slow":
            try:
                await asyncio.Event().wait()
            finally:
                await gate.wait()
        return Answer(text="")

    async with connected(serving(act, limits=Limits(max_inflight_rpcs=1))) as client:
        await client.call("ASK", {"text": "slow"}, id="1")
        await settle()
        await client.abort("1")
        assert await client.heard() == [cancelled("1")]
        await client.call("ASK", {}, id="2")
        assert (await client.receive())["payload"]["code"] == "RESOURCE_EXHAUSTED"
        gate.set()
        await settle()
        await client.call("ASK", {}, id="3")
        assert await client.receive() == answer("3")


async def test_a_thousand_calls_end_once_each_and_leave_nothing_behind() -> None:
    """Half aborted and half let run: no task survives and the memory comes back."""
    gates: list[asyncio.Event] = []

    async def act(ctx: RpcContext[Ask]) -> Answer:
        await gates[-1].wait()
        return Answer(text=ctx.payload.text)

    async def round_() -> list[str]:
        gates[:] = [asyncio.Event()]
        for number in range(1000):
            await client.call("ASK", {"text": str(number)}, id=str(number))
        for number in range(0, 1000, 2):
            await client.abort(str(number))
        ended = {f["meta"]["correlationId"]: f["type"] for f in await client.received(500)}
        assert set(ended.values()) == {"RPC_ERROR"}
        gates[0].set()
        ended.update({f["meta"]["correlationId"]: f["type"] for f in await client.received(500)})
        await settle()
        assert client.left_over() == []
        return [ended[str(number)] for number in range(1000)]

    async def memory_after_a_round() -> int:
        assert await round_() == ["RPC_ERROR", "ANSWER"] * 500
        gc.collect()
        # Without the loop's own heap of timers and asyncio's weak set of tasks, of which all are
        # asked for below: they are tidied and resized in batches.
        modules = (base_events, events, _weakrefset)
        loops_own = [tracemalloc.Filter(False, module.__file__) for module in modules]
        snapshot = tracemalloc.take_snapshot().filter_traces(loops_own)
        return sum(trace.size for trace in snapshot.traces)

    before = asyncio.all_tasks()
    tracemalloc.start()
    try:
        async with connected(serving(act, rpc_timeout=300.0)) as client:
            await memory_after_a_round()
            warm = [await memory_after_a_round() for _ in range(2)]
            later = [await memory_after_a_round() for _ in range(2)]
            assert min(later) <= max(warm) * 1.05
            assert asyncio.all_tasks() - before == {client.application}
    finally:
        tracemalloc.stop()
