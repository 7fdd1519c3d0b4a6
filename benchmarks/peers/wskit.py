"""
This library, as a project would write it: typed messages, validated, answered with meta.

``/echo/`` has everything. ``/layered/`` is the same echo behind five middlewares and three
hooks. ``/auth/`` is the echo for users who are logged in.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from django.urls import path  # noqa: E402 - needs Django set up

from benchmarks.peers import BODY  # noqa: E402
from wskit_channels import (  # noqa: E402
    CallNext,
    ConnectionContext,
    Context,
    Limits,
    Message,
    Router,
    Rpc,
    RpcContext,
    Topic,
)
from wskit_channels.asgi import websocket_application  # noqa: E402
from wskit_channels.publish import apublish  # noqa: E402


class Say(Message, type="SAY"):
    room: str
    text: str


class Said(Message, type="SAID"):
    room: str
    text: str


class Ask(Rpc[Said], type="ASK"):
    room: str
    text: str


class Lobby(Topic[Said], pattern="room:{room}"):
    room: str


class Join(Message, type="JOIN"):
    room: str


class Joined(Message, type="JOINED"):
    room: str


class Shout(Message, type="SHOUT"):
    room: str
    text: str
    times: int


async def say(ctx: Context[Say]) -> None:
    ctx.send(Said(room=ctx.payload.room, text=ctx.payload.text))


async def ask(ctx: RpcContext[Ask]) -> Said:
    return Said(room=ctx.payload.room, text=ctx.payload.text)


async def join(ctx: Context[Join]) -> None:
    await ctx.topics.subscribe(Lobby(room=ctx.payload.room))
    ctx.send(Joined(room=ctx.payload.room))


async def shout(ctx: Context[Shout]) -> None:
    topic = Lobby(room=ctx.payload.room)
    for _ in range(ctx.payload.times):
        await ctx.publish(topic, Said(room=ctx.payload.room, text=ctx.payload.text))


def with_handlers(router: Router[Any]) -> Router[Any]:
    router.on(Say)(say)
    router.rpc(Ask)(ask)
    router.on(Join)(join)
    router.on(Shout)(shout)
    return router


def with_layers(router: Router[Any]) -> Router[Any]:
    """Five middlewares that look at the message and call on, and three hooks."""
    for _ in range(5):

        async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
            if ctx.type:
                await call_next()

        router.use(middleware)

    async def opened(ctx: ConnectionContext[Any]) -> None:
        ctx.log.debug("opened")

    async def closed(ctx: Any) -> None:
        ctx.log.debug("closed")

    async def failed(error: Exception, ctx: Any) -> None:
        ctx.log.debug("failed")

    router.on_open(opened)
    router.on_close(closed)
    router.on_error(failed)
    return router


plain = with_handlers(Router(limits=Limits(max_protocol_errors=1_000_000)))
layered = with_handlers(with_layers(Router()))
members = with_handlers(Router(login_required=True))

_open_to_all = websocket_application(
    [path("echo/", plain.as_asgi()), path("layered/", layered.as_asgi())],
    session=False,
    allowed_origins=["*"],
)
_for_members = websocket_application([path("auth/", members.as_asgi())])


async def application(scope: Any, receive: Any, send: Any) -> None:
    served = _for_members if scope["path"] == "/auth/" else _open_to_all
    await served(scope, receive, send)


async def publish(times: int) -> None:
    """Publish from a process that serves no sockets."""
    topic = Lobby(room=BODY["room"])
    for _ in range(times):
        await apublish(topic, Said(**BODY))
