"""
The Django project of all peers: the smallest in which each of them works.

What differs between runs comes by environment: ``BENCH_LAYER`` is a kind of ``LAYERS``,
``BENCH_REDIS`` the address of the server behind those that need one, ``BENCH_DATABASE``
a file for users and sessions.
"""

import os
from typing import Any

SECRET_KEY = "lives as long as a run does"
ALLOWED_HOSTS = ["*"]
DEBUG = False
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "channels",
    "wskit_channels",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("BENCH_DATABASE", ":memory:"),
    }
}

CAPACITY = 10_000
"""Messages that may wait in one channel, as our system check asks for."""


def channel_layers(kind: str, address: str) -> dict[str, Any]:
    """
    ``CHANNEL_LAYERS`` of one kind.

    The pools are large since every raw consumer takes a connection of its own; redis-py's
    default of 100 would end the peers' runs.
    """
    host = {"address": address, "socket_timeout": None, "max_connections": 9_000}
    layers: dict[str, dict[str, Any]] = {
        "memory": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
        "redis": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [host], "capacity": CAPACITY},
        },
        "redis-default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [host]},
        },
        "redis-pubsub": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [host]},
        },
    }
    return {"default": layers[kind]}


CHANNEL_LAYERS = channel_layers(
    os.environ.get("BENCH_LAYER", "memory"), os.environ.get("BENCH_REDIS", "")
)
