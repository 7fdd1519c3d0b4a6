"""The chat's server side: what each message does."""

import asyncio
import logging

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.models import Count
from django.shortcuts import aget_object_or_404
from pydantic import BaseModel

from wskit_channels import (
    CloseContext,
    ConnectionContext,
    Context,
    Limits,
    Router,
    RpcContext,
    WsKitError,
)

from . import export
from .messages import (
    ExportProgress,
    ExportReady,
    ExportRoom,
    GetUser,
    History,
    JoinRoom,
    LeaveRoom,
    Line,
    NewMessage,
    Person,
    SendMessage,
    UserJoined,
    UserLeft,
    UserOut,
    UserResponse,
)
from .models import ChatLine, Room

logger = logging.getLogger(__name__)

HISTORY_LENGTH = 50


class ChatData(BaseModel):
    """What a connection remembers while it lasts."""

    rooms: set[str] = set()
    """The rooms it has joined."""


# A call keeps a database thread while it runs, an export for seconds: nobody gets many.
limits = Limits(max_inflight_rpcs=4)
router = Router(data=ChatData, login_required=True, limits=limits)
router.sends(History, NewMessage, UserJoined, UserLeft)


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
    me, words = person(ctx), {"room_id": room, "text": ctx.payload.text}
    line, _ = await ChatLine.objects.aget_or_create(
        author_id=me.id, key=ctx.payload.key, defaults=words
    )
    # Also when it was there: a connection that ended between the two may have kept it from
    # all. Pages know lines by their ids.
    said = NewMessage(room=line.room_id, line=line_of(line, me))
    await ctx.publish(topic_of(line.room_id), said)


@router.rpc(GetUser)
async def get_user(ctx: RpcContext[GetUser, ChatData]) -> UserResponse:
    users = get_user_model().objects.annotate(lines_written=Count("chat_lines"))
    user = await aget_object_or_404(users, pk=ctx.payload.id)  # none: answered with NOT_FOUND
    return UserResponse(user=UserOut.model_validate(user))


@router.rpc(ExportRoom)
async def export_room(ctx: RpcContext[ExportRoom, ChatData]) -> ExportReady:
    room = joined_room(ctx, ctx.payload.room)
    in_room = await export.count_lines(room)
    total = min(in_room, export.MOST_LINES)
    lines: list[ChatLine] = []  # latest first
    try:
        ctx.progress(ExportProgress(done=0, total=total))
        while batch := await export.read_on(room, lines, total=total):
            lines += batch
            ctx.progress(ExportProgress(done=len(lines), total=total), throttle=0.2)
            await asyncio.sleep(settings.CHAT_EXPORT_PAUSE)
    except asyncio.CancelledError:
        # The client aborted or hung up, or the deadline came. Nobody hears a reply now.
        logger.info("export cancelled: room=%s done=%s", room, len(lines))
        raise
    text = export.as_text(lines[::-1])
    return ExportReady(text=text, lines=len(lines), complete=in_room <= total)


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


def line_of(line: ChatLine, author: Person) -> Line:
    return Line(id=line.pk, author=author, text=line.text, sent_at=line.created_at, key=line.key)


async def history_of(room: Room) -> History:
    latest = room.lines.select_related("author").order_by("-id")[: HISTORY_LENGTH + 1]
    lines = [
        line_of(line, Person(id=line.author_id, name=line.author.get_username()))
        async for line in latest
    ]
    shown = lines[:HISTORY_LENGTH]
    return History(room=room.slug, lines=shown[::-1], earlier=len(lines) > len(shown))
