import sys
import types
from collections.abc import Sequence
from typing import Any

import pytest
from channels.routing import URLRouter
from django.test import override_settings
from django.urls import path

from tests.shell_helpers import Client, Ping, Pong
from wskit_channels import Context, Router
from wskit_channels.asgi import websocket_application
from wskit_channels.transport import SERVER_SEND

uses_database = pytest.mark.django_db(transaction=True)

ACCEPTED = "websocket.accept"
REJECTED = "websocket.close"


def echo() -> Any:
    router = Router()

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Pong(text=f"{type(ctx.session).__name__} {ctx.user.is_authenticated}"))

    return router.as_asgi()


async def first_event(
    application: Any, origin: str | None, host: str = "testserver", **options: Any
) -> str:
    """Whether a handshake is accepted or closed, which before accept is an HTTP 403."""
    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode("latin-1")))
    client = Client(application, "/ws/", headers=headers, **options)
    event = await client.event()
    await client.disconnect()
    assert client.sent[0] is event
    type_: str = event["type"]
    return type_


def application(allowed_origins: Sequence[str] | None = None, *, session: bool = True) -> Any:
    return websocket_application(
        [path("ws/", echo())], allowed_origins=allowed_origins, session=session
    )


# -- patterns


async def test_patterns_may_be_a_list() -> None:
    """DESIGN 1."""
    assert await first_event(application(session=False), None) == ACCEPTED


async def test_patterns_may_be_a_dotted_path_imported_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DESIGN 1: so that nobody trips over AppRegistryNotReady."""
    served = websocket_application("late_routing.websocket_urlpatterns", session=False)
    module = types.ModuleType("late_routing")
    vars(module)["websocket_urlpatterns"] = [path("ws/", echo())]
    monkeypatch.setitem(sys.modules, "late_routing", module)

    assert await first_event(served, None) == ACCEPTED


async def test_a_dotted_path_that_leads_nowhere_says_so() -> None:
    """STYLE 5: the developer gets what and where."""
    served = websocket_application("nowhere.websocket_urlpatterns", session=False)
    client = Client(served, "/ws/")

    with pytest.raises(ImportError, match="nowhere"):
        await client.ended()


async def test_the_servers_own_send_is_kept_from_before_any_wrapper() -> None:
    """DESIGN 6: Channels' session middleware wraps ``send``."""
    seen: list[Any] = []

    async def consumer(scope: Any, receive: Any, send: Any) -> Any:
        seen.extend([scope[SERVER_SEND], send])

    served = websocket_application([path("ws/", consumer)], allowed_origins=["*"])
    client = Client(served, "/ws/")
    await client.ended()

    kept, wrapped = seen
    assert kept == client._send
    assert wrapped != kept


async def test_it_is_the_same_as_writing_the_router_oneself() -> None:
    """DESIGN 1: path parameters reach the handshake as in any ``URLRouter``."""
    router = Router()
    seen: list[Any] = []

    @router.on_open
    async def opened(ctx: Any) -> None:
        seen.append(ctx.request.path_params)
        ctx.close()

    patterns: list[Any] = [path("ws/<int:number>/", router.as_asgi())]
    for served in (URLRouter(patterns), websocket_application(patterns, session=False)):
        await Client(served, "/ws/7/").ended()

    assert seen == [{"number": 7}, {"number": 7}]


# -- origins


@uses_database
@pytest.mark.parametrize(
    ("origin", "host", "allowed_hosts", "verdict"),
    [
        ("http://testserver", "testserver", ["testserver"], ACCEPTED),
        ("https://testserver", "testserver", ["testserver"], ACCEPTED),
        ("HTTP://TESTSERVER", "testserver", ["testserver"], ACCEPTED),
        ("http://testserver:8000", "testserver:8000", ["testserver"], ACCEPTED),
        ("http://[::1]:8000", "[::1]:8000", ["[::1]"], ACCEPTED),
        ("http://other.example", "testserver", ["testserver", "other.example"], ACCEPTED),
        ("http://a.example.com", "testserver", ["testserver", ".example.com"], ACCEPTED),
        ("http://anything", "anything", ["*"], ACCEPTED),
        ("http://evil.example", "testserver", ["testserver"], REJECTED),
        ("http://evil.example", "evil.example", ["testserver"], REJECTED),
        ("http://evil.example", "testserver", ["*"], REJECTED),
        ("http://testserver:8001", "testserver:8000", ["*"], REJECTED),
        ("http://testserver:8001", "testserver:8000", ["testserver"], REJECTED),
        ("http://other.example:8000", "testserver", ["testserver", "other.example"], REJECTED),
        ("http://testserver.evil.example", "testserver", ["testserver"], REJECTED),
        ("http://eviltestserver", "testserver", ["testserver"], REJECTED),
        ("null", "testserver", ["testserver"], REJECTED),
        ("null", "testserver", ["*"], REJECTED),
        ("", "testserver", ["*"], REJECTED),
        ("testserver", "testserver", ["testserver"], REJECTED),
        ("file://", "testserver", ["*"], REJECTED),
        ("http://", "testserver", ["*"], REJECTED),
        ("http://[", "testserver", ["*"], REJECTED),
        ("http://testserver:99999", "testserver", ["testserver"], REJECTED),
        ("http://testserver:port", "testserver", ["testserver"], REJECTED),
        ("chrome-extension://testserver", "testserver", ["testserver"], REJECTED),
        ("http://t\xe9stserver", "testserver", ["testserver"], REJECTED),
        (None, "testserver", ["*"], REJECTED),
    ],
)
async def test_which_origins_may_connect(
    origin: str | None, host: str, allowed_hosts: list[str], verdict: str
) -> None:
    """PROTOCOL 8: with a session, another site's page is refused before accept."""
    with override_settings(ALLOWED_HOSTS=allowed_hosts):
        assert await first_event(application(), origin, host) == verdict


@uses_database
@pytest.mark.parametrize(
    ("origin", "trusted", "verdict"),
    [
        ("https://app.example", ["https://app.example"], ACCEPTED),
        ("https://a.app.example", ["https://*.app.example"], ACCEPTED),
        ("https://app.example:444", ["https://app.example"], REJECTED),
        ("http://app.example", ["https://app.example"], REJECTED),
        ("http://a.app.example", ["https://*.app.example"], REJECTED),
        ("https://evilapp.example", ["https://*.app.example"], REJECTED),
    ],
)
async def test_origins_that_django_trusts(origin: str, trusted: list[str], verdict: str) -> None:
    """DESIGN 1: ``CSRF_TRUSTED_ORIGINS`` means here what it means to Django's forms."""
    with override_settings(ALLOWED_HOSTS=["testserver"], CSRF_TRUSTED_ORIGINS=trusted):
        assert await first_event(application(), origin) == verdict


@uses_database
@pytest.mark.parametrize(
    ("origin", "allowed", "verdict"),
    [
        ("https://app.example", ["https://app.example"], ACCEPTED),
        ("https://app.example", ["*"], ACCEPTED),
        (None, ["*"], ACCEPTED),
        (None, ["https://app.example"], REJECTED),
        ("http://testserver", ["https://app.example"], REJECTED),
        ("http://testserver", [], REJECTED),
        ("http://[", ["https://app.example"], REJECTED),
        ("http://app.example:99999", ["https://app.example"], REJECTED),
    ],
)
async def test_explicit_origins_are_the_only_ones(
    origin: str | None, allowed: list[str], verdict: str
) -> None:
    """DESIGN 1: ``allowed_origins=`` replaces what Django would allow."""
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        assert await first_event(application(allowed), origin) == verdict


@pytest.mark.parametrize(
    ("origin", "verdict"),
    [(None, ACCEPTED), ("http://testserver", ACCEPTED), ("http://evil.example", REJECTED)],
)
async def test_without_cookies_a_client_needs_no_origin(origin: str | None, verdict: str) -> None:
    """DESIGN 1: ``session=False`` is for token-only clients, which are no browsers."""
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        assert await first_event(application(session=False), origin) == verdict


async def test_in_debug_without_allowed_hosts_localhost_is_allowed() -> None:
    """DESIGN 1: as Django's own development server does."""
    served = application(session=False)
    with override_settings(ALLOWED_HOSTS=[], DEBUG=True):
        assert await first_event(served, "http://localhost:3000", "127.0.0.1:8000") == ACCEPTED
    with override_settings(ALLOWED_HOSTS=[], DEBUG=False):
        assert await first_event(served, "http://localhost:3000", "127.0.0.1:8000") == REJECTED


# -- users


@uses_database
async def test_with_a_session_there_is_a_user() -> None:
    """DESIGN 1: cookies, session and auth stand around the routes."""
    client = Client(
        application(), "/ws/", headers=[(b"host", b"testserver"), (b"origin", b"http://testserver")]
    )
    await client.accepted()
    client.write("PING", {})

    assert await client.receive() == ("PONG", {"text": "SessionStore False"})
    await client.disconnect()


async def test_without_a_session_there_is_none() -> None:
    """DESIGN 1: no cookies, session or user are loaded."""
    client = await Client(application(session=False), "/ws/").accepted()
    client.write("PING", {})

    assert await client.receive() == ("PONG", {"text": "NoneType False"})
    await client.disconnect()
