"""
The application of the tests that push, drain and count: what a crowd of clients does to
one server process.

Environment: ``PRESSURE_WSKIT`` is the ``WSKIT`` setting as JSON; ``PRESSURE_CLOSED`` a
file that gets a line for every ``on_close``. ``application`` serves the router, and views
that report and act; ``stock`` a raw Channels consumer in its place.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.test.utils import override_settings
from django.urls import path

from tests.live.settings import configure
from wskit_channels import CloseContext, Context, Message, Router, Rpc, RpcContext, WsKitError
from wskit_channels.protocol.limits import LimitExceeded

configure()
override_settings(
    ROOT_URLCONF=__name__, WSKIT=json.loads(os.environ.get("PRESSURE_WSKIT", "{}"))
).enable()

from wskit_channels import hub  # noqa: E402 - needs Django set up
from wskit_channels.asgi import websocket_application  # noqa: E402
from wskit_channels.drain import drain as drain_connections  # noqa: E402
from wskit_channels.drain import drain_on_sigterm  # noqa: E402
from wskit_channels.publish import apublish  # noqa: E402
from wskit_channels.registry import registry_here  # noqa: E402


class Chunk(Message, type="CHUNK"):
    number: int
    data: str


class Tick(Message, type="TICK"):
    number: int


class Join(Message, type="JOIN"):
    topic: str


class Joined(Message, type="JOINED"):
    client_id: str


class Leave(Message, type="LEAVE"):
    topic: str


class Say(Message, type="SAY"):
    topic: str
    number: int


class Waited(Message, type="WAITED"):
    seconds: float


class Wait(Rpc[Waited], type="WAIT"):
    seconds: float


class Hold(Rpc[Waited], type="HOLD"):
    """Is answered so many seconds after the view "release" was asked for."""

    seconds: float


class Fail(Rpc[Waited], type="FAIL"):
    size: int


router = Router()
dropped: Counter[str] = Counter()
"""By client: frames that ``on_limit_exceeded`` was told of."""
closes: Counter[int] = Counter()
"""By close code: how many ``on_close`` ran."""
released = asyncio.Event()


@router.on(Join)
async def join(ctx: Context[Join]) -> None:
    await ctx.topics.subscribe(ctx.payload.topic)
    ctx.send(Joined(client_id=ctx.client_id))


@router.on(Leave)
async def leave(ctx: Context[Leave]) -> None:
    await ctx.topics.unsubscribe(ctx.payload.topic)


@router.on(Say)
async def say(ctx: Context[Say]) -> None:
    await ctx.publish(ctx.payload.topic, Tick(number=ctx.payload.number))


@router.rpc(Wait)
async def wait(ctx: RpcContext[Wait]) -> Waited:
    await asyncio.sleep(ctx.payload.seconds)
    return Waited(seconds=ctx.payload.seconds)


@router.rpc(Hold)
async def hold(ctx: RpcContext[Hold]) -> Waited:
    await released.wait()
    await asyncio.sleep(ctx.payload.seconds)
    return Waited(seconds=ctx.payload.seconds)


@router.rpc(Fail)
async def fail(ctx: RpcContext[Fail]) -> Waited:
    raise WsKitError("FAILED_PRECONDITION", "x" * ctx.payload.size)


@router.on_limit_exceeded
async def count_drops(info: LimitExceeded) -> None:
    dropped[info.client_id] += info.dropped


@router.on_close
async def record(ctx: CloseContext[Any]) -> None:
    closes[ctx.code] += 1
    if "PRESSURE_CLOSED" in os.environ:
        with Path(os.environ["PRESSURE_CLOSED"]).open("a") as file:
            file.write(f"{ctx.client_id} {ctx.code}\n")


# -- views


def resident_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


async def stats(request: HttpRequest) -> JsonResponse:
    """What one process holds, after a collection."""
    gc.collect()
    hubs = [each for each in hub._hubs.values() if each.namespace == ""]  # not orders'
    return JsonResponse(
        {
            "tasks": len(asyncio.all_tasks()),
            "rss_kib": resident_kib(),
            "connections": len(registry_here().live),
            "topics": sum(len(each._members) for each in hubs),
            "members": sum(len(found) for each in hubs for found in each._members.values()),
            "dropped": dropped,
            "closes": closes,
        }
    )


async def flood(request: HttpRequest) -> JsonResponse:
    """Publish chunks to the topic "flood", and a tick to "ticks" after every so many."""
    count, size, every = (int(request.GET[name]) for name in ("count", "size", "ticks_every"))
    first = int(request.GET.get("first", 0))
    data = "x" * size
    most = resident_kib()
    for number in range(first, first + count):
        await apublish("flood", Chunk(number=number, data=data))
        if number % every == 0:
            await apublish("ticks", Tick(number=number))
        await asyncio.sleep(0)
        most = max(most, resident_kib())
    return JsonResponse({"most_rss_kib": most})


async def release(request: HttpRequest) -> JsonResponse:
    """Let the calls that are held go on."""
    released.set()
    return JsonResponse({"released": True})


async def drain(request: HttpRequest) -> JsonResponse:
    """What a preStop hook asks for."""
    await drain_connections()
    return JsonResponse({"drained": True})


urlpatterns = [
    path("stats/", stats),
    path("flood/", flood),
    path("release/", release),
    path("drain/", drain),
]

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

django = get_asgi_application()
sockets = websocket_application([path("", router.as_asgi())], session=False, allowed_origins=["*"])


async def application(scope: Event, receive: Receive, send: Send) -> None:
    await (sockets if scope["type"] == "websocket" else django)(scope, receive, send)


class Stock(AsyncWebsocketConsumer):
    """What Channels itself makes of a connection."""


stock_sockets = websocket_application(
    [path("", Stock.as_asgi())], session=False, allowed_origins=["*"]
)


async def stock(scope: Event, receive: Receive, send: Send) -> None:
    await (stock_sockets if scope["type"] == "websocket" else django)(scope, receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    """As docs/drain.md has it."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            drain_on_sigterm()
            await send({"type": "lifespan.startup.complete"})
        else:
            await drain_connections()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def spanning(scope: Event, receive: Receive, send: Send) -> None:
    """The same application with an ASGI lifespan."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        await application(scope, receive, send)
