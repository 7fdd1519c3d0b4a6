"""User code that must have no type error, under mypy --strict and pyright strict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field
from typing_extensions import TypeVar, assert_type

from wskit_channels import (
    CallNext,
    CloseConnection,
    CloseContext,
    ConnectionContext,
    Context,
    Handshake,
    LimitExceeded,
    Limits,
    Message,
    Meta,
    PublishResult,
    Router,
    Rpc,
    RpcContext,
    Topic,
    Topics,
    TopicsChange,
    WsKitError,
    message,
    response_of,
    rpc,
    throttled,
)
from wskit_channels.publish import apublish, publish, publish_on_commit
from wskit_channels.routing.policy import TopicAction


@dataclass
class BaseData:
    user_id: str = ""


@dataclass
class ChatData(BaseData):
    room_id: str | None = None


class TraceMeta(Meta):
    trace_id: str = Field(alias="traceId")


class Join(Message, type="JOIN", meta=TraceMeta):
    room_id: str


class Leave(Message, type="LEAVE"):
    why: str


class Ask(Message, type="ASK"):
    pass


class Joined(Message, type="JOINED"):
    user_id: str


class Stage(BaseModel):
    stage: str


class UserResponse(Message, type="USER_RESPONSE"):
    name: str


class GetUser(Rpc[UserResponse], type="GET_USER"):
    id: str


class Export(Rpc[UserResponse, Stage], type="EXPORT"):
    fmt: str


class Whisper(Message, type="WHISPER"):
    type: str
    meta: str
    response: str
    payload: str


class RoomFull(WsKitError, code="ROOM_FULL", retryable=True):
    pass


class RoomTopic(Topic[Join | Joined], pattern="room:{room_id}"):
    room_id: str


class UserTopic(Topic[Joined], pattern="user:{user_id}"):
    user_id: int


class Clock:
    def now(self) -> float:
        return 0.0


M = TypeVar("M")
ChatContext = Context[M, ChatData]

assert_type(response_of(GetUser), type[UserResponse])
assert_type(Whisper(type="t", meta="m", response="r", payload="p").type, str)

router = Router(data=ChatData, limits=Limits(max_payload_bytes=10), rpc_timeout=5)
assert_type(router, Router[ChatData])


async def guard(ctx: ConnectionContext[ChatData], call_next: CallNext) -> None:
    await call_next()


async def base_guard(ctx: ConnectionContext[BaseData], call_next: CallNext) -> None:
    await call_next()


@router.on(Join, use=[guard, base_guard], sends=[Joined])
async def join(ctx: Context[Join, ChatData]) -> None:
    assert_type(ctx.payload, Join)
    assert_type(ctx.payload.room_id, str)
    assert_type(ctx.data, ChatData)
    assert_type(ctx.meta_as(TraceMeta).trace_id, str)
    assert_type(ctx.meta_as(TraceMeta).correlation_id, str | None)
    assert_type(ctx.get(Clock).now(), float)
    ctx.data.room_id = ctx.payload.room_id
    ctx.send(Joined(user_id=ctx.data.user_id), inherit_correlation_id=True)
    ctx.error("NOT_FOUND", "No such room", details={"room": 1})
    ctx.error(RoomFull, retry_after=None)
    await ctx.topics.subscribe("x")
    assert_type(await ctx.publish("x", Joined(user_id="1")), PublishResult)
    await ctx.drain()
    ctx.close(4000, "why")


@router.on(Join)
def join_sync(ctx: Context[Join, ChatData]) -> None:
    ctx.send(Joined(user_id="1"))
    assert_type(ctx.sync.publish("x", Joined(user_id="1")), PublishResult)


@router.on(Join)
async def join_by_alias(ctx: ChatContext[Join]) -> None:
    assert_type(ctx.payload, Join)
    assert_type(ctx.data, ChatData)


@router.on(Join)
async def join_as_base(ctx: Context[Message, BaseData]) -> None:
    assert_type(ctx.payload, Message)


@router.on(Join, Leave)
async def both(ctx: Context[Join | Leave, ChatData]) -> None:
    if isinstance(ctx.payload, Join):
        assert_type(ctx.payload.room_id, str)
    else:
        assert_type(ctx.payload.why, str)


@router.on(Join, Leave, Ask, Joined, Whisper, UserResponse, concurrent=True)
async def six(
    ctx: Context[Join | Leave | Ask | Joined | Whisper | UserResponse, ChatData],
) -> None:
    assert_type(ctx.data, ChatData)


@router.rpc(GetUser)
async def get_user(ctx: RpcContext[GetUser, ChatData]) -> UserResponse:
    assert_type(ctx.payload, GetUser)
    assert_type(ctx.data, ChatData)
    ctx.progress({"anything": 1})
    ctx.progress(3)
    return UserResponse(name=ctx.payload.id)


@router.rpc(GetUser)
def get_user_sync(ctx: RpcContext[GetUser, ChatData]) -> UserResponse:
    return UserResponse(name=ctx.payload.id)


@router.rpc(GetUser, use=[guard], cancellable=False)
async def get_user_with_a_guard(ctx: RpcContext[GetUser, ChatData]) -> UserResponse:
    if ctx.cancelled:
        raise WsKitError("PERMISSION_DENIED", retry_after=3)
    ctx.on_cancel(lambda: None)
    assert_type(ctx.time_remaining(), float)
    return UserResponse(name="x")


@router.rpc(Export)
async def export(ctx: RpcContext[Export, ChatData]) -> None:
    ctx.progress(Stage(stage="x"), throttle=0.1)
    ctx.reply(UserResponse(name="x"))


@router.rpc(Export)
def export_sync(ctx: RpcContext[Export, ChatData]) -> None:
    ctx.reply(UserResponse(name="x"))


@router.rpc(Export)
async def export2(ctx: RpcContext[Export, ChatData]) -> UserResponse:
    raise RuntimeError


@router.route(Join).use(guard).on
async def joined_by_route(ctx: Context[Join, ChatData]) -> None:
    assert_type(ctx.payload, Join)


@router.route(GetUser).use(guard).rpc
async def user_by_route(ctx: RpcContext[GetUser, ChatData]) -> UserResponse:
    return UserResponse(name=ctx.payload.id)


@router.use
async def middleware(ctx: ConnectionContext[ChatData], call_next: CallNext) -> None:
    if not ctx.data.user_id and ctx.type != "LOGIN":
        ctx.error("UNAUTHENTICATED")
        return
    await call_next()


@router.use
def plain_middleware(ctx: ConnectionContext[ChatData], call_next: CallNext) -> Any:
    return call_next()


@router.authenticate
async def authenticate(handshake: Handshake) -> ChatData | None:
    return ChatData(user_id=handshake.token) if handshake.token else None


@router.on_open
async def opened(ctx: ConnectionContext[ChatData]) -> None:
    if not ctx.user.is_authenticated:
        raise CloseConnection(4401, "LOGIN")
    ctx.assign_data(room_id="lobby")


@router.on_close
async def closed(ctx: CloseContext[ChatData]) -> None:
    assert_type(ctx.data, ChatData)
    assert_type(ctx.code, int)
    await ctx.publish("x", Joined(user_id=ctx.data.user_id))


@router.on_error
def failed(error: Exception, ctx: ConnectionContext[ChatData]) -> WsKitError | None:
    return WsKitError.wrap(error) if ctx.data.room_id else None


@router.on_limit_exceeded
async def limited(info: LimitExceeded) -> None:
    assert_type(info.observed, int)


@router.exception(KeyError)
def missing(error: KeyError) -> WsKitError:
    return WsKitError.wrap(error, "NOT_FOUND")


third_party = Router(data=BaseData)


@third_party.on(Join)
async def j3(ctx: Context[Join, BaseData]) -> None:
    assert_type(ctx.data.user_id, str)


anyrouter = Router()
assert_type(anyrouter, Router[Any])
router.merge(third_party)
router.mount("third:", third_party)
router.merge(anyrouter).merge(third_party)


@anyrouter.on(Join)
async def j4(ctx: Context[Join]) -> None:
    ctx.data.whatever  # noqa: B018


Ping = message("PING", {"text": str})
Pong = message("PONG", {"reply": str})
Find = rpc("FIND", {"id": str}, "FOUND", {"name": str})


@anyrouter.on(Ping)
async def ping(ctx: Context[Any]) -> None:
    ctx.send(Pong(reply=ctx.payload.text))


@anyrouter.rpc(Find)
async def find(ctx: RpcContext[Any]) -> Any:
    return Find.response(name=ctx.payload.id)


async def from_outside() -> None:
    assert_type(await router.apublish("x", Joined(user_id="1")), PublishResult)
    assert_type(router.publish("x", Joined(user_id="1")), PublishResult)


@router.normalize_topic
def lower(topic: str) -> str:
    return topic.lower()


@router.normalize_topic(RoomTopic)
def one_room(topic: RoomTopic) -> RoomTopic:
    return RoomTopic(room_id=topic.room_id.lower())


@router.authorize_topic
async def may(action: TopicAction, topic: str, ctx: ConnectionContext[ChatData]) -> bool:
    return action != "publish" or ctx.data.room_id is not None


@router.authorize_topic
def may_by_str(action: str, topic: str, ctx: ConnectionContext[BaseData]) -> bool:
    return topic != "secret"


@router.authorize_topic(RoomTopic)
async def may_join(
    action: TopicAction, topic: RoomTopic, ctx: ConnectionContext[ChatData]
) -> bool:
    assert_type(topic.room_id, str)
    return topic.room_id == ctx.data.room_id


@router.authorize_topic(UserTopic)
def may_join_plain(action: TopicAction, topic: UserTopic, ctx: ConnectionContext[Any]) -> bool:
    return topic.user_id > 0


@router.on_subscribe
async def subscribed(topic: str, ctx: ConnectionContext[ChatData]) -> None:
    await ctx.publish(topic, Joined(user_id=ctx.data.user_id))


@router.on_subscribe(RoomTopic)
async def room_joined(topic: RoomTopic, ctx: ConnectionContext[ChatData]) -> None:
    await ctx.publish(topic, Joined(user_id=ctx.data.user_id))


@router.on_unsubscribe(UserTopic)
def left(topic: UserTopic, ctx: ConnectionContext[ChatData]) -> None:
    assert_type(topic.user_id, int)


@router.on_publish
async def published(message: Any, topic: str) -> None: ...


@router.on(Join)
async def topics(ctx: Context[Join, ChatData]) -> None:
    room = RoomTopic(room_id=ctx.payload.room_id)
    assert_type(ctx.topics, Topics)
    await ctx.topics.subscribe(room)
    assert_type(await ctx.topics.subscribe_many([room, "x", UserTopic(user_id=1)]), TopicsChange)
    assert_type(await ctx.topics.set([room]), TopicsChange)
    await ctx.topics.update(lambda draft: draft.add("x"))
    await ctx.topics.settle()
    await ctx.topics.settle(room)
    if ctx.topics.status(room) == "subscribed" and str(room) in ctx.topics:
        assert_type(list(ctx.topics), list[str])
    assert_type((await ctx.topics.clear()).removed, tuple[str, ...])
    assert_type(await ctx.publish(room, Joined(user_id="1")), PublishResult)
    assert_type(await ctx.publish(room, ctx.payload, exclude_self=True), PublishResult)
    assert_type(RoomTopic.parse("room:1"), RoomTopic)
    assert_type(RoomTopic.match("room:1"), RoomTopic | None)


@router.on(Join)
def topics_sync(ctx: Context[Join, ChatData]) -> None:
    room = RoomTopic(room_id=ctx.payload.room_id)
    ctx.sync.subscribe(room)
    ctx.sync.publish(room, ctx.payload)


async def typed_from_outside() -> None:
    room = RoomTopic(room_id="1")
    assert_type(await router.apublish(room, Joined(user_id="1")), PublishResult)
    assert_type(router.publish(room, Joined(user_id="1"), meta={"trace": 1}), PublishResult)
    router.publish_on_commit(room, Joined(user_id="1"), using="default")
    assert_type(await apublish(room, Joined(user_id="1"), namespace="chat"), PublishResult)
    assert_type(publish("room:1", Leave(why=""), channel_layer="other"), PublishResult)
    publish_on_commit(room, Joined(user_id="1"), using="default")
    throttled(router, window=0.1).publish(room, Joined(user_id="1"))
