"""
What no frame may hold: whatever makes a ws-kit client drop it.

That client validates strictly what it is sent: a key too many in the root or in ``meta``, a
payload that is null, and the frame is lost. An id that a call in flight owns would end
that call. Control frames are read by other rules.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Container, Mapping, MutableMapping
from typing import Any

import pytest

from wskit_channels.protocol import wire
from wskit_channels.protocol.calls import CallTable
from wskit_channels.routing.peer import Peer
from wskit_channels.transport import ConsumerTransport

__all__ = ["FrameWatch", "problem_of"]

ERRORS = ("ERROR", "RPC_ERROR")
OF_ERRORS = {"code", "message", "details", "retryable", "retryAfterMs"}


def problem_of(text: str, given: Container[str], open_ids: Container[str] = ()) -> str | None:
    """
    Why a ws-kit client would not take a frame, or would take it for another's.

    ``given`` are the meta keys that sending code has asked for; ``open_ids`` are the ids of
    the connection's calls that are still to be answered.
    """
    frame = json.loads(text)
    if str(frame.get("type")).startswith(("$ws:", "__")):
        return None
    if list(frame) not in (["type", "meta"], ["type", "meta", "payload"]):
        return f"its keys are {list(frame)}"
    meta = frame["meta"]
    if problem := _problem_of_meta(meta, given):
        return problem
    if "payload" in frame and not isinstance(frame["payload"], dict):
        return "its payload is no object"
    if meta.get("correlationId") in open_ids:
        return "its id belongs to a call in flight"
    if frame["type"] in ERRORS:
        if not {"code", "message"} <= set(frame.get("payload", ())) <= OF_ERRORS:
            return "it is no error as PROTOCOL 4 has it"
        if frame["type"] == "RPC_ERROR" and "correlationId" not in meta:
            return "it ends a call and does not say which"
    return None


def _problem_of_meta(meta: dict[str, Any], given: Container[str]) -> str | None:
    first, *others = meta
    if first != "timestamp" or type(meta["timestamp"]) is not int:
        return "its meta does not begin with a timestamp"
    if "correlationId" in others:
        if others.pop(0) != "correlationId":
            return "its meta is out of order"
        if not wire.carries_id(meta["correlationId"]):
            return "its id cannot be carried"
    extra = [key for key in others if key not in given]
    return f"its meta has {extra}" if extra else None


class FrameWatch:
    """Looks at every frame that a connection of this process is given to send."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._calls: MutableMapping[ConsumerTransport, CallTable] = weakref.WeakKeyDictionary()
        self._found: list[str] = []
        self._patch = pytest.MonkeyPatch()

    def start(self) -> None:
        self._patch.setattr(wire, "meta_suffix", self._noting(wire.meta_suffix))
        self._patch.setattr(ConsumerTransport, "__init__", self._watching(ConsumerTransport))
        self._patch.setattr(Peer, "__init__", self._remembering(Peer.__init__))

    def stop(self) -> None:
        self._patch.undo()

    def take(self) -> list[str]:
        """What was found since the last time."""
        found, self._found = self._found, []
        return found

    def look_at(self, text: str, open_ids: Container[str] = ()) -> None:
        if problem := problem_of(text, self._given, open_ids):
            self._found.append(f"{problem}: {text[:300]}")

    def _noting(self, meta_suffix: Callable[..., str]) -> Callable[..., str]:
        def noting(correlation_id: str | None, extended: Mapping[str, Any] | None = None) -> str:
            self._given.update(extended or ())
            return meta_suffix(correlation_id, extended)

        return noting

    def _watching(self, transport: type[ConsumerTransport]) -> Callable[..., None]:
        begin = transport.__init__

        def watching(made: ConsumerTransport, *args: Any, **options: Any) -> None:
            begin(made, *args, **options)
            write, share = made.write, made.share

            def watched_write(frame: str, *kind: Any) -> bool:
                self.look_at(frame, self._calls.get(made, ()))
                return write(frame, *kind)

            def watched_share(entry: Any) -> bool:
                self.look_at(entry[0], self._calls.get(made, ()))
                return share(entry)

            made.write, made.share = watched_write, watched_share  # type: ignore[method-assign]

        return watching

    def _remembering(self, begin: Callable[..., None]) -> Callable[..., None]:
        def remembering(peer: Peer, table: Any, transport: Any, *args: Any, **options: Any) -> None:
            begin(peer, table, transport, *args, **options)
            if isinstance(transport, ConsumerTransport):
                self._calls[transport] = peer.connection.calls

        return remembering
