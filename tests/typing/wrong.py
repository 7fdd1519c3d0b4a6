"""
User code in which every line marked by an E, and no other, must be a type error.

Marked "plugin" are those that mypy finds with pydantic's plugin alone.
"""

from __future__ import annotations

from typing import Any

from tests.typing.right import (
    BaseData,
    ChatData,
    Export,
    GetUser,
    Join,
    Joined,
    Leave,
    Ping,
    RoomFull,
    RoomTopic,
    Stage,
    TraceMeta,
    UserResponse,
    UserTopic,
    base_guard,
    guard,
    router,
    third_party,
)
from wskit_channels import (
    CallNext,
    CloseContext,
    ConnectionContext,
    Context,
    Handshake,
    LimitExceeded,
    Limits,
    Router,
    RpcContext,
    WsKitError,
    response_of,
)
from wskit_channels.publish import apublish, publish, publish_on_commit
from wskit_channels.routing.policy import TopicAction


@router.on(Join)  # E wrong message
async def w1(ctx: Context[Leave, ChatData]) -> None: ...


@router.on(Join)  # E wrong data
async def w2(ctx: Context[Join, int]) -> None: ...


@router.on(Join)
async def w3(ctx: Context[Join, ChatData]) -> None:
    ctx.payload.romo_id  # E
    ctx.data.romo_id  # E
    ctx.data.room_id = 3  # E
    ctx.send(Joined(user_id=3))  # E
    ctx.send({"a": 1})  # E no message
    ctx.error("NOT_FUOND")  # E
    ctx.publish("x", Joined(user_id="1"))  # E not awaited
    ctx.payload.room_id = "x"  # E plugin: frozen


@router.on(Join)  # E returns from an event
async def w4(ctx: Context[Join, ChatData]) -> str:
    return "x"


@router.on(Join)  # E a plain handler that does
def w4_sync(ctx: Context[Join, ChatData]) -> str:
    return "x"


@router.on(Join, Leave)  # E only one of the two
async def w5(ctx: Context[Join, ChatData]) -> None: ...


@router.on(Join, Leave)
async def w5_both(ctx: Context[Join | Leave, ChatData]) -> None:
    ctx.payload.room_id  # E Leave has none


@router.on(Join)  # E no call
async def w5_call(ctx: RpcContext[GetUser, ChatData]) -> None: ...


@router.rpc(GetUser)  # E wrong response
async def w6(ctx: RpcContext[GetUser, ChatData]) -> Joined:
    return Joined(user_id="")


@router.rpc(GetUser)  # E wrong response from a plain handler
def w6_sync(ctx: RpcContext[GetUser, ChatData]) -> Joined:
    return Joined(user_id="")


@router.rpc(GetUser)
async def w7(ctx: RpcContext[GetUser, ChatData]) -> None:
    ctx.reply(Joined(user_id="1"))  # E
    ctx.reply({"name": "x"})  # E
    ctx.payload.name  # E reads a field of the response


@router.rpc(Export)
async def w8(ctx: RpcContext[Export, ChatData]) -> UserResponse:
    ctx.progress({"stage": "x"})  # E
    ctx.progress(UserResponse(name="x"))  # E
    ctx.progress(Stage(stage=1))  # E
    return UserResponse(name="x")


@router.rpc(GetUser)  # E may forget to answer
async def w9(ctx: RpcContext[GetUser, ChatData]) -> UserResponse | None:
    return None


@router.rpc(GetUser)
async def w10(ctx: RpcContext[GetUser, ChatData]) -> UserResponse:  # E missing return
    if ctx.data.room_id:
        return UserResponse(name="x")


@router.rpc(GetUser)  # E wrong data
async def w10_data(ctx: RpcContext[GetUser, int]) -> UserResponse:
    return UserResponse(name="x")


@router.rpc(GetUser)  # E another request
async def w10_other(ctx: RpcContext[Export, ChatData]) -> UserResponse:
    return UserResponse(name="x")


@router.rpc(Join)  # E not an Rpc
async def w11(ctx: Context[Join, ChatData]) -> None: ...


@router.use
async def w12(ctx: ConnectionContext[ChatData], call_next: CallNext) -> None:
    ctx.payload  # E no payload in middleware
    ctx.reply(UserResponse(name="x"))  # E
    ctx.data.romo_id  # E


@router.use  # E wrong data
async def w13(ctx: ConnectionContext[int], call_next: CallNext) -> None:
    await call_next()


@router.use  # E an event's context, which middleware has not
async def w14(ctx: Context[Join, ChatData], call_next: CallNext) -> None:
    await call_next()


@router.use  # E no call_next
async def w15(ctx: ConnectionContext[ChatData]) -> None: ...


async def int_guard(ctx: ConnectionContext[int], call_next: CallNext) -> None:
    await call_next()


async def no_middleware(ctx: ConnectionContext[ChatData]) -> None: ...


router.on(Join, use=[int_guard])  # E
router.on(Join, use=[no_middleware])  # E
router.on(Join, use=guard)  # E no sequence
router.rpc(GetUser, use=[int_guard])  # E
router.rpc(GetUser, use=[base_guard, int_guard])  # E one of the two
router.route(Join).use(int_guard)  # E
third_party.on(Join, use=[guard])  # E data that this router has not


@router.route(Join).on  # E wrong message
async def w16(ctx: Context[Leave, ChatData]) -> None: ...


@router.route(GetUser).rpc  # E wrong response
async def w17(ctx: RpcContext[GetUser, ChatData]) -> Joined:
    return Joined(user_id="")


@router.route(Join).rpc  # E no request
async def w17_event(ctx: RpcContext[GetUser, ChatData]) -> UserResponse:
    return UserResponse(name="x")


@router.on(Join)
async def w18(ctx: Context[Join, ChatData]) -> None:
    await ctx.publish("x", {"a": 1})  # E no message
    await ctx.publish(3, Joined(user_id="1"))  # E no topic
    ctx.sync.publish("x", "hello")  # E no message
    ctx.meta_as(int)  # E
    ctx.meta_as(Join)  # E no meta
    ctx.meta_as(TraceMeta).trace  # E
    ctx.meta.trace_id  # E not without meta_as()
    ctx.error(KeyError)  # E
    ctx.error(RoomFull, retry_after="1")  # E
    ctx.topics.subscribe("x")  # E not awaited
    ctx.topics.add("x")  # E read only
    ctx.data = ChatData()  # E
    ctx.close("why")  # E
    ctx.progress(1)  # E no call
    ctx.reply(Joined(user_id="1"))  # E no call


@router.on_open  # E wrong data
async def w19(ctx: ConnectionContext[int]) -> None: ...


@router.on_close  # E wrong data
async def w20(ctx: CloseContext[int]) -> None: ...


@router.on_close  # E wrong context
async def w21(ctx: ConnectionContext[ChatData]) -> None: ...


@router.on_close
async def w22(ctx: CloseContext[ChatData]) -> None:
    ctx.send(Joined(user_id="1"))  # E to whom?


@router.on_error  # E returns no WsKitError
def w23(error: Exception, ctx: ConnectionContext[ChatData]) -> str:
    return "x"


@router.on_upgrade  # E wrong argument
async def w24(ctx: ConnectionContext[ChatData]) -> None: ...


@router.authenticate  # E wrong argument
async def w25(ctx: ConnectionContext[ChatData]) -> ChatData | None: ...


@router.on_limit_exceeded  # E wrong argument
async def w26(info: int) -> None: ...


@router.exception(KeyError)  # E returns no WsKitError
def w27(error: KeyError) -> str:
    return "x"


@router.exception(KeyError)  # E another exception
def w28(error: ValueError) -> WsKitError:
    return WsKitError("NOT_FOUND")


@router.on_limit_exceeded
async def w29(info: LimitExceeded) -> None:
    info.limit = 3  # E frozen


async def w30(handshake: Handshake) -> None:
    await router.apublish("x", {"a": 1})  # E no message
    router.publish("x", 3)  # E no message
    router.apublish("x", Joined(user_id="1"))  # E not awaited
    handshake.tokn  # E


response_of(Join)  # E
WsKitError("NOT_FUOND")  # E
RoomFull("NOT_FOUND", retry_after="1")  # E
Limits(max_payload_byte=3)  # E
Limits(on_exceeded="drop")  # E
Router(data=ChatData())  # E no class
Router(ratelimit=3)  # E
router.merge(third_party, on_conflict="ignore")  # E
Router(data=BaseData).merge(router)  # E host lacks ChatData's fields
Router(data=BaseData).mount("chat:", router)  # E


@router.on(Ping)
async def w31(ctx: Context[Ping, ChatData]) -> None: ...  # E a variable is not a type


@router.on(Join)
async def w32(ctx: Context[Join, ChatData]) -> None:
    room = RoomTopic(room_id="1")
    await ctx.publish(room, Leave(why=""))  # E another topic's message
    await ctx.publish(UserTopic(user_id=1), ctx.payload)  # E
    ctx.sync.publish(room, Leave(why=""))  # E
    RoomTopic(rom="1")  # E misspelt
    RoomTopic(room_id=1)  # E
    room.rom  # E
    await ctx.topics.subscribe(RoomTopic)  # E a class and no topic
    await ctx.topics.subscribe_many(room)  # E one topic and not several
    await ctx.topics.subscribe_many([1])  # E
    ctx.topics.status("x") == "subscibed"  # E
    ctx.topics.set(["x"])  # E not awaited
    RoomTopic.match("x").room_id  # E may be another kind


async def w33() -> None:
    room = RoomTopic(room_id="1")
    await router.apublish(room, Leave(why=""))  # E
    router.publish(room, Leave(why=""))  # E
    router.publish_on_commit(room, Leave(why=""))  # E
    await apublish(room, Leave(why=""))  # E
    publish(room, Leave(why=""))  # E
    publish_on_commit(room, Leave(why=""))  # E
    publish(room, Joined(user_id=1))  # E
    publish("room:1", {"a": 1})  # E no message
    publish(room, Joined(user_id="1"), using="default")  # E waits for no commit
    apublish(room, Joined(user_id="1"))  # E not awaited


@router.authorize_topic(RoomTopic)  # E given the typed topic
async def w34(action: TopicAction, topic: str, ctx: ConnectionContext[ChatData]) -> bool:
    return True


@router.authorize_topic(RoomTopic)  # E another topic
async def w35(action: TopicAction, topic: UserTopic, ctx: ConnectionContext[Any]) -> bool:
    return True


@router.authorize_topic  # E given the name
async def w36(action: TopicAction, topic: RoomTopic, ctx: ConnectionContext[Any]) -> bool:
    return True


@router.authorize_topic  # E may forget to answer
async def w37(action: TopicAction, topic: str, ctx: ConnectionContext[ChatData]) -> None: ...


@router.authorize_topic  # E no action
async def w38(topic: str, ctx: ConnectionContext[ChatData]) -> bool:
    return True


@router.authorize_topic(RoomTopic)  # E wrong data
async def w39(action: TopicAction, topic: RoomTopic, ctx: ConnectionContext[int]) -> bool:
    return True


@router.authorize_topic(Join)  # E no topic
async def w40(action: TopicAction, topic: Join, ctx: ConnectionContext[ChatData]) -> bool:
    return True


@router.authorize_topic
async def w41(action: TopicAction, topic: str, ctx: ConnectionContext[ChatData]) -> bool:
    return action == "join"  # E no action


@router.on_subscribe(RoomTopic)  # E given the typed topic
async def w42(topic: str, ctx: ConnectionContext[ChatData]) -> None: ...


@router.on_unsubscribe  # E no context
async def w43(topic: str) -> None: ...


@router.normalize_topic  # E runs in the loop
async def w44(topic: str) -> str:
    return topic


@router.normalize_topic(RoomTopic)  # E given the typed topic
def w45(topic: str) -> str:
    return topic
