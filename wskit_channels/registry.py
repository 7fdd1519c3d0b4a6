"""
The registry: the connections that an event loop serves, from accept to the last hook.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

from wskit_channels.control import Bus
from wskit_channels.identity import Identities, digest
from wskit_channels.revalidation import Revalidation

if TYPE_CHECKING:
    from wskit_channels.live import Live

__all__ = ["Registry", "registry_here"]


class Registry:
    """One event loop's connections by client id. Used in that loop's thread only."""

    def __init__(self) -> None:
        self.live: dict[str, Live] = {}
        self.identities = Identities()
        self.drained: asyncio.Future[None] | None = None
        """The drain, once one has begun: from then on new handshakes are refused."""

        self.told_of_sigterm = False
        """Whether the operator was told that SIGTERM cannot drain here."""

        self.bus = Bus(self)
        self.revalidation = Revalidation(self)
        self._by_user: dict[str, dict[Live, None]] = {}
        self._by_session: dict[str, dict[Live, None]] = {}
        self._emptied: list[asyncio.Future[None]] = []

    def add(self, live: Live) -> None:
        self.bus.listen(at_once=False)
        self.live[live.client_id] = live
        self.index(live)

    def remove(self, live: Live) -> None:
        if self.live.pop(live.client_id, None) is None:
            return
        self.unindex(live)
        if not self.live:
            self.bus.leave()
            self.identities.forget_all()  # from now on orders are not heard
            self.revalidation.stop()
            for waiter in self._emptied:
                if not waiter.done():
                    waiter.set_result(None)
            self._emptied.clear()

    def index(self, live: Live) -> None:
        """Note whose connection this is."""
        for index, key in self._places(live):
            index.setdefault(key, {})[live] = None
        if live.account.identity is not None:
            self.bus.listen(at_once=True)
            self.revalidation.watch(live.account.identity)

    def unindex(self, live: Live) -> None:
        """Forget whose it is; before that changes."""
        for index, key in self._places(live):
            there = index.get(key, {})
            there.pop(live, None)
            if not there:
                index.pop(key, None)

    def _places(self, live: Live) -> list[tuple[dict[str, dict[Live, None]], str]]:
        identity, session = live.account.identity, live.account.session_key
        places = []
        if identity is not None:
            places.append((self._by_user, identity.user))
        if session is not None:
            places.append((self._by_session, digest(session)))
        return places

    def of_user(self, pk: str) -> list[Live]:
        return list(self._by_user.get(pk, ()))

    def of_session(self, hashed: str) -> list[Live]:
        """The connections of a session, by its key's ``digest``."""
        return list(self._by_session.get(hashed, ()))

    async def emptied(self) -> None:
        """Wait until no connection is left."""
        while self.live:
            waiter = asyncio.get_running_loop().create_future()
            self._emptied.append(waiter)
            await waiter


_registries: MutableMapping[asyncio.AbstractEventLoop, Registry] = weakref.WeakKeyDictionary()


def registry_here() -> Registry:
    """The running loop's registry."""
    loop = asyncio.get_running_loop()
    registry = _registries.get(loop)
    if registry is None:
        registry = _registries[loop] = Registry()
    return registry
