"""
Whose a connection is, from its handshake on through logins and logouts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from channels.db import database_sync_to_async
from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import router

from wskit_channels.identity import NOBODY, Identities, Identity, Loaded, load, still_valid
from wskit_channels.protocol.limits import LimitExceeded
from wskit_channels.routing import handshake
from wskit_channels.seats import Seats

__all__ = ["SESSIONS", "Account", "SessionLoader"]

logger = logging.getLogger("wskit_channels.auth")

SESSIONS = "wskit_channels.sessions"
"""Scope key by which ``websocket_application`` says that it has checked the origin, so that
cookies count."""

DATABASE_ENGINES = (
    "django.contrib.sessions.backends.db",
    "django.contrib.sessions.backends.cached_db",
)

IDENTITY = "wskit_channels.identity"


def anonymous() -> Any:
    """Django's anonymous user, or ours where its auth app is not installed."""
    if not apps.is_installed("django.contrib.auth"):
        return handshake.NOBODY
    from django.contrib.auth.models import AnonymousUser

    return AnonymousUser()


def _session_key(cookies: Mapping[str, str]) -> str | None:
    """The session's key; None also where this project has no sessions to look it up in."""
    if settings.SESSION_ENGINE in DATABASE_ENGINES and not apps.is_installed(
        "django.contrib.sessions"
    ):
        return None
    return cookies.get(settings.SESSION_COOKIE_NAME)


class SessionLoader:
    """Loads what a handshake's session cookie stands for into its scope."""

    def __init__(self, scope: MutableMapping[str, Any], identities: Identities) -> None:
        self._scope = scope
        self._identities = identities

    async def load(self, cookies: Mapping[str, str]) -> None:
        """Load session and user in one thread hop, shared with tabs that ask for the same."""
        key = _session_key(cookies)
        self._put(await self._identities.get(key) if key else NOBODY)

    def load_now(self, cookies: Mapping[str, str]) -> None:
        """The same in a thread that may query the database."""
        key = _session_key(cookies)
        self._put(load(key) if key else NOBODY)

    def _put(self, loaded: Loaded) -> None:
        self._scope["session"] = loaded.session()
        self._scope["user"] = anonymous() if loaded.user is None else loaded.own_user()
        self._scope[IDENTITY] = loaded.identity


class Account:
    """
    The user of one connection, and what has to hold for them to stay.

    ``identity`` is None for an anonymous one. Changed by its owner alone, who tells the
    registry.
    """

    def __init__(self, scope: MutableMapping[str, Any], seats: Seats) -> None:
        self._scope = scope
        self._seats = seats
        self.session_key: str | None = getattr(scope.get("session"), "session_key", None)
        """The key of the session that the connection was opened with."""

        user, loaded = scope.get("user"), scope.get(IDENTITY)
        # What authenticate put in the user's place has nothing to do with the session.
        is_loaded = loaded is not None and loaded.user == str(getattr(user, "pk", None))
        self.identity: Identity | None = loaded if is_loaded else Identity.of(user)

    async def take_seat(self, user: Any) -> LimitExceeded | None:
        """Take a user's seat in the place of the one before; the limit that this crosses."""
        return await self._seats.take("user", None if user is None else user.pk)

    def become(self, user: Any, identity: Identity | None) -> None:
        """Make this the connection's user; None makes it anonymous."""
        self._scope["user"] = anonymous() if user is None else user
        self.identity = identity

    async def reloaded(self) -> tuple[Any, Identity | None]:
        """
        The user as the database has them now, and what holds from now on.

        Neither, where they may not stay: gone, inactive, logged out, or with another
        password than before. No user but an identity, where the database has none.
        """
        identity = self.identity
        if identity is None:
            return None, None
        return await database_sync_to_async(_reload)(identity)


def _reload(identity: Identity) -> tuple[Any, Identity | None]:
    if not still_valid([identity])[0]:
        return None, None
    if not identity.stored:
        return None, identity
    model = get_user_model()
    users = model._default_manager.using(router.db_for_write(model))
    user = users.filter(pk=identity.user).first()
    return (None, None) if user is None else (user, identity)
