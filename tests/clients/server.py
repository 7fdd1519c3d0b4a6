"""
Serve what the client scenarios need, on loopback, in this very process.

    python -m tests.clients.server --port 8401 [--server daphne|uvicorn]

``ws://127.0.0.1:8401/ws/`` is the router of ``tests/clients/router.py``;
``http://127.0.0.1:8401/`` a page that has the JavaScript client in its import map.
"""

import argparse
import sys
from pathlib import Path

import django
from django.conf import settings

from tests.live.servers import PATIENT

APPLICATION = "tests.clients.application:application"
HERE = Path(__file__).parent


def configure() -> None:
    """Set Django up: no database, and the static files of our app and of the tests."""
    settings.configure(
        DEBUG=True,  # what serves static files asks for it
        SECRET_KEY="lives as long as the test does",
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.staticfiles",
            "wskit_channels",
        ],
        CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        ROOT_URLCONF="tests.clients.application",
        STATIC_URL="/static/",
        STATICFILES_DIRS=[HERE / "static"],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [HERE / "templates"],
            }
        ],
        USE_TZ=True,
    )
    django.setup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.clients.server")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--server", choices=["daphne", "uvicorn"], default="daphne")
    options = parser.parse_args()
    configure()
    if options.server == "daphne":
        from daphne.cli import CommandLineInterface  # type: ignore[import-untyped]  # no types

        argv = [*PATIENT, "-b", "127.0.0.1", "-p", str(options.port), APPLICATION]
        sys.exit(CommandLineInterface().run(argv))
    import uvicorn

    uvicorn.run(APPLICATION, host="127.0.0.1", port=options.port)


if __name__ == "__main__":
    main()
