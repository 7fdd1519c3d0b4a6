"""Classes of topics: ``protocol/topics.py``."""

from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from tests.helpers import named
from wskit_channels import Message, PubSubError, Topic
from wskit_channels.protocol.topics import topic_name


class Said(Message, type="SAID"):
    text: str


class Joined(Message, type="JOINED"):
    pass


class Colour(StrEnum):
    RED = "red"


class RoomTopic(Topic[Said | Joined], pattern="room:{room_id}"):
    room_id: str


class SeatTopic(Topic[Said], pattern="seat.{row}:{seat}"):
    row: str
    seat: str


class TypedTopic(Topic[Said], pattern="{number}/{flag}/{uuid}/{colour}"):
    number: int
    flag: bool
    uuid: UUID
    colour: Colour


class MaybeTopic(Topic[Said], pattern="maybe:{what}"):
    what: str | None


class Lobby(Topic[Said], pattern="lobby"):
    pass


TYPED = TypedTopic(number=-3, flag=True, uuid=UUID(int=7), colour=Colour.RED)


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        (RoomTopic(room_id="1"), "room:1"),
        (RoomTopic(room_id="a:b"), "room:a:b"),
        (RoomTopic(room_id="{room_id}"), "room:{room_id}"),
        (SeatTopic(row="A", seat="12:b"), "seat.A:12:b"),
        (TYPED, "-3/true/00000000-0000-0000-0000-000000000007/red"),
        (MaybeTopic(what="x"), "maybe:x"),
        (Lobby(), "lobby"),
    ],
    ids=str,
)
def test_a_name_is_read_back_as_the_topic_that_made_it(topic: Topic[Any], name: str) -> None:
    assert (str(topic), topic_name(topic)) == (name, name)
    assert type(topic).parse(name) == topic
    assert type(topic).match(name) == topic


@pytest.mark.parametrize(
    "topic",
    [RoomTopic(room_id=""), SeatTopic(row="A:1", seat="2"), MaybeTopic(what=None)],
    ids=named,
)
def test_a_topic_whose_name_would_read_back_as_another_has_none(topic: Topic[Any]) -> None:
    """Or who may join the one would be told what is said in the other."""
    with pytest.raises(ValueError, match="has no name of its own"):
        str(topic)
    with pytest.raises(PubSubError) as caught:
        topic_name(topic)
    assert (caught.value.code, caught.value.details) == ("INVALID_TOPIC", {"reason": "ambiguous"})


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (RoomTopic, "room:"),
        (RoomTopic, "rooms:1"),
        (RoomTopic, "a/room:1"),
        (RoomTopic, "ROOM:1"),
        (RoomTopic, "room:1\n2"),
        (SeatTopic, "seatxA:1"),
        (TypedTopic, "x/true/00000000-0000-0000-0000-000000000007/red"),
        (TypedTopic, "1/true/00000000-0000-0000-0000-000000000007/blue"),
        (Lobby, "lobby2"),
    ],
)
def test_a_name_of_another_kind(kind: type[Topic[Any]], name: str) -> None:
    assert kind.match(name) is None
    with pytest.raises(ValueError, match=f"is no {kind.__name__}$"):
        kind.parse(name)


def test_topics_are_values() -> None:
    room = RoomTopic(room_id="1")

    assert {room, RoomTopic(room_id="1")} == {room}
    with pytest.raises(ValidationError):
        room.room_id = "2"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        RoomTopic(room_id="1", seat="2")  # type: ignore[call-arg]


def test_a_name_is_a_name_already() -> None:
    assert topic_name("room:1") == "room:1"


@pytest.mark.parametrize("pattern", ["x", "x:{b}", "x:{a}{a}", "x:{a}:{b}", "x:{}", "x:{0}"])
def test_a_pattern_names_each_field_once(pattern: str) -> None:
    with pytest.raises(TypeError, match=r"^Bad: the pattern .* each stands in it once\.$"):

        class Bad(Topic[Said], pattern=pattern):
            a: str


def test_a_topic_says_what_may_be_published_there() -> None:
    with pytest.raises(TypeError, match=r"^Bad: write Topic\[SomeMessage | Another\]\.$"):

        class Bad(Topic, pattern="x:{a}"):  # type: ignore[type-arg]
            a: str


def test_a_class_without_a_pattern_is_a_base_of_others() -> None:
    class Base(Topic[Said]):
        a: str

    class Derived(Base, pattern="derived:{a}"):
        pass

    assert str(Derived(a="1")) == "derived:1"
    assert Derived.match("derived:1") == Derived(a="1")
    assert Base.match("derived:1") is None
    with pytest.raises(ValueError, match="has no name of its own"):
        str(Base(a="1"))


def test_a_pattern_may_hold_what_regular_expressions_and_formats_use() -> None:
    class Odd(Topic[Said], pattern="a.*{{x}}({a})"):
        a: str

    assert str(Odd(a="1")) == "a.*{x}(1)"
    assert Odd.match("a.*{x}(1)") == Odd(a="1")
    assert Odd.match("abb{x}(1)") is None
