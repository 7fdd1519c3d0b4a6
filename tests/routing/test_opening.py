"""``routing/dispatch.py``: ``on_open``, and what waits for it."""

import asyncio
from typing import Any

import pytest

from tests.helpers import connected, settle, soon
from tests.routing.messages import Answer, Ask, Note, Said, Third
from tests.routing.stage import Closes, notes, slow_router
from wskit_channels import (
    CallNext,
    CloseConnection,
    ConnectionContext,
    Context,
    Router,
    RpcContext,
)


async def test_no_message_is_dispatched_before_on_open_ended() -> None:
    """Neither events, concurrent ones, nor calls (DESIGN 3)."""
    router = Router()
    gate = asyncio.Event()
    order: list[str] = []

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        order.append("open in")
        await gate.wait()
        order.append("open out")

    @router.use
    async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        order.append(ctx.type)
        await call_next()

    @router.on(Note)
    async def event(ctx: Context[Note]) -> None: ...

    @router.on(Third, concurrent=True)
    async def aside(ctx: Context[Third]) -> None: ...

    @router.rpc(Ask)
    async def ask(ctx: RpcContext[Ask]) -> Answer:
        return Answer(text="")

    async with connected(router) as client:
        await notes(client, "a")
        await client.send("THIRD")
        await client.call("ASK", {}, id="1")
        await client.ping()
        await settle()
        assert order == ["open in"]
        gate.set()
        assert (await client.receive())["type"] == "ANSWER"
        await settle()
    assert order[:2] == ["open in", "open out"]
    assert sorted(order[2:]) == ["ASK", "NOTE", "THIRD"]


async def test_on_open_may_send() -> None:
    router = Router()

    @router.on_open
    def opened(ctx: ConnectionContext[Any]) -> None:
        ctx.send(Said(text=f"welcome{ctx.type}"))

    async with connected(router) as client:
        assert await client.receive() == {"type": "SAID", "payload": {"text": "welcome"}}


async def test_on_open_that_fails_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    """And nothing that waited is dispatched (PROTOCOL 8, DESIGN 3)."""
    router, order, _ = slow_router()
    closes = Closes(router)

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("on_open is broken")

    async with connected(router) as client:
        await notes(client, "a")
        assert (await client.closed())[0] == 1011
        await client.ended()
    assert order == []
    assert [code for code, _ in closes.codes] == [1011]
    assert "on_open is broken" in caplog.text


async def test_on_open_that_raises_cancelled_error_closes_with_1011() -> None:
    """Nobody cancelled it: it is a bug (PROTOCOL 8)."""
    router, order, _ = slow_router()
    closes = Closes(router)

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        raise asyncio.CancelledError

    async with connected(router) as client:
        await notes(client, "a")
        assert (await client.closed())[0] == 1011
        await client.ended()
    assert order == []
    assert [code for code, _ in closes.codes] == [1011]


async def test_on_open_may_refuse() -> None:
    """``CloseConnection`` closes with its code and reason (DESIGN 2)."""
    router, order, _ = slow_router()
    closes = Closes(router)

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        raise CloseConnection(4003, "members only")

    async with connected(router) as client:
        await notes(client, "a")
        assert await client.closed() == (4003, "members only")
        await client.ended()
    assert order == []
    assert closes.codes == [(4003, "members only")]


async def test_a_disconnect_cancels_on_open(caplog: pytest.LogCaptureFixture) -> None:
    """And ``on_close`` runs, once; it is no failure to log (DESIGN 3)."""
    router = Router()
    closes = Closes(router)
    begun = asyncio.Event()
    seen: list[str] = []

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async with connected(router) as client:
        await soon(begun.wait())
        await client.disconnect(1001)
        await client.ended()
    assert seen == ["cancelled"]
    assert closes.codes == [(1001, "")]
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
