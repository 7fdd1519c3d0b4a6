"""
Who may stay: looking again, now and then, at who the connections of an event loop are.

What Django's own signals tell is acted on at once; this is the backstop for the rest: a
user changed by ``QuerySet.update``, a session deleted behind everybody's back, one that
expired.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from channels.db import database_sync_to_async

from wskit_channels.admission import LOGGED_OUT
from wskit_channels.conf import get_settings
from wskit_channels.identity import Identity, still_valid
from wskit_channels.threads import pooled

if TYPE_CHECKING:
    from wskit_channels.live import Live
    from wskit_channels.registry import Registry

__all__ = ["Revalidation"]

logger = logging.getLogger("wskit_channels.auth")

JITTER: Final = 0.1
"""The part of the interval by which processes differ, so that they do not ask together."""

SLACK: Final = 0.2
"""Seconds after its time at which a session that expired is looked at."""


class Revalidation:
    """The timer of one registry, which runs while somebody is logged in."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._round: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._checks: set[asyncio.Task[None]] = set()

    def watch(self, identity: Identity | None) -> None:
        """Look at a connection from now on, as the settings and its session want it."""
        if identity is None:
            return
        loop = asyncio.get_running_loop()
        interval = get_settings().revalidate_interval
        if self._round is None and interval:
            wait = interval * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - jitter
            self._round = loop.call_later(wait, self._look_at_all)
        if identity.expires_at is not None:
            at = loop.time() + identity.expires_at - time.time() + SLACK
            if self._expiry is None or at < self._expiry.when():
                if self._expiry is not None:
                    self._expiry.cancel()
                self._expiry = loop.call_at(at, self._look_at_expired)

    def stop(self) -> None:
        """Nobody is left to look at."""
        for timer in (self._round, self._expiry):
            if timer is not None:
                timer.cancel()
        self._round = self._expiry = None

    def _look_at_all(self) -> None:
        self._round = None
        self.check(list(self._registry.live.values()))
        self._watch_all()

    def _look_at_expired(self) -> None:
        self._expiry = None
        now = time.time()
        expired = []
        for live in self._registry.live.values():
            identity = live.account.identity
            if (
                identity is not None
                and identity.expires_at is not None
                and identity.expires_at <= now
            ):
                expired.append(live)
                # Where it was extended meanwhile, its new end is nobody's to know: rounds go on.
                live.account.identity = replace(identity, expires_at=None)
        self.check(expired)
        self._watch_all()

    def _watch_all(self) -> None:
        for live in self._registry.live.values():
            self.watch(live.account.identity)

    def check(self, lives: Sequence[Live]) -> None:
        """Look at these connections now, in the background; close those that may not stay."""
        named = [live for live in lives if live.account.identity is not None]
        if named:
            task = asyncio.get_running_loop().create_task(self._check(named))
            self._checks.add(task)  # the loop keeps only a weak reference
            task.add_done_callback(self._checks.discard)

    async def _check(self, lives: list[Live]) -> None:
        # Tabs of one session are asked about once.
        identities = {live: live.account.identity for live in lives}
        unique = [one for one in dict.fromkeys(identities.values()) if one is not None]
        try:
            with pooled():
                valid = await database_sync_to_async(still_valid)(unique)
        except Exception as error:  # noqa: BLE001 - the next round may succeed
            logger.warning("users could not be looked at again: %s", type(error).__name__)
            return
        holds = dict(zip(unique, valid, strict=True))
        for live, identity in identities.items():
            # Who logged in as somebody else meanwhile is not meant.
            if identity is not None and not holds[identity] and live.account.identity == identity:
                live.transport.close(*LOGGED_OUT)
