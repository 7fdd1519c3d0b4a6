"""
The request that opens a connection, as hooks and handlers see it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, MutableMapping, Sequence
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from typing import Any, Protocol, TypeAlias
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

UNIX = "unix"
"""Among trusted proxies: whoever reaches the server by its Unix socket."""

Network: TypeAlias = IPv4Network | IPv6Network | str


class UserLoader(Protocol):
    """Loads what cookies stand for into the scope, as ``user`` and ``session``."""

    async def load(self, cookies: Mapping[str, str], /) -> None: ...
    def load_now(self, cookies: Mapping[str, str], /) -> None:
        """The same in a thread."""


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
        trusted_proxies: Sequence[Network] = (),
        loader: UserLoader | None = None,
    ) -> None:
        self.scope = scope
        self._trusted_proxies = trusted_proxies
        self._loader = None if "user" in scope else loader
        self._token_parameter = token_parameter
        self._token_subprotocol = token_subprotocol

    def __repr__(self) -> str:
        return f"<Handshake {self.path!r} from {self.client_ip}>"  # no query: it may hold a token

    @property
    def user(self) -> User:
        """
        The connection's user; an anonymous one where nothing authenticates.

        Set it in ``authenticate`` to whom a token belongs. Where that function is
        ``async``, ``await load_user()`` first for the user of the session's cookie.

        Raises:
            RuntimeError: In async code while a session cookie was not looked at yet.
        """
        self._require_loaded()
        found: User = self.scope.get("user") or NOBODY
        return found

    @user.setter
    def user(self, user: User) -> None:
        self._loader = None
        self.scope["user"] = user

    @property
    def session(self) -> Any:
        """
        Django's session, or None where there is none.

        Raises:
            RuntimeError: As ``user`` does.
        """
        self._require_loaded()
        return self.scope.get("session")

    async def load_user(self) -> User:
        """
        The user of the session's cookie, loaded if that was not done yet.

        Done by itself where the router has no ``authenticate``; there, ask for it only if
        you need it: it costs the database two queries.
        """
        loader, self._loader = self._loader, None
        if loader is not None:
            await loader.load(self.cookies)
        return self.user

    def _require_loaded(self) -> None:
        if self._loader is None:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            loader, self._loader = self._loader, None
            loader.load_now(self.cookies)
        else:
            raise RuntimeError("The user is not loaded yet: write await request.load_user() first.")

    def settle(self) -> None:
        """Admission is over: who was not loaded by then is anonymous."""
        self._loader = None
        for name in ("headers", "cookies", "query"):  # read again if they are asked for again
            self.__dict__.pop(name, None)

    @property
    def path(self) -> str:
        return str(self.scope.get("path", ""))

    @cached_property
    def headers(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for raw_name, raw_value in self.scope.get("headers", ()):
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            # HTTP/2 splits cookies among headers of their own.
            joint = "; " if name == "cookie" else ","
            found[name] = f"{found[name]}{joint}{value}" if name in found else value
        return found

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        if "cookies" in self.scope:
            return dict(self.scope["cookies"])
        return parse_cookies(self.headers.get("cookie", ""))

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
        """
        The client's address: what the server saw, or what a trusted proxy says it saw.

        ``X-Forwarded-For`` is read from its end, as far as trusted proxies wrote it.
        """
        client = self.scope.get("client")
        seen = str(client[0]) if client and client[0] else None
        if not self._trusted_proxies:
            return seen
        return forwarded_for(seen, self.headers.get("x-forwarded-for", ""), self._trusted_proxies)

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


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """
    What stands for an address where people are counted: itself, or an IPv6 address' /64.

    Who has one IPv6 address has billions; a mapped IPv4 address is the IPv4 address.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((found.packed, 64), strict=False))


_ESCAPE = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")


def parse_cookies(header: str) -> dict[str, str]:
    """
    Cookies as browsers send them, whatever the standard says of their characters.

    ``http.cookies`` gives up at the first that is odd, and takes quadratic time for some.
    """
    found: dict[str, str] = {}
    for part in header.split(";"):
        name, equals, value = part.partition("=")
        if not equals:
            name, value = "", name
        name, value = name.strip(), value.strip()
        if not name and not value:
            continue
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = _ESCAPE.sub(lambda m: chr(int(m[1], 8)) if m[1] else m[2], value[1:-1])
        found[name] = value
    return found


def forwarded_for(seen: str | None, header: str, trusted: Sequence[Network]) -> str | None:
    """The first address, from the server outwards, that is no trusted proxy's."""
    address = seen
    for hop in reversed([part.strip() for part in header.split(",")]):
        if not _is_trusted(address, trusted) or not hop:
            break
        host = _host_of(hop)
        if host is None:
            break  # not an address: whoever wrote it is as far as can be seen
        address = host
    return address


def _is_trusted(address: str | None, trusted: Sequence[Network]) -> bool:
    if address is None:
        return UNIX in trusted
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed  # behind a dual-stack socket
    return any(network != UNIX and parsed in network for network in trusted)


def _host_of(hop: str) -> str | None:
    """The address of one entry, which may have a port."""
    bare = hop[1:].partition("]")[0] if hop.startswith("[") else hop
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ip_address(bare))
    except ValueError:
        return None


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
