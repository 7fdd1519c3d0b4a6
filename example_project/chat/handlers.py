"""The chat's server side: what each message does."""

from pydantic import BaseModel

from wskit_channels import CloseContext, ConnectionContext, Context, Router, WsKitError

from .messages import (
    History,
    JoinRoom,
    LeaveRoom,
    Line,
    NewMessage,
    Person,
    SendMessage,
    UserJoined,
    UserLeft,
)
from .models import ChatLine, Room

HISTORY_LENGTH = 50


class ChatData(BaseModel):
    """What a connection remembers while it lasts."""

    rooms: set[str] = set()
    """The rooms it has joined."""


router = Router(data=ChatData, login_required=True)


@router.on(JoinRoom)
async def join_room(ctx: Context[JoinRoom, ChatData]) -> None:
    room = await Room.objects.aget(slug=ctx.payload.room)  # none: answered with NOT_FOUND
    # Subscribe before reading, so that no line falls between history and news. One
    # may then come in both: the page knows it by its id.
    await ctx.topics.subscribe(topic_of(room.slug))
    ctx.send(await history_of(room))
    if room.slug not in ctx.data.rooms:
        ctx.data.rooms.add(room.slug)
        joined = UserJoined(room=room.slug, user=person(ctx))
        await ctx.publish(topic_of(room.slug), joined, exclude_self=True)


@router.on(LeaveRoom)
async def leave_room(ctx: Context[LeaveRoom, ChatData]) -> None:
    room = joined_room(ctx, ctx.payload.room)
    ctx.data.rooms.remove(room)
    await ctx.topics.unsubscribe(topic_of(room))
    await ctx.publish(topic_of(room), UserLeft(room=room, user=person(ctx)))


@router.on(SendMessage)
async def send_message(ctx: Context[SendMessage, ChatData]) -> None:
    room = joined_room(ctx, ctx.payload.room)
    me, text = person(ctx), ctx.payload.text
    line = await ChatLine.objects.acreate(room_id=room, author_id=me.id, text=text)
    said = Line(id=line.pk, author=me, text=line.text, sent_at=line.created_at)
    await ctx.publish(topic_of(room), NewMessage(room=room, line=said))


@router.on_close
async def say_goodbye(ctx: CloseContext[ChatData]) -> None:
    for room in ctx.data.rooms:
        await ctx.publish(topic_of(room), UserLeft(room=room, user=person(ctx)))


def topic_of(room: str) -> str:
    return f"chat:{room}"


def joined_room(ctx: ConnectionContext[ChatData], room: str) -> str:
    if room not in ctx.data.rooms:
        raise WsKitError("FAILED_PRECONDITION", "Join the room first.")
    return room


def person(ctx: ConnectionContext[ChatData] | CloseContext[ChatData]) -> Person:
    return Person(id=ctx.user.pk, name=ctx.user.get_username())


async def history_of(room: Room) -> History:
    latest = room.lines.select_related("author").order_by("-id")[: HISTORY_LENGTH + 1]
    lines = [
        Line(
            id=line.pk,
            author=Person(id=line.author_id, name=line.author.get_username()),
            text=line.text,
            sent_at=line.created_at,
        )
        async for line in latest
    ]
    shown = lines[:HISTORY_LENGTH]
    return History(room=room.slug, lines=shown[::-1], earlier=len(lines) > len(shown))
