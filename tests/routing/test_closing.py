"""``routing/dispatch.py``: how a connection ends, whatever its handlers do about it."""

import asyncio
import threading
from typing import Any

import pytest

from tests.helpers import TIMEOUT, connected, settle, soon
from tests.routing.messages import Ask, Said, Third
from tests.routing.stage import Closes, Stage, notes, slow_router
from wskit_channels import (
    CloseContext,
    ConnectionContext,
    Context,
    Limits,
    Router,
    RpcContext,
)


@pytest.mark.parametrize("type_", ["NOTE", "THIRD", "ASK"])
async def test_a_disconnect_cancels_the_handler(type_: str) -> None:
    """With ``asyncio.CancelledError``, and then ``on_close`` runs once (DESIGN 3)."""
    stage = Stage()

    await stage.disconnect_while_running(type_)
    assert stage.seen == ["cancelled"]
    assert stage.closes.codes == [(1001, "")]
    assert stage.bugs == []


async def test_a_handler_may_finish_its_cleaning_up_before_on_close() -> None:
    class Cleaning(Stage):
        async def act(self) -> None:
            self.router.freeze()
            self.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await settle()
                self.seen.append(f"cleaned up before {len(self.closes.codes)} closes")

    stage = Cleaning()
    await stage.disconnect_while_running()
    assert stage.seen == ["cleaned up before 0 closes"]
    assert stage.closes.codes == [(1001, "")]


@pytest.mark.parametrize("type_", ["NOTE", "THIRD", "ASK"])
async def test_on_close_runs_once_when_the_handler_swallows_the_cancellation(type_: str) -> None:
    class Swallowing(Stage):
        async def act(self) -> None:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.seen.append("swallowed")

    stage = Swallowing()
    await stage.disconnect_while_running(type_)
    assert stage.seen == ["swallowed"]
    assert stage.closes.codes == [(1001, "")]


@pytest.mark.parametrize("type_", ["NOTE", "THIRD", "ASK"])
async def test_on_close_runs_once_when_the_handler_raises_in_finally(type_: str) -> None:
    class Raising(Stage):
        async def act(self) -> None:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                raise RuntimeError("in finally")

    stage = Raising()
    await stage.disconnect_while_running(type_)
    assert stage.closes.codes == [(1001, "")]


async def test_on_close_runs_once_when_the_handler_is_in_a_shield() -> None:
    inner: list[asyncio.Task[None]] = []
    gate = asyncio.Event()

    class Shielded(Stage):
        async def act(self) -> None:
            self.begun.set()
            task = asyncio.ensure_future(self._inner())
            inner.append(task)
            await asyncio.shield(task)

        async def _inner(self) -> None:
            await gate.wait()
            self.seen.append("the shielded part goes on")

    stage = Shielded()
    await stage.disconnect_while_running()
    assert stage.closes.codes == [(1001, "")]
    gate.set()
    await soon(inner[0])
    assert stage.seen == ["the shielded part goes on"]


@pytest.mark.parametrize("type_", ["NOTE", "THIRD", "ASK"])
async def test_on_close_runs_once_when_the_handler_ignores_every_cancellation(
    type_: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets ``close_timeout``, and is then left alone (DESIGN 3)."""
    gate = asyncio.Event()
    ended = asyncio.Event()

    class Stubborn(Stage):
        async def act(self) -> None:
            self.begun.set()
            while not gate.is_set():
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    self.seen.append("ignored")
            ended.set()

    stage = Stubborn(close_timeout=0.01)
    await stage.disconnect_while_running(type_)
    assert stage.seen == ["ignored"]
    assert stage.closes.codes == [(1001, "")]
    assert "1 tasks still run" in caplog.text
    gate.set()
    await soon(ended.wait())


@pytest.mark.parametrize("is_call", [False, True])
async def test_on_close_runs_once_when_the_handler_is_stuck_in_a_thread(is_call: bool) -> None:
    """Nothing can interrupt a thread (DESIGN 3)."""
    router: Router[Any] = Router(limits=Limits(close_timeout=0.01))
    closes = Closes(router)
    begun, gate, ended = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def stuck(ctx: ConnectionContext[Any]) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert gate.wait(TIMEOUT)
        ctx.send(Said(text="too late"))
        ended.set()

    if is_call:
        router.rpc(Ask)(stuck)
    else:
        router.on(Third)(stuck)
    async with connected(router) as client:
        await client.call("ASK" if is_call else "THIRD", {} if is_call else None, id="1")
        await soon(begun.wait())
        await client.disconnect(1001)
        await client.ended()
        assert closes.codes == [(1001, "")]
        gate.set()
        assert await asyncio.to_thread(ended.wait, TIMEOUT)
        await settle()


async def test_calls_are_cancelled_before_events() -> None:
    """RPCs first, then events (DESIGN 3)."""
    router = Router()
    order: list[str] = []
    both = asyncio.Barrier(3)

    async def wait(name: str) -> None:
        await both.wait()
        try:
            await asyncio.Event().wait()
        finally:
            order.append(name)

    @router.on(Third)
    async def event(ctx: Context[Third]) -> None:
        await wait("event")

    @router.rpc(Ask)
    async def call(ctx: RpcContext[Ask]) -> None:
        await wait("call")

    async with connected(router) as client:
        await client.send("THIRD")
        await client.call("ASK", {}, id="1")
        await soon(both.wait())
    assert order == ["call", "event"]


async def test_events_that_still_waited_are_dropped_at_a_disconnect() -> None:
    router, order, gates = slow_router()
    gates["a"] = asyncio.Event()

    async with connected(router) as client:
        await notes(client, "a", "b")
        await client.ping()
    assert order == ["a in"]


async def test_on_close_runs_once_when_the_server_cancels_the_application() -> None:
    """A bye and a close with 1012 go out first (DESIGN 3, PROTOCOL 8)."""
    stage = Stage()

    async with connected(stage.router) as client:
        await client.send("NOTE", {"text": ""})
        await soon(stage.begun.wait())
        client.application.cancel()
        bye = await client.receive()
        assert bye["type"] == "$ws:bye"
        assert (await client.closed())[0] == 1012
        with pytest.raises(asyncio.CancelledError):
            await client.ended()
        assert client.application.cancelled()
        assert stage.seen == ["cancelled"]
        assert [code for code, _ in stage.closes.codes] == [1012]
        client.communicator._future = asyncio.ensure_future(asyncio.sleep(0))


async def test_on_close_runs_once_when_the_server_cancels_again_meanwhile() -> None:
    class Cleaning(Stage):
        async def act(self) -> None:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cleaning.set()
                await go_on.wait()
                self.seen.append("cleaned up")

    cleaning, go_on = asyncio.Event(), asyncio.Event()
    stage = Cleaning()
    async with connected(stage.router) as client:
        await client.send("NOTE", {"text": ""})
        await soon(stage.begun.wait())
        await client.disconnect(1001)
        await soon(cleaning.wait())
        client.application.cancel()
        await settle()
        client.application.cancel()
        await settle()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await client.ended()
        assert stage.seen == ["cleaned up"]
        assert stage.closes.codes == [(1001, "")]
        client.communicator._future = asyncio.ensure_future(asyncio.sleep(0))


async def test_on_close_that_hangs_does_not_hold_the_connection_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    router: Router[Any] = Router(limits=Limits(close_timeout=0.01))
    seen: list[str] = []

    @router.on_close
    async def hangs(ctx: CloseContext[Any]) -> None:
        await asyncio.Event().wait()

    @router.on_close
    async def next_one(ctx: CloseContext[Any]) -> None:
        seen.append("next")

    async with connected(router):
        pass
    assert seen == ["next"]
    assert "on_close failed" in caplog.text


async def test_no_task_survives_a_connection() -> None:
    """An idle connection owns no task beyond its reader, a closed one none at all."""
    stage = Stage()
    before = asyncio.all_tasks()

    async with connected(stage.router) as client:
        await client.ping()
        await settle()
        assert asyncio.all_tasks() - before == {client.application}
        await client.send("NOTE", {"text": ""})
        await client.call("ASK", {}, id="1")
        await client.send("THIRD")
        await soon(stage.begun.wait())
    assert asyncio.all_tasks() == before
