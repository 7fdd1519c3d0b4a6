"""
Channels as it comes: ``AsyncWebsocketConsumer``, and groups of the channel layer.

``/echo/`` sends text back as it comes. ``/room/`` joins a group or publishes to it.
``/auth/`` is the echo behind ``AuthMiddlewareStack``, for users who are logged in.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402 - needs Django set up
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from benchmarks.peers import BODY, _json  # noqa: E402

GROUP = "lobby"
TEXT = _json(BODY)
EVENT = {"type": "said", "text": TEXT}


class Echo(AsyncWebsocketConsumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data=text_data)


class Room(AsyncWebsocketConsumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "join":
            await self.channel_layer.group_add(GROUP, self.channel_name)
            await self.send(text_data="joined")
        else:
            for _ in range(int(text_data or 0)):
                await self.channel_layer.group_send(GROUP, EVENT)

    async def said(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(GROUP, self.channel_name)


class LoggedIn(Echo):
    async def connect(self) -> None:
        if self.scope["user"].is_authenticated:
            await self.accept()
        else:
            await self.close()


application = URLRouter(
    [
        path("echo/", Echo.as_asgi()),
        path("room/", Room.as_asgi()),
        path("auth/", AuthMiddlewareStack(LoggedIn.as_asgi())),
    ]
)


async def publish(times: int) -> None:
    """Publish from a process that serves no sockets."""
    from channels.layers import get_channel_layer

    layer = get_channel_layer()
    for _ in range(times):
        await layer.group_send(GROUP, EVENT)
