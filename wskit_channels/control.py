"""
Orders to all processes: close the connections of a client, a session or a user, or look
at whether some users may stay.

The event loops of this process carry them out at once. To the others they go the way of a
publish, through the channel layer, on a topic that no application can name.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from channels.layers import channel_layers, get_channel_layer

from wskit_channels import hub, publish, relay
from wskit_channels.admission import LOGGED_OUT
from wskit_channels.protocol.backlog import Entry
from wskit_channels.routing.table import Hooks

if TYPE_CHECKING:
    from wskit_channels.registry import Registry

__all__ = ["Bus", "agive", "give", "give_here"]

logger = logging.getLogger("wskit_channels.auth")

NAMESPACE: Final = "\0wskit"
TOPIC: Final = "control"
PATIENCE: Final = 0.5
"""Seconds that anonymous connections are not listened for in the layer."""

CATCH_UP: Final = 2.0
"""Seconds after it began to listen at which a process looks at who came before."""

LONGEST_WAIT: Final = 30.0
"""Seconds between two tries to join, at most, where the channel layer fails."""


def _alias() -> str:
    """The layer that orders take: the same one in every process of a project."""
    names = sorted(channel_layers.configs)
    return "default" if "default" in names or not names else str(names[0])


def give(**order: Any) -> None:
    """Give an order to all processes, from any code. Never raises."""
    publish.deliver((TOPIC, _given(order)), NAMESPACE, _alias())


async def agive(**order: Any) -> None:
    """The same for async code: the order has gone out when it returns."""
    await publish.adeliver((TOPIC, _given(order)), NAMESPACE, _alias())


def give_here(**order: Any) -> None:
    """Give an order to this process alone, from any code."""
    with _buses_lock:
        buses = list(_buses)
    for bus in buses:
        bus.hand_over(order)


def _given(order: dict[str, Any]) -> str:
    """Have an order carried out in this process; the frame that carries it to others."""
    give_here(**order)
    return json.dumps({**order, "by": relay.this_process()})


_buses: weakref.WeakSet[Bus] = weakref.WeakSet()
_buses_lock = threading.Lock()


def _after_fork() -> None:
    global _buses_lock
    _buses_lock = threading.Lock()
    _buses.clear()  # a child serves none of its parent's connections


os.register_at_fork(after_in_child=_after_fork)


class Bus:
    """Where an event loop's registry hears orders, while it has connections."""

    client_id = ""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._loop = weakref.ref(asyncio.get_running_loop())  # which keeps the registry
        self._thread = threading.get_ident()
        self._hub: hub.Hub | None = None
        self._hooks = Hooks(on_layer_recovered=[self._recovered])
        self._joining: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        with _buses_lock:
            _buses.add(self)

    def listen(self, *, at_once: bool) -> None:
        """
        Begin to listen, or a little later.

        Anonymous visitors that come and go cost the layer nothing: until the first
        subscription it would have no receiver in this process.
        """
        loop = asyncio.get_running_loop()
        if self._joining is None and at_once:
            self._stop_waiting()
            self._joining = loop.create_task(self._join())
        elif self._joining is None and self._later is None:
            self._later = loop.call_later(PATIENCE, lambda: self.listen(at_once=True))

    def _stop_waiting(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def leave(self) -> None:
        """Listen no more."""
        self._stop_waiting()
        if self._joining is not None:
            self._joining.cancel()
            self._joining = None
        if self._hub is not None:
            self._hub.leave(TOPIC, self)
            self._hub = None

    async def _join(self) -> None:
        wait = 1.0
        while True:
            try:
                self._hub = hub.hub_for(get_channel_layer(_alias()), NAMESPACE)
                self._hub.observed_by(self._hooks)
                await self._hub.join(TOPIC, self)
            except Exception as error:  # noqa: BLE001 - any layer's
                logger.warning("orders of other processes are not heard: %s", type(error).__name__)
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT)
            else:
                break
        if self._hub.reaches_others:
            # What was ordered elsewhere before we listened, nobody here has heard.
            asyncio.get_running_loop().call_later(CATCH_UP, self._catch_up)

    def _recovered(self, downtime: float) -> None:
        """The layer was away, and with it what others ordered meanwhile."""
        self._catch_up()

    def _catch_up(self) -> None:
        registry = self._registry
        registry.identities.forget_all()
        registry.revalidation.check(list(registry.live.values()))

    def hand_over(self, order: dict[str, Any]) -> None:
        """Have an order carried out in this loop; from any thread."""
        loop = self._loop()
        if threading.get_ident() == self._thread:
            self._carry_out(order)
        elif loop is not None and not loop.is_closed():
            with suppress(RuntimeError):  # it closed just now, and its sockets with it
                loop.call_soon_threadsafe(self._carry_out, order)

    def share(self, entry: Entry) -> None:
        """Carry out an order that came as a publish; called by the hub, in this loop."""
        order: dict[str, Any] = json.loads(entry[0])
        if order.get("by") != relay.this_process():
            self._carry_out(order)

    def _carry_out(self, order: dict[str, Any]) -> None:
        registry = self._registry
        lives = []
        if saved := order.get("saved"):
            registry.identities.forget(saved)
        elif client := order.get("client"):
            lives = [registry.live[client]] if client in registry.live else []
        else:
            registry.identities.forget_all()
        if session := order.get("session"):
            lives = registry.of_session(session)
            if order.get("named"):  # who was nobody before is not meant
                lives = [live for live in lives if live.account.identity is not None]
        elif user := order.get("user"):
            lives = registry.of_user(user)
        elif users := order.get("check"):
            registry.revalidation.check([live for user in users for live in registry.of_user(user)])
        for live in lives:
            live.transport.close(*LOGGED_OUT)
