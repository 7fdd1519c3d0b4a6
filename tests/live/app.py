"""
The application the live tests serve.

``application`` as a project would write it; ``wrapped``, the same behind a
``send`` that is a plain function, as some middleware makes it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from django.urls import path

from tests.live.settings import configure
from wskit_channels import Context, Message, Router

configure()

from wskit_channels.asgi import websocket_application  # noqa: E402 - needs Django set up


class Ping(Message, type="PING"):
    text: str


class Pong(Message, type="PONG"):
    text: str


class Echo(Message, type="ECHO"):
    value: Any


class Echoed(Message, type="ECHOED"):
    value: Any


class Weigh(Message, type="WEIGH"):
    grams: float


class Weighed(Message, type="WEIGHED"):
    grams: float


class Break(Message, type="BREAK"):
    pass


class Join(Message, type="JOIN"):
    room: str


class Joined(Message, type="JOINED"):
    room: str


class Say(Message, type="SAY"):
    room: str
    number: int


class Said(Message, type="SAID"):
    number: int


router = Router()


@router.on(Ping)
async def ping(ctx: Context[Ping]) -> None:
    ctx.send(Pong(text=ctx.payload.text))


@router.on(Echo)
async def echo(ctx: Context[Echo]) -> None:
    ctx.send(Echoed(value=ctx.payload.value))


@router.on(Weigh)
async def weigh(ctx: Context[Weigh]) -> None:
    ctx.send(Weighed(grams=ctx.payload.grams))


@router.on(Break)
async def break_(ctx: Context[Break]) -> None:
    raise RuntimeError("broken on purpose")


@router.on(Join)
async def join(ctx: Context[Join]) -> None:
    await ctx.topics.subscribe(f"room:{ctx.payload.room}")
    ctx.send(Joined(room=ctx.payload.room))


@router.on(Say)
async def say(ctx: Context[Say]) -> None:
    await ctx.publish(f"room:{ctx.payload.room}", Said(number=ctx.payload.number))


application = websocket_application(
    [path("", router.as_asgi())], session=False, allowed_origins=["*"]
)

Event = dict[str, Any]


async def wrapped(
    scope: Event, receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]
) -> None:
    async def plain(event: Event) -> None:
        await send(event)

    await application(scope, receive, plain)
