import asyncio
import logging
import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import AsyncClient, override_settings
from django.urls import path
from pydantic import BaseModel

from tests.helpers import named
from tests.shell_helpers import Client, Ping, Pong, connect
from wskit_channels import CloseConnection, Context, Handshake, Router, WsKitError
from wskit_channels.asgi import websocket_application

uses_database = pytest.mark.django_db(transaction=True)


class Seat(BaseModel):
    number: int = 0


@dataclass
class Chair:
    number: int = 0


def guarded(**options: Any) -> tuple[Router[Any], list[str]]:
    """A router that notes which of its hooks and handlers ran."""
    router = Router(**options)
    ran: list[str] = []

    @router.on_open
    async def opened(ctx: Any) -> None:
        ran.append("on_open")

    @router.on_close
    async def closed(ctx: Any) -> None:
        ran.append("on_close")

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ran.append("handler")
        ctx.send(Pong(text=repr(ctx.data)))

    return router, ran


async def refusal(router: Router[Any], **options: Any) -> tuple[int, str]:
    """The close of a connection that is accepted and refused, with no frame in between."""
    client = await connect(router.as_asgi(), **options)
    client.write("PING", {})
    return await client.closed()


async def data_of(router: Router[Any], **options: Any) -> str:
    client = await connect(router.as_asgi(), **options)
    client.write("PING", {})
    type_, payload = await client.receive()
    await client.disconnect()
    assert type_ == "PONG"
    text: str = payload["text"]
    return text


# -- authenticate


async def test_what_authenticate_returns_is_the_connections_data() -> None:
    """DESIGN 2: a function of a ``Handshake`` returning data."""
    router, _ = guarded(data=Seat)

    @router.authenticate
    async def authenticate(handshake: Handshake) -> Seat | None:
        return Seat(number=int(handshake.token or 0))

    assert await data_of(router, query="access_token=7") == "Seat(number=7)"


async def test_none_refuses() -> None:
    """PROTOCOL 8: accepted and closed with 4401, before any handler, hook or frame."""
    router, ran = guarded(data=Seat)

    @router.authenticate
    async def authenticate(handshake: Handshake) -> Seat | None:
        return None

    assert await refusal(router) == (4401, "UNAUTHENTICATED")
    assert ran == []


@pytest.mark.parametrize(("answer", "admitted"), [(True, True), (False, False), (None, False)])
async def test_without_data_it_returns_a_bool(answer: bool | None, admitted: bool) -> None:
    """DESIGN 2: with no ``data=``."""
    router, ran = guarded()

    @router.authenticate
    async def authenticate(handshake: Handshake) -> bool | None:
        return answer

    if admitted:
        assert await data_of(router) == repr(SimpleNamespace())
        assert ran == ["on_open", "handler", "on_close"]
    else:
        assert await refusal(router) == (4401, "UNAUTHENTICATED")
        assert ran == []


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (Seat, True),
        (Seat, {"number": 1}),
        (Seat, Chair()),
        (Chair, Seat()),
        (None, Seat()),
        (None, 1),
        (None, ""),
    ],
    ids=named,
)
async def test_an_answer_of_the_wrong_type_is_a_bug(
    data: Any, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """DESIGN 2: 1011 for a bug, logged; nobody gets in by one."""
    router, ran = guarded(data=data)

    @router.authenticate
    async def authenticate(handshake: Handshake) -> Any:
        return answer

    with caplog.at_level(logging.ERROR, "wskit_channels"):
        assert await refusal(router) == (1011, "INTERNAL")

    assert ran == []
    assert [type(record.exc_info[1]) for record in caplog.records if record.exc_info] == [TypeError]


@pytest.mark.parametrize(
    ("error", "close"),
    [
        (PermissionDenied("secret"), (4403, "PERMISSION_DENIED")),
        (WsKitError("PERMISSION_DENIED"), (4403, "PERMISSION_DENIED")),
        (WsKitError("UNAUTHENTICATED"), (4401, "UNAUTHENTICATED")),
        (Http404("secret"), (4401, "UNAUTHENTICATED")),
        (CloseConnection(4999, "closed for today"), (4999, "closed for today")),
        (RuntimeError("secret"), (1011, "INTERNAL")),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_authenticate_raises_refuses(error: Exception, close: tuple[int, str]) -> None:
    """DESIGN 2: 4401 or 4403 if that is what it means, else 1011; never its text."""
    router, ran = guarded()

    @router.authenticate
    async def authenticate(handshake: Handshake) -> bool:
        raise error

    assert await refusal(router) == close
    assert ran == []


async def test_a_mapping_that_raises_refuses_as_well(caplog: pytest.LogCaptureFixture) -> None:
    """DESIGN 2: a bug in ``@router.exception`` is one more, and lets nobody in."""
    router, ran = guarded()

    @router.exception(ValueError)
    def broken(error: ValueError) -> WsKitError:
        raise RuntimeError("secret")

    @router.authenticate
    async def authenticate(handshake: Handshake) -> bool:
        raise ValueError

    with caplog.at_level(logging.ERROR, "wskit_channels"):
        assert await refusal(router) == (1011, "INTERNAL")
    assert (ran, len(caplog.records)) == ([], 1)


@uses_database
async def test_a_plain_authenticate_may_use_the_orm() -> None:
    """DESIGN 2: hooks may be plain ``def``; they run in a thread, for the ORM."""
    await User.objects.acreate(username="ada")
    router, _ = guarded(data=Seat)
    threads: list[int] = []

    @router.authenticate
    def authenticate(handshake: Handshake) -> Seat:
        threads.append(threading.get_ident())
        return Seat(number=User.objects.filter(username="ada").count())

    assert await data_of(router) == "Seat(number=1)"
    assert threads != [threading.get_ident()]


# -- without authenticate


async def test_anonymous_users_are_admitted() -> None:
    """DESIGN 2: as Django views do; the data is ``Data()``, of each connection its own."""
    router, _ = guarded(data=Seat)

    assert await data_of(router) == "Seat(number=0)"


@pytest.mark.parametrize("user", [None, AnonymousUser()], ids=["no user", "anonymous"])
async def test_login_required_refuses_them(user: Any) -> None:
    """DESIGN 2: with 4401; PROTOCOL 8: before any handler, hook or frame."""
    router, ran = guarded(login_required=True)
    options = {} if user is None else {"user": user}

    assert await refusal(router, **options) == (4401, "UNAUTHENTICATED")
    assert ran == []


async def test_login_required_admits_users() -> None:
    """DESIGN 2."""
    router, _ = guarded(login_required=True)

    assert await data_of(router, user=User(pk=1, username="ada")) == repr(SimpleNamespace())


async def test_login_required_holds_whatever_authenticate_says() -> None:
    """DESIGN 2: it is asked first, since it may know the client by a token or a key."""
    router, ran = guarded(login_required=True)

    @router.authenticate
    async def authenticate(handshake: Handshake) -> bool:
        ran.append("authenticate")
        return True

    assert await refusal(router) == (4401, "UNAUTHENTICATED")
    assert ran == ["authenticate"]


# -- on_upgrade


async def test_on_upgrade_comes_first_and_cannot_fail_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """DESIGN 2: before authentication; a hook that raises is logged and suppressed."""
    router, ran = guarded()

    @router.on_upgrade
    async def broken(handshake: Handshake) -> None:
        ran.append("broken")
        raise RuntimeError

    @router.on_upgrade
    def plain(handshake: Handshake) -> None:
        ran.append(f"plain {handshake.path}")

    @router.authenticate
    async def authenticate(handshake: Handshake) -> bool:
        ran.append("authenticate")
        return True

    with caplog.at_level(logging.ERROR, "wskit_channels"):
        await data_of(router)

    assert ran == ["broken", "plain /", "authenticate", "on_open", "handler", "on_close"]
    assert len(caplog.records) == 1


# -- Django's users


class Who(BaseModel):
    """What a handler sees of its user."""

    pk: int | None
    name: str
    logged_in: bool


def who_router(**options: Any) -> tuple[Router[Any], list[Who]]:
    router = Router(**options)
    seen: list[Who] = []

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        if ctx.payload.text == "out":
            await ctx.logout()
        elif ctx.payload.text:
            await ctx.login(await User.objects.aget(username=ctx.payload.text))
        user = ctx.user
        assert user is not None
        seen.append(Who(pk=user.pk, name=user.get_username(), logged_in=user.is_authenticated))
        assert ctx.scope["user"] is user
        assert ctx.request.user is user
        ctx.send(Pong())

    return router, seen


async def in_session(router: Router[Any], user: User | None) -> Client:
    """A client with the cookie of a user who logged in over HTTP."""
    browser = AsyncClient()
    if user is not None:
        await browser.aforce_login(user)
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in browser.cookies.items())
    application = websocket_application([path("ws/", router.as_asgi())])
    return await connect(
        application,
        path="/ws/",
        headers=[
            (b"host", b"testserver"),
            (b"origin", b"http://testserver"),
            (b"cookie", cookies.encode()),
        ],
    )


@uses_database
async def test_the_user_of_the_session_is_the_connections() -> None:
    """DESIGN 1: cookies, session and auth as in a view."""
    ada = await User.objects.acreate(username="ada")
    router, seen = who_router(login_required=True)
    client = await in_session(router, ada)
    client.write("PING", {})
    assert await client.receive() == ("PONG", {"text": ""})
    await client.disconnect()

    assert seen == [Who(pk=ada.pk, name="ada", logged_in=True)]
    assert settings.SESSION_COOKIE_NAME == "sessionid"


@uses_database
async def test_without_a_session_login_required_refuses() -> None:
    """PROTOCOL 8: 4401."""
    router, seen = who_router(login_required=True)
    client = await in_session(router, None)

    assert await client.closed() == (4401, "UNAUTHENTICATED")
    assert seen == []


@uses_database
async def test_login_and_logout_change_the_user_everywhere() -> None:
    """DESIGN 2: ``ctx.user``, the scope's and the handshake's, for what comes later too."""
    ada = await User.objects.acreate(username="ada")
    router, seen = who_router()
    client = await in_session(router, None)
    for text in ("", "ada", "", "out", ""):
        client.write("PING", {"text": text})
        assert await client.receive() == ("PONG", {"text": ""})
    await client.disconnect()

    anonymous = Who(pk=None, name="", logged_in=False)
    known = Who(pk=ada.pk, name="ada", logged_in=True)
    assert seen == [anonymous, known, known, anonymous, anonymous]


async def test_a_server_that_cancels_during_authentication_ends_the_connection() -> None:
    """DESIGN 3: ``on_close`` runs if and only if ``on_open`` was begun."""
    router, ran = guarded()
    asked = asyncio.Event()

    @router.authenticate
    async def authenticate(handshake: Handshake) -> bool:
        asked.set()
        await asyncio.Event().wait()
        return True

    client = Client(router.as_asgi())
    await asked.wait()
    client.task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await client.ended()
    assert (client.sent, ran) == ([], [])


# -- errors that close


@pytest.mark.parametrize(
    ("code", "key", "close"),
    [
        ("UNAUTHENTICATED", "CLOSE_ON_UNAUTHENTICATED", (4401, "UNAUTHENTICATED")),
        ("PERMISSION_DENIED", "CLOSE_ON_PERMISSION_DENIED", (4403, "PERMISSION_DENIED")),
    ],
)
async def test_an_error_may_close_its_connection(code: Any, key: str, close: Any) -> None:
    """PROTOCOL 8: after the frame, where the setting says so, and only for its own code."""
    router = Router[Any]()

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.error("NOT_FOUND")
        ctx.error(code)

    with override_settings(WSKIT={key: True}):
        client = await connect(router.as_asgi())
        client.write("PING", {})
        codes = [(await client.receive())[1]["code"] for _ in range(2)]
        assert (codes, await client.closed()) == (["NOT_FOUND", code], close)

    stays = await connect(router.as_asgi())
    stays.write("PING", {})
    assert [(await stays.receive())[1]["code"] for _ in range(2)] == ["NOT_FOUND", code]
    await stays.disconnect()
