"""
Serve the documentation page of routers with a message for each kind of form.

    python -m tests.browser.docs_site PORT
"""

import sys

import django
from django.conf import settings

PACKAGE = "tests.browser.docs_site.application"

settings.configure(
    DEBUG=True,
    SECRET_KEY="lives as long as the test does",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.staticfiles",
        "wskit_channels",
    ],
    MIDDLEWARE=[f"{PACKAGE}.policy"],
    ASGI_APPLICATION=f"{PACKAGE}.application",
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    ROOT_URLCONF=PACKAGE,
    STATIC_URL="/static/",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    USE_TZ=True,
)
django.setup()

from daphne.cli import CommandLineInterface  # type: ignore[import-untyped]  # noqa: E402 - no types

sys.exit(
    CommandLineInterface().run(["-b", "127.0.0.1", "-p", sys.argv[1], f"{PACKAGE}:application"])
)
