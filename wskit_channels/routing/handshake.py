"""
The request that opens a connection, as hooks and handlers see it.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from functools import cached_property
from http.cookies import CookieError, SimpleCookie
from typing import Any, Protocol
from urllib.parse import parse_qs

__all__ = ["Handshake", "User", "select_subprotocol"]


class User(Protocol):
    """What this library asks of a user; Django's users and AnonymousUser have it."""

    @property
    def pk(self) -> Any: ...
    @property
    def is_authenticated(self) -> bool: ...
    @property
    def is_active(self) -> bool: ...
    def get_username(self) -> str: ...


class _Nobody:
    """The user where nothing authenticates before the router."""

    pk = None
    is_authenticated = False
    is_active = False

    def get_username(self) -> str:
        return ""


NOBODY = _Nobody()


class Handshake:
    """
    One opening request: who asks, from where, with what.

    Read from the ASGI scope when asked for; ``scope`` is the connection's own.
    Header names are lower-case; where a header or a query parameter is repeated,
    ``headers`` joins the values with a comma and ``query`` keeps a list.
    """

    def __init__(
        self,
        scope: MutableMapping[str, Any],
        *,
        token_parameter: str = "access_token",  # noqa: S107 - the name, not a token
        token_subprotocol: str = "bearer.",  # noqa: S107
    ) -> None:
        self.scope = scope
        self._token_parameter = token_parameter
        self._token_subprotocol = token_subprotocol

    def __repr__(self) -> str:
        return f"<Handshake {self.path!r} from {self.client_ip}>"  # no query: it may hold a token

    @property
    def user(self) -> User:
        """The scope's user; an anonymous one where nothing authenticates before the router."""
        found: User = self.scope.get("user") or NOBODY
        return found

    @property
    def session(self) -> Any:
        """Django's session, or None where no session middleware stands before the router."""
        return self.scope.get("session")

    @property
    def path(self) -> str:
        return str(self.scope.get("path", ""))

    @cached_property
    def headers(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for raw_name, raw_value in self.scope.get("headers", ()):
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            found[name] = f"{found[name]},{value}" if name in found else value
        return found

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        if "cookies" in self.scope:
            return dict(self.scope["cookies"])
        try:
            morsels = SimpleCookie(self.headers.get("cookie", ""))
        except CookieError:
            return {}
        return {name: morsel.value for name, morsel in morsels.items()}

    @cached_property
    def query(self) -> Mapping[str, list[str]]:
        raw = self.scope.get("query_string", b"")
        return parse_qs(raw.decode("latin-1") if isinstance(raw, bytes) else raw)

    @property
    def path_params(self) -> Mapping[str, Any]:
        """What the URL pattern captured."""
        route = self.scope.get("url_route") or {}
        found: Mapping[str, Any] = route.get("kwargs", {})
        return found

    @property
    def origin(self) -> str | None:
        return self.headers.get("origin")

    @property
    def client_ip(self) -> str | None:
        """The address that the server saw; behind a proxy, the proxy's."""
        client = self.scope.get("client")
        return str(client[0]) if client else None

    @property
    def subprotocols(self) -> Sequence[str]:
        """What the client offered, a token among them if it sent one so."""
        return list(self.scope.get("subprotocols") or ())

    @property
    def token(self) -> str | None:
        """
        The client's token, never to be logged: from the query, a subprotocol or a header.

        ``?access_token=``, an offered ``bearer.<token>``, or ``Authorization: Bearer``,
        in this order (``PROTOCOL 9``).
        """
        if found := self.query.get(self._token_parameter):
            return found[0]
        for offered in self.subprotocols:
            if offered.startswith(self._token_subprotocol):
                return offered.removeprefix(self._token_subprotocol) or None
        scheme, _, credentials = self.headers.get("authorization", "").partition(" ")
        return (credentials.strip() or None) if scheme.lower() == "bearer" else None

    def select_subprotocol(self, supported: Sequence[str]) -> str | None:
        """The subprotocol to accept with (``PROTOCOL 9``)."""
        return select_subprotocol(self.subprotocols, supported, self._token_subprotocol)


def select_subprotocol(
    offered: Sequence[str], supported: Sequence[str], token_prefix: str
) -> str | None:
    """
    The offered subprotocol that the server selects; None only where nothing is offered.

    The first that is supported, else the first that is no token, else the token's own:
    browsers fail a handshake in which an offer is met by no selection.
    """
    plain = [name for name in offered if not name.startswith(token_prefix)]
    for name in plain:
        if name in supported:
            return name
    return next(iter([*plain, *offered]), None)
