"""What a hostile review found, each kept fixed by a test."""

import asyncio
import contextvars
import re
import time
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth import get_user_model
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TestCase
from django.urls import path

from example_project.chat.models import Room
from tests.helpers import connected, settle
from tests.routing.messages import Answer, Ask, Note, Said
from tests.shell_helpers import PATIENCE, Client, until
from wskit_channels import (
    CloseContext,
    Context,
    Router,
    RpcContext,
    WsKitError,
    own_channel,
    threads,
)
from wskit_channels.asgi import websocket_application
from wskit_channels.protocol import wire


@pytest.mark.parametrize("how", ["abort", "disconnect"])
async def test_a_cancel_callback_may_return_anything(how: str) -> None:
    """``ctx.on_cancel(task.cancel)``: a bool is nothing to wait for."""
    router, began, closed = Router(), asyncio.Event(), asyncio.Event()
    inner: list[asyncio.Task[Any]] = []

    @router.rpc(Ask)
    async def ask(ctx: RpcContext[Ask]) -> Answer:
        inner.append(asyncio.create_task(asyncio.Event().wait()))
        ctx.on_cancel(inner[0].cancel)
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    @router.on_close
    async def bye(ctx: CloseContext[Any]) -> None:
        closed.set()

    async with connected(router) as client:
        await client.call("ASK", {}, id="1")
        await began.wait()
        if how == "abort":
            await client.abort("1")
            assert (await client.receive())["payload"]["code"] == "CANCELLED"

    assert closed.is_set()
    assert inner[0].cancelled()


class Panic(BaseException):
    """As extensions written in other languages raise."""


def unsendable() -> BaseException:
    message: Any = ValueError("no text")
    return WsKitError("INVALID_ARGUMENT", message)


@pytest.mark.parametrize("error", [unsendable(), Panic()], ids=["unsendable", "panic"])
async def test_a_call_is_answered_whatever_its_handler_raises(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Every accepted call gets one terminal, and its id is free again (PROTOCOL 5.1)."""
    router = Router()

    @router.rpc(Ask)
    async def ask(ctx: RpcContext[Ask]) -> Answer:
        raise error

    async with connected(router) as client:
        for _ in range(2):
            await client.call("ASK", {}, id="1")
            found = await client.receive()
            assert (found["type"], found["payload"]["code"]) == ("RPC_ERROR", "INTERNAL")
        await client.abort("1")
        await client.ping()
    assert caplog.records


@pytest.mark.parametrize("error", [unsendable(), Panic()], ids=["unsendable", "panic"])
async def test_an_event_is_answered_whatever_its_handler_raises(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """PROTOCOL 3: anything else is INTERNAL, and the line goes on."""
    router = Router()

    @router.on(Note)
    async def note(ctx: Context[Note]) -> None:
        raise error

    async with connected(router) as client:
        for _ in range(2):
            await client.send("NOTE", {"text": "x"})
            assert (await client.receive())["payload"]["code"] == "INTERNAL"
    assert caplog.records


async def test_a_hook_that_is_cancelled_from_within_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A hook that raises is logged and suppressed (DESIGN 2), this way too."""
    router, ran = Router(), asyncio.Event()

    async def cancelled_task() -> None:
        task = asyncio.create_task(asyncio.Event().wait())
        await asyncio.sleep(0)
        task.cancel()
        await task

    @router.on(Note)
    async def note(ctx: Context[Note]) -> None:
        raise KeyError

    @router.on_error
    async def first_hook(error: Exception, ctx: Any) -> None:
        await cancelled_task()

    @router.on_close
    async def first(ctx: CloseContext[Any]) -> None:
        await cancelled_task()

    @router.on_close
    async def second(ctx: CloseContext[Any]) -> None:
        ran.set()

    async with connected(router) as client:
        await client.send("NOTE", {"text": "x"})
        assert (await client.receive())["payload"]["code"] == "INTERNAL"

    assert ran.is_set()
    assert "on_close failed" in caplog.text


async def test_an_abandoned_wait_for_a_thread_is_forgotten(settings: Any) -> None:
    """A flood of calls that are aborted while the pool is busy must not pile up."""
    settings.WSKIT = {"DATABASE_THREADS": 1}
    router, go_on = Router(), asyncio.Event()
    loop = asyncio.get_running_loop()
    began = asyncio.Event()

    def hold() -> None:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(PATIENCE)

    @router.on(Note)
    async def note(ctx: Context[Note]) -> None:
        await sync_to_async(hold)()

    @router.rpc(Ask)
    async def ask(ctx: RpcContext[Ask]) -> Answer:
        await sync_to_async(str)()
        raise AssertionError

    async with connected(router) as client:
        await client.send("NOTE", {"text": "x"})
        await began.wait()
        for number in range(20):
            await client.call("ASK", {}, id=str(number))
        await settle()
        assert len(threads._pool().waiting) == 20
        for number in range(20):
            await client.abort(str(number))
        assert len(await client.received(20)) == 20
        await settle()
        assert len(threads._pool().waiting) == 0
        go_on.set()


@pytest.mark.django_db(transaction=True)
async def test_a_connection_that_cannot_be_closed_costs_no_thread(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Some drivers raise when a dead connection is closed."""
    settings.WSKIT = {"DATABASE_THREADS": 1}
    router = Router()

    @router.rpc(Ask)
    async def ask(ctx: RpcContext[Ask]) -> Answer:
        return Answer(text=str(await Room.objects.acount()))

    close = BaseDatabaseWrapper.close

    def broken(self: Any) -> None:
        close(self)
        raise OSError("closed already")

    async with connected(router) as client:
        with monkeypatch.context() as patch:
            patch.setattr(BaseDatabaseWrapper, "close", broken)
            for number in range(3):
                await client.call("ASK", {}, id=str(number))
                assert (await client.receive())["payload"] == {"text": "0"}
            await until(lambda: "could not be closed" in caplog.text)


def test_looking_for_huge_numbers_takes_linear_time() -> None:
    """A megabyte of digits in runs of 199 must not stop the loop for a quarter of a second."""
    text = ("1" * 199 + "x") * 4990

    began = time.process_time()
    found = wire.may_hold_non_finite(text)

    assert found is False
    assert time.process_time() - began < 1.0
    assert re.search(r"\(\?<!\[0-9\]\)", wire._MANY_DIGITS.pattern)


async def test_an_unknown_path_is_refused_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Anybody may ask for anything."""
    routed = websocket_application(
        [path("ws/", Router().as_asgi())], session=False, allowed_origins=["*"]
    )
    client = Client(routed, path="/nope")

    assert (await client.event())["type"] == "websocket.close"
    await client.disconnect()
    assert caplog.records == []


async def test_values_that_cannot_be_compared_only_cost_a_task() -> None:
    """A context variable's value may raise when it is compared, as arrays do."""

    class Incomparable:
        def __eq__(self, other: object) -> bool:
            raise ValueError

        __hash__ = None  # type: ignore[assignment]  # as it is with __eq__

    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
    router = Router()

    @router.on(Note)
    async def note(ctx: Context[Note]) -> None:
        variable.set(Incomparable())
        ctx.send(Said(text=ctx.payload.text))

    async with connected(router) as client:
        for text in "abc":
            await client.send("NOTE", {"text": text})
        found = [(await client.receive())["payload"]["text"] for _ in "abc"]

    assert found == ["a", "b", "c"]


async def test_a_channel_handler_that_swallows_its_cancellation_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A consumer with a channel of its own ends with its connection."""
    monkeypatch.setattr(own_channel, "CLOSE_TIMEOUT", 0.01)
    from channels.layers import get_channel_layer

    from wskit_channels.consumer import WsKitConsumer

    began = asyncio.Event()

    class Consumer(WsKitConsumer):
        router = Router()

        async def chat_message(self, event: Any) -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return

        async def connect(self) -> None:
            await super().connect()
            layer = get_channel_layer()
            assert layer is not None
            await layer.send(self.channel_name, {"type": "chat.message"})

    async with connected(Consumer.as_asgi()) as client:
        await began.wait()
    assert client.application.done()


class DatabaseUnderTestCase(TestCase):
    """Channels' way of testing: the database of Django's TestCase is seen by handlers."""

    def test_handlers_see_the_tests_transaction(self) -> None:
        get_user_model().objects.create(username="seen")
        router = Router()

        @router.rpc(Ask)
        async def ask(ctx: RpcContext[Ask]) -> Answer:
            return Answer(text=str(await get_user_model().objects.acount()))

        @router.on(Note)
        def note(ctx: Context[Note]) -> None:
            ctx.send(Said(text=str(get_user_model().objects.count())))

        async def talk() -> list[str]:
            client = WebsocketCommunicator(router.as_asgi(), "/")
            assert (await client.connect(PATIENCE))[0]
            found = []
            for type_, payload in (("ASK", {}), ("NOTE", {"text": "x"})):
                await client.send_json_to({"type": type_, "payload": payload})
                found.append((await client.receive_json_from(PATIENCE))["payload"]["text"])
            await client.disconnect(timeout=PATIENCE)
            return found

        assert async_to_sync(talk)() == ["1", "1"]
