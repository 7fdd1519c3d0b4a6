"""The events of the conformance server: one handler for each "on" of the scenarios."""

import asyncio
from typing import Any, Literal, cast

from pydantic import BaseModel, Field

from tests.conformance.router import CamelMessage, Data, room_topic, router
from wskit_channels import CloseContext, Context, Message, Meta, WsKitError


class Ping(Message, type="PING"):
    text: str


class Pong(Message, type="PONG"):
    reply: str


class Tick(Message, type="TICK"):
    pass


class Tock(Message, type="TOCK"):
    pass


class RoomMeta(Meta):
    room_id: str = Field(alias="roomId")


class RoomMsg(Message, type="ROOM_MSG", meta=RoomMeta):
    text: str


class RoomEcho(CamelMessage, type="ROOM_ECHO"):
    text: str
    room_id: str


class Item(BaseModel):
    id: int
    tags: list[str]


class Nested(Message, type="NESTED"):
    item: Item


class NestedOk(Message, type="NESTED_OK"):
    id: int
    count: int


class SetName(Message, type="SET_NAME"):
    name: str


class GetName(Message, type="GET_NAME"):
    pass


class Name(Message, type="NAME"):
    name: str | None


class Fail(CamelMessage, type="FAIL"):
    """What ``ctx.error`` is to be called with; a default is never passed on."""

    code: str
    message: str = ""
    details: dict[str, Any] = Field(default_factory=dict)
    retryable: bool = False
    retry_after_ms: int | None = None


class Raise(Message, type="RAISE"):
    kind: Literal["wskit", "bug"]


class Slow(Message, type="SLOW"):
    ms: int
    id: int


class SlowDone(Message, type="SLOW_DONE"):
    id: int


class EchoId(Message, type="ECHO_ID"):
    text: str


class JoinRoom(CamelMessage, type="JOIN_ROOM"):
    room_id: str


class UserJoined(CamelMessage, type="USER_JOINED"):
    room_id: str
    user_id: str


class LeaveRoom(CamelMessage, type="LEAVE_ROOM"):
    room_id: str


class Left(CamelMessage, type="LEFT"):
    room_id: str


class UserLeft(CamelMessage, type="USER_LEFT"):
    user_id: str


class SendMessage(CamelMessage, type="SEND_MESSAGE"):
    room_id: str
    text: str


class NewMessage(CamelMessage, type="NEW_MESSAGE"):
    room_id: str
    text: str


@router.on(Ping)
async def ping(ctx: Context[Ping, Data]) -> None:
    ctx.send(Pong(reply=f"Got: {ctx.payload.text}"))


@router.on(Tick)
async def tick(ctx: Context[Tick, Data]) -> None:
    ctx.send(Tock())


@router.on(RoomMsg)
async def room_msg(ctx: Context[RoomMsg, Data]) -> None:
    ctx.send(RoomEcho(text=ctx.payload.text, room_id=ctx.meta_as(RoomMeta).room_id))


@router.on(Nested)
async def nested(ctx: Context[Nested, Data]) -> None:
    item = ctx.payload.item
    ctx.send(NestedOk(id=item.id, count=len(item.tags)))


@router.on(SetName)
async def set_name(ctx: Context[SetName, Data]) -> None:
    ctx.assign_data(name=ctx.payload.name)


@router.on(GetName)
async def get_name(ctx: Context[GetName, Data]) -> None:
    ctx.send(Name(name=ctx.data.name))


@router.on(Fail)
async def fail(ctx: Context[Fail, Data]) -> None:
    given = ctx.payload.model_dump(exclude_unset=True, by_alias=False)
    # Any code may be tried here, so the type of the thirteen is set aside.
    code = cast(Any, given.pop("code"))
    if "retry_after_ms" in given:
        ms = given.pop("retry_after_ms")
        given["retry_after"] = None if ms is None else ms / 1000
    ctx.error(code, **given)


@router.on(Raise)
async def raise_(ctx: Context[Raise, Data]) -> None:
    if ctx.payload.kind == "wskit":
        raise WsKitError("FAILED_PRECONDITION", "Not ready", details={"step": 1})
    raise RuntimeError("secret detail")


@router.on(Slow)
async def slow(ctx: Context[Slow, Data]) -> None:
    await asyncio.sleep(ctx.payload.ms / 1000)
    ctx.send(SlowDone(id=ctx.payload.id))


@router.on(EchoId)
async def echo_id(ctx: Context[EchoId, Data]) -> None:
    ctx.send(Pong(reply=ctx.payload.text), inherit_correlation_id=True)


@router.on(JoinRoom)
async def join_room(ctx: Context[JoinRoom, Data]) -> None:
    room = room_topic(ctx.payload.room_id)
    await ctx.topics.subscribe(room)
    await ctx.publish(room, UserJoined(room_id=ctx.payload.room_id, user_id=ctx.client_id))


@router.on(LeaveRoom)
async def leave_room(ctx: Context[LeaveRoom, Data]) -> None:
    await ctx.topics.unsubscribe(room_topic(ctx.payload.room_id))
    ctx.send(Left(room_id=ctx.payload.room_id))


@router.on(SendMessage)
async def send_message(ctx: Context[SendMessage, Data]) -> None:
    new = NewMessage(room_id=ctx.payload.room_id, text=ctx.payload.text)
    await ctx.publish(room_topic(ctx.payload.room_id), new)


@router.on_close
async def tell_rooms(ctx: CloseContext[Data]) -> None:
    for topic in sorted(ctx.topics):
        if topic.startswith("room:"):
            await ctx.publish(topic, UserLeft(user_id=ctx.client_id))
