"""``routing/dispatch.py``: the order in which one connection's events are handled."""

import asyncio
import contextvars
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from tests.helpers import TIMEOUT, connected, settle, soon
from tests.routing.messages import Answer, Ask, Note, Said, Third
from tests.routing.stage import notes, slow_router
from wskit_channels import (
    CallNext,
    CloseConnection,
    ConnectionContext,
    Context,
    LimitExceeded,
    Limits,
    Router,
    RpcContext,
    WsKitError,
)

BUSY = {
    "code": "RESOURCE_EXHAUSTED",
    "message": "Too much at once",
    "retryable": True,
    "retryAfterMs": 100,
}


# -- the line of events


async def test_events_run_one_at_a_time_in_arrival_order() -> None:
    """Also when an earlier one is slow (DESIGN 3)."""
    router, order, gates = slow_router()
    gates["a"] = asyncio.Event()

    async with connected(router) as client:
        await notes(client, "a", "b", "c")
        await settle()
        assert order == ["a in"]
        gates["a"].set()
        await settle()
    assert order == ["a in", "a out", "b in", "b out", "c in", "c out"]


async def test_a_slow_event_does_not_delay_another_connection() -> None:
    router, order, gates = slow_router()
    gates["a"] = asyncio.Event()

    async with connected(router) as one, connected(router) as other:
        await notes(one, "a")
        await settle()
        await notes(other, "b")
        await settle()
        assert order == ["a in", "b in", "b out"]
        gates["a"].set()


async def test_a_slow_event_does_not_delay_a_ping() -> None:
    """The reader never waits for a handler (DESIGN 3)."""
    router, order, gates = slow_router()
    gates["a"] = asyncio.Event()

    async with connected(router) as client:
        await notes(client, "a")
        await client.ping()
        assert order == ["a in"]
        gates["a"].set()


async def test_a_slow_event_does_not_delay_a_call_or_its_abort() -> None:
    router, order, gates = slow_router()
    gates["a"] = asyncio.Event()

    @router.rpc(Ask)
    async def ask(ctx: RpcContext[Ask]) -> Answer:
        if ctx.payload.text == "wait":
            await asyncio.Event().wait()
        return Answer(text="done")

    async with connected(router) as client:
        await notes(client, "a")
        await client.call("ASK", {"text": "wait"}, id="1")
        await client.call("ASK", {}, id="2")
        assert (await client.receive())["meta"] == {"correlationId": "2"}
        await client.abort("1")
        assert (await client.receive())["payload"]["code"] == "CANCELLED"
        assert order == ["a in"]
        gates["a"].set()


async def test_a_slow_call_does_not_delay_events_or_calls() -> None:
    """Calls run concurrently (DESIGN 3)."""
    router, order, _ = slow_router()
    together = asyncio.Barrier(3)

    @router.rpc(Ask)
    async def ask(ctx: RpcContext[Ask]) -> Answer:
        await together.wait()
        return Answer(text=ctx.payload.text)

    async with connected(router) as client:
        await client.call("ASK", {"text": "1"}, id="1")
        await client.call("ASK", {"text": "2"}, id="2")
        await notes(client, "a")
        await settle()
        assert order == ["a in", "a out"]
        await soon(together.wait())
        assert [frame["payload"]["text"] for frame in await client.received(2)] == ["1", "2"]


async def test_a_concurrent_event_leaves_the_line() -> None:
    """``concurrent=True`` opts an event out (DESIGN 3)."""
    router, order, gates = slow_router()
    gates["a"] = asyncio.Event()
    together = asyncio.Barrier(2)

    @router.on(Third, concurrent=True)
    async def aside(ctx: Context[Third]) -> None:
        await together.wait()
        ctx.send(Said(text="together"))

    async with connected(router) as client:
        await notes(client, "a")
        await client.send("THIRD")
        await client.send("THIRD")
        assert await client.received(2) == [{"type": "SAID", "payload": {"text": "together"}}] * 2
        assert order == ["a in"]
        gates["a"].set()


async def test_frames_leave_in_the_order_queued() -> None:
    router = Router()

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        for number in range(3):
            ctx.send(Said(text=f"{ctx.payload.text}{number}"))
            await asyncio.sleep(0)

    async with connected(router) as client:
        await notes(client, "a", "b")
        texts = [frame["payload"]["text"] for frame in await client.received(6)]
    assert texts == ["a0", "a1", "a2", "b0", "b1", "b2"]


# -- a full line


def watched(router: Router[Any]) -> list[LimitExceeded]:
    reports: list[LimitExceeded] = []
    router.on_limit_exceeded(reports.append)
    return reports


async def test_a_full_line_refuses_and_recovers() -> None:
    """Refused with RESOURCE_EXHAUSTED, reported once an episode (DESIGN 3)."""
    router, order, gates = slow_router(limits=Limits(max_pending_events=2))
    reports = watched(router)
    gates["a"] = asyncio.Event()

    async with connected(router) as client:
        await notes(client, "a")
        await settle()
        await notes(client, "b", "c", "refused 1", "refused 2")
        assert await client.received(2) == [{"type": "ERROR", "payload": BUSY}] * 2
        gates["a"].set()
        await settle()
        await notes(client, "d")
        await settle()
    assert order == [f"{text} {way}" for text in "abcd" for way in ("in", "out")]
    assert [(r.type, r.observed, r.limit, r.retry_after) for r in reports] == [
        ("pending_events", 3, 2, 0.1)
    ]


async def test_a_full_line_is_reported_again_in_the_next_episode() -> None:
    router, _, gates = slow_router(limits=Limits(max_pending_events=1))
    reports = watched(router)

    async with connected(router) as client:
        for episode in ("x", "y"):
            gates[episode] = asyncio.Event()
            await notes(client, episode)
            await settle()
            await notes(client, "b", "refused", "refused")
            await client.received(2)
            gates[episode].set()
            await settle()
    assert [report.type for report in reports] == ["pending_events"] * 2


async def test_a_full_line_of_concurrent_events_is_reported_once_an_episode() -> None:
    """Concurrent events are bounded and reported like those in line."""
    router = Router(limits=Limits(max_pending_events=1))
    reports = watched(router)
    gate = asyncio.Event()

    @router.on(Third, concurrent=True)
    async def aside(ctx: Context[Third]) -> None:
        await gate.wait()

    async with connected(router) as client:
        for _ in range(2):
            gate.clear()
            for _ in range(3):
                await client.send("THIRD")
            assert await client.received(2) == [{"type": "ERROR", "payload": BUSY}] * 2
            gate.set()
            await settle()
    assert [report.type for report in reports] == ["pending_events"] * 2


async def test_waiting_events_are_bounded_in_bytes() -> None:
    """``max_pending_bytes`` (DESIGN 3)."""
    router, order, gates = slow_router(limits=Limits(max_pending_bytes=1000))
    reports = watched(router)
    gates["a"] = asyncio.Event()

    async with connected(router) as client:
        await notes(client, "a")
        await settle()
        await notes(client, "b" * 600, "c" * 600)
        assert await client.receive() == {"type": "ERROR", "payload": BUSY}
        await notes(client, "d")
        gates["a"].set()
        await settle()
    assert order[-2:] == ["d in", "d out"]
    assert [(report.type, report.limit) for report in reports] == [("pending_bytes", 1000)]


async def test_handled_events_make_room_again() -> None:
    router, order, gates = slow_router(limits=Limits(max_pending_bytes=1000))

    async with connected(router) as client:
        for episode in ("x", "y", "z"):
            gates[episode] = asyncio.Event()
            await notes(client, episode)
            await settle()
            await notes(client, "b" * 300, "c" * 300)
            gates[episode].set()
            assert await client.heard() == []
    assert [text[0] for text in order] == [text for e in "xyz" for text in (e, e, *"bbcc")]


async def test_one_event_over_the_bytes_is_taken_by_an_empty_line() -> None:
    """A line that holds nothing refuses nothing, or the event could never be sent."""
    router, order, gates = slow_router(limits=Limits(max_pending_bytes=100))
    gates["a"] = asyncio.Event()

    async with connected(router) as client:
        await notes(client, "a")
        await settle()
        await notes(client, "b" * 600)
        gates["a"].set()
        await settle()
    assert order[-1] == f"{'b' * 600} out"


async def test_a_refusal_of_a_full_line_carries_the_events_id() -> None:
    """So that a client's ``request()`` against an event fails at once (PROTOCOL 3)."""
    router, _, gates = slow_router(limits=Limits(max_pending_events=0))
    gates["a"] = asyncio.Event()

    async with connected(router) as client:
        await client.send("NOTE", {"text": "a"}, correlationId="c")
        assert await client.receive() == {
            "type": "ERROR",
            "meta": {"correlationId": "c"},
            "payload": BUSY,
        }


# -- handlers that fail


async def test_the_line_goes_on_after_a_handler_failed() -> None:
    router = Router()

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        if ctx.payload.text == "bad":
            raise RuntimeError("secret")
        ctx.send(Said(text=ctx.payload.text))

    async with connected(router) as client:
        await notes(client, "bad", "good")
        first, second = await client.received(2)
    assert first["payload"] == {
        "code": "INTERNAL",
        "message": "Internal server error",
        "retryable": False,
    }
    assert second["payload"] == {"text": "good"}


@pytest.mark.parametrize("concurrent", [False, True])
async def test_a_handler_that_raises_cancelled_error_is_answered(concurrent: bool) -> None:
    """Nobody cancelled it: it is a bug, and the line goes on (PROTOCOL 3)."""
    router = Router()

    @router.on(Note, concurrent=concurrent)
    async def handle(ctx: Context[Note]) -> None:
        if ctx.payload.text == "bad":
            raise asyncio.CancelledError
        ctx.send(Said(text=ctx.payload.text))

    async with connected(router) as client:
        await notes(client, "bad", "good")
        first, second = await client.received(2)
    assert (first["type"], first["payload"]["code"]) == ("ERROR", "INTERNAL")
    assert second["payload"] == {"text": "good"}


async def test_a_handler_that_cancels_its_own_task_is_answered() -> None:
    router = Router()

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        if ctx.payload.text == "bad":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        ctx.send(Said(text=ctx.payload.text))

    async with connected(router) as client:
        await notes(client, "bad", "good")
        first, second = await client.received(2)
    assert first["payload"]["code"] == "INTERNAL"
    assert second["payload"] == {"text": "good"}


async def test_a_time_limit_within_a_handler_works() -> None:
    """Handlers run inside real tasks, so that ``asyncio.timeout()`` cancels them (DESIGN 3)."""
    router = Router()

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            ctx.send(Said(text="timed out"))

    async with connected(router) as client:
        await notes(client, "a")
        assert (await client.receive())["payload"] == {"text": "timed out"}
        await client.ping()


async def test_an_error_of_an_event_carries_its_id() -> None:
    router = Router()

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        ctx.error("NOT_FOUND", "No such room")
        ctx.send(Said(text="carries on"))

    async with connected(router) as client:
        await client.send("NOTE", {"text": ""}, correlationId="c")
        assert await client.received(2) == [
            {
                "type": "ERROR",
                "meta": {"correlationId": "c"},
                "payload": {"code": "NOT_FOUND", "message": "No such room", "retryable": False},
            },
            {"type": "SAID", "payload": {"text": "carries on"}},
        ]


async def test_a_handler_may_close_by_raising() -> None:
    router = Router()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        ctx.send(Said(text="bye"))
        raise CloseConnection(4001, "enough")

    async with connected(router) as client:
        await client.send("THIRD")
        assert (await client.receive())["payload"] == {"text": "bye"}
        assert await client.closed() == (4001, "enough")


# -- context variables

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_context_variables_do_not_leak_into_the_next_event() -> None:
    """Context variables set by one handler are not seen by the next."""
    router = Router()

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        ctx.send(Said(text=variable.get()))
        variable.set(ctx.payload.text)

    async with connected(router) as client:
        await notes(client, "a", "b", "c")
        texts = [frame["payload"]["text"] for frame in await client.received(3)]
    assert texts == ["unset", "unset", "unset"]


async def test_context_variables_do_not_leak_out_of_threads() -> None:
    router = Router()

    @router.on(Note)
    def handle(ctx: Context[Note]) -> None:
        ctx.send(Said(text=variable.get()))
        variable.set(ctx.payload.text)

    async with connected(router) as client:
        await notes(client, "a", "b")
        texts = [frame["payload"]["text"] for frame in await client.received(2)]
    assert texts == ["unset", "unset"]


async def test_context_variables_of_on_open_are_seen_by_no_event() -> None:
    """Nor by the first one only, which would be worse than by all."""
    router = Router()

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        await asyncio.sleep(0)
        variable.set("on_open")

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        ctx.send(Said(text=variable.get()))

    async with connected(router) as client:
        await notes(client, "a", "b")
        texts = [frame["payload"]["text"] for frame in await client.received(2)]
    assert texts == ["unset", "unset"]


async def test_context_variables_of_middleware_reach_the_handler() -> None:
    router = Router()

    @router.use
    async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        variable.set("middleware")
        await call_next()

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        ctx.send(Said(text=variable.get()))

    async with connected(router) as client:
        await notes(client, "a")
        assert (await client.receive())["payload"] == {"text": "middleware"}


# -- plain handlers


async def test_a_plain_handler_runs_in_a_thread_and_sends_in_order() -> None:
    router = Router()
    threads: list[bool] = []

    @router.on(Note)
    def handle(ctx: Context[Note]) -> None:
        threads.append(threading.current_thread() is threading.main_thread())
        for number in range(3):
            ctx.send(Said(text=f"{ctx.payload.text}{number}"))

    async with connected(router) as client:
        await notes(client, "a", "b")
        texts = [frame["payload"]["text"] for frame in await client.received(6)]
    assert texts == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert threads == [False, False]


async def test_what_an_async_handler_sends_from_a_thread_keeps_its_place() -> None:
    """The plain ctx calls work from a thread in order (DESIGN 1)."""
    router = Router()

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        ctx.send(Said(text="before"))
        await sync_to_async(lambda: ctx.send(Said(text="from the thread")))()
        ctx.send(Said(text="after"))

    async with connected(router) as client:
        await notes(client, "a")
        texts = [frame["payload"]["text"] for frame in await client.received(3)]
    assert texts == ["before", "from the thread", "after"]


async def test_a_plain_handler_subscribes_and_publishes() -> None:
    """``ctx.sync`` does for the coroutines (DESIGN 1)."""
    router = Router()
    seen: list[Any] = []

    @router.on(Note)
    def handle(ctx: Context[Note]) -> None:
        ctx.sync.subscribe("room:1")
        seen.append((list(ctx.topics), ctx.sync.publish("room:1", Said(text="hello")).matched))
        ctx.sync.unsubscribe("room:1")
        seen.append((list(ctx.topics), ctx.sync.publish("room:1", Said(text="lost")).matched))
        ctx.send(Said(text="done"))

    async with connected(router) as client:
        await notes(client, "a")
        texts = [frame["payload"]["text"] for frame in await client.received(2)]
    assert texts == ["hello", "done"]
    assert seen == [(["room:1"], 1), ([], 0)]


async def test_a_plain_handlers_exception_is_answered() -> None:
    router = Router()

    @router.on(Note)
    def handle(ctx: Context[Note]) -> None:
        raise WsKitError("NOT_FOUND")

    async with connected(router) as client:
        await notes(client, "a")
        assert (await client.receive())["payload"]["code"] == "NOT_FOUND"


async def test_a_plain_handler_does_not_stop_the_loop() -> None:
    router = Router()
    go_on = threading.Event()

    @router.on(Note)
    def handle(ctx: Context[Note]) -> None:
        assert go_on.wait(TIMEOUT)
        ctx.send(Said(text="done"))

    async with connected(router) as client:
        await notes(client, "a")
        await client.ping()
        go_on.set()
        assert (await client.receive())["payload"] == {"text": "done"}
