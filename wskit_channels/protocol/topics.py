"""
Topics: which names are legal (``PROTOCOL 6``), and classes that make and read them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from string import Formatter
from typing import Any, ClassVar, Generic, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import TypeVar

from wskit_channels.protocol.errors import PubSubError
from wskit_channels.protocol.limits import Limits

__all__ = ["Topic", "check_topic", "topic_name"]

_pattern = lru_cache(maxsize=64)(re.compile)


def check_topic(topic: object, limits: Limits) -> str:
    """
    Return a topic name that is legal, as it is.

    Raises:
        PubSubError: ``INVALID_TOPIC``, its details saying why.
    """
    if not isinstance(topic, str):
        raise PubSubError("INVALID_TOPIC", "A topic is a string", details={"reason": "type"})
    if len(topic) > limits.max_topic_length:
        raise PubSubError(
            "INVALID_TOPIC",
            "The topic is too long",
            details={"reason": "length", "length": len(topic), "max": limits.max_topic_length},
        )
    if _pattern(limits.topic_pattern).fullmatch(topic) is None:
        raise PubSubError(
            "INVALID_TOPIC", "The topic has characters it must not", details={"reason": "pattern"}
        )
    return topic


MsgT = TypeVar("MsgT")


class Topic(BaseModel, Generic[MsgT]):
    """
    A kind of topic: how its names are built, and what may be published there.

    ``class RoomTopic(Topic[Joined | Said], pattern="room:{room_id}")`` with the field
    ``room_id: str``. ``str(topic)`` is its name, ``RoomTopic.parse(name)`` and
    ``RoomTopic.match(name)`` read one. Publishing another message to it is a type
    error, and at run time a result with ``VALIDATION``.

    Raises:
        TypeError: When declared with a pattern that does not name each field once, or
            without saying what may be published.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    __wskit_pattern__: ClassVar[str] = ""
    __wskit_regex__: ClassVar[re.Pattern[str] | None] = None
    __wskit_messages__: ClassVar[tuple[type[Any], ...]] = ()

    # For type checkers: the class keyword. The work is done below, once fields are known.
    def __init_subclass__(cls, *, pattern: str = "", **config: Any) -> None:
        super().__init_subclass__(**config)

    @classmethod
    def __pydantic_init_subclass__(cls, *, pattern: str = "", **config: Any) -> None:
        super().__pydantic_init_subclass__(**config)
        arguments = cls.__pydantic_generic_metadata__
        if arguments["origin"] is Topic and not isinstance(arguments["args"][0], TypeVar):
            union = arguments["args"][0]
            messages = get_args(union) or (union,)
            cls.__wskit_messages__ = tuple(object if one is Any else one for one in messages)
        if pattern:
            if not cls.__wskit_messages__:
                raise TypeError(f"{cls.__name__}: write Topic[SomeMessage | Another].")
            cls.__wskit_pattern__ = pattern
            cls.__wskit_regex__ = _compile(cls, pattern)

    def __str__(self) -> str:
        """
        The topic's name.

        Raises:
            ValueError: If the fields' values would read back as others.
        """
        values = {name: _text(value) for name, value in self.model_dump(mode="json").items()}
        name = self.__wskit_pattern__.format(**values)
        if self.match(name) != self:
            raise ValueError(f"{self!r} has no name of its own by {self.__wskit_pattern__!r}.")
        return name

    @classmethod
    def match(cls, name: str) -> Self | None:
        """The topic of this name, or None if it is of another kind."""
        try:
            return cls.parse(name)
        except ValueError:
            return None

    @classmethod
    def parse(cls, name: str) -> Self:
        """
        The topic of this name.

        Raises:
            ValueError: If it is of another kind.
        """
        regex = cls.__wskit_regex__
        found = regex.fullmatch(name) if regex is not None else None
        if found is None:
            raise ValueError(f"{name!r} is no {cls.__name__}")
        try:
            return cls.model_validate_strings(found.groupdict())
        except ValidationError:
            raise ValueError(f"{name!r} is no {cls.__name__}") from None


def topic_name(topic: str | Topic[Any]) -> str:
    """
    A topic's name, given either way.

    Raises:
        PubSubError: ``INVALID_TOPIC`` if a typed topic has no name.
    """
    if not isinstance(topic, Topic):
        return topic
    try:
        return str(topic)
    except ValueError as error:
        details = {"reason": "ambiguous"}
        raise PubSubError("INVALID_TOPIC", "The topic has no name", details=details) from error


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _compile(cls: type[Topic[Any]], pattern: str) -> re.Pattern[str]:
    parts: list[str] = []
    named: list[str] = []
    for literal, field, _, _ in Formatter().parse(pattern):
        parts.append(re.escape(literal))
        if field is not None:
            named.append(field)
            parts.append(f"(?P<{field}>.+?)")
    if sorted(named) != sorted(cls.model_fields):
        raise TypeError(
            f"{cls.__name__}: the pattern {pattern!r} names {named}, "
            f"but the fields are {list(cls.model_fields)}; each stands in it once."
        )
    return re.compile("".join(parts))
