"""
Heartbeats of an event loop's connections, on one timer.

An inbound frame costs a connection nothing here: it only notes the time. Its pulse is
looked at when it may be due, and then put back to when it may be next.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
import weakref
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

from wskit_channels.protocol import wire
from wskit_channels.protocol.heartbeat import Beat, Heartbeat, Pulse
from wskit_channels.routing.functions import observe

if TYPE_CHECKING:
    from wskit_channels.routing.peer import Peer

__all__ = ["watch"]

TICK = 0.05
"""Seconds by which checks are put off at most, so that many are made at a time."""

HOOK_TIMEOUT = 0.5
"""Seconds that a close waits for ``on_stale_connection``, which may choose another code."""


def watch(peer: Peer, heartbeat: Heartbeat) -> None:
    """Keep a connection's heartbeat from now until it has closed."""
    loop = asyncio.get_running_loop()
    monitor = _monitors.get(loop)
    if monitor is None:
        monitor = _monitors[loop] = Monitor()
    monitor.add(peer, Pulse(heartbeat, now=loop.time()), loop)


class Monitor:
    """The pulses of one loop, by when they are due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, weakref.ref[Peer], Pulse]] = []
        self._number = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, peer: Peer, pulse: Pulse, loop: asyncio.AbstractEventLoop) -> None:
        # Weak, so that a connection that has gone is not kept until its pulse is due.
        heapq.heappush(self._heap, (pulse.due, next(self._number), weakref.ref(peer), pulse))
        self._set_timer(loop)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        due = self._heap[0][0] + TICK
        if self._timer is None or self._timer.cancelled() or due < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(due, self._check, loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, number, ref, pulse = heapq.heappop(heap)
            peer = ref()
            if peer is None or peer.closed:
                continue
            beat = pulse.check(heard_at=peer.connection.heard_at, now=now)
            if beat is Beat.STALE:
                _give_up(peer)
                continue
            if beat is Beat.PING:
                peer.write(wire.ping_frame(now=time.time()))
            heapq.heappush(heap, (pulse.due, number, ref, pulse))
        if heap:
            self._set_timer(loop)


_monitors: MutableMapping[asyncio.AbstractEventLoop, Monitor] = weakref.WeakKeyDictionary()


def _give_up(peer: Peer) -> None:
    peer.log.info("closing: no sign of life")
    hooks = peer.table.hooks.on_stale_connection
    if hooks:
        told = asyncio.ensure_future(observe(hooks, peer.hook_context()))
        peer.finish(told)
        peer.finish(_close_after(peer, told))
    else:
        peer.transport.close(4000, "HEARTBEAT_TIMEOUT")


async def _close_after(peer: Peer, told: asyncio.Future[None]) -> None:
    await asyncio.wait({told}, timeout=HOOK_TIMEOUT)
    peer.transport.close(4000, "HEARTBEAT_TIMEOUT")
