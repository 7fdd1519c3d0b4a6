"""
What has changed between two AsyncAPI documents of ours, and what of it breaks clients.

A client that was written against the old version must find that all it sends is taken
still, and all that it reads is there still, of the same kind. A server may add what a
client passes over: messages, fields of what it sends, optional fields of what it takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from wskit_channels.codegen.frames import ERROR_CODE
from wskit_channels.codegen.narrowing import Comparison, Document

__all__ = ["Change", "NotComparable", "compare"]

WORDS_ONLY: Final = "only descriptions, defaults or the order of things"


class NotComparable(ValueError):
    """No document that ``wskit_asyncapi`` wrote."""


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One difference; sorted, those that break come first."""

    compatible: bool
    where: str
    what: str

    def __str__(self) -> str:
        return f"{'compatible' if self.compatible else 'breaking'}: {self.where}: {self.what}"


def compare(old: Document, new: Document) -> list[Change]:
    """
    All changes from one document to another; none if they are equal.

    Raises:
        NotComparable: If one was not written by this package.
    """
    before, after = _Api(old), _Api(new)
    found = {
        *_operations(before, after),
        *_error_codes(before, after),
        *_connection(before, after),
    }
    if not found and old != new:
        found.add(Change(True, "document", WORDS_ONLY))
    return sorted(found)


@dataclass(frozen=True, slots=True)
class _Operation:
    frame: Any
    replies: Mapping[str, Any]
    """Frames by the type that each has; none for an event."""


class _Api:
    """A document as clients see it: by types, not by keys."""

    def __init__(self, document: Document) -> None:
        self.document = document
        try:
            operations = [self._operation(one) for one in document["operations"].values()]
            self.received = {name: made for action, name, made in operations if action == "receive"}
            self.sent = {name: made for action, name, made in operations if action == "send"}
            codes = document["components"]["schemas"][ERROR_CODE]["oneOf"]
            self.codes = {one["const"]: one.get("x-wskit-retryable") for one in codes}
            (self.channel,) = document["channels"].values()
            (self.server,) = document["servers"].values()
            self.schemes = document["components"]["securitySchemes"]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise NotComparable("This is no document that wskit_asyncapi wrote.") from error

    def _operation(self, operation: Mapping[str, Any]) -> tuple[str, str, _Operation]:
        ((name, frame),) = self._messages(operation["messages"])
        replies = dict(self._messages(operation.get("reply", {}).get("messages", [])))
        return operation["action"], name, _Operation(frame, replies)

    def _messages(self, references: Iterable[Mapping[str, str]]) -> Iterator[tuple[str, Any]]:
        messages = self.document["components"]["messages"]
        for one in references:
            found = messages[one["$ref"].rpartition("/")[2]]
            yield found["name"], found["payload"]


def _operations(old: _Api, new: _Api) -> Iterator[Change]:
    for name in sorted(old.received.keys() | new.received.keys()):
        before, after = old.received.get(name), new.received.get(name)
        if before is None or after is None:
            yield _come_or_gone(name, "no longer taken", "now taken", gone=after is None)
        elif bool(before.replies) != bool(after.replies):
            kinds = ("an event", "a request")
            was, is_ = kinds[bool(before.replies)], kinds[bool(after.replies)]
            yield Change(False, name, f"was {was}, is {is_}")
        else:
            yield from _inbound(old, new, name, before.frame, after.frame)
            yield from _replies(old, new, name)
    for name in sorted(old.sent.keys() | new.sent.keys()):
        before, after = old.sent.get(name), new.sent.get(name)
        if before is None or after is None:
            yield _come_or_gone(name, "no longer sent", "now sent", gone=after is None)
        else:
            yield from _outbound(old, new, name, before.frame, after.frame)


def _come_or_gone(where: str, gone_text: str, come_text: str, *, gone: bool) -> Change:
    return Change(not gone, where, gone_text if gone else come_text)


def _replies(old: _Api, new: _Api, name: str) -> Iterator[Change]:
    before, after = old.received[name].replies, new.received[name].replies
    for type_ in sorted(before.keys() | after.keys()):
        where = f"{name} > {type_}"
        if type_ in before and type_ in after:
            yield from _outbound(old, new, where, before[type_], after[type_])
        else:
            # A reply of a type that a client does not expect is as bad as none.
            yield Change(False, where, "no longer a reply" if type_ in before else "a new reply")


def _inbound(old: _Api, new: _Api, where: str, before: Any, after: Any) -> Iterator[Change]:
    """The new server has to take what an old client sends."""
    forward = Comparison(wide=new.document, narrow=old.document, wide_is_new=True)
    backward = Comparison(wide=old.document, narrow=new.document, wide_is_new=False, lists=True)
    broken = forward.problems(after, before)
    yield from _told(where, broken, backward.problems(before, after))


def _outbound(old: _Api, new: _Api, where: str, before: Any, after: Any) -> Iterator[Change]:
    """An old client has to understand what the new server sends."""
    forward = Comparison(wide=old.document, narrow=new.document, wide_is_new=False, reads=True)
    backward = Comparison(wide=new.document, narrow=old.document, wide_is_new=True, lists=True)
    broken = forward.problems(before, after)
    yield from _told(where, broken, backward.problems(after, before))


def _told(where: str, broken: Iterable[Any], other: Iterable[Any]) -> Iterator[Change]:
    """The problems of clients, and what else has changed, each place once."""
    told = set()
    for problem in broken:
        told.add(problem.path)
        yield Change(False, f"{where} {problem.path}".rstrip(), problem.text)
    for problem in other:
        if problem.path not in told:
            yield Change(True, f"{where} {problem.path}".rstrip(), problem.text)


def _error_codes(old: _Api, new: _Api) -> Iterator[Change]:
    for code in sorted(old.codes.keys() | new.codes.keys()):
        where = f"error {code}"
        if code not in old.codes or code not in new.codes:
            # Clients have to live with codes that they do not know, but not to miss one.
            yield _come_or_gone(where, "no longer used", "added", gone=code not in new.codes)
        elif old.codes[code] != new.codes[code]:
            words = {True: "retryable", False: "not retryable", None: "undecided"}
            was, is_ = words[old.codes[code]], words[new.codes[code]]
            yield Change(True, where, f"was {was}, is {is_}")


def _connection(old: _Api, new: _Api) -> Iterator[Change]:
    was, is_ = old.channel.get("address"), new.channel.get("address")
    if was != is_:
        unknown = None in (was, is_)
        yield Change(unknown, "address", f"was {was or 'unknown'}, is {is_ or 'unknown'}")
    yield from _subprotocols(old, new)
    if bool(old.server.get("security")) != bool(new.server.get("security")):
        required = bool(new.server.get("security"))
        text = "are required now" if required else "are no longer required"
        yield Change(not required, "credentials", text)
    for name in sorted(old.schemes.keys() | new.schemes.keys()):
        where = f"credentials {name}"
        if name not in old.schemes or name not in new.schemes:
            yield _come_or_gone(where, "no longer taken", "now taken", gone=name not in new.schemes)
        elif _without_words(old.schemes[name]) != _without_words(new.schemes[name]):
            yield Change(False, where, "are carried by another name")


def _subprotocols(old: _Api, new: _Api) -> Iterator[Change]:
    key = "x-wskit-subprotocols"
    before, after = set(old.channel.get(key, ())), set(new.channel.get(key, ()))
    for name in sorted(before ^ after):
        yield _come_or_gone(
            f"subprotocol {name}", "no longer spoken", "now spoken", gone=name in before
        )


def _without_words(scheme: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in scheme.items() if key != "description"}
