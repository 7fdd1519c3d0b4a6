"""
What is said on the chat's WebSocket: the contract between page and server.

Imports nothing of Django, so that clients and tools can read it too. A connection
joins a room, is sent the room's ``History``, and from then on what happens there.
"""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, StringConstraints

from wskit_channels import Message

RoomSlug = Annotated[str, StringConstraints(pattern=r"^[-a-zA-Z0-9_]{1,50}$")]

LineText = Annotated[
    str,
    # NUL is refused here because PostgreSQL refuses to store it.
    StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"^[^\x00]*$"),
]


class Person(BaseModel):
    id: int
    name: str


class Line(BaseModel):
    id: int
    """Grows from line to line; a line seen twice has the same id."""

    author: Person
    text: str
    sent_at: datetime


# From the page


class JoinRoom(Message, type="JOIN_ROOM"):
    room: RoomSlug


class LeaveRoom(Message, type="LEAVE_ROOM"):
    room: RoomSlug


class SendMessage(Message, type="SEND_MESSAGE"):
    """Say something in a room that this connection has joined."""

    room: RoomSlug
    text: LineText


# From the server


class History(Message, type="HISTORY"):
    """The room's last lines, oldest first; sent to the one who joins."""

    room: str
    lines: list[Line]
    earlier: bool
    """Whether the room has lines older than these."""


class NewMessage(Message, type="NEW_MESSAGE"):
    room: str
    line: Line


class UserJoined(Message, type="USER_JOINED"):
    room: str
    user: Person


class UserLeft(Message, type="USER_LEFT"):
    room: str
    user: Person
