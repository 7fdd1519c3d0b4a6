"""The chat's calls: what is asked, how it is answered, and how it is given up."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from example_project.chat import export
from example_project.chat.models import ChatLine, Room

from .conftest import Arrives, Member

pytestmark = pytest.mark.django_db(transaction=True)

AN_HOUR = 3600.0
PROGRESS = "$ws:rpc-progress"


@pytest.fixture(autouse=True)
def quick_exports() -> Iterator[None]:
    with override_settings(CHAT_EXPORT_BATCH=2, CHAT_EXPORT_PAUSE=0.0):
        yield


async def write(room: Room, author: User, *texts: str) -> None:
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    await ChatLine.objects.abulk_create(
        ChatLine(room=room, author=author, text=text, created_at=noon) for text in texts
    )


async def answer(member: Member) -> tuple[list[Any], str, Any]:
    """Return the progress that a call reports, and the type and payload that end it."""
    progress = []
    while (heard := await member.hears())[0] == PROGRESS:
        progress.append(heard[1])
    return progress, *heard


async def export_amid(member: Member, room: Room) -> None:
    """Ask for an export, and come back when it has read a batch and pauses."""
    await member.asks("EXPORT_ROOM", room=room.slug)
    assert await member.hears() == (PROGRESS, {"done": 0, "total": 3})
    assert await member.hears() == (PROGRESS, {"done": 2, "total": 3})


async def test_a_profile_is_found(arrives: Arrives, alice: User, bob: User, lobby: Room) -> None:
    await write(lobby, bob, "one", "two")
    member = await arrives(alice)

    await member.asks("GET_USER", id=bob.pk)

    type_, reply = await member.hears()
    assert type_ == "USER_RESPONSE"
    assert datetime.fromisoformat(reply["user"].pop("date_joined")) == bob.date_joined
    assert reply == {"user": {"id": bob.pk, "username": "bob", "lines_written": 2}}


@pytest.mark.parametrize("id", [0, 2**63])
async def test_a_profile_that_is_not_there_is_not_found(
    arrives: Arrives, alice: User, id: int
) -> None:
    member = await arrives(alice)

    await member.asks("GET_USER", id=id)

    type_, error = await member.hears()
    assert (type_, error["code"]) == ("RPC_ERROR", "NOT_FOUND")


async def test_an_export_reports_progress_and_then_replies(
    arrives: Arrives, alice: User, bob: User, lobby: Room
) -> None:
    await write(lobby, alice, "one", "two")
    await write(lobby, bob, "three\n2026-05-01 12:00:00 alice: never said", "four", "five")
    member = await (await arrives(alice)).joins(lobby)

    await member.asks("EXPORT_ROOM", room="lobby")

    progress, type_, reply = await answer(member)
    # How many come in between is a matter of time: they are throttled.
    assert (progress[0], progress[-1]) == ({"done": 0, "total": 5}, {"done": 5, "total": 5})
    assert progress == sorted(progress, key=lambda report: report["done"])
    text = (
        "2026-05-01 12:00:00 alice: one\n"
        "2026-05-01 12:00:00 alice: two\n"
        "2026-05-01 12:00:00 bob: three\n"
        "    2026-05-01 12:00:00 alice: never said\n"
        "2026-05-01 12:00:00 bob: four\n"
        "2026-05-01 12:00:00 bob: five\n"
    )
    assert (type_, reply) == ("EXPORT_READY", {"text": text, "lines": 5, "complete": True})


async def test_an_export_of_a_very_long_history_has_its_latest_lines(
    arrives: Arrives, alice: User, lobby: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MOST_LINES", 3)
    await write(lobby, alice, "one", "two", "three", "four")
    member = await (await arrives(alice)).joins(lobby)

    await member.asks("EXPORT_ROOM", room="lobby")

    progress, _, reply = await answer(member)
    assert progress[-1] == {"done": 3, "total": 3}
    assert [line.split()[-1] for line in reply["text"].splitlines()] == ["two", "three", "four"]
    assert (reply["lines"], reply["complete"]) == (3, False)


async def test_an_empty_room_has_an_empty_export(
    arrives: Arrives, alice: User, lobby: Room
) -> None:
    member = await (await arrives(alice)).joins(lobby)

    await member.asks("EXPORT_ROOM", room="lobby")

    _, type_, reply = await answer(member)
    assert (type_, reply) == ("EXPORT_READY", {"text": "", "lines": 0, "complete": True})


async def test_exporting_before_joining_is_refused(
    arrives: Arrives, alice: User, lobby: Room
) -> None:
    member = await arrives(alice)

    await member.asks("EXPORT_ROOM", room="lobby")

    type_, error = await member.hears()
    assert (type_, error["code"]) == ("RPC_ERROR", "FAILED_PRECONDITION")


@override_settings(CHAT_EXPORT_PAUSE=AN_HOUR)
async def test_giving_up_an_export_stops_it(
    arrives: Arrives, alice: User, lobby: Room, caplog: pytest.LogCaptureFixture
) -> None:
    await write(lobby, alice, "one", "two", "three")
    member = await (await arrives(alice)).joins(lobby)
    await export_amid(member, lobby)

    await member.gives_up()

    type_, error = await member.hears()
    assert (type_, error["code"]) == ("RPC_ERROR", "CANCELLED")
    # The answer does not wait for the handler; that of another call comes after its end.
    await member.asks("GET_USER", id=alice.pk)
    assert (await member.hears())[0] == "USER_RESPONSE"
    assert said_by_handlers(caplog) == ["export cancelled: room=lobby done=2"]


@override_settings(CHAT_EXPORT_PAUSE=AN_HOUR)
async def test_hanging_up_amid_an_export_stops_it(
    arrives: Arrives, alice: User, lobby: Room, caplog: pytest.LogCaptureFixture
) -> None:
    await write(lobby, alice, "one", "two", "three")
    member = await (await arrives(alice)).joins(lobby)
    await export_amid(member, lobby)

    await member.socket.disconnect()

    assert said_by_handlers(caplog) == ["export cancelled: room=lobby done=2"]


@override_settings(CHAT_EXPORT_PAUSE=AN_HOUR)
async def test_many_exports_at_once_are_refused(arrives: Arrives, alice: User, lobby: Room) -> None:
    await write(lobby, alice, "one")
    member = await (await arrives(alice)).joins(lobby)

    for number in range(5):
        await member.asks("EXPORT_ROOM", call=f"call-{number}", room="lobby")

    while (heard := await member.hears())[0] == PROGRESS:
        pass
    assert (heard[0], heard[1]["code"]) == ("RPC_ERROR", "RESOURCE_EXHAUSTED")


def said_by_handlers(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if (record.name, record.levelno) == ("example_project.chat.handlers", logging.INFO)
    ]
