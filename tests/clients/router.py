"""
What the clients' scenarios talk to: one handler for each thing that a client must bear.

Everything that is counted here is counted for the whole process, under a key that the
scenario chooses, so that one connection can ask what another one did.
"""

import asyncio
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from wskit_channels import Context, Handshake, Message, Router, Rpc, RpcContext, WsKitError
from wskit_channels.protocol import wire


class Camel(Message):
    """A message whose wire names are camelCase."""

    model_config = ConfigDict(alias_generator=to_camel)


class Echoed(Message, type="ECHOED"):
    value: Any


class Echo(Message, type="ECHO"):
    value: Any


class Joined(Message, type="JOINED"):
    room: str


class Join(Message, type="JOIN"):
    room: str


class Said(Message, type="SAID"):
    room: str
    text: str


class Say(Message, type="SAY"):
    room: str
    text: str


class Note(Message, type="NOTE"):
    """Have a text kept under a key."""

    key: str
    text: str


class NotesResult(Message, type="NOTES_RESULT"):
    texts: list[str]


class Notes(Rpc[NotesResult], type="NOTES"):
    key: str


class Close(Message, type="CLOSE"):
    """Have this connection closed."""

    code: int
    reason: str


class Restart(Camel, type="RESTART"):
    """Have this connection closed as when the server goes down: ``$ws:bye``, then 1012."""

    retry_after_ms: int


class Raw(Message, type="RAW"):
    """Have frames written to this connection as they are."""

    frames: list[str]


class Sum(Message, type="SUM"):
    total: int


class Add(Rpc[Sum], type="ADD"):
    a: int
    b: int


class Pong(Message, type="PONG"):
    pass


class Ping(Rpc[Pong], type="PING"):
    """A request and a reply without a payload."""


class Failed(Message, type="FAILED"):
    pass


class Fail(Rpc[Failed], type="FAIL"):
    """Fail with what is given; RESOURCE_EXHAUSTED also with ``retryAfterMs`` 250."""

    code: str
    message: str


class Counted(Message, type="COUNTED"):
    n: int


class Count(Rpc[Counted], type="COUNT"):
    model_config = ConfigDict(alias_generator=to_camel)

    to: int
    delay_ms: int


class Slept(Message, type="SLEPT"):
    ms: int


class Sleep(Rpc[Slept], type="SLEEP"):
    key: str
    ms: int


class SleepersResult(Message, type="SLEEPERS_RESULT"):
    started: int
    cancelled: int


class Sleepers(Rpc[SleepersResult], type="SLEEPERS"):
    """Wait, eight seconds at most, until none of the key's sleepers is asleep; count them."""

    key: str


class Paid(Camel, type="PAID"):
    arrivals: int
    """How often a request with this idempotency key has come."""

    same_key: bool


class Pay(Rpc[Paid], type="PAY"):
    """Closes the connection with 4000 at the first arrival, answers the next."""

    key: str


class Me(Camel, type="ME"):
    name: str | None
    offered: list[str]
    timeout_ms: int | None
    """How long the caller waits, in milliseconds, as the server was told."""


class WhoAmI(Rpc[Me], type="WHO_AM_I"):
    pass


@dataclass
class Data:
    name: str | None = None


notes: defaultdict[str, list[str]] = defaultdict(list)
started: Counter[str] = Counter()
ended: Counter[str] = Counter()
cancelled: Counter[str] = Counter()
payments: defaultdict[str, list[str | None]] = defaultdict(list)

router: Router[Data] = Router(data=Data, subprotocols=("chat.v1",))


@router.authenticate
async def authenticate(handshake: Handshake) -> Data | None:
    """Admit anybody, but a token that starts with ``expired`` or ``forbidden``."""
    token = handshake.token or ""
    if token.startswith("expired"):
        return None
    if token.startswith("forbidden"):
        raise WsKitError("PERMISSION_DENIED")
    return Data(name=token or None)


@router.on(Echo)
async def echo(ctx: Context[Echo, Data]) -> None:
    ctx.send(Echoed(value=ctx.payload.value), inherit_correlation_id=True)


@router.on(Join)
async def join(ctx: Context[Join, Data]) -> None:
    await ctx.topics.subscribe(f"room:{ctx.payload.room}")
    ctx.send(Joined(room=ctx.payload.room))


@router.on(Say)
async def say(ctx: Context[Say, Data]) -> None:
    said = Said(room=ctx.payload.room, text=ctx.payload.text)
    await ctx.publish(f"room:{ctx.payload.room}", said)


@router.on(Note)
async def note(ctx: Context[Note, Data]) -> None:
    notes[ctx.payload.key].append(ctx.payload.text)


@router.rpc(Notes)
async def read_notes(ctx: RpcContext[Notes, Data]) -> NotesResult:
    return NotesResult(texts=notes[ctx.payload.key])


@router.on(Close)
async def close(ctx: Context[Close, Data]) -> None:
    ctx.close(ctx.payload.code, ctx.payload.reason)


@router.on(Restart)
async def restart(ctx: Context[Restart, Data]) -> None:
    bye = wire.bye_frame(
        code=1012,
        reason="RESTART",
        retry_after=ctx.payload.retry_after_ms / 1000,
        now=time.time(),
    )
    ctx._peer.transport.write(bye)  # no handler may send a control frame
    ctx.close(1012, "RESTART")


@router.on(Raw)
async def raw(ctx: Context[Raw, Data]) -> None:
    for frame in ctx.payload.frames:
        ctx._peer.transport.write(frame)


@router.rpc(Add)
async def add(ctx: RpcContext[Add, Data]) -> Sum:
    return Sum(total=ctx.payload.a + ctx.payload.b)


@router.rpc(Ping)
async def ping(ctx: RpcContext[Ping, Data]) -> Pong:
    return Pong()


class RoomFull(WsKitError, code="ROOM_FULL", retryable=True):
    """An application's own code."""


@router.rpc(Fail)
async def fail(ctx: RpcContext[Fail, Data]) -> Failed:
    code, message = ctx.payload.code, ctx.payload.message
    if code == "ROOM_FULL":
        raise RoomFull(message=message)
    if code == "RESOURCE_EXHAUSTED":
        raise WsKitError("RESOURCE_EXHAUSTED", message, retry_after=0.25)
    if code == "NOT_FOUND":
        raise WsKitError("NOT_FOUND", message, details={"kind": "thing"})
    raise RuntimeError(message)


@router.rpc(Count)
async def count(ctx: RpcContext[Count, Data]) -> Counted:
    for n in range(1, ctx.payload.to + 1):
        if n > 1:
            await asyncio.sleep(ctx.payload.delay_ms / 1000)
        ctx.progress({"n": n})
    return Counted(n=ctx.payload.to)


@router.rpc(Sleep)
async def sleep(ctx: RpcContext[Sleep, Data]) -> Slept:
    key = ctx.payload.key
    started[key] += 1
    try:
        await asyncio.sleep(ctx.payload.ms / 1000)
    except asyncio.CancelledError:
        cancelled[key] += 1
        raise
    finally:
        ended[key] += 1
    return Slept(ms=ctx.payload.ms)


@router.rpc(Sleepers)
async def sleepers(ctx: RpcContext[Sleepers, Data]) -> SleepersResult:
    key = ctx.payload.key
    give_up = time.monotonic() + 8
    while started[key] > ended[key] and time.monotonic() < give_up:
        await asyncio.sleep(0.01)
    return SleepersResult(started=started[key], cancelled=cancelled[key])


@router.rpc(Pay)
async def pay(ctx: RpcContext[Pay, Data]) -> Paid | None:
    arrived = payments[ctx.payload.key]
    arrived.append(ctx.meta.idempotency_key)
    if len(arrived) == 1:
        ctx.close(4000, "HEARTBEAT_TIMEOUT")
        await ctx.wait_cancelled()
    return Paid(arrivals=len(arrived), same_key=len(set(arrived)) == 1 and None not in arrived)


@router.rpc(WhoAmI)
async def who_am_i(ctx: RpcContext[WhoAmI, Data]) -> Me:
    timeout = ctx.meta.timeout
    return Me(
        name=ctx.data.name,
        offered=list(ctx.request.subprotocols),
        timeout_ms=None if timeout is None else round(timeout * 1000),
    )
