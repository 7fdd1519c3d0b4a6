"""
Ending the live connections of a user, a session or a client, in every process.

They are closed with 4401, all tabs, within a second where the channel layer works. What
changes through Django's own ways needs none of this: logging out, ``save()`` and
``delete()`` of a user, a new password. A bare ``QuerySet.update`` tells nobody: the next
look at who may stay (``WSKIT["REVALIDATE_INTERVAL"]``) finds it.

The functions whose names start with ``a`` are for async code; the others run anywhere.
None of them raises where the channel layer fails: that is logged.
"""

from __future__ import annotations

from typing import Any

from wskit_channels.control import agive, give
from wskit_channels.identity import digest

__all__ = [
    "adisconnect",
    "adisconnect_session",
    "adisconnect_user",
    "disconnect",
    "disconnect_session",
    "disconnect_user",
]


def disconnect_user(user: Any) -> None:
    """Close every connection of a user, who is given as a user or as a primary key."""
    give(user=_key_of(user))


async def adisconnect_user(user: Any) -> None:
    """``disconnect_user`` for async code."""
    await agive(user=_key_of(user))


def disconnect_session(session_key: str) -> None:
    """Close every connection that was opened with a session's cookie."""
    give(session=digest(session_key))


async def adisconnect_session(session_key: str) -> None:
    """``disconnect_session`` for async code."""
    await agive(session=digest(session_key))


def disconnect(client_id: str) -> None:
    """Close one connection."""
    give(client=client_id)


async def adisconnect(client_id: str) -> None:
    """``disconnect`` for async code."""
    await agive(client=client_id)


def _key_of(user: Any) -> str:
    """
    A user's primary key as text.

    Raises:
        ValueError: For an anonymous or an unsaved user, who has none.
    """
    key = getattr(user, "pk", user)
    if key is None:
        raise ValueError(f"{user!r} has no primary key: it is anonymous, or was never saved.")
    return str(key)
