"""chanx: the same messages as pydantic models, routed by their action."""

from __future__ import annotations

import os
from typing import Literal

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from channels.routing import URLRouter  # noqa: E402 - needs Django set up
from chanx.channels.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from chanx.core.decorators import channel, ws_handler  # noqa: E402
from chanx.messages.base import BaseMessage  # noqa: E402
from django.urls import path  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from benchmarks.peers import BODY  # noqa: E402

GROUP = "lobby"


class Line(BaseModel):
    room: str
    text: str


class Room(BaseModel):
    room: str


class Lines(Line):
    times: int


class Say(BaseMessage):
    action: Literal["say"] = "say"
    payload: Line


class Said(BaseMessage):
    action: Literal["said"] = "said"
    payload: Line


class Join(BaseMessage):
    action: Literal["join"] = "join"
    payload: Room


class Joined(BaseMessage):
    action: Literal["joined"] = "joined"
    payload: Room


class Shout(BaseMessage):
    action: Literal["shout"] = "shout"
    payload: Lines


@channel(name="lobby")
class Lobby(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "default"

    @ws_handler(output_type=Said)
    async def handle_say(self, message: Say) -> Said:
        return Said(payload=message.payload)

    @ws_handler(output_type=Joined)
    async def handle_join(self, message: Join) -> Joined:
        await self.join_group(GROUP)
        return Joined(payload=message.payload)

    @ws_handler(output_type=Said)
    async def handle_shout(self, message: Shout) -> None:
        line = Line(room=message.payload.room, text=message.payload.text)
        for _ in range(message.payload.times):
            await self.broadcast_message(Said(payload=line), groups=[GROUP])


application = URLRouter([path("echo/", Lobby.as_asgi())])


async def publish(times: int) -> None:
    """Publish from a process that serves no sockets, as its ``broadcast_message`` does."""
    from channels.layers import get_channel_layer

    layer = get_channel_layer()
    event = {
        "type": "handle_group_message",
        "message": Said(payload=Line(**BODY)).model_dump(mode="json"),
        "exclude_current": False,
        "from_channel": "",
    }
    for _ in range(times):
        await layer.group_send(GROUP, event)
