"""
Credentials: a token, asked for anew at each connect, and where it travels (``PROTOCOL 9``).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

__all__ = ["Auth", "Target", "TokenSource"]

TokenSource: TypeAlias = str | Callable[[], str | Awaitable[str | None] | None]
"""A token, or what returns one, plain or async; it is called in the loop, and None sends none."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and with what; holds secrets and is never logged."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    subprotocols: Sequence[str] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Auth:
    """
    A token and the way it is sent.

    ``by="header"`` (``Authorization: Bearer``) keeps it out of access logs; ``query``
    and ``subprotocol`` are what browsers can do. ``name`` replaces ``access_token`` or
    ``bearer.`` where the server's settings do.
    """

    token: TokenSource = field(repr=False)
    by: Literal["header", "query", "subprotocol"] = "header"
    name: str | None = None

    @property
    def can_refresh(self) -> bool:
        """Whether asking again may give another token."""
        return callable(self.token)

    async def apply(self, target: Target) -> Target:
        """Ask for a token and add it; raises what the source raises."""
        token = self.token() if callable(self.token) else self.token
        if inspect.isawaitable(token):
            token = await token
        if not token:
            return target
        if self.by == "query":
            url = _with_parameter(target.url, self.name or "access_token", token)
            return Target(url, target.headers, target.subprotocols)
        if self.by == "subprotocol":
            offered = [*target.subprotocols, f"{self.name or 'bearer.'}{token}"]
            return Target(target.url, target.headers, offered)
        headers = {**target.headers, "Authorization": f"Bearer {token}"}
        return Target(target.url, headers, target.subprotocols)


def _with_parameter(url: str, name: str, value: str) -> str:
    parts = urlsplit(url)
    kept = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != name]
    return urlunsplit(parts._replace(query=urlencode([*kept, (name, value)])))
