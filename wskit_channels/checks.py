"""
System checks: misconfiguration that would else be silent.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

from channels.layers import InMemoryChannelLayer, channel_layers
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags
from django.core.checks import Warning as CheckWarning
from django.core.checks import register as register_check
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from wskit_channels.asgi import OriginCheck, WebSocketApplication
from wskit_channels.conf import get_settings
from wskit_channels.routing.router import Router

__all__ = ["register"]


def register() -> None:
    """Register the checks; done by the app when it is ready."""
    register_check(check_settings)
    register_check(check_daphne)
    register_check(check_origin, Tags.security)
    register_check(check_layer)
    register_check(check_layer_in_production, deploy=True)
    register_check(check_redis_capacity)
    register_check(check_redis_timeout)


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E001: ``WSKIT`` holds something that this version does not know."""
    try:
        get_settings()
    except ImproperlyConfigured as error:
        return [
            Error(str(error), hint="The keys are listed in the README.", id="wskit_channels.E001")
        ]
    return []


def check_daphne(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """W001: ``runserver`` would serve no WebSockets."""
    apps = list(settings.INSTALLED_APPS)
    static = "django.contrib.staticfiles"
    if "daphne" in apps:
        if static in apps and apps.index("daphne") > apps.index(static):
            return [
                CheckWarning(
                    "daphne is listed after django.contrib.staticfiles, whose runserver wins.",
                    hint='Put "daphne" first in INSTALLED_APPS.',
                    id="wskit_channels.W002",
                )
            ]
        return []
    if settings.DEBUG and importlib.util.find_spec("uvicorn") is None:
        return [
            CheckWarning(
                "daphne is not in INSTALLED_APPS: runserver serves no WebSockets.",
                hint='Install wskit-channels[daphne] and put "daphne" first in INSTALLED_APPS.',
                id="wskit_channels.W001",
            )
        ]
    return []


def check_origin(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E002: another site's page could open a socket with a visitor's cookies."""
    errors: list[CheckMessage] = []
    for router, guard in served_routers():
        if guard.authenticates and not guard.checks_origin:
            errors.append(
                Error(
                    f"{router!r} is served to users of a cookie session without an origin check.",
                    hint="Serve it by wskit_channels.asgi.websocket_application(), or put "
                    "Channels' AllowedHostsOriginValidator around it.",
                    id="wskit_channels.E002",
                )
            )
    return errors


def check_layer(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """W003: topics would reach no other process, and nothing says so."""
    aliases = {router.channel_layer for router, _ in served_routers()}
    return [
        CheckWarning(
            f"CHANNEL_LAYERS has no {alias!r}: topics reach this process only.",
            hint="Configure one: channels.layers.InMemoryChannelLayer where that is meant.",
            id="wskit_channels.W003",
        )
        for alias in sorted(aliases)
        if alias not in channel_layers
    ]


def check_layer_in_production(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """W004: the in-memory layer, which reaches one process, in a deployment."""
    aliases = {router.channel_layer for router, _ in served_routers()}
    return [
        CheckWarning(
            f"CHANNEL_LAYERS[{alias!r}] is the in-memory layer: topics reach one process only.",
            hint="Use channels_redis where more than one process serves.",
            id="wskit_channels.W004",
        )
        for alias in sorted(aliases)
        if alias in channel_layers and isinstance(channel_layers[alias], InMemoryChannelLayer)
    ]


MIN_CAPACITY = 1_000
"""What a hub's one channel needs: all that other processes publish goes through it."""


def check_redis_capacity(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """W005: the layer drops what is over a channel's capacity, and a process has one channel."""
    return [
        CheckWarning(
            f"CHANNEL_LAYERS[{alias!r}] holds {_capacity(layer)} messages a channel: a burst of "
            "publishes over that is lost.",
            hint='Set "capacity": 10_000 in its CONFIG.',
            id="wskit_channels.W005",
        )
        for alias, layer in _redis_layers()
        if _capacity(layer) < MIN_CAPACITY
    ]


def _capacity(layer: Any) -> int:
    """The capacity of a channel such as a hub's."""
    capacity: int = layer.get_capacity("specific.hub!channel")
    return capacity


def check_redis_timeout(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """W006: redis-py 8 cuts a connection that is silent for 5 s, which an idle receiver is."""
    if importlib.util.find_spec("redis") is None:
        return []
    import redis

    if int(redis.__version__.split(".")[0]) < 8:
        return []
    return [
        CheckWarning(
            f"CHANNEL_LAYERS[{alias!r}] uses redis-py {redis.__version__}, which cuts idle "
            "connections after 5 s.",
            hint='Give each host as a dict with "socket_timeout": None, or 30.',
            id="wskit_channels.W006",
        )
        for alias, layer in _redis_layers()
        if any(_times_out(host) for host in getattr(layer, "hosts", ()))
    ]


def _redis_layers() -> list[tuple[str, Any]]:
    """The layers of channels_redis that served routers use."""
    aliases = {router.channel_layer for router, _ in served_routers()}
    found = [(alias, channel_layers[alias]) for alias in sorted(aliases) if alias in channel_layers]
    return [
        (alias, layer) for alias, layer in found if type(layer).__module__ == "channels_redis.core"
    ]


def _times_out(host: Any) -> bool:
    """Whether a host's connections are cut before a receiver's own 5 s are over."""
    if not isinstance(host, dict) or "socket_timeout" not in host:
        return True
    timeout = host["socket_timeout"]
    return timeout is not None and timeout <= 5


class Guard:
    """What stands between the server and a router."""

    def __init__(self, authenticates: bool = False, checks_origin: bool = False) -> None:
        self.authenticates = authenticates
        self.checks_origin = checks_origin


def served_routers() -> Iterator[tuple[Router[Any], Guard]]:
    """
    The routers that ``ASGI_APPLICATION`` serves.

    Whatever cannot be imported or looked into is passed over: other checks and the
    server itself report that better.
    """
    path = getattr(settings, "ASGI_APPLICATION", None)
    if not path:
        return
    try:
        application = import_string(path)
    except Exception:  # noqa: BLE001 - the project's own module
        return
    seen: set[int] = set()
    yield from _walk(application, Guard(), seen)


def _walk(application: Any, guard: Guard, seen: set[int]) -> Iterator[tuple[Router[Any], Guard]]:
    if application is None or id(application) in seen:
        return
    seen.add(id(application))
    options = getattr(application, "consumer_initkwargs", None)
    if options is not None:
        consumer = application.consumer_class
        router = options.get("router") or getattr(consumer, "router", None)
        if isinstance(router, Router):
            yield router, guard
        return
    guard = _guarded(application, guard)
    for inner in _inside(application):
        yield from _walk(inner, guard, seen)


def _guarded(application: Any, guard: Guard) -> Guard:
    from channels.security.websocket import OriginValidator
    from channels.sessions import SessionMiddleware

    if isinstance(application, WebSocketApplication):
        return Guard(application.session, checks_origin=True)
    return Guard(
        guard.authenticates or isinstance(application, SessionMiddleware),
        guard.checks_origin or isinstance(application, OriginValidator | OriginCheck),
    )


def _inside(application: Any) -> Sequence[Any]:
    """What an ASGI application of Channels, Django or this library passes on to."""
    if isinstance(application, WebSocketApplication):
        try:
            patterns: Sequence[Any] = application.patterns
        except Exception:  # noqa: BLE001 - the project's own module
            return []
        return [pattern.callback for pattern in patterns if hasattr(pattern, "callback")]
    found: list[Any] = [
        getattr(application, "inner", None),
        getattr(application, "application", None),
    ]
    found += getattr(application, "application_mapping", {}).values()
    found += [getattr(route, "callback", None) for route in getattr(application, "routes", ())]
    return found
