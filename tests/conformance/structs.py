"""The messages of the conformance server as structs, under the names of the pydantic ones."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from wskit_channels.contrib.msgspec import Message, Meta, Rpc


class CamelMessage(Message, rename="camel"):
    """A message whose wire names are camelCase."""


class Ping(Message, type="PING"):
    text: str


class Pong(Message, type="PONG"):
    reply: str


class Tick(Message, type="TICK"):
    pass


class Tock(Message, type="TOCK"):
    pass


class RoomMeta(Meta):
    room_id: str = msgspec.field(name="roomId")


class RoomMsg(Message, type="ROOM_MSG", meta=RoomMeta):
    text: str


class RoomEcho(CamelMessage, type="ROOM_ECHO"):
    text: str
    room_id: str


class Item(msgspec.Struct, forbid_unknown_fields=True):
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
    """What ``ctx.error`` is to be called with; what is not set is not passed on."""

    code: str
    message: str | UnsetType = UNSET
    details: dict[str, Any] | UnsetType = UNSET
    retryable: bool | UnsetType = UNSET
    retry_after_ms: int | UnsetType | None = UNSET


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


class Sum(Message, type="SUM"):
    total: int


class Add(Rpc[Sum], type="ADD"):
    a: int
    b: int


class UserOut(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    name: str


class UserResponse(Message, type="USER_RESPONSE"):
    user: UserOut


class GetUser(Rpc[UserResponse], type="GET_USER"):
    id: str


class Counted(Message, type="COUNTED"):
    n: int


class Count(Rpc[Counted], type="COUNT", rename="camel"):
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


class Published(Message, type="PUBLISHED", omit_defaults=True):
    ok: bool
    capability: str
    matched: int | None = None


class Whisper(Rpc[Published], type="WHISPER", rename="camel"):
    room_id: str
    text: str


class Subscribed(Message, type="SUBSCRIBED"):
    topics: list[str]


class Subscribe(Rpc[Subscribed], type="SUBSCRIBE"):
    topic: str
