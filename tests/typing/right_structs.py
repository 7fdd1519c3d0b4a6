"""User code with struct messages; no line of it is an error. See ``checkers.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from typing_extensions import assert_type

from wskit_channels import (
    ConnectionContext,
    Context,
    Router,
    RpcContext,
    Topic,
    response_of,
)
from wskit_channels.contrib.msgspec import Message, Meta, Rpc


@dataclass
class ChatData:
    room_id: str | None = None


class TraceMeta(Meta):
    trace_id: str = msgspec.field(name="traceId")


class Join(Message, type="JOIN", rename="camel"):
    room_id: str
    times: int = 1


class Ask(Message, type="ASK", meta=TraceMeta):
    type: str
    meta: str


class Joined(Message, type="JOINED"):
    user_id: str


class Stage(msgspec.Struct, forbid_unknown_fields=True):
    stage: str


class UserResponse(Message, type="USER_RESPONSE"):
    name: str


class GetUser(Rpc[UserResponse], type="GET_USER"):
    id: str


class Export(Rpc[UserResponse, Stage], type="EXPORT"):
    fmt: str


class RoomTopic(Topic[Joined], pattern="room:{room_id}"):
    room_id: str


router = Router(data=ChatData)


@router.on(Join)
async def join(ctx: Context[Join, ChatData]) -> None:
    assert_type(ctx.payload, Join)
    assert_type(ctx.payload.room_id, str)
    assert_type(ctx.payload.times, int)
    ctx.data.room_id = ctx.payload.room_id
    ctx.send(Joined(user_id="1"))
    await ctx.publish("room:1", Joined(user_id="1"))
    await ctx.publish(RoomTopic(room_id="1"), Joined(user_id="1"))
    ctx.sync.publish(RoomTopic(room_id="1"), Joined(user_id="1"))


@router.on(Join, Ask)
async def either(ctx: Context[Join | Ask, ChatData]) -> None:
    if isinstance(ctx.payload, Ask):
        assert_type(ctx.meta_as(TraceMeta).trace_id, str)
        assert_type(ctx.payload.type, str)
        assert_type(ctx.meta_as(TraceMeta).correlation_id, str | None)


@router.rpc(GetUser)
async def get_user(ctx: RpcContext[GetUser, ChatData]) -> UserResponse:
    assert_type(ctx.payload, GetUser)
    ctx.progress({"anything": 1})
    return UserResponse(name=ctx.payload.id)


@router.rpc(GetUser)
def get_user_sync(ctx: RpcContext[GetUser, ChatData]) -> UserResponse:
    return UserResponse(name=ctx.payload.id)


@router.rpc(Export)
async def export(ctx: RpcContext[Export, ChatData]) -> None:
    ctx.progress(Stage(stage="half"))
    ctx.reply(UserResponse(name=ctx.payload.fmt))


@router.use
async def seen(ctx: ConnectionContext[ChatData], call_next: object) -> None:
    assert_type(ctx.message_class, type[Any] | None)


router.route(Join).on(join)
router.route(GetUser).rpc(get_user)
assert_type(response_of(GetUser), type[UserResponse])


async def from_outside() -> None:
    await router.apublish("room:1", Joined(user_id="1"))
    await router.apublish(RoomTopic(room_id="1"), Joined(user_id="1"))
