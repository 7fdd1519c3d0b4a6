"""Each line of user code with struct messages that is marked ``# E`` must be an error."""

from __future__ import annotations

import msgspec

from wskit_channels import Context, Router, RpcContext, Topic
from wskit_channels.contrib.msgspec import Message, Meta, Rpc


class TraceMeta(Meta):
    trace_id: str = msgspec.field(name="traceId")


class Join(Message, type="JOIN", meta=TraceMeta):
    room_id: str


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


router = Router()

Join(room_id=1)  # E
Join("1")  # E fields are keyword-only
Join()  # E
Join(room="1")  # E
router.rpc(Join)  # E no request


@router.on(Join)
async def join(ctx: Context[Join]) -> None:
    ctx.payload.user_id  # E
    ctx.payload.room_id = "2"  # E frozen
    ctx.meta_as(Join)  # E no meta
    ctx.meta_as(TraceMeta).trace  # E
    ctx.send({"a": 1})  # E no message
    await ctx.publish(RoomTopic(room_id="1"), Join(room_id="1"))  # E not of this topic


@router.on(Join)  # E the context of another message
async def other(ctx: Context[Joined]) -> None: ...


@router.rpc(GetUser)
async def get_user(ctx: RpcContext[GetUser]) -> UserResponse:
    ctx.reply(Joined(user_id="1"))  # E no response of this request
    ctx.payload.name  # E
    return UserResponse(name=1)  # E


@router.rpc(GetUser)  # E another response
async def get_other(ctx: RpcContext[GetUser]) -> Joined:
    return Joined(user_id="1")


@router.rpc(GetUser)  # E may forget to answer
async def get_or_none(ctx: RpcContext[GetUser]) -> UserResponse | None:
    return None


@router.rpc(Export)
async def export(ctx: RpcContext[Export]) -> UserResponse:
    ctx.progress({"stage": "half"})  # E progress is a Stage
    return UserResponse(name="x")
