"""This library with messages as ``msgspec.Struct`` classes: the echo of ``wskit``."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from django.urls import path  # noqa: E402 - needs Django set up

from wskit_channels import Context, Router  # noqa: E402
from wskit_channels.asgi import websocket_application  # noqa: E402
from wskit_channels.contrib.msgspec import Message  # noqa: E402


class Say(Message, type="SAY"):
    room: str
    text: str


class Said(Message, type="SAID"):
    room: str
    text: str


router: Router[None] = Router()


@router.on(Say)
async def say(ctx: Context[Say]) -> None:
    ctx.send(Said(room=ctx.payload.room, text=ctx.payload.text))


application = websocket_application(
    [path("echo/", router.as_asgi())], session=False, allowed_origins=["*"]
)
