"""
Topic policy: an application's rules for its topics, general or for one class of them.

A hook that is bound to a ``Topic`` class is asked only about topics of that class, and
is given the typed topic; a general one is asked about all and is given the name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from wskit_channels.protocol.topics import Topic
from wskit_channels.routing.functions import from_within, is_async, name_of
from wskit_channels.routing.log import fields

if TYPE_CHECKING:
    from wskit_channels.routing.peer import Peer

__all__ = ["Bound", "Policy", "TopicAction"]

logger = logging.getLogger("wskit_channels.topics")

TopicAction = Literal["subscribe", "unsubscribe", "publish"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A policy hook, and the class of topics that it is for; None is for all."""

    function: Callable[..., Any]
    kind: type[Topic[Any]] | None = None

    def seen(self, topic: str) -> Any | None:
        """The topic as this hook is given it; None where it is not asked."""
        return topic if self.kind is None else self.kind.match(topic)


@dataclass(slots=True)
class Policy:
    """A router's policy hooks, in the order of registering."""

    normalize: list[Bound] = field(default_factory=list)
    authorize: list[Bound] = field(default_factory=list)
    on_subscribe: list[Bound] = field(default_factory=list)
    on_unsubscribe: list[Bound] = field(default_factory=list)

    def extended(self, other: Policy) -> Policy:
        """This policy and another router's, which comes after."""
        return Policy(
            [*self.normalize, *other.normalize],
            [*self.authorize, *other.authorize],
            [*self.on_subscribe, *other.on_subscribe],
            [*self.on_unsubscribe, *other.on_unsubscribe],
        )

    def normalized(self, topic: str) -> str:
        """
        A topic's name after every normalise hook; these are plain functions of a name.

        Raises:
            Exception: Whatever a hook raises.
        """
        for hook in self.normalize:
            seen = hook.seen(topic)
            if seen is not None:
                topic = str(hook.function(seen))
        return topic

    async def allows(self, peer: Peer, action: TopicAction, topic: str) -> bool:
        """
        Whether every authorise hook returns true; no other answer allows.

        Raises:
            Exception: Whatever a hook raises.
        """
        for hook in self.authorize:
            seen = hook.seen(topic)
            if seen is not None and not await _ask(peer, hook, action, seen, peer.hook_context()):
                return False
        return True

    async def tell(self, peer: Peer, hooks: list[Bound], topic: str) -> None:
        """Run hooks that look on; one that raises is logged, and the next one runs."""
        for hook in hooks:
            seen = hook.seen(topic)
            if seen is None:
                continue
            try:
                await _ask(peer, hook, seen, peer.hook_context())
            except Exception:
                logger.exception("hook failed: hook=%s", name_of(hook.function), extra=fields(peer))


async def _ask(peer: Peer, hook: Bound, *args: Any) -> Any:
    if is_async(hook.function):
        return await from_within(hook.function(*args))
    return await peer.transport.run_sync(hook.function, *args)
