"""The smallest Django that serves sockets: no database, no sessions, one channel layer."""

from typing import Any

import django
from django.conf import settings


def configure(layer: str = "memory") -> None:
    """Set Django up with ``memory`` or a ``redis://HOST:PORT`` as its channel layer."""
    settings.configure(
        SECRET_KEY="lives as long as the test does",
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "wskit_channels"],
        CHANNEL_LAYERS=channel_layers(layer),
        USE_TZ=True,
    )
    django.setup()


CAPACITY = 10_000
"""Messages that may wait in a process' one channel, as our system check asks for."""


def channel_layers(layer: str) -> dict[str, Any]:
    """Return ``CHANNEL_LAYERS`` for ``memory`` or a ``redis://HOST:PORT``."""
    if layer == "memory":
        return {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    # redis-py cuts a silent socket after 5 s, and the layer blocks for 5 s at a time: an idle
    # receiver would lose its connection every time round.
    host = {"address": layer, "socket_timeout": 30}
    backend = "channels_redis.core.RedisChannelLayer"
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": [host], "capacity": CAPACITY}}}
