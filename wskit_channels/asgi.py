"""
``websocket_application``: everything around a project's WebSocket routes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import OriginValidator, WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.urls import re_path
from django.utils.http import is_same_domain
from django.utils.module_loading import import_string

from wskit_channels.threads import pooled
from wskit_channels.transport import SERVER_SEND

__all__ = ["WebSocketApplication", "websocket_application"]


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
            ``ALLOWED_HOSTS`` ("*" does not count) and of ``CSRF_TRUSTED_ORIGINS``.
        session: False for token-only applications: no cookies, session or user are
            loaded, and a client that sends no Origin is let through.
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
            # What no pattern matches is refused, and not a traceback for whoever asks.
            denier: Any = WebsocketDenier.as_asgi()
            patterns: list[Any] = [*self.patterns, re_path(r"", denier)]
            routes = URLRouter(patterns)
            self._inner = OriginCheck(
                AuthMiddlewareStack(routes) if self.session else routes,
                self._allowed_origins,
                needs_origin=self.session,
            )
        # Before any wrapper: closing under daphne needs the server's own send.
        scope = {**scope, SERVER_SEND: send}
        with pooled():
            await self._inner(scope, receive, send)


class OriginCheck(OriginValidator):
    """
    Channels' ``OriginValidator``, with Django's own idea of which origins are trusted.

    A missing Origin is let through only where cookies do not authenticate.
    """

    def __init__(
        self, application: Any, allowed_origins: Sequence[str] | None, *, needs_origin: bool
    ) -> None:
        super().__init__(application, list(allowed_origins or ()))
        self._guarded: Callable[..., Awaitable[None]] = application
        self._by_host = allowed_origins is None
        self._needs_origin = needs_origin

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        origin = headers.get(b"origin")
        host = headers.get(b"host", b"").decode("latin-1")
        if origin is not None and _parsed(origin.decode("latin-1")) is None:
            await WebsocketDenier()(scope, receive, send)  # Channels' validator would raise
        elif (origin is None and not self._needs_origin) or (
            self._by_host and origin is not None and is_trusted(origin.decode("latin-1"), host)
        ):
            await self._guarded(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def is_trusted(origin: str, host: str) -> bool:
    """Whether a page of this origin may connect to this host with its cookies."""
    parts = _parsed(origin)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    if any(_is_meant(parts, pattern) for pattern in settings.CSRF_TRUSTED_ORIGINS):
        return True
    named = [name for name in _allowed_hosts() if name != "*"]
    if validate_host(parts.hostname, named):
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


def _allowed_hosts() -> list[str]:
    if settings.DEBUG and not settings.ALLOWED_HOSTS:
        return [".localhost", "127.0.0.1", "[::1]"]
    return list(settings.ALLOWED_HOSTS)
