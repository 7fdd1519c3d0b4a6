"""The chat as its clients meet it: frames in, frames out, one promise a test."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient

from example_project.chat import handlers
from example_project.chat.handlers import HISTORY_LENGTH
from example_project.chat.messages import Person
from example_project.chat.models import ChatLine, Room
from wskit_channels.codegen.contract import contract_of

from .conftest import Arrives, open_socket

# Handlers use the database from threads of their own, so the data must be committed.
pytestmark = pytest.mark.django_db(transaction=True)


def on_wire(line: ChatLine, author: User) -> dict[str, Any]:
    return handlers.line_of(line, person(author)).model_dump(mode="json")


def person(user: User) -> Person:
    return Person(id=user.pk, name=user.username)


async def test_anonymous_visitors_are_turned_away() -> None:
    socket = open_socket(AsyncClient())

    await socket.connect()

    assert (await socket.receive_output(timeout=5))["code"] == 4401


async def test_joining_brings_the_history_oldest_first(
    arrives: Arrives, alice: User, lobby: Room
) -> None:
    first = await lobby.lines.acreate(author=alice, text="first")
    second = await lobby.lines.acreate(author=alice, text="second")
    member = await arrives(alice)

    await member.says("JOIN_ROOM", room="lobby")

    lines = [on_wire(first, alice), on_wire(second, alice)]
    assert await member.hears() == ("HISTORY", {"room": "lobby", "lines": lines, "earlier": False})


async def test_history_of_a_talkative_room_is_cut(
    arrives: Arrives, alice: User, lobby: Room
) -> None:
    texts = [str(number) for number in range(HISTORY_LENGTH + 1)]
    await ChatLine.objects.abulk_create(
        ChatLine(room=lobby, author=alice, text=text) for text in texts
    )
    member = await arrives(alice)

    await member.says("JOIN_ROOM", room="lobby")

    _, history = await member.hears()
    assert [line["text"] for line in history["lines"]] == texts[1:]
    assert history["earlier"] is True


async def test_joining_a_room_that_is_not_there_is_refused(arrives: Arrives, alice: User) -> None:
    member = await arrives(alice)

    await member.says("JOIN_ROOM", room="attic")

    type_, error = await member.hears()
    assert (type_, error["code"]) == ("ERROR", "NOT_FOUND")


async def test_a_joiner_is_announced_to_the_others(
    arrives: Arrives, alice: User, bob: User, lobby: Room
) -> None:
    first = await (await arrives(alice)).joins(lobby)

    await (await arrives(bob)).joins(lobby)

    joined = {"room": "lobby", "user": {"id": bob.pk, "name": "bob"}}
    assert await first.hears() == ("USER_JOINED", joined)


async def test_a_line_reaches_everybody_in_the_room(
    arrives: Arrives, alice: User, bob: User, lobby: Room
) -> None:
    writer = await (await arrives(alice)).joins(lobby)
    reader = await (await arrives(bob)).joins(lobby)
    assert (await writer.hears())[0] == "USER_JOINED"

    await writer.says("SEND_MESSAGE", room="lobby", text="hello")

    heard = [await writer.hears(), await reader.hears()]
    line = await ChatLine.objects.aget()
    assert heard == [("NEW_MESSAGE", {"room": "lobby", "line": on_wire(line, alice)})] * 2
    assert (line.room_id, line.author_id, line.text) == ("lobby", alice.pk, "hello")


async def test_a_line_sent_twice_is_said_once(arrives: Arrives, alice: User, lobby: Room) -> None:
    writer = await (await arrives(alice)).joins(lobby)
    key = str(uuid4())

    await writer.says("SEND_MESSAGE", room="lobby", text="hello", key=key)
    await writer.says("SEND_MESSAGE", room="lobby", text="hello", key=key)

    heard = [await writer.hears(), await writer.hears()]
    line = on_wire(await ChatLine.objects.aget(), alice)
    assert heard == [("NEW_MESSAGE", {"room": "lobby", "line": line})] * 2
    assert line["key"] == key


async def test_two_people_may_use_the_same_key(
    arrives: Arrives, alice: User, bob: User, lobby: Room
) -> None:
    key = str(uuid4())
    for user in (alice, bob):
        member = await (await arrives(user)).joins(lobby)
        await member.says("SEND_MESSAGE", room="lobby", text=f"{user} was here", key=key)
        while (heard := await member.hears())[0] != "NEW_MESSAGE":
            pass
        assert heard[1]["line"]["text"] == f"{user} was here"


async def test_whatever_is_sent_is_declared(
    arrives: Arrives, alice: User, bob: User, lobby: Room, caplog: pytest.LogCaptureFixture
) -> None:
    """Else the contracts would not list it."""
    witness = await (await arrives(alice)).joins(lobby)
    member = await (await arrives(bob)).joins(lobby)
    await member.says("SEND_MESSAGE", room="lobby", text="hello")
    await member.says("LEAVE_ROOM", room="lobby")

    heard = [(await witness.hears())[0] for _ in range(3)]
    listed = {message.type for message in contract_of(handlers.router).sent}
    assert listed == {"HISTORY", *heard}
    assert "not declared" not in caplog.text


async def test_a_line_stays_in_its_room(
    arrives: Arrives, alice: User, bob: User, lobby: Room, kitchen: Room
) -> None:
    writer = await (await (await arrives(alice)).joins(lobby)).joins(kitchen)
    reader = await (await arrives(bob)).joins(kitchen)

    await writer.says("SEND_MESSAGE", room="lobby", text="for the lobby")
    await writer.says("SEND_MESSAGE", room="kitchen", text="for the kitchen")

    _, first_heard = await reader.hears()
    assert first_heard["line"]["text"] == "for the kitchen"


async def test_joining_again_is_not_announced_again(
    arrives: Arrives, alice: User, bob: User, lobby: Room
) -> None:
    witness = await (await arrives(alice)).joins(lobby)
    member = await (await arrives(bob)).joins(lobby)
    assert (await witness.hears())[0] == "USER_JOINED"

    await member.joins(lobby)
    await member.says("SEND_MESSAGE", room="lobby", text="hello")

    assert (await witness.hears())[0] == "NEW_MESSAGE"


async def test_speaking_before_joining_is_refused(
    arrives: Arrives, alice: User, lobby: Room
) -> None:
    member = await arrives(alice)

    await member.says("SEND_MESSAGE", room="lobby", text="hello")

    error = {
        "code": "FAILED_PRECONDITION",
        "message": "Join the room first.",
        "retryable": False,
    }
    assert await member.hears() == ("ERROR", error)
    assert await ChatLine.objects.acount() == 0


async def test_a_blank_line_is_refused(arrives: Arrives, alice: User, lobby: Room) -> None:
    member = await (await arrives(alice)).joins(lobby)

    await member.says("SEND_MESSAGE", room="lobby", text="  ")

    type_, error = await member.hears()
    assert (type_, error["code"]) == ("ERROR", "INVALID_ARGUMENT")
    assert [issue["path"] for issue in error["details"]["issues"]] == [["payload", "text"]]
    assert await ChatLine.objects.acount() == 0


async def test_leaving_is_announced_to_the_others(
    arrives: Arrives, alice: User, bob: User, lobby: Room
) -> None:
    witness = await (await arrives(alice)).joins(lobby)
    member = await (await arrives(bob)).joins(lobby)
    assert (await witness.hears())[0] == "USER_JOINED"

    await member.says("LEAVE_ROOM", room="lobby")

    left = {"room": "lobby", "user": {"id": bob.pk, "name": "bob"}}
    assert await witness.hears() == ("USER_LEFT", left)


async def test_who_has_left_hears_no_more(
    arrives: Arrives, alice: User, bob: User, lobby: Room, kitchen: Room
) -> None:
    writer = await (await (await arrives(alice)).joins(lobby)).joins(kitchen)
    member = await (await (await arrives(bob)).joins(kitchen)).joins(lobby)
    await member.says("LEAVE_ROOM", room="lobby")
    assert [(await writer.hears())[0] for _ in range(3)] == [
        "USER_JOINED",
        "USER_JOINED",
        "USER_LEFT",
    ]

    await writer.says("SEND_MESSAGE", room="lobby", text="not for bob")
    await writer.says("SEND_MESSAGE", room="kitchen", text="for bob")

    _, first_heard = await member.hears()
    assert first_heard["line"]["text"] == "for bob"


async def test_hanging_up_is_announced_to_the_others(
    arrives: Arrives, alice: User, bob: User, lobby: Room
) -> None:
    witness = await (await arrives(alice)).joins(lobby)
    member = await (await arrives(bob)).joins(lobby)
    assert (await witness.hears())[0] == "USER_JOINED"

    await member.socket.disconnect()

    left = {"room": "lobby", "user": {"id": bob.pk, "name": "bob"}}
    assert await witness.hears() == ("USER_LEFT", left)
