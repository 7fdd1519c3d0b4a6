"""The requests of the conformance server: one handler for each "rpc" of the scenarios."""

import asyncio
from dataclasses import dataclass

from pydantic import BaseModel, Field

from tests.conformance.events import NewMessage
from tests.conformance.router import CAMEL, Data, room_topic, router
from wskit_channels import Message, Rpc, RpcContext, WsKitError


class Sum(Message, type="SUM"):
    total: int


class Add(Rpc[Sum], type="ADD"):
    a: int
    b: int


class UserOut(BaseModel):
    id: str
    name: str


class UserResponse(Message, type="USER_RESPONSE"):
    user: UserOut


class GetUser(Rpc[UserResponse], type="GET_USER"):
    id: str


class Counted(Message, type="COUNTED"):
    n: int


class Count(Rpc[Counted], type="COUNT"):
    model_config = CAMEL
    to: int
    delay_ms: int


class Slept(Message, type="SLEPT"):
    ms: int


class Sleep(Rpc[Slept], type="SLEEP"):
    ms: int


class Forgotten(Message, type="FORGOTTEN"):
    pass


class Forget(Rpc[Forgotten], type="FORGET"):
    pass


class Twice(Rpc[Sum], type="TWICE"):
    pass


class Bug(Rpc[Sum], type="BUG"):
    pass


class StatsResult(Message, type="STATS_RESULT"):
    cancelled: int
    running: int


class Stats(Rpc[StatsResult], type="STATS"):
    pass


class Published(Message, type="PUBLISHED"):
    ok: bool
    capability: str
    matched: int | None = Field(default=None, exclude_if=lambda value: value is None)


class Whisper(Rpc[Published], type="WHISPER"):
    model_config = CAMEL
    room_id: str
    text: str


class Subscribed(Message, type="SUBSCRIBED"):
    topics: list[str]


class Subscribe(Rpc[Subscribed], type="SUBSCRIBE"):
    topic: str


@dataclass
class Sleepers:
    """The ``SLEEP`` calls of this process."""

    cancelled: int = 0
    running: int = 0


sleepers = Sleepers()


@router.rpc(Add)
async def add(ctx: RpcContext[Add, Data]) -> Sum:
    return Sum(total=ctx.payload.a + ctx.payload.b)


@router.rpc(GetUser)
async def get_user(ctx: RpcContext[GetUser, Data]) -> UserResponse:
    id = ctx.payload.id  # noqa: A001 - the protocol's word
    if id == "missing":
        raise WsKitError("NOT_FOUND", "User not found", details={"id": id})
    return UserResponse(user=UserOut(id=id, name=f"User {id}"))


@router.rpc(Count)
async def count(ctx: RpcContext[Count, Data]) -> Counted:
    for n in range(1, ctx.payload.to + 1):
        if n > 1:
            await asyncio.sleep(ctx.payload.delay_ms / 1000)
        ctx.progress({"n": n})
    return Counted(n=ctx.payload.to)


@router.rpc(Sleep)
async def sleep(ctx: RpcContext[Sleep, Data]) -> Slept:
    sleepers.running += 1
    try:
        await asyncio.sleep(ctx.payload.ms / 1000)
    except asyncio.CancelledError:
        sleepers.cancelled += 1
        raise
    finally:
        sleepers.running -= 1
    return Slept(ms=ctx.payload.ms)


@router.rpc(Forget)
async def forget(ctx: RpcContext[Forget, Data]) -> None:
    pass


@router.rpc(Twice)
async def twice(ctx: RpcContext[Twice, Data]) -> None:
    ctx.reply(Sum(total=1))
    ctx.reply(Sum(total=2))
    ctx.error("INTERNAL")
    ctx.progress({"late": True})


@router.rpc(Bug)
async def bug(ctx: RpcContext[Bug, Data]) -> Sum:
    raise RuntimeError("secret detail")


@router.rpc(Stats)
async def stats(ctx: RpcContext[Stats, Data]) -> StatsResult:
    return StatsResult(cancelled=sleepers.cancelled, running=sleepers.running)


@router.rpc(Whisper)
async def whisper(ctx: RpcContext[Whisper, Data]) -> Published:
    new = NewMessage(room_id=ctx.payload.room_id, text=ctx.payload.text)
    result = await ctx.publish(room_topic(ctx.payload.room_id), new, exclude_self=True)
    return Published(ok=result.ok, capability=result.capability, matched=result.matched)


@router.rpc(Subscribe)
async def subscribe(ctx: RpcContext[Subscribe, Data]) -> Subscribed:
    await ctx.topics.subscribe(ctx.payload.topic)
    return Subscribed(topics=sorted(ctx.topics))
