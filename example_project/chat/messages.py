"""
What is said on the chat's WebSocket: the contract between page and server.

Imports nothing of Django, so that clients and tools can read it too. A connection
joins a room, is sent the room's ``History``, and from then on what happens there.
What it asks for, it gets an answer to: ``GetUser`` and ``ExportRoom``.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from wskit_channels import Message, Rpc

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
    key: UUID | None = None
    """What its writer's page called it: there it takes the place of what was waiting."""


# From the page


class JoinRoom(Message, type="JOIN_ROOM"):
    room: RoomSlug


class LeaveRoom(Message, type="LEAVE_ROOM"):
    room: RoomSlug


class SendMessage(Message, type="SEND_MESSAGE"):
    """
    Say something in a room that this connection has joined.

    Whoever does not know whether it arrived sends it again, under the same key: it is
    said once.
    """

    room: RoomSlug
    text: LineText
    key: UUID = Field(default_factory=uuid4)


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


# Asked by the page, answered by the server


class UserOut(BaseModel):
    """A user, as the others may know them; made of Django's own by ``model_validate``."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    username: str
    date_joined: datetime
    lines_written: int


class UserResponse(Message, type="USER_RESPONSE"):
    user: UserOut


class GetUser(Rpc[UserResponse], type="GET_USER"):
    id: int


class ExportProgress(BaseModel):
    """How many lines have been read, of how many that the export will have."""

    done: int
    total: int


class ExportReady(Message, type="EXPORT_READY"):
    text: str
    """The room's lines, oldest first, one a line of text."""

    lines: int
    complete: bool
    """Whether that is all: of a very long history the export has only the latest lines."""


class ExportRoom(Rpc[ExportReady, ExportProgress], type="EXPORT_ROOM"):
    """Get the history of a room that this connection has joined."""

    room: RoomSlug
