"""``routing/context.py``: what handlers and hooks do by their context."""

import asyncio
import logging
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from tests.helpers import connected, settle, soon
from tests.routing.messages import Answer, Ask, Note, Said, Third
from wskit_channels import (
    CloseContext,
    ConnectionContext,
    Context,
    Message,
    Meta,
    Router,
    RpcContext,
    WsKitError,
)

# -- send, error, close


async def test_send_carries_extended_meta() -> None:
    router = Router()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        ctx.send(Said(text="x"), meta={"trace": "t"})

    async with connected(router) as client:
        await client.send("THIRD")
        assert await client.receive() == {
            "type": "SAID",
            "meta": {"trace": "t"},
            "payload": {"text": "x"},
        }


@pytest.mark.parametrize("key", ["clientId", "receivedAt", "timestamp", "correlationId"])
async def test_send_refuses_the_protocols_own_meta(key: str) -> None:
    """``clientId`` and ``receivedAt`` never go out (PROTOCOL 1)."""
    router = Router()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        with pytest.raises(ValueError, match=f"meta must not set {key}"):
            ctx.send(Said(text="x"), meta={key: "forged"})
        ctx.send(Said(text="refused"))

    async with connected(router) as client:
        await client.send("THIRD")
        assert await client.receive() == {"type": "SAID", "payload": {"text": "refused"}}


async def test_send_refuses_what_is_no_message() -> None:
    router = Router()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        send: Any = ctx.send
        with pytest.raises(TypeError, match="dict is no message class"):
            send({"text": "x"})
        ctx.send(Said(text="refused"))

    async with connected(router) as client:
        await client.send("THIRD")
        assert (await client.receive())["payload"] == {"text": "refused"}


class Reading(Message, type="READING"):
    value: float


async def test_a_number_that_is_not_finite_is_never_sent() -> None:
    """It is our bug: INTERNAL, logged (PROTOCOL 2)."""
    router = Router()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        ctx.send(Reading(value=float("nan")))

    async with connected(router) as client:
        await client.send("THIRD")
        assert (await client.receive())["payload"]["code"] == "INTERNAL"


class Full(WsKitError, code="FULL"):
    pass


async def test_error_takes_a_class_that_declares_its_code() -> None:
    router = Router()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        ctx.error(Full, "No room", details={"max": 3, "token": "secret"}, retry_after=1.5)

    async with connected(router) as client:
        await client.send("THIRD")
        assert await client.receive() == {
            "type": "ERROR",
            "payload": {
                "code": "FULL",
                "message": "No room",
                "details": {"max": 3},
                "retryable": True,
                "retryAfterMs": 1500,
            },
        }


async def test_close_has_a_code_and_a_reason_and_comes_after_what_is_queued() -> None:
    router = Router()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        ctx.send(Said(text="bye"))
        ctx.close(4005, "enough")
        ctx.close(4006, "too late: the first close wins")

    async with connected(router) as client:
        await client.send("THIRD")
        assert (await client.receive())["payload"] == {"text": "bye"}
        assert await client.closed() == (4005, "enough")


@pytest.mark.parametrize(("code", "reason"), [(1006, ""), (999, ""), (5000, ""), (1000, "x" * 124)])
async def test_close_refuses_what_no_close_frame_can_carry(code: int, reason: str) -> None:
    router = Router()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        with pytest.raises(ValueError, match="close"):
            ctx.close(code, reason)
        ctx.send(Said(text="refused"))

    async with connected(router) as client:
        await client.send("THIRD")
        assert (await client.receive())["payload"] == {"text": "refused"}


async def test_after_the_close_the_plain_calls_leave_a_debug_line_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They cannot fail where a connection is gone (DESIGN 1)."""
    router = Router()
    kept: list[ConnectionContext[Any]] = []

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        kept.append(ctx)

    async with connected(router) as client:
        await client.disconnect()
        await client.ended()
        with caplog.at_level(logging.DEBUG, "wskit_channels"):
            kept[0].send(Said(text="late"))
            kept[0].error("NOT_FOUND")
            kept[0].close(4001)
            await kept[0].drain()
            await settle()
        assert client.left_over() == []
    levels = [record.levelname for record in caplog.records if "dropped" in record.message]
    assert levels == ["DEBUG", "DEBUG"]


async def test_drain_waits_until_the_queue_is_written() -> None:
    """For bulk senders (DESIGN 1)."""
    order: list[str] = []
    gate = asyncio.Event()

    async def server(scope: Any, receive: Any, send: Any) -> None:
        async def slow_send(event: dict[str, Any]) -> None:
            if event["type"] == "websocket.send":
                await gate.wait()
            await send(event)

        await application(scope, receive, slow_send)

    router = Router()
    application = router.as_asgi()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        ctx.send(Said(text="one"))
        ctx.send(Said(text="two"))
        await ctx.drain()
        order.append("drained")

    async with connected(server) as client:
        await client.send("THIRD")
        await settle()
        assert order == []
        gate.set()
        assert len(await client.received(2)) == 2
        await settle()
        assert order == ["drained"]


# -- spawn


async def test_a_spawned_task_outlives_its_handler_and_ends_with_the_connection() -> None:
    router = Router()
    seen: list[str] = []
    ticks: asyncio.Queue[str] = asyncio.Queue()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        async def work() -> None:
            try:
                while True:
                    ctx.send(Said(text=await ticks.get()))
            finally:
                seen.append("cancelled")

        ctx.spawn(work())

    @router.on_close
    async def closed(ctx: CloseContext[Any]) -> None:
        seen.append("on_close")

    async with connected(router) as client:
        await client.send("THIRD")
        await client.ping()
        ticks.put_nowait("tick")
        assert (await client.receive())["payload"] == {"text": "tick"}
    assert seen == ["cancelled", "on_close"]


async def test_a_spawned_task_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    router = Router()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        async def work() -> None:
            raise RuntimeError("the spawned task is broken")

        ctx.spawn(work())

    async with connected(router) as client:
        await client.send("THIRD")
        await client.ping()
        await settle()
    assert "the spawned task is broken" in caplog.text


async def test_spawn_gives_the_task() -> None:
    router = Router()

    @router.rpc(Ask)
    async def handle(ctx: RpcContext[Ask]) -> Answer:
        async def work() -> str:
            return "done"

        return Answer(text=await ctx.spawn(work()))

    async with connected(router) as client:
        await client.call("ASK", {}, id="1")
        assert (await client.receive())["payload"] == {"text": "done"}


async def test_nothing_is_spawned_on_a_closed_connection() -> None:
    router = Router()
    kept: list[ConnectionContext[Any]] = []

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        kept.append(ctx)

    async def work() -> None: ...

    async with connected(router) as client:
        await client.disconnect()
        await client.ended()
    with pytest.raises(RuntimeError, match="has closed"):
        kept[0].spawn(work())


async def test_what_was_spawned_does_not_keep_threads() -> None:
    """Threads are few: work that outlives its handler takes one only while it needs it."""
    router = Router()
    done = asyncio.Event()
    count = 20

    @router.rpc(Ask)
    async def handle(ctx: RpcContext[Ask]) -> Answer:
        async def work() -> None:
            await done.wait()
            await sync_to_async(lambda: None)()
            ctx.send(Said(text="worked"))
            await asyncio.Event().wait()

        ctx.spawn(work())
        return Answer(text="")

    async with connected(router) as client:
        for number in range(count):
            await client.call("ASK", {}, id=str(number))
        await client.received(count)
        await settle()
        done.set()
        frames = await client.received(count)
    assert {frame["payload"]["text"] for frame in frames} == {"worked"}


# -- who it is


async def test_a_context_tells_whose_connection_it_is() -> None:
    router = Router()
    seen: list[Any] = []

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        seen.append((ctx.client_id, ctx.request.path, ctx.scope["path"], ctx.session))
        seen.append((ctx.user.pk, ctx.user.is_authenticated))
        seen.append((ctx.type, ctx.message_class, ctx.payload, ctx.meta.correlation_id))

    @router.on_close
    async def closed(ctx: CloseContext[Any]) -> None:
        seen.append(ctx.client_id)

    async with connected(router, "/room/") as client:
        await client.send("THIRD", correlationId="c")
        await client.ping()
        await settle()
    client_id = seen[0][0]
    assert client_id[14] == "7"
    assert seen == [
        (client_id, "/room/", "/room/", None),
        (None, False),
        ("THIRD", Third, Third(), "c"),
        client_id,
    ]


async def test_login_and_logout_change_the_user_everywhere() -> None:
    """Of ``ctx.user``, here and in what comes later (DESIGN 2)."""
    router = Router()

    class Person:
        pk = 7
        is_authenticated = True
        is_active = True

        def get_username(self) -> str:
            return "ann"

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        if ctx.payload.text == "login":
            await ctx.login(Person())
        elif ctx.payload.text == "logout":
            await ctx.logout()
        ctx.send(Said(text=f"{ctx.user.pk} {ctx.request.user.pk} {ctx.user.is_authenticated}"))

    async with connected(router) as client:
        for text in ("", "login", "", "logout"):
            await client.send("NOTE", {"text": text})
        texts = [frame["payload"]["text"] for frame in await client.heard()]
    assert texts == [
        "None None False",
        "7 7 True",
        "7 7 True",
        "None None False",
    ]


class TraceMeta(Meta):
    trace: str = ""


class Traced(Message, type="TRACED", meta=TraceMeta):
    pass


async def test_extended_meta_is_read_typed() -> None:
    router = Router()

    class Other(Meta):
        pass

    @router.on(Traced)
    async def handle(ctx: Context[Traced]) -> None:
        with pytest.raises(TypeError, match="TRACED declares the meta TraceMeta"):
            ctx.meta_as(Other)
        ctx.send(Said(text=ctx.meta_as(TraceMeta).trace))

    async with connected(router) as client:
        await client.send("TRACED", trace="t")
        assert (await client.receive())["payload"] == {"text": "t"}


async def test_the_close_context_tells_code_reason_data_and_topics() -> None:
    """And it publishes; its topics are read only (DESIGN 2)."""
    router = Router()
    seen: list[Any] = []

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        ctx.data.name = ctx.payload.text
        await ctx.topics.subscribe("room:1")

    @router.on_close
    async def closed(ctx: CloseContext[Any]) -> None:
        result = await ctx.publish("room:1", Said(text=f"{ctx.data.name} left"))
        seen.append((ctx.code, ctx.reason, list(ctx.topics), result.matched))

    async with connected(router) as stays:
        await stays.send("NOTE", {"text": "ann"})
        await settle()
        async with connected(router) as leaves:
            await leaves.send("NOTE", {"text": "bob"})
            await settle()
            await leaves.disconnect(1001)
            await leaves.ended()
        assert await stays.receive() == {"type": "SAID", "payload": {"text": "bob left"}}
        await soon(asyncio.sleep(0))
        assert seen == [(1001, "", ["room:1"], 1)]
