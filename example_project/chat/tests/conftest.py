"""People at WebSockets, and rooms for them to meet in."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import connections
from django.test import AsyncClient

from example_project.asgi import application
from example_project.chat.models import Room


class Member:
    """One signed-in person at one WebSocket."""

    def __init__(self, socket: WebsocketCommunicator) -> None:
        self.socket = socket

    async def says(self, type: str, **payload: Any) -> None:
        await self.socket.send_json_to({"type": type, "payload": payload})

    async def asks(self, type: str, *, call: str = "call", **payload: Any) -> None:
        meta = {"correlationId": call}
        await self.socket.send_json_to({"type": type, "meta": meta, "payload": payload})

    async def gives_up(self) -> None:
        await self.socket.send_json_to({"type": "$ws:abort", "meta": {"correlationId": "call"}})

    async def hears(self) -> tuple[str, Any]:
        """Return the next frame's type, and its payload or, of progress, the data."""
        frame = await self.socket.receive_json_from(timeout=5)
        return frame["type"], frame.get("payload", frame.get("data"))

    async def joins(self, room: Room) -> "Member":
        await self.says("JOIN_ROOM", room=room.slug)
        assert (await self.hears())[0] == "HISTORY"
        return self


Arrives = Callable[[User], Awaitable[Member]]


@pytest.fixture
async def close_connections() -> AsyncIterator[None]:
    """The tests' own queries run in a thread, whose connection nobody else closes."""
    yield
    await sync_to_async(connections.close_all)()


@pytest.fixture
async def arrives(close_connections: None) -> AsyncIterator[Arrives]:
    sockets: list[WebsocketCommunicator] = []

    async def arrives(user: User) -> Member:
        browser = AsyncClient()
        await browser.aforce_login(user)
        socket = open_socket(browser)
        assert await socket.connect() == (True, None)
        sockets.append(socket)
        return Member(socket)

    yield arrives
    for socket in sockets:
        await socket.disconnect()


def open_socket(browser: AsyncClient) -> WebsocketCommunicator:
    """As that browser would, with its cookies, from a page of ours."""
    cookies = browser.cookies.output(attrs=[], header="", sep=";").strip()
    headers = [(b"origin", b"http://testserver"), (b"cookie", cookies.encode())]
    return WebsocketCommunicator(application, "/ws/", headers=headers)


@pytest.fixture
def alice() -> User:
    return get_user_model().objects.create_user("alice")


@pytest.fixture
def bob() -> User:
    return get_user_model().objects.create_user("bob")


@pytest.fixture
def lobby() -> Room:
    return Room.objects.create(slug="lobby", name="Lobby")


@pytest.fixture
def kitchen() -> Room:
    return Room.objects.create(slug="kitchen", name="Kitchen")
