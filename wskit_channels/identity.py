"""
Who a connection is: loading what a session cookie stands for, and judging it later.

All of a connection's identity is loaded in one go, in a thread. Clients that come back
all at once are often tabs of few users: what was just loaded for a session is shared
for a few seconds, unless something is known to have changed.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import importlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from channels.db import database_sync_to_async
from django.apps import apps
from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.sessions.backends import db as database_sessions
from django.contrib.sessions.backends import signed_cookies
from django.db import router
from django.utils import timezone
from django.utils.crypto import constant_time_compare

__all__ = ["NOBODY", "Identities", "Identity", "Loaded", "digest", "load", "still_valid"]

FRESH: Final = 5.0
"""Seconds for which what was loaded for a session is shared."""

MAX_KEPT: Final = 10_000
BATCH: Final = 500
"""Keys in one query: SQLite takes 999 parameters, older ones at least."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What has to stay as it is for a connection to stay logged in."""

    user: str
    """The user's primary key, as text."""

    auth_hash: str = ""
    """The user's session hash, which changes with the password."""

    active: bool = True
    stored: bool = True
    """Whether the database has this user: another kind of user is never looked up there."""

    session: str | None = field(default=None, repr=False)
    """The session's key; None where the user was not had from a session."""

    expires_at: float | None = None
    """When the session expires, in seconds since the epoch, where that is known."""

    @classmethod
    def of(cls, user: Any) -> Identity | None:
        """The identity of a user as they are now; None for an anonymous one."""
        if not getattr(user, "is_authenticated", False):
            return None
        return cls(
            user=str(user.pk),
            auth_hash=_hash_of(user),
            active=bool(getattr(user, "is_active", True)),
            stored=_is_stored(user),
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a session cookie led to: the session, and its user or None."""

    key: str | None = field(repr=False)
    data: dict[str, Any] = field(repr=False)
    user: Any
    identity: Identity | None

    def session(self) -> Any:
        """A session of one connection's own; changes to it are saved by ``save`` alone."""
        store = _engine().SessionStore(self.key)
        store._session_cache = copy.deepcopy(self.data)  # what its first access would query
        return store

    def own_user(self) -> Any:
        """A user of one connection's own."""
        return copy.copy(self.user)


NOBODY: Final = Loaded(None, {}, None, None)
"""What a client without a session cookie has."""


def digest(session_key: str) -> str:
    """What stands for a session's key wherever the key itself has no business."""
    return hashlib.sha256(f"wskit_channels.session:{session_key}".encode()).hexdigest()


def _is_stored(user: Any) -> bool:
    """Whether the database has a user, to be looked up there again."""
    if not apps.is_installed("django.contrib.auth") or not isinstance(user, get_user_model()):
        return False
    key: object = user.pk
    return key is not None and not user._state.adding


def _hash_of(user: Any) -> str:
    make = getattr(user, "get_session_auth_hash", None)
    return str(make()) if make is not None else ""


def _engine() -> Any:
    return importlib.import_module(settings.SESSION_ENGINE)


def load(session_key: str) -> Loaded:
    """
    Load a session and its user; in a thread, as Django's auth middleware would.

    Unlike there, a session that no longer counts is left as it is: it is the browser's,
    which a WebSocket cannot hand another cookie.
    """
    store = _engine().SessionStore(session_key)
    expires_at = None
    if type(store).load is database_sessions.SessionStore.load:
        row = store.model.objects.filter(
            session_key=session_key, expire_date__gt=timezone.now()
        ).first()
        data = {} if row is None else store.decode(row.session_data)
        key = None if row is None else session_key
        expires_at = None if row is None else row.expire_date.timestamp()
    else:
        data = dict(store.items())
        key = store.session_key
    user = _user_of(data)
    identity = None
    if user is not None:
        identity = Identity(
            user=str(user.pk),
            auth_hash=_hash_of(user),
            active=bool(getattr(user, "is_active", True)),
            stored=_is_stored(user),
            session=key,
            expires_at=expires_at,
        )
    return Loaded(key, data, user, identity)


def _user_of(data: dict[str, Any]) -> Any:
    """The user that a session's data names, if that still holds."""
    if SESSION_KEY not in data or not apps.is_installed("django.contrib.auth"):
        return None
    try:
        pk = get_user_model()._meta.pk.to_python(data[SESSION_KEY])
        path = data[BACKEND_SESSION_KEY]
    except KeyError:
        return None
    if path not in settings.AUTHENTICATION_BACKENDS:
        return None
    user = load_backend(path).get_user(pk)
    if user is None or not hasattr(user, "get_session_auth_hash"):
        return user
    given = data.get(HASH_SESSION_KEY, "")
    right = [user.get_session_auth_hash()]
    if hasattr(user, "get_session_auth_fallback_hash"):
        right += user.get_session_auth_fallback_hash()
    return user if any(constant_time_compare(given, one) for one in right) else None


def still_valid(identities: Sequence[Identity]) -> list[bool]:
    """Whether each still holds; in a thread, with few queries however many there are."""
    users = _users(one.user for one in identities if one.stored)
    sessions = _sessions(one.session for one in identities if one.session is not None)
    return [
        _holds(one, users.get(one.user)) and (one.session is None or one.session in sessions)
        for one in identities
    ]


def _holds(identity: Identity, user: Any) -> bool:
    if not identity.stored:
        return True
    if user is None or (identity.active and not getattr(user, "is_active", True)):
        return False
    return constant_time_compare(identity.auth_hash, _hash_of(user))


def _users(keys: Iterable[str]) -> dict[str, Any]:
    model = get_user_model()
    found: dict[str, Any] = {}
    for some in _batches(dict.fromkeys(keys)):
        # Not of a replica, which may not have heard yet of what we are asked to look at.
        for user in model._default_manager.using(router.db_for_write(model)).filter(pk__in=some):
            found[str(user.pk)] = user
    return found


def _sessions(keys: Iterable[str]) -> set[str]:
    """Which of these sessions there still are."""
    unique, engine = dict.fromkeys(keys), _engine()
    if not unique:
        return set()
    if issubclass(engine.SessionStore, database_sessions.SessionStore):
        model = engine.SessionStore.get_model_class()
        return {
            key
            for some in _batches(unique)
            for key in model.objects.using(router.db_for_write(model))
            .filter(session_key__in=some, expire_date__gt=timezone.now())
            .values_list("session_key", flat=True)
        }
    if issubclass(engine.SessionStore, signed_cookies.SessionStore):
        return {key for key in unique if engine.SessionStore(key).load()}
    return {key for key in unique if engine.SessionStore().exists(key)}


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(keys)
    while some := list(islice(rest, BATCH)):
        yield some


class Identities:
    """
    What was just loaded for sessions, of one event loop.

    Who asks for a session that is being loaded waits for that. A failure is everybody's
    who waited, and nobody's after them.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[asyncio.Task[Loaded], float]] = OrderedDict()
        self.generation = 0
        """Counts how often what was loaded before became doubtful."""

    async def get(self, session_key: str) -> Loaded:
        """What a session's key leads to, loaded within the last seconds or now."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._kept and next(iter(self._kept.values()))[1] <= now:
            self._kept.popitem(last=False)
        name = digest(session_key)  # a cookie may be as long as a server takes
        kept = self._kept.get(name)
        if kept is None:
            task = loop.create_task(database_sync_to_async(load)(session_key))
            if len(self._kept) >= MAX_KEPT:
                self._kept.popitem(last=False)
            self._kept[name] = (task, now + FRESH)
            task.add_done_callback(lambda task: self._loaded(name, task))
        else:
            task = kept[0]
        return await asyncio.shield(task)

    def _loaded(self, name: str, task: asyncio.Task[Loaded]) -> None:
        # Who has a session that there is not may have thousands of those.
        if not task.cancelled() and task.exception() is None and task.result().key is not None:
            return
        if (kept := self._kept.get(name)) is not None and kept[0] is task:
            del self._kept[name]

    def forget(self, name: str) -> None:
        """Load a session anew, by its key's ``digest``: it was saved."""
        self._kept.pop(name, None)

    def forget_all(self) -> None:
        """Load every session anew: something has changed, and nobody knows for whom."""
        self._kept.clear()
        self.generation += 1
