"""
``websocket_application``: everything around a project's WebSocket routes.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any
from urllib.parse import SplitResult, urlparse, urlsplit

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import OriginValidator
from django.conf import settings as django_settings
from django.http.request import split_domain_port, validate_host
from django.urls import re_path
from django.utils.http import is_same_domain
from django.utils.module_loading import import_string

from wskit_channels.account import SESSIONS
from wskit_channels.conf import get_settings
from wskit_channels.consumer import WsKitConsumer
from wskit_channels.routing.handshake import Handshake
from wskit_channels.threads import pooled
from wskit_channels.transport import SERVER_SEND

__all__ = ["WebSocketApplication", "websocket_application"]

logger = logging.getLogger("wskit_channels.auth")


def websocket_application(
    patterns: str | Sequence[Any],
    *,
    allowed_origins: Sequence[str] | None = None,
    session: bool = True,
) -> WebSocketApplication:
    """
    Put origin check, cookies, session and auth around a ``URLRouter``.

    Args:
        patterns: A list of ``path(...)``, or the dotted path of one, which is imported at
            the first connection.
        allowed_origins: Origins that may connect, as Channels' ``OriginValidator`` takes
            them; "*" is any. By default those of the request's own host, of
            ``ALLOWED_HOSTS`` ("*" does not count, nor does another port) and of
            ``CSRF_TRUSTED_ORIGINS``.
        session: False for token-only applications: no session or user is loaded, unless
            ``await request.load_user()`` asks, and a client without an Origin is let through.
    """
    return WebSocketApplication(patterns, allowed_origins, session)


class WebSocketApplication:
    """What ``websocket_application`` returns: an ASGI application for the ``websocket`` type."""

    def __init__(
        self, patterns: str | Sequence[Any], allowed_origins: Sequence[str] | None, session: bool
    ) -> None:
        self._patterns = patterns
        self._allowed_origins = allowed_origins
        self.session = session
        self._inner: Callable[..., Awaitable[None]] | None = None

    @property
    def patterns(self) -> Sequence[Any]:
        """
        The URL patterns, imported if need be.

        Raises:
            ImportError: If the dotted path leads nowhere.
        """
        if isinstance(self._patterns, str):
            self._patterns = import_string(self._patterns)
        return self._patterns

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._inner is None:
            patterns = [_served(pattern, session=self.session) for pattern in self.patterns]
            # What no pattern matches is refused, and not a traceback for whoever asks.
            refusal: Any = _refuse
            routes = URLRouter([*patterns, re_path(r"", refusal)])
            self._inner = OriginCheck(routes, self._allowed_origins, needs_origin=self.session)
        # Before any wrapper: closing under daphne needs the server's own send.
        await self._inner({**scope, SERVER_SEND: send, SESSIONS: self.session}, receive, send)


def _served(pattern: Any, *, session: bool) -> Any:
    """
    A pattern whose application has the pool of threads, and a session and a user.

    Ours sees to that itself; another's is given a session and a user as Channels does.
    """
    application = pattern.callback
    if issubclass(getattr(application, "consumer_class", object), WsKitConsumer):
        return pattern
    pattern = copy.copy(pattern)
    if isinstance(application, URLRouter):
        inner = [_served(route, session=session) for route in application.routes]
        pattern.callback = URLRouter(inner)
    else:
        pattern.callback = _Pooled(AuthMiddlewareStack(application) if session else application)
    return pattern


class _Pooled:
    """Another library's application, whose plain code runs in the pool of threads."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        with pooled():
            await self.application(scope, receive, send)


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    """Refuse a handshake; servers make HTTP 403 of it."""
    await receive()
    await send({"type": "websocket.close"})


class OriginCheck(OriginValidator):
    """
    Channels' ``OriginValidator``, with Django's own idea of which origins are trusted.

    A missing Origin is let through only where no cookie authenticates: without
    ``needs_origin``, and for a client that carries a token and no session cookie.
    """

    def __init__(
        self, application: Any, allowed_origins: Sequence[str] | None, *, needs_origin: bool
    ) -> None:
        super().__init__(application, list(allowed_origins or ()))
        self._guarded: Callable[..., Coroutine[Any, Any, None]] = application
        self._by_host = allowed_origins is None
        self._needs_origin = needs_origin

    def __call__(self, scope: Any, receive: Any, send: Any) -> Coroutine[Any, Any, None]:
        # Not async: for as long as the connection lives it would keep what it has read.
        if self._lets_through(scope):
            return self._guarded(scope, receive, send)
        logger.info("refused a handshake: its origin is not allowed")
        return _refuse(scope, receive, send)

    def _lets_through(self, scope: Any) -> bool:
        settings = get_settings()
        handshake = Handshake(
            scope,
            token_parameter=settings.token_parameter,
            token_subprotocol=settings.token_subprotocol_prefix,
        )
        origin = handshake.origin
        if origin is None:
            cookie = django_settings.SESSION_COOKIE_NAME in handshake.cookies
            free = not self._needs_origin or (handshake.token is not None and not cookie)
            return free or bool(self.valid_origin(None))
        if _parsed(origin) is None:
            return False
        if self._by_host and is_trusted(origin, handshake.headers.get("host", "")):
            return True
        return bool(self.valid_origin(urlparse(origin)))


def is_trusted(origin: str, host: str) -> bool:
    """Whether a page of this origin may connect to this host with its cookies."""
    parts = _parsed(origin)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    if any(_is_meant(parts, pattern) for pattern in django_settings.CSRF_TRUSTED_ORIGINS):
        return True
    named = [name for name in _allowed_hosts() if name != "*"]
    # Another port is another origin, with the same cookies: hosts are trusted without one.
    if (parts.port is None or _in_development()) and validate_host(parts.hostname, named):
        return True
    # The same host by whatever name it was asked for, as long as Django answers to that name.
    return parts.netloc.lower() == host.lower() and validate_host(
        split_domain_port(host)[0], _allowed_hosts()
    )


def _parsed(origin: str) -> SplitResult | None:
    """An origin's parts; None if it is none."""
    try:
        parts = urlsplit(origin.lower())
        _ = parts.port
    except ValueError:
        return None
    return parts


def _is_meant(origin: SplitResult, pattern: str) -> bool:
    """Whether an entry of ``CSRF_TRUSTED_ORIGINS`` means an origin; ``*.`` is any subdomain."""
    scheme, _, netloc = pattern.lower().partition("://")
    return scheme == origin.scheme and is_same_domain(origin.netloc, netloc.lstrip("*"))


def _in_development() -> bool:
    """Whether Django itself answers to local names only, at any port."""
    return bool(django_settings.DEBUG and not django_settings.ALLOWED_HOSTS)


def _allowed_hosts() -> list[str]:
    if _in_development():
        return [".localhost", "127.0.0.1", "[::1]"]
    return list(django_settings.ALLOWED_HOSTS)
