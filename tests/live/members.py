"""
The application of the tests of who may connect and who may stay: users and sessions in
a database file that several processes share.

Environment: ``MEMBERS_DB`` is the sqlite file, ``MEMBERS_LAYER`` "memory" or a
``redis://HOST:PORT``, ``MEMBERS_WSKIT`` the ``WSKIT`` setting as JSON. ``application``
serves a router, and a view that counts queries; ``stock`` what Channels itself offers in
the router's place, behind the same view.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import django
from django.conf import settings

from tests.live.settings import channel_layers
from wskit_channels import Context, Message, Router


def configure() -> None:
    settings.configure(
        SECRET_KEY="the same in every process that shares the sessions",
        ALLOWED_HOSTS=["127.0.0.1"],
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "wskit_channels",
        ],
        CHANNEL_LAYERS=channel_layers(os.environ["MEMBERS_LAYER"]),
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": os.environ["MEMBERS_DB"],
                "OPTIONS": {
                    "timeout": 20,
                    "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA journal_mode=WAL;",
                },
            }
        },
        # Passwords are not what is measured.
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        WSKIT=json.loads(os.environ.get("MEMBERS_WSKIT", "{}")),
    )
    django.setup()


configure()

from channels.auth import AuthMiddlewareStack  # noqa: E402 - needs Django set up
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.db.backends.signals import connection_created  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402

from wskit_channels.asgi import websocket_application  # noqa: E402


class Who(Message, type="WHO"):
    pass


class Me(Message, type="ME"):
    username: str
    client_id: str
    client_ip: str | None


router = Router()


@router.on(Who)
async def who(ctx: Context[Who]) -> None:
    name = ctx.user.get_username()
    ctx.send(Me(username=name, client_id=ctx.client_id, client_ip=ctx.request.client_ip))


# -- the query log

queries: list[str] = []


def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    queries.append(sql)
    return execute(sql, params, many, context)


def watch(*, connection: Any, **kwargs: Any) -> None:
    """Have every query of a new connection noted, whichever thread it belongs to."""
    if note not in connection.execute_wrappers:
        connection.execute_wrappers.append(note)


connection_created.connect(watch)


async def query_log(request: HttpRequest) -> JsonResponse:
    """What was asked of the database since the last look."""
    found = list(queries)
    queries.clear()
    return JsonResponse({"queries": found})


urlpatterns = [path("queries/", query_log)]

# -- what is served

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

http: Any = get_asgi_application()
sockets = websocket_application([path("", router.as_asgi())])


async def application(scope: Event, receive: Receive, send: Send) -> None:
    await (sockets if scope["type"] == "websocket" else http)(scope, receive, send)


class Stock(AsyncWebsocketConsumer):
    """Answers with who is there, as a consumer without this library would."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        user: Any = self.scope["user"]
        await self.send(json.dumps({"payload": {"username": user.get_username()}}))


stock_sockets: Any = AllowedHostsOriginValidator(AuthMiddlewareStack(Stock.as_asgi()))


async def stock(scope: Event, receive: Receive, send: Send) -> None:
    await (stock_sockets if scope["type"] == "websocket" else http)(scope, receive, send)
