"""Routers whose handlers wait for a test to let them go on."""

import asyncio
from typing import Any

from tests.helpers import Client, connected, soon
from tests.routing.messages import Ask, Note, Third
from wskit_channels import (
    CloseContext,
    Context,
    Limits,
    Router,
    RpcContext,
)


def slow_router(**options: Any) -> tuple[Router[Any], list[str], dict[str, asyncio.Event]]:
    """A router whose event handler waits for the gate of its text, where there is one."""
    router = Router(**options)
    order: list[str] = []
    gates: dict[str, asyncio.Event] = {}

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        text = ctx.payload.text
        order.append(f"{text} in")
        if text in gates:
            await gates[text].wait()
        order.append(f"{text} out")

    return router, order, gates


async def notes(client: Client, *texts: str) -> None:
    for text in texts:
        await client.send("NOTE", {"text": text})


class Closes:
    """What ``on_close`` hooks of a router were told."""

    def __init__(self, router: Router[Any]) -> None:
        self.codes: list[tuple[int, str]] = []
        router.on_close(self._closed)

    async def _closed(self, ctx: CloseContext[Any]) -> None:
        self.codes.append((ctx.code, ctx.reason))


class Stage:
    """A router with an event and a call that run ``act`` until the connection closes."""

    def __init__(self, **limits: Any) -> None:
        self.router: Router[Any] = Router(limits=Limits(**limits))
        self.begun = asyncio.Event()
        self.seen: list[str] = []
        self.closes = Closes(self.router)
        self.bugs: list[Exception] = []
        self.router.on_error(lambda error, ctx: self.bugs.append(error))
        self.router.on(Note)(self._event)
        self.router.on(Third, concurrent=True)(self._aside)
        self.router.rpc(Ask)(self._call)

    async def act(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise

    async def _event(self, ctx: Context[Note]) -> None:
        await self.act()

    async def _aside(self, ctx: Context[Third]) -> None:
        await self.act()

    async def _call(self, ctx: RpcContext[Ask]) -> None:
        await self.act()

    async def disconnect_while_running(self, type_: str = "NOTE") -> None:
        async with connected(self.router) as client:
            await client.call(type_, {"NOTE": {"text": ""}, "ASK": {}}.get(type_), id="1")
            await soon(self.begun.wait())
            await client.disconnect(1001)
            await client.ended()
