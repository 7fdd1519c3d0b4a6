"""
Settings of the example, and of the library's own test suite.

Read from the environment: ``EXAMPLE_DEBUG`` (on unless "0"), ``EXAMPLE_SECRET_KEY``,
``EXAMPLE_DB`` (path of the sqlite file), ``EXAMPLE_EXPORT_PAUSE`` (seconds),
``REDIS_URL`` (none: in-memory layer).
"""

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent

DEBUG = os.environ.get("EXAMPLE_DEBUG", "1") != "0"
SECRET_KEY = os.environ.get("EXAMPLE_SECRET_KEY", "django-insecure-for-the-example-only")
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]

INSTALLED_APPS = [
    # Before staticfiles, so that `runserver` is daphne's.
    *(["daphne"] if find_spec("daphne") else []),
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "wskit_channels",
    "example_project.chat",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "example_project.csp.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "example_project.urls"
ASGI_APPLICATION = "example_project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "example_project.docs_link.docs_link",
            ],
        },
    },
]

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("EXAMPLE_DB", BASE_DIR / "demo.sqlite3"),
        # Handlers write from several threads: wait for the lock instead of failing,
        # take it when the transaction begins, and let readers read meanwhile.
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL;",
        },
        # A file, since an in-memory database belongs to one thread; one a process,
        # so that two test runs do not share it.
        "TEST": {"NAME": Path(tempfile.gettempdir()) / f"wskit-test-{os.getpid()}.sqlite3"},
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


def channel_layer(redis_url: str | None) -> dict[str, Any]:
    if redis_url is None:
        return {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    # The layer waits 5 s for a message, which is redis-py 8's own default timeout:
    # without this an idle process loses its connection every 5 s.
    host = {"address": redis_url, "socket_timeout": None}
    return {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [host], "capacity": 10_000},
    }


CHANNEL_LAYERS = {"default": channel_layer(os.environ.get("REDIS_URL"))}

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "rooms"
LOGOUT_REDIRECT_URL = "login"

# The export reads this many lines at a time. The pause, in seconds, is there for the
# demo alone: it makes an export last long enough to be watched, and cancelled.
CHAT_EXPORT_BATCH = 20
CHAT_EXPORT_PAUSE = float(os.environ.get("EXAMPLE_EXPORT_PAUSE", "0.1"))

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"example_project": {"handlers": ["console"], "level": "INFO"}},
}

STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"
