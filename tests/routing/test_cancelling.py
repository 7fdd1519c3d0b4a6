"""``routing/calls.py``: aborts and disconnects (``PROTOCOL 5.5``, ``5.6``)."""

import asyncio
import threading
from typing import Any

import pytest

from tests.fake_clock import fake_time
from tests.helpers import TIMEOUT, Client, Frame, connected, settle, soon
from tests.routing.calls import (
    answer,
    cancelled,
    outcome,
    progress,
    serving,
)
from tests.routing.messages import Answer, Ask, Said
from wskit_channels import (
    CloseContext,
    Limits,
    Router,
    RpcContext,
)

# -- rule 5: aborts


async def test_an_abort_is_answered_at_once_and_cancels_the_handler() -> None:
    seen: list[str] = []

    async def act(ctx: RpcContext[Ask]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(f"cancelled: {ctx.cancelled}")
            raise

    async with connected(serving(act)) as client:
        await client.call("ASK", {}, id="1")
        await settle()
        await client.abort("1")
        assert await client.heard() == [cancelled("1")]
    assert seen == ["cancelled: True"]


async def test_an_abort_does_not_wait_for_the_handler() -> None:
    """Whether or not the handler has ended; its later answers are dropped."""
    gate = asyncio.Event()

    async def act(ctx: RpcContext[Ask]) -> Answer:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await gate.wait()
        ctx.progress("late")
        return Answer(text="late")

    async with connected(serving(act)) as client:
        await client.call("ASK", {}, id="1")
        await settle()
        await client.abort("1")
        assert await client.receive() == cancelled("1")
        gate.set()
        assert await client.heard() == []


async def test_a_call_may_be_aborted_before_its_handler_begins() -> None:
    began: list[str] = []

    async def act(ctx: RpcContext[Ask]) -> None:
        began.append(ctx.payload.text)

    async with connected(serving(act, limits=Limits(max_inflight_rpcs=1))) as client:
        await client.call("ASK", {"text": "x"}, id="1")
        await client.abort("1")
        assert await client.heard() == [cancelled("1")]
        await client.call("ASK", {"text": "y"}, id="2")
        assert (await client.receive())["meta"] == {"correlationId": "2"}
    assert began == ["y"]


@pytest.mark.parametrize("id_", ["never", "done", "", 7])
async def test_an_abort_of_no_call_in_flight_is_ignored(id_: Any) -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        return Answer(text="")

    async with connected(serving(act)) as client:
        await client.call("ASK", {}, id="done")
        assert await client.receive() == answer("done")
        await client.abort(id_)
        await client.send("$ws:abort")
        await client.ping()


async def test_cancel_callbacks_run_in_the_order_of_registering() -> None:
    """And before the handler sees the cancellation; unregistered ones do not."""
    seen: list[str] = []

    async def act(ctx: RpcContext[Ask]) -> None:
        async def in_between() -> None:
            await settle()
            seen.append("async, to its end")

        def same() -> None:
            seen.append("same")

        ctx.on_cancel(lambda: seen.append("first"))
        ctx.on_cancel(in_between)
        undo = ctx.on_cancel(lambda: seen.append("unregistered"))
        ctx.on_cancel(same)
        undo_same = ctx.on_cancel(same)
        ctx.on_cancel(lambda: seen.append("last"))
        undo()
        undo()
        undo_same()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("handler")

    async with connected(serving(act)) as client:
        await client.call("ASK", {}, id="1")
        await settle()
        await client.abort("1")
        assert await client.receive() == cancelled("1")
    assert seen == ["first", "same", "last", "handler", "async, to its end"]


async def test_a_cancel_callback_that_raises_is_logged_and_the_next_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[str] = []

    async def act(ctx: RpcContext[Ask]) -> None:
        def broken() -> None:
            raise RuntimeError("the callback is broken")

        ctx.on_cancel(broken)
        ctx.on_cancel(lambda: seen.append("next"))
        await asyncio.Event().wait()

    async with connected(serving(act)) as client:
        await client.call("ASK", {}, id="1")
        await settle()
        await client.abort("1")
        assert await client.heard() == [cancelled("1")]
    assert seen == ["next"]
    assert "the callback is broken" in caplog.text


async def test_a_cancel_callback_that_comes_late_runs_at_once() -> None:
    seen: list[str] = []

    async def act(ctx: RpcContext[Ask]) -> None:
        await ctx.wait_cancelled()
        undo = ctx.on_cancel(lambda: seen.append("callback"))
        seen.append("after registering")
        undo()

    async with connected(serving(act, cancellable=False)) as client:
        await client.call("ASK", {}, id="1")
        await settle()
        await client.abort("1")
        assert await client.heard() == [cancelled("1")]
    assert seen == ["callback", "after registering"]


async def test_a_cancel_callback_runs_once() -> None:
    """A disconnect after an abort cancels what still runs, but calls back no second time."""
    seen: list[str] = []

    async def act(ctx: RpcContext[Ask]) -> None:
        ctx.on_cancel(lambda: seen.append("callback"))
        await settle()
        await ctx.wait_cancelled()
        await asyncio.Event().wait()

    router = serving(act, cancellable=False, limits=Limits(close_timeout=0.01))
    before = asyncio.all_tasks()
    async with connected(router) as client:
        await client.call("ASK", {}, id="1")
        await settle()
        await client.abort("1")
        assert await client.heard() == [cancelled("1")]
    assert seen == ["callback"]
    for task in asyncio.all_tasks() - before:
        task.cancel()


async def test_cancel_callbacks_do_not_run_without_a_cancellation() -> None:
    seen: list[str] = []

    async def act(ctx: RpcContext[Ask]) -> Answer:
        ctx.on_cancel(lambda: seen.append("callback"))
        return Answer(text="")

    assert await outcome(serving(act)) == [answer("1")]
    assert seen == []


async def test_a_plain_handlers_late_callback_runs_in_the_loop() -> None:
    """``on_cancel`` has a callback run in the loop, from wherever it is registered."""
    seen: list[bool] = []
    begun, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    ran = asyncio.Event()
    router = Router()

    async def callback() -> None:
        seen.append(asyncio.get_running_loop() is loop)
        ran.set()

    @router.rpc(Ask)
    def ask(ctx: RpcContext[Ask]) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert gate.wait(TIMEOUT)
        ctx.on_cancel(callback)

    async with connected(router) as client:
        await client.call("ASK", {}, id="1")
        await soon(begun.wait())
        await client.abort("1")
        assert await client.receive() == cancelled("1")
        gate.set()
        await soon(ran.wait())
    assert seen == [True]


async def test_what_is_not_cancellable_only_sees_the_flag() -> None:
    """``cancellable=False`` (PROTOCOL 5.5); its slot is freed when it ends (5.7)."""
    seen: list[bool] = []
    gate = asyncio.Event()

    async def act(ctx: RpcContext[Ask]) -> Answer:
        seen.append(ctx.cancelled)
        await ctx.wait_cancelled()
        seen.append(ctx.cancelled)
        await gate.wait()
        return Answer(text="late")

    router = serving(act, cancellable=False, limits=Limits(max_inflight_rpcs=1))
    async with connected(router) as client:
        await client.call("ASK", {}, id="1")
        await settle()
        await client.abort("1")
        assert await client.heard() == [cancelled("1")]
        assert seen == [False, True]
        await client.call("ASK", {}, id="2")
        assert (await client.receive())["payload"]["code"] == "RESOURCE_EXHAUSTED"
        gate.set()
        await settle()
        await client.call("ASK", {}, id="3")
        await settle()
        await client.abort("3")
        assert await client.heard() == [cancelled("3")]


async def test_a_handler_in_a_thread_that_answers_too_late_is_dropped() -> None:
    """And its slot is free only when the thread has ended (PROTOCOL 5.7)."""
    begun, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    router: Router[Any] = Router(limits=Limits(max_inflight_rpcs=1))

    @router.rpc(Ask)
    def ask(ctx: RpcContext[Ask]) -> Answer:
        loop.call_soon_threadsafe(begun.set)
        assert gate.wait(TIMEOUT)
        ctx.progress("late")
        return Answer(text=ctx.payload.text)

    async with connected(router) as client:
        await client.call("ASK", {"text": "late"}, id="1")
        await soon(begun.wait())
        await client.abort("1")
        assert await client.receive() == cancelled("1")
        await settle()
        await client.call("ASK", {}, id="2")
        assert (await client.receive())["payload"]["code"] == "RESOURCE_EXHAUSTED"
        gate.set()
        frame = await soon(_until_accepted(client))
    assert frame == [progress("again", "late"), answer("again", "again")]


async def _until_accepted(client: Client) -> list[Frame]:
    while True:
        await client.call("ASK", {"text": "again"}, id="again")
        frame = await client.receive()
        if frame["type"] != "RPC_ERROR":
            return [frame, await client.receive()]  # progress, then the answer
        assert frame["payload"]["code"] == "RESOURCE_EXHAUSTED"


# -- rule 6: disconnects


async def test_a_disconnect_cancels_every_call_before_on_close_and_sends_nothing() -> None:
    order: list[str] = []
    together = asyncio.Barrier(4)

    async def act(ctx: RpcContext[Ask]) -> None:
        ctx.on_cancel(lambda: order.append("callback"))
        await together.wait()
        try:
            await asyncio.Event().wait()
        finally:
            ctx.progress("late")
            ctx.send(Said(text="late"))
            ctx.error("ABORTED")
            order.append(f"cancelled: {ctx.cancelled}")

    router = serving(act)

    @router.on_close
    async def closed(ctx: CloseContext[Any]) -> None:
        order.append("on_close")

    @router.on_error
    def told(error: Exception, ctx: Any) -> None:
        order.append("on_error")

    async with connected(router) as client:
        for number in range(3):
            await client.call("ASK", {}, id=str(number))
        await soon(together.wait())
        await client.disconnect()
        await client.ended()
        assert client.left_over() == []
    assert order == ["callback"] * 3 + ["cancelled: True"] * 3 + ["on_close"]


async def test_async_cancel_callbacks_end_before_on_close() -> None:
    """What a disconnect sets off is over when ``on_close`` runs."""
    order: list[str] = []
    begun = asyncio.Event()

    async def act(ctx: RpcContext[Ask]) -> None:
        async def callback() -> None:
            await settle()
            order.append("callback")

        ctx.on_cancel(callback)
        begun.set()
        await asyncio.Event().wait()

    router = serving(act)

    @router.on_close
    async def closed(ctx: CloseContext[Any]) -> None:
        order.append("on_close")

    async with connected(router) as client:
        await client.call("ASK", {}, id="1")
        await soon(begun.wait())
    assert order == ["callback", "on_close"]


@fake_time
async def test_what_is_not_cancellable_is_waited_for_at_a_disconnect() -> None:
    """It only sees the flag, and gets ``close_timeout`` (DESIGN 3)."""
    order: list[str] = []

    async def act(ctx: RpcContext[Ask]) -> Answer:
        await ctx.wait_cancelled()
        await asyncio.sleep(0)
        order.append("handler ends")
        return Answer(text="late")

    router = serving(act, cancellable=False)

    @router.on_close
    async def closed(ctx: CloseContext[Any]) -> None:
        order.append("on_close")

    async with connected(router) as client:
        await client.call("ASK", {}, id="1")
        await settle()
    assert order == ["handler ends", "on_close"]
