"""``routing/handshake.py``: the opening request, and who is admitted by it."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.helpers import connected
from tests.routing.messages import Said, Third
from wskit_channels import (
    CloseConnection,
    CloseContext,
    ConnectionContext,
    Context,
    Handshake,
    Router,
    WsKitError,
)


def handshake(**scope: Any) -> Handshake:
    return Handshake({"type": "websocket", "path": "/ws/", **scope})


def test_headers_are_lower_case_and_joined_where_repeated() -> None:
    request = handshake(headers=[(b"X-One", b"a"), (b"x-one", b"b"), (b"origin", b"http://x")])

    assert (dict(request.headers), request.origin) == (
        {"x-one": "a,b", "origin": "http://x"},
        "http://x",
    )


def test_cookies_query_path_and_address_are_read_from_the_scope() -> None:
    request = handshake(
        headers=[(b"cookie", b"a=1; b=2")],
        query_string=b"x=1&x=2&y=%20",
        client=["10.0.0.7", 4711],
        url_route={"kwargs": {"room": 7}},
    )

    assert (
        dict(request.cookies),
        dict(request.query),
        request.path,
        request.client_ip,
        dict(request.path_params),
    ) == ({"a": "1", "b": "2"}, {"x": ["1", "2"], "y": [" "]}, "/ws/", "10.0.0.7", {"room": 7})


def test_a_bare_scope_has_nothing() -> None:
    request = Handshake({})

    assert (
        dict(request.headers),
        dict(request.cookies),
        dict(request.query),
        request.client_ip,
        request.origin,
        request.token,
        request.user.is_authenticated,
        request.session,
        list(request.subprotocols),
    ) == ({}, {}, {}, None, None, None, False, None, [])


@pytest.mark.parametrize(
    ("scope", "token"),
    [
        ({"query_string": b"access_token=q"}, "q"),
        ({"subprotocols": ["chat", "bearer.s"]}, "s"),
        ({"headers": [(b"authorization", b"bearer  h ")]}, "h"),
        ({"headers": [(b"authorization", b"Basic h")]}, None),
        ({"subprotocols": ["bearer."]}, None),
        ({"query_string": b"access_token=q", "subprotocols": ["bearer.s"]}, "q"),
    ],
)
def test_a_token_is_found_where_the_client_put_it(scope: dict[str, Any], token: str | None) -> None:
    """PROTOCOL 9."""
    assert handshake(**scope).token == token


def test_a_token_is_not_shown() -> None:
    """Tokens are never logged (PROTOCOL 9)."""
    shown = repr(handshake(query_string=b"access_token=secret", subprotocols=["bearer.secret"]))

    assert shown == "<Handshake '/ws/' from None>"


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ([], None),
        (["bearer.t"], "bearer.t"),
        (["bearer.t", "other"], "other"),
        (["other", "v1", "v2", "bearer.t"], "v1"),
        (["bearer.t", "v2", "v1"], "v2"),
    ],
)
async def test_one_of_the_offered_subprotocols_is_selected(
    offered: list[str], selected: str | None
) -> None:
    """The first supported, else the first that is no token, else the token's (PROTOCOL 9)."""
    async with connected(Router(subprotocols=["v1", "v2"]), subprotocols=offered) as client:
        assert client.subprotocol == selected


# -- admission


@dataclass
class Data:
    name: str = ""


async def admitted(router: Router[Any], path: str = "/") -> Any:
    """The connection's data, or the close that refuses it; no hook runs for who is refused."""
    ran: list[str] = []
    found: list[Any] = []

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        found.append(ctx.data)

    @router.on_close
    async def closed(ctx: CloseContext[Any]) -> None:
        ran.append("on_close")

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        ctx.send(Said(text="handled"))

    async with connected(router, path) as client:
        await client.send("THIRD")
        event = await client.communicator.output_queue.get()
        if event["type"] == "websocket.close":
            await client.disconnect()
            await client.ended()
            assert (found, ran) == ([], [])
            return event["code"], event.get("reason", "")
    return found[0]


async def test_anonymous_users_are_admitted_with_fresh_data() -> None:
    """As Django views do (DESIGN 2)."""
    assert await admitted(Router(data=Data)) == Data()


async def test_login_required_refuses_them() -> None:
    code, _ = await admitted(Router(login_required=True))

    assert code == 4401


async def test_authenticate_returns_the_data() -> None:
    router = Router(data=Data)

    @router.authenticate
    async def authenticate(request: Handshake) -> Data | None:
        return Data(name=request.query["name"][0])

    assert await admitted(router, "/?name=ann") == Data(name="ann")


async def test_a_plain_function_may_authenticate() -> None:
    router = Router(data=Data)
    router.authenticate(lambda request: Data(name="plain"))

    assert await admitted(router) == Data(name="plain")


class Broken(Exception):
    pass


def raising(error: Exception) -> Any:
    def authenticate(request: Handshake) -> Any:
        raise error

    return authenticate


@pytest.mark.parametrize(
    ("authenticate", "code"),
    [
        (lambda request: None, 4401),
        (lambda request: "not the data class", 1011),
        (raising(WsKitError("UNAUTHENTICATED")), 4401),
        (raising(WsKitError("PERMISSION_DENIED")), 4403),
        (raising(CloseConnection(4010, "later")), 4010),
        (raising(Broken("secret")), 1011),
    ],
    ids=["None", "wrong class", "unauthenticated", "denied", "a code of its own", "bug"],
)
async def test_authenticate_refuses(authenticate: Any, code: int) -> None:
    """Accepted and closed, before any handler, hook or frame (PROTOCOL 8, DESIGN 2)."""
    router = Router(data=Data)
    router.authenticate(authenticate)

    found = await admitted(router)
    assert found[0] == code
    assert "secret" not in found[1]


@pytest.mark.parametrize(("admits", "expected"), [(True, None), (False, 4401)])
async def test_without_a_data_class_authenticate_returns_a_bool(
    admits: bool, expected: int | None
) -> None:
    router = Router()
    router.authenticate(lambda request: admits)

    found = await admitted(router)
    assert (found[0] if isinstance(found, tuple) else None) == expected


async def test_on_upgrade_comes_before_authentication() -> None:
    router = Router(data=Data)
    order: list[str] = []

    @router.on_upgrade
    async def upgrade(request: Handshake) -> None:
        order.append("on_upgrade")
        raise Broken("logged and suppressed")

    @router.authenticate
    async def authenticate(request: Handshake) -> Data:
        order.append("authenticate")
        return Data()

    assert await admitted(router) == Data()
    assert order == ["on_upgrade", "authenticate"]
