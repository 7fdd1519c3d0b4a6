"""
System checks: misconfiguration that would else be silent.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from channels.layers import InMemoryChannelLayer, channel_layers
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags
from django.core.checks import Warning as CheckWarning
from django.core.checks import register as register_check
from django.core.exceptions import ImproperlyConfigured

from wskit_channels.conf import get_settings
from wskit_channels.discovery import served_routers

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
            Error(
                str(error),
                hint="The keys are listed in docs/settings.md.",
                id="wskit_channels.E001",
            )
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
    return [
        Error(
            f"{found.router!r} is served at {found.path!r} to users of a cookie session without "
            "an origin check.",
            hint="Serve it by wskit_channels.asgi.websocket_application(), or put "
            "Channels' AllowedHostsOriginValidator around it.",
            id="wskit_channels.E002",
        )
        for found in served_routers()
        if found.authenticates and not found.checks_origin
    ]


def check_layer(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """W003: topics would reach no other process, and nothing says so."""
    aliases = {found.router.channel_layer for found in served_routers()}
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
    aliases = {found.router.channel_layer for found in served_routers()}
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
    """The core layers of channels_redis, and those derived from them, that routers use."""
    aliases = {found.router.channel_layer for found in served_routers()}
    layers = [
        (alias, channel_layers[alias]) for alias in sorted(aliases) if alias in channel_layers
    ]
    return [
        (alias, layer)
        for alias, layer in layers
        if any(kind.__module__ == "channels_redis.core" for kind in type(layer).__mro__)
    ]


def _times_out(host: Any) -> bool:
    """Whether a host's connections are cut before a receiver's own 5 s are over."""
    if not isinstance(host, dict) or "socket_timeout" not in host:
        return True
    timeout = host["socket_timeout"]
    return timeout is not None and timeout <= 5
