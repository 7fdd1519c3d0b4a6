"""
Finding the routers that a project serves, for checks and commands.

What an ASGI application passes on to is read from the attributes that Channels,
Starlette and this library keep it in. A plain function around an application
cannot be looked into: whoever has one names the router.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from channels.security.websocket import OriginValidator
from channels.sessions import SessionMiddleware
from django.conf import settings
from django.utils.module_loading import import_string

from wskit_channels.asgi import OriginCheck, WebSocketApplication
from wskit_channels.routing.router import Router

__all__ = ["FoundRouter", "RouterNotFound", "routers", "served_routers"]


class RouterNotFound(LookupError):
    """No router where one was looked for; its text says where, and what to do."""


@dataclass(frozen=True, slots=True)
class FoundRouter:
    """A router, and what stands between a server and it."""

    path: str
    """The URL pattern, as it was written; empty for a router that was named."""

    router: Router[Any]

    consumer: type[Any] | None
    """The class that serves it; None for a router that was named."""

    authenticates: bool = False
    """Whether the client's cookies make a session or a user."""

    checks_origin: bool = False


def routers(dotted: str | None = None) -> list[FoundRouter]:
    """
    The routers that ``ASGI_APPLICATION`` serves, or what a dotted path leads to.

    The path may lead to a router, a consumer class, an ASGI application or a list of URL
    patterns. A router that is served at several paths is found at each of them.

    Raises:
        RouterNotFound: If there is none, or something on the way cannot be imported.
    """
    if dotted is not None:
        found = list(_named(_imported(dotted, dotted)))
        if not found:
            raise RouterNotFound(f"{dotted} is no router and serves none.")
        return found
    path = getattr(settings, "ASGI_APPLICATION", None)
    if not path:
        raise RouterNotFound(
            "ASGI_APPLICATION is not set: set it to what the server serves, such as "
            '"mysite.asgi.application", or name a router.'
        )
    found = list(_walk(_imported(path, f"ASGI_APPLICATION, {path},"), _Way()))
    if not found:
        raise RouterNotFound(
            f"No router was found in {path}. If it wraps its WebSocket application in a "
            "function, which cannot be looked into, name the router."
        )
    return found


def served_routers() -> list[FoundRouter]:
    """
    The same for ``ASGI_APPLICATION``, and none where there is none.

    For system checks: what cannot be imported, the server itself reports better.
    """
    try:
        return routers()
    except RouterNotFound:
        return []


def _imported(dotted: str, what: str) -> Any:
    try:
        return import_string(dotted.replace(":", "."))
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise RouterNotFound(f"{what} cannot be imported: {why}") from error


@dataclass(frozen=True, slots=True)
class _Way:
    """How the walk came to an application."""

    path: str = ""
    authenticates: bool = False
    checks_origin: bool = False
    outer: tuple[Any, ...] = ()

    def to(self, router: Router[Any], consumer: type[Any] | None) -> FoundRouter:
        return FoundRouter(self.path, router, consumer, self.authenticates, self.checks_origin)


def _named(found: Any) -> Iterator[FoundRouter]:
    if isinstance(found, Router):
        yield _Way().to(found, None)
    elif isinstance(found, type):
        router = getattr(found, "router", None)
        if isinstance(router, Router):
            yield _Way().to(router, found)
    elif isinstance(found, Sequence):
        for pattern in found:
            yield from _walk(*_by_route(pattern, _Way()))
    else:
        yield from _walk(found, _Way())


def _walk(application: Any, way: _Way) -> Iterator[FoundRouter]:
    if application is None or any(application is one for one in way.outer):
        return
    options = getattr(application, "consumer_initkwargs", None)
    if options is not None:
        consumer = application.consumer_class
        router = options.get("router") or getattr(consumer, "router", None)
        if isinstance(router, Router):
            yield way.to(router, consumer)
        return
    way = replace(_through(application, way), outer=(*way.outer, application))
    for inner, on in _inside(application, way):
        yield from _walk(inner, on)


def _through(application: Any, way: _Way) -> _Way:
    """What an application does for those within it."""
    if isinstance(application, WebSocketApplication):
        return replace(way, authenticates=application.session, checks_origin=True)
    return replace(
        way,
        authenticates=way.authenticates or isinstance(application, SessionMiddleware),
        checks_origin=way.checks_origin or isinstance(application, OriginValidator | OriginCheck),
    )


def _inside(application: Any, way: _Way) -> Iterator[tuple[Any, _Way]]:
    """What an ASGI application passes on to."""
    if isinstance(application, WebSocketApplication):
        try:
            routes = application.patterns
        except Exception as error:
            raise RouterNotFound(
                "The patterns that websocket_application() was given cannot be imported: "
                f"{type(error).__name__}: {error}"
            ) from error
    else:
        for name in ("inner", "application", "app"):
            yield getattr(application, name, None), way
        for inner in getattr(application, "application_mapping", {}).values():
            yield inner, way
        routes = getattr(application, "routes", ())
    for route in routes:
        yield _by_route(route, way)


def _by_route(route: Any, way: _Way) -> tuple[Any, _Way]:
    """Where an entry of URL patterns leads: Django's, or a route of Starlette's."""
    pattern = getattr(route, "pattern", None)
    part = str(getattr(route, "path", "") if pattern is None else pattern)
    leads_to = getattr(route, "callback", None) or getattr(route, "app", None)
    return leads_to, replace(way, path=way.path + part)
