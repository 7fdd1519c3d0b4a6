"""Handshakes: the user of a cookie, refusal by HTTP, proxies, and origins with tokens."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.test import AsyncClient, override_settings
from django.urls import path

from tests.auth_helpers import count_queries, request_of
from tests.shell_helpers import Client, Ping, Pong, connect
from wskit_channels import Context, Handshake, Router
from wskit_channels.asgi import websocket_application
from wskit_channels.conf import get_settings

ORIGIN = [(b"host", b"testserver"), (b"origin", b"http://testserver")]

uses_database = pytest.mark.django_db(transaction=True)


def site(router: Router[Any] | None = None, **options: Any) -> tuple[Any, Router[Any]]:
    router = router or Router()

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Pong(text=f"{ctx.user.get_username()} {ctx.request.client_ip}"))

    return websocket_application([path("ws/", router.as_asgi())], **options), router


async def alices_cookie() -> tuple[bytes, bytes]:
    browser = AsyncClient()
    await browser.aforce_login(await User.objects.acreate(username="alice"))
    return b"cookie", f"sessionid={browser.cookies['sessionid'].value}".encode()


async def says(client: Client) -> str:
    client.write("PING", {})
    text: str = (await client.receive())[1]["text"]
    await client.disconnect()
    return text


# -- the user of a cookie


@uses_database
async def test_authenticate_decides_whether_the_user_is_loaded() -> None:
    """Issue: only when ``await request.load_user()`` asks."""
    seen: list[Any] = []
    application, router = site()

    @router.authenticate
    async def authenticate(handshake: Handshake) -> bool:
        if handshake.query.get("ask"):
            seen.append((await handshake.load_user()).get_username())
        return True

    headers = [*ORIGIN, await alices_cookie()]
    with count_queries() as queries:
        assert await says(await connect(application, path="/ws/", headers=headers)) == " None"
    assert queries == []
    asked = await connect(application, path="/ws/", headers=headers, query="ask=1")

    assert await says(asked) == "alice None"
    assert seen == ["alice"]


@uses_database
async def test_in_async_code_an_unloaded_user_says_so() -> None:
    """Not a silent stranger: the way out is in the message."""
    seen: list[str] = []
    application, router = site()

    @router.authenticate
    async def authenticate(handshake: Handshake) -> bool:
        with pytest.raises(RuntimeError, match=r"await request\.load_user\(\) first"):
            _ = handshake.user
        with pytest.raises(RuntimeError):
            _ = handshake.session
        seen.append("asked")
        return True

    headers = [*ORIGIN, await alices_cookie()]
    assert await says(await connect(application, path="/ws/", headers=headers)) == " None"
    assert seen == ["asked"]


@uses_database
async def test_a_plain_function_may_just_look() -> None:
    """It runs in a thread, where the database may be asked in place."""
    application, router = site()

    @router.authenticate
    def authenticate(handshake: Handshake) -> bool:
        return handshake.user.get_username() == "alice" and "_auth_user_id" in handshake.session

    headers = [*ORIGIN, await alices_cookie()]
    assert await says(await connect(application, path="/ws/", headers=headers)) == "alice None"


@uses_database
async def test_without_a_session_it_is_loaded_only_when_asked_for() -> None:
    """``session=False``."""
    application, router = site(session=False)
    headers = [*ORIGIN, await alices_cookie()]
    assert await says(await connect(application, path="/ws/", headers=headers)) == " None"

    asking, router = site(session=False)

    @router.authenticate
    async def authenticate(handshake: Handshake) -> bool:
        return (await handshake.load_user()).is_authenticated

    assert await says(await connect(asking, path="/ws/", headers=headers)) == "alice None"


async def test_a_router_served_bare_trusts_no_cookie() -> None:
    """No origin was checked: whose page it is, nobody knows."""
    router = Router[Any]()
    seen: list[Any] = []

    @router.authenticate
    async def authenticate(handshake: Handshake) -> bool:
        seen.append((await handshake.load_user()).is_authenticated)
        return True

    client = await connect(router.as_asgi(), headers=[(b"cookie", b"sessionid=x")])
    await client.disconnect()
    assert seen == [False]


@uses_database
async def test_a_token_may_make_the_user() -> None:
    """``request.user = ...`` in ``authenticate``; a login is required and was made."""
    application, router = site(Router(login_required=True))
    alice = await User.objects.acreate(username="alice")

    @router.authenticate
    async def authenticate(handshake: Handshake) -> bool:
        if handshake.token == "secret":
            handshake.user = alice
        return True

    right = await connect(application, path="/ws/", query="access_token=secret")
    wrong = await connect(application, path="/ws/", query="access_token=guess")

    assert await says(right) == "alice None"
    assert await wrong.closed() == (4401, "UNAUTHENTICATED")


async def test_a_session_that_cannot_be_loaded_refuses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """1011: it is nobody's fault who connects, and nobody is let in as a stranger."""
    from wskit_channels import identity

    def broken(session_key: str) -> Any:
        raise OSError("the database is away")

    monkeypatch.setattr(identity, "load", broken)
    application, _ = site()
    headers = [*ORIGIN, (b"cookie", b"sessionid=x")]
    client = await connect(application, path="/ws/", headers=headers)

    assert await client.closed() == (1011, "INTERNAL")
    assert "the session could not be loaded" in caplog.messages


# -- refusal by HTTP


@pytest.mark.parametrize("denial", [True, False])
async def test_a_refusal_may_be_a_403(denial: bool) -> None:
    """PROTOCOL 8: ``refuse="http"`` chooses 403 in the place of 4401."""
    router = Router(login_required=True)
    extensions = {"websocket.http.response": {}} if denial else {}
    client = Client(router.as_asgi(refuse="http"), extensions=extensions)
    event = await client.event()

    if denial:
        assert (event["type"], event["status"]) == ("websocket.http.response.start", 403)
        assert (await client.event())["type"] == "websocket.http.response.body"
    else:
        assert event == {"type": "websocket.close"}
    await client.ended()


async def test_who_is_admitted_notices_nothing() -> None:
    """``refuse="http"`` is about refusals."""
    router = Router()
    client = await connect(router.as_asgi(refuse="http"))
    await client.disconnect()

    assert [event["type"] for event in client.sent] == ["websocket.accept"]


# -- the client's address


PROXIES = {"TRUSTED_PROXIES": ["10.0.0.0/8", "2001:db8::1"]}


@pytest.mark.parametrize(
    ("seen", "header", "expected"),
    [
        ("192.0.2.9", "203.0.113.5", "192.0.2.9"),
        ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.5, 10.9.9.9", "203.0.113.5"),
        ("10.0.0.1", "10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "evil\r\n", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5:4711", "203.0.113.5"),
        ("2001:db8::1", "[2001:db8::77]:80", "2001:db8::77"),
        ("10.0.0.1", "2001:db8::77", "2001:db8::77"),
    ],
)
async def test_a_proxy_is_believed_as_far_as_it_is_trusted(
    seen: str, header: str, expected: str
) -> None:
    """Issue: a forged ``X-Forwarded-For`` is as good as none."""
    with override_settings(WSKIT=PROXIES):
        application, _ = site(session=False)
        headers = [(b"x-forwarded-for", header.encode())]
        client = await connect(application, path="/ws/", headers=headers, client=[seen, 1])
        assert await says(client) == f" {expected}"


async def test_without_trusted_proxies_nobody_is_believed() -> None:
    application, _ = site(session=False)
    headers = [(b"x-forwarded-for", b"203.0.113.5")]
    client = await connect(application, path="/ws/", headers=headers, client=["10.0.0.1", 1])
    assert await says(client) == " 10.0.0.1"


async def test_a_unix_socket_is_trusted_by_name() -> None:
    """There the server sees no address."""
    headers = [(b"x-forwarded-for", b"203.0.113.5")]
    for proxies, expected in ((["unix"], "203.0.113.5"), (["10.0.0.0/8"], "None")):
        with override_settings(WSKIT={"TRUSTED_PROXIES": proxies}):
            application, _ = site(session=False)
            client = await connect(application, path="/ws/", headers=headers)
            assert await says(client) == f" {expected}"


def test_a_proxy_that_is_no_network_is_refused() -> None:
    with (
        override_settings(WSKIT={"TRUSTED_PROXIES": ["my-proxy"]}),
        pytest.raises(ImproperlyConfigured, match="TRUSTED_PROXIES"),
    ):
        get_settings()


# -- a missing origin


@uses_database
@pytest.mark.parametrize(
    ("query", "cookie", "verdict"),
    [
        ("", False, "websocket.close"),
        ("", True, "websocket.close"),
        ("access_token=t", True, "websocket.close"),
        ("access_token=t", False, "websocket.accept"),
    ],
)
async def test_a_missing_origin_needs_a_token_and_no_cookie(
    query: str, cookie: bool, verdict: str
) -> None:
    """Issue: it is let through only where a token, not a cookie, authenticates."""
    application, _ = site()
    headers = [(b"host", b"testserver"), *([await alices_cookie()] if cookie else [])]
    client = Client(application, "/ws/", headers=headers, query=query)

    assert (await client.event())["type"] == verdict
    if verdict == "websocket.accept":
        await client.disconnect()
    else:
        await client.ended()


@uses_database
async def test_other_consumers_of_a_project_find_a_session_and_a_user() -> None:
    """As Channels' own stack gives them; also within a router of routes."""
    from channels.routing import URLRouter

    seen: list[Any] = []

    async def other(scope: Any, receive: Any, send: Any) -> Any:
        seen.append((str(scope["user"]), scope["session"].session_key is not None))
        await send({"type": "websocket.close"})

    nested: Any = URLRouter([path("deep/", other)])  # type: ignore[arg-type]  # an application
    plain: Any = other
    served = websocket_application([path("plain/", plain), path("in/", nested)])
    cookie = await alices_cookie()
    for where in ("/plain/", "/in/deep/"):
        await Client(served, where, headers=[*ORIGIN, cookie]).ended()

    assert seen == [("alice", True)] * 2


@uses_database
async def test_token_replay_after_logout_is_nobody() -> None:
    """A session's cookie, sent again after its session ended."""
    application, _ = site()
    cookie = await alices_cookie()
    first = await connect(application, path="/ws/", headers=[*ORIGIN, cookie])
    assert await says(first) == "alice None"

    key = cookie[1].decode().partition("=")[2]
    alice = await User.objects.aget(username="alice")
    await sync_to_async(logout)(request_of(key, alice))
    again = await connect(application, path="/ws/", headers=[*ORIGIN, cookie])

    assert await says(again) == " None"
