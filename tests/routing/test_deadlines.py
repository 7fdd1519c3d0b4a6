"""``routing/calls.py``: deadlines (``PROTOCOL 5.4``)."""

import asyncio
from typing import Any

from django.test import override_settings

from tests.fake_clock import clock, fake_time
from tests.helpers import connected
from tests.routing.calls import (
    answer,
    serving,
    too_late,
    waits,
)
from tests.routing.messages import Answer, Ask
from wskit_channels import (
    Router,
    RpcContext,
)


@fake_time
async def check_deadline(seconds: float, router: Router[Any], **meta: Any) -> None:
    """Assert that a call is answered when these seconds have passed, and not before."""
    async with connected(router) as client:
        await client.call("ASK", {}, id="1", **meta)
        await clock().advance(seconds - 0.001)
        assert await client.heard() == []
        await clock().advance(0.001)
        assert await client.heard() == [too_late("1")]


def test_a_call_has_30_seconds_by_default() -> None:
    check_deadline(30.0, serving(waits))


def test_a_router_may_say_otherwise() -> None:
    check_deadline(7.0, serving(waits, rpc_timeout=7.0))


@override_settings(WSKIT={"RPC_TIMEOUT": 3.0})
def test_the_settings_may_say_otherwise() -> None:
    check_deadline(3.0, serving(waits))


def test_the_client_may_say_otherwise() -> None:
    check_deadline(45.0, serving(waits), timeoutMs=45_000)


def test_the_client_may_say_300_seconds_at_most() -> None:
    check_deadline(300.0, serving(waits), timeoutMs=10**9)


@override_settings(WSKIT={"MAX_RPC_TIMEOUT": 40.0})
def test_the_cap_is_a_setting() -> None:
    check_deadline(40.0, serving(waits), timeoutMs=60_000)


@fake_time
async def test_the_deadline_cancels_the_handler() -> None:
    seen: list[str] = []

    async def act(ctx: RpcContext[Ask]) -> None:
        ctx.on_cancel(lambda: seen.append("callback"))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(f"cancelled: {ctx.cancelled}, {ctx.time_remaining()} s left")
            raise

    async with connected(serving(act)) as client:
        await client.call("ASK", {}, id="1")
        await clock().advance(30)
        assert await client.heard() == [too_late("1")]
    assert seen == ["callback", "cancelled: True, 0.0 s left"]


@fake_time
async def test_a_handler_sees_how_much_time_it_has() -> None:
    seen: list[float] = []

    async def act(ctx: RpcContext[Ask]) -> Answer:
        seen.append(ctx.time_remaining())
        await gate.wait()
        seen.append(ctx.time_remaining())
        return Answer(text="")

    gate = asyncio.Event()
    async with connected(serving(act)) as client:
        await client.call("ASK", {}, id="1", timeoutMs=10_000)
        await clock().advance(4)
        gate.set()
        assert await client.heard() == [answer("1")]
    assert seen == [10.0, 6.0]


@fake_time
async def test_a_deadline_does_not_outlive_its_call() -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        return Answer(text="")

    async with connected(serving(act)) as client:
        await client.call("ASK", {}, id="1")
        assert await client.heard() == [answer("1")]
        await clock().advance(300)
        assert await client.heard() == []
        assert clock().pending_timers() == 0


@fake_time
async def test_the_deadline_holds_where_the_clock_is_coarse() -> None:
    """A loop runs timers early by up to its clock's resolution: 16 ms on Windows."""
    clock().make_coarse(0.016)
    async with connected(serving(waits)) as client:
        await client.call("ASK", {}, id="1")
        await clock().advance(29.99)
        await clock().advance(1)
        assert await client.heard() == [too_late("1")]
