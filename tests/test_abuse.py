"""What an attack on the whole application found, each kept fixed by a test."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import login
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.http import parse_cookie
from django.test import AsyncClient, override_settings
from django.urls import path
from hypothesis import example, given
from hypothesis import strategies as st

from tests.auth_helpers import request_of
from tests.fake_clock import clock, fake_time
from tests.helpers import connected, settle
from tests.routing.calls import answer
from tests.routing.messages import Answer, Ask, Note
from tests.shell_helpers import PATIENCE, Client, Ping, Pong, connect, disconnect
from tests.test_drain import DRAINING, Server, byes, sigterm_kept
from wskit_channels import (
    Context,
    Handshake,
    LimitExceeded,
    Limits,
    Message,
    PubSubError,
    Router,
    Rpc,
    RpcContext,
    identity,
    seats,
)
from wskit_channels.asgi import websocket_application
from wskit_channels.consumer import WsKitConsumer
from wskit_channels.drain import drain
from wskit_channels.registry import registry_here

uses_database = pytest.mark.django_db(transaction=True)

ORIGIN = [(b"host", b"testserver"), (b"origin", b"http://testserver")]
ENDED = (4401, "SESSION_ENDED")
TOO_MANY = (4429, "TOO_MANY_CONNECTIONS")


def site(router: Router[Any] | None = None, **more: Router[Any]) -> Any:
    """A WebSocket application whose router says who is there; others beside it by name."""
    router = router or Router()

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Pong(text=ctx.user.get_username()))

    routers = {"": router, **more}
    return websocket_application([path(name, one.as_asgi()) for name, one in routers.items()])


async def tab(application: Any, *cookies: str, url: str = "/", **options: Any) -> Client:
    """A socket that a page of this site opens, with one header for each of these cookies."""
    headers = [*ORIGIN, *((b"cookie", one.encode()) for one in cookies)]
    return await connect(application, path=url, headers=headers, **options)


async def says(client: Client, type_: str = "PING", payload: Any = None) -> str:
    client.write(type_, payload or {})
    kind, said = await client.receive()
    assert kind == "PONG", (kind, said)
    text: str = said["text"]
    return text


async def alice_and_session() -> tuple[User, str]:
    """A user, and the key of a session in which they have logged in."""
    alice = await User.objects.acreate(username="alice")
    browser = AsyncClient()
    await browser.aforce_login(alice)
    return alice, browser.cookies["sessionid"].value


def cookies_of(header: str) -> dict[str, str]:
    return dict(Handshake({"headers": [(b"cookie", header.encode("latin-1"))]}).cookies)


# -- cookies


ODD = [
    'prefs={"a":1}',
    "foo[bar]=1",
    "na\u00efve=\u00e9",
    "a,b=1",
    "=",
    'x="\\"',
    "path",
    "a b=c d",
]


@pytest.mark.parametrize("odd", ODD)
def test_cookies_are_read_as_django_reads_them(odd: str) -> None:
    """Other applications of the site may set what they like."""
    header = f'{odd}; sessionid="se\\"s\\054ion"; last=1'

    assert cookies_of(header) == parse_cookie(header)
    assert cookies_of(header)["sessionid"] == 'se"s,ion'


@example('""')
@given(st.text(alphabet='ab"\\=; 0127[]{},\t\u00e9', max_size=40))
def test_whatever_the_cookies_are(header: str) -> None:
    assert cookies_of(header) == parse_cookie(header)


@uses_database
@pytest.mark.parametrize("odd", ODD)
async def test_odd_cookies_do_not_lose_the_session(odd: str) -> None:
    """The user is the session's, whatever stands beside it."""
    _, session = await alice_and_session()
    client = await tab(site(), f"{odd}; sessionid={session}")

    assert await says(client) == "alice"
    await client.disconnect()


@uses_database
async def test_cookies_may_come_in_headers_of_their_own() -> None:
    """As HTTP/2 splits them."""
    _, session = await alice_and_session()
    client = await tab(site(), "a=1", f"sessionid={session}", "b=2")

    assert await says(client) == "alice"
    await client.disconnect()


def test_a_long_cookie_takes_no_time_to_read() -> None:
    """Once per byte, not once per byte for every byte: a second is a hundred times enough."""
    header = 'a="' + '\\"' * 16_000 + '"'
    began = time.process_time()

    assert cookies_of(header) == {"a": '"' * 16_000}
    assert time.process_time() - began < 1.0


# -- seats


class SlowSeats:
    """Seats that are counted elsewhere: every step takes a while."""

    def __init__(self) -> None:
        self.held: set[tuple[str, str]] = set()

    async def take(self, key: str, holder: str, limit: int) -> int | None:
        await asyncio.sleep(0)
        taken = sum(one == key for one, _ in self.held - {(key, holder)})
        if taken >= limit:
            return taken
        self.held.add((key, holder))
        await asyncio.sleep(0)
        return None

    async def leave(self, key: str, holder: str) -> None:
        await asyncio.sleep(0)
        self.held.discard((key, holder))


class Enter(Rpc[Pong], type="ENTER"):
    pk: int


def entering(**limits: Any) -> Router[Any]:
    """A router that makes anybody whom they say they are."""
    router = Router(limits=Limits(**limits))

    @router.rpc(Enter)
    async def enter(ctx: RpcContext[Enter]) -> Pong:
        await ctx.login(of_user(ctx.payload.pk)["user"])
        return Pong()

    return router


def of_user(pk: int | None) -> dict[str, Any]:
    """A scope's user."""
    user = SimpleNamespace(
        pk=pk, is_authenticated=pk is not None, is_active=True, get_username=lambda: str(pk)
    )
    return {"user": user}


async def test_logins_at_once_leave_no_seat_behind() -> None:
    """DESIGN 9: a connection has the seat of one user, and none once it has gone."""
    shared = SlowSeats()
    seats._by_loop.setdefault(asyncio.get_running_loop(), {})["default"] = shared
    client = await connect(entering(max_connections_per_user=1).as_asgi())
    for number, pk in enumerate((1, 2, 1, 2, 1, 3)):
        client.write("ENTER", {"pk": pk}, correlationId=str(number))
    kinds = [(await client.receive())[0] for _ in range(6)]

    assert kinds == ["PONG"] * 6
    assert (list(seats._held), len(shared.held)) == (["user:3"], 1)
    await client.disconnect()
    assert (seats._held, shared.held) == ({}, set())


async def test_who_leaves_amid_logins_leaves_no_seat_behind() -> None:
    """The seat that was about to be taken neither."""
    shared = SlowSeats()
    seats._by_loop.setdefault(asyncio.get_running_loop(), {})["default"] = shared
    client = await connect(entering(max_connections_per_user=1).as_asgi())
    for number in range(10):
        client.write("ENTER", {"pk": number}, correlationId=str(number))
    await client.disconnect()
    await settle()

    assert (seats._held, shared.held) == ({}, set())


async def test_a_login_after_the_close_takes_no_seat() -> None:
    """A handler that was not to be cancelled may still be at it."""
    router = Router(limits=Limits(max_connections_per_user=1, close_timeout=0))
    began, gate, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @router.rpc(Enter, cancellable=False)
    async def enter(ctx: RpcContext[Enter]) -> Pong:
        began.set()
        await gate.wait()
        try:
            await ctx.login(of_user(ctx.payload.pk)["user"])
        finally:
            ended.set()
        return Pong()

    client = await connect(router.as_asgi())
    client.write("ENTER", {"pk": 1}, correlationId="1")
    await began.wait()
    await client.disconnect()
    gate.set()
    async with asyncio.timeout(PATIENCE):
        await ended.wait()

    assert seats._held == {}


@pytest.mark.parametrize(
    ("first", "second", "elsewhere"),
    [
        ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"),
        ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("fe80::1%eth0", "fe80::2%eth0", "2001:db8::1"),
        ("a test", "a test", "another"),
    ],
)
async def test_an_address_is_what_one_client_has(first: str, second: str, elsewhere: str) -> None:
    """DESIGN 9: of IPv6 that is a /64; mapped IPv4 is IPv4."""
    application = Router(limits=Limits(max_connections_per_ip=1)).as_asgi()
    there = await connect(application, client=[first, 1])

    assert await (await connect(application, client=[second, 2])).closed() == TOO_MANY
    other = await connect(application, client=[elsewhere, 3])
    await disconnect(there, other)
    assert seats._held == {}


async def test_a_proxy_behind_a_dual_stack_socket_is_the_proxy() -> None:
    """``TRUSTED_PROXIES`` names it as IPv4."""
    seen: list[str | None] = []
    router = Router[Any]()

    @router.authenticate
    async def authenticate(handshake: Handshake) -> bool:
        seen.append(handshake.client_ip)
        return True

    headers = [(b"x-forwarded-for", b"203.0.113.5")]
    with override_settings(WSKIT={"TRUSTED_PROXIES": ["10.0.0.0/8"]}):
        for address in ("::ffff:10.0.0.1", "::ffff:11.0.0.1"):
            client = await connect(router.as_asgi(), headers=headers, client=[address, 1])
            await client.disconnect()

    assert seen == ["203.0.113.5", "::ffff:11.0.0.1"]


# -- bytes that are held


BUSY = {
    "code": "RESOURCE_EXHAUSTED",
    "message": "Too much at once",
    "retryable": True,
    "retryAfterMs": 100,
}


class Held:
    """A router whose calls and concurrent events hold what they got until ``gate`` opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.texts: list[str] = []
        self.reports: list[LimitExceeded] = []
        self.router: Router[Any] = Router(limits=Limits(max_pending_bytes=1000))
        self.router.rpc(Ask)(self._ask)
        self.router.on(Note, concurrent=True)(self._note)
        self.router.on_limit_exceeded(self._report)

    async def _ask(self, ctx: RpcContext[Ask]) -> Answer:
        self.texts.append(ctx.payload.text)
        await self.gate.wait()
        return Answer(text="")

    async def _note(self, ctx: Context[Note]) -> None:
        self.texts.append(ctx.payload.text)
        await self.gate.wait()

    async def _report(self, info: LimitExceeded) -> None:
        self.reports.append(info)

    @property
    def reported(self) -> list[tuple[str, int]]:
        return [(one.type, one.limit) for one in self.reports]


REFUSED_CALL = {"type": "RPC_ERROR", "meta": {"correlationId": "2"}, "payload": BUSY}
REFUSED_EVENT = {"type": "ERROR", "payload": BUSY}


async def test_calls_are_bounded_in_bytes() -> None:
    """``max_pending_bytes``: the next one is refused before its handler, reported once."""
    held = Held()
    async with connected(held.router) as client:
        await client.call("ASK", {"text": "a" * 600}, id="1")
        for _ in range(3):
            await client.call("ASK", {"text": "b" * 600}, id="2")
        assert await client.heard() == [REFUSED_CALL] * 3
        held.gate.set()
        assert await client.receive() == answer("1")
        await client.call("ASK", {"text": "c" * 600}, id="2")
        assert await client.receive() == answer("2")

    assert [text[0] for text in held.texts] == ["a", "c"]
    assert held.reported == [("pending_bytes", 1000)]


async def test_concurrent_events_are_bounded_in_bytes() -> None:
    """``max_pending_bytes``: refused as one that would have waited."""
    held = Held()
    async with connected(held.router) as client:
        await client.send("NOTE", {"text": "a" * 600})
        for _ in range(3):
            await client.send("NOTE", {"text": "b" * 600})
        assert await client.heard() == [REFUSED_EVENT] * 3
        held.gate.set()
        await settle()
        await client.send("NOTE", {"text": "c" * 600})
        assert await client.heard() == []

    assert [text[0] for text in held.texts] == ["a", "c"]
    assert held.reported == [("pending_bytes", 1000)]


@pytest.mark.parametrize("type_", ["ASK", "NOTE"])
async def test_one_frame_over_the_bytes_is_taken_alone(type_: str) -> None:
    """Else it could never be sent."""
    held = Held()
    held.gate.set()
    async with connected(held.router) as client:
        for id_ in ("1", "2"):
            await client.call(type_, {"text": "x" * 1500}, id=id_)
            assert await client.heard() == ([answer(id_)] if type_ == "ASK" else [])

    assert (len(held.texts), held.reported) == (2, [])


# -- topics


class Out(Rpc[Pong], type="OUT"):
    pass


@pytest.mark.parametrize("aborted", [False, True])
async def test_an_abort_amid_a_logout_leaves_no_lost_topic(aborted: bool) -> None:
    """DESIGN 10: who may no longer be there is not, however the call ended."""
    router, asked, gate = Router[Any](), asyncio.Event(), asyncio.Event()

    @router.authorize_topic
    async def allowed(action: str, topic: str, ctx: Any) -> bool:
        if not ctx.user.is_authenticated:
            asked.set()
            await gate.wait()
        return bool(ctx.user.is_authenticated)

    @router.rpc(Enter)
    async def enter(ctx: RpcContext[Enter]) -> Pong:
        await ctx.topics.subscribe("secret")
        return Pong()

    @router.rpc(Out)
    async def out(ctx: RpcContext[Out]) -> Pong:
        await ctx.logout()
        return Pong()

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Pong(text=f"{ctx.user.is_authenticated} {sorted(ctx.topics)}"))

    client = await connect(router.as_asgi(), **of_user(7))
    client.write("ENTER", {"pk": 7}, correlationId="1")
    assert (await client.receive())[0] == "PONG"
    client.write("OUT", correlationId="2")
    await asked.wait()
    if aborted:
        client.write("$ws:abort", correlationId="2")
        assert (await client.receive())[1]["code"] == "CANCELLED"
    gate.set()
    if not aborted:
        assert (await client.receive())[0] == "PONG"
    await settle()

    assert await says(client) == "False []"
    await router.apublish("secret", Ping(text="for those who are let in"))
    await client.disconnect()
    assert not [event for event in client.sent if "let in" in event.get("text", "")]


class Follow(Message, type="FOLLOW"):
    how: str
    topics: list[str]


@pytest.mark.parametrize("how", ["subscribe_many", "set"])
async def test_too_many_topics_are_refused_before_anybody_is_asked(how: str) -> None:
    """``max_topics_per_connection``: a list of names is no way to ask for much work."""
    router, asked = Router[Any](limits=Limits(max_topics_per_connection=3)), list[str]()

    @router.authorize_topic
    async def allowed(action: str, topic: str, ctx: Any) -> bool:
        asked.append(topic)
        return True

    @router.on(Follow)
    async def follow(ctx: Context[Follow]) -> None:
        try:
            await getattr(ctx.topics, ctx.payload.how)(ctx.payload.topics)
        except PubSubError as error:
            ctx.send(Pong(text=error.code))

    client = await connect(router.as_asgi())
    wanted = {"how": how, "topics": list("abcd")}
    assert await says(client, "FOLLOW", wanted) == "TOPIC_LIMIT_EXCEEDED"
    assert asked == []
    await client.disconnect()


# -- sessions and users


@uses_database
async def test_what_was_loaded_is_forgotten_with_the_last_connection() -> None:
    """From then on nobody here hears that a session has ended."""
    _, session = await alice_and_session()
    application = site()
    client = await tab(application, f"sessionid={session}")
    assert await says(client) == "alice"
    await client.disconnect()
    await Session.objects.filter(session_key=session).adelete()

    again = await tab(application, f"sessionid={session}")
    assert await says(again) == ""
    await again.disconnect()


async def checked() -> None:
    """Look at who may stay, now."""
    revalidation = registry_here().revalidation
    revalidation._look_at_all()
    await asyncio.sleep(0)
    while checks := revalidation._checks:
        await asyncio.wait(set(checks))


@uses_database
async def test_a_user_without_a_key_stops_no_look_at_others() -> None:
    """A service that ``authenticate`` made up is nobody whom the database has."""
    services = Router[Any]()

    @services.authenticate
    async def authenticate(handshake: Handshake) -> bool:
        handshake.user = User(username="service")
        return True

    @services.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Pong(text=ctx.user.get_username()))

    application = site(**{"services/": services})
    alice, session = await alice_and_session()
    service = await tab(application, url="/services/")
    client = await tab(application, f"sessionid={session}")
    await User.objects.filter(pk=alice.pk).aupdate(is_active=False)
    await checked()

    assert await client.closed() == ENDED
    assert await says(service) == "service"
    await service.disconnect()


class Change(Message, type="CHANGE"):
    how: str


@uses_database
@pytest.mark.parametrize("how", ["cycle_key", "flush", "save"])
async def test_a_session_with_another_key_leaves_nothing_behind(how: str) -> None:
    """The registry forgets a connection by what it was entered with."""
    router = Router[Any]()

    @router.on(Change)
    async def change(ctx: Context[Change]) -> None:
        await sync_to_async(getattr(ctx.session, ctx.payload.how))()
        ctx.send(Pong())

    _, session = await alice_and_session()
    client = await tab(site(router), f"sessionid={session}")
    assert await says(client, "CHANGE", {"how": how}) == ""
    await client.disconnect()

    registry = registry_here()
    assert (registry.live, registry._by_session, registry._by_user) == ({}, {}, {})


def rename(user: User) -> None:
    user.first_name = "Alicia"
    user.save(update_fields=["first_name"])


def fill_cart(session: str) -> None:
    store = SessionStore(session)
    store["cart"] = 2
    store.save()


@uses_database
async def test_what_was_saved_is_seen_by_who_connects_next() -> None:
    """At once, in this process; also while other tabs of the session are open."""
    router = Router[Any]()

    @router.on(Change)
    async def show(ctx: Context[Change]) -> None:
        user: Any = ctx.user
        ctx.send(Pong(text=f"{user.first_name} {ctx.session.get('cart')}"))

    application = site(router)
    alice, session = await alice_and_session()
    tabs = [await tab(application, f"sessionid={session}")]
    await sync_to_async(rename)(alice)
    tabs.append(await tab(application, f"sessionid={session}"))
    await sync_to_async(fill_cart)(session)
    tabs.append(await tab(application, f"sessionid={session}"))

    seen = [await says(one, "CHANGE", {"how": "show"}) for one in tabs]
    assert seen == [" None", "Alicia None", "Alicia 2"]
    await disconnect(*tabs)


@uses_database
async def test_who_logs_in_over_a_session_ends_it() -> None:
    """Django flushes it: sockets of the user before are closed at once."""
    alice, session = await alice_and_session()
    bob = await User.objects.acreate(username="bob")
    client = await tab(site(), f"sessionid={session}")
    assert await says(client) == "alice"
    request = request_of(session, alice)
    request.COOKIES["sessionid"] = session
    backend = "django.contrib.auth.backends.ModelBackend"
    await sync_to_async(login)(request, bob, backend=backend)

    assert await client.closed() == ENDED


class ReadsElsewhere:
    """A database router whose replica is away, so that reading there is an error."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


REPLICATED = {"DATABASE_ROUTERS": ["tests.test_abuse.ReadsElsewhere"]}


@uses_database
async def test_who_may_stay_is_read_where_it_is_written() -> None:
    """A replica may not have heard yet of the change that is looked at."""
    alice, session = await alice_and_session()
    client = await tab(site(), f"sessionid={session}")
    assert await says(client) == "alice"
    await User.objects.using("default").filter(pk=alice.pk).aupdate(is_active=False)
    with override_settings(**REPLICATED):
        await checked()

    assert await client.closed() == ENDED


@uses_database
async def test_a_user_is_read_anew_where_they_are_written() -> None:
    """``ctx.refresh_auth()``, from a session of the database."""
    router = Router[Any]()

    @router.on(Change)
    async def refresh(ctx: Context[Change]) -> None:
        await ctx.refresh_auth()
        ctx.send(Pong(text=ctx.user.get_username()))

    alice, session = await alice_and_session()
    client = await tab(site(router), f"sessionid={session}")
    assert await says(client) == "alice"
    await User.objects.using("default").filter(pk=alice.pk).aupdate(username="alicia")
    with override_settings(**REPLICATED):
        assert await says(client, "CHANGE", {"how": "refresh"}) == "alicia"
    await client.disconnect()


@uses_database
async def test_cookies_that_lead_nowhere_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can make them up, thousands a minute."""
    monkeypatch.setattr(identity, "FRESH", 3600.0)  # longer than a slow test takes
    _, session = await alice_and_session()
    application = site()
    real = await tab(application, f"sessionid={session}")
    kept = len(registry_here().identities._kept)
    forged = [await tab(application, f"sessionid={n}{'x' * 5000}") for n in range(5)]

    assert [await says(one) for one in forged] == [""] * 5
    assert (kept, len(registry_here().identities._kept)) == (1, 1)
    await disconnect(real, *forged)


# -- projects without this and that


PROJECT = """
import asyncio, json
from importlib import import_module
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x" * 50,
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=[*{apps}, "channels", "wskit_channels"],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {database!r}}}}},
    CHANNEL_LAYERS={{"default": {{"BACKEND": "channels.layers.InMemoryChannelLayer"}}}},
)
django.setup()
from django.core.management import call_command
from django.urls import path
from tests.shell_helpers import Ping, Pong, connect
from wskit_channels import Router
from wskit_channels.asgi import websocket_application

call_command("migrate", verbosity=0)
key = "a" * 32
if {apps}:
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    store["cart"] = 1
    store.save()
    key = store.session_key
router = Router()

@router.on(Ping)
async def ping(ctx):
    ctx.send(Pong(text=str(ctx.user.is_authenticated)))

async def main():
    application = websocket_application([path("", router.as_asgi())])
    headers = [(b"host", b"a"), (b"origin", b"http://a"), (b"cookie", b"sessionid=" + key.encode())]
    client = await connect(application, headers=headers)
    client.write("PING", {{}})
    print(json.dumps(await client.receive()))
    await client.disconnect()

asyncio.run(main())
"""


@pytest.mark.parametrize("apps", [[], ["django.contrib.sessions"]], ids=["nothing", "sessions"])
def test_without_users_a_session_cookie_is_harmless(apps: list[str], tmp_path: Path) -> None:
    """Without ``django.contrib.auth``, and without sessions, everybody is anonymous."""
    script = textwrap.dedent(PROJECT).format(apps=apps, database=str(tmp_path / "db.sqlite3"))
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        env={"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["PONG", {"text": "False"}]


# -- admission


@uses_database
async def test_authenticate_is_asked_whatever_the_client_has_to_show() -> None:
    """``login_required`` judges afterwards: a key in a header is as good as a token."""
    asked: list[str | None] = []
    router = Router[Any](login_required=True)
    alice = await User.objects.acreate(username="alice")

    @router.authenticate
    def authenticate(handshake: Handshake) -> bool:
        asked.append(handshake.headers.get("x-api-key"))
        if asked[-1] == "right":
            handshake.user = alice
        return asked[-1] is not None

    application = site(router)
    right = await connect(application, headers=[*ORIGIN, (b"x-api-key", b"right")])
    assert await says(right) == "alice"
    for headers in ([(b"x-api-key", b"wrong")], []):
        refused = await connect(application, headers=[*ORIGIN, *headers])
        assert await refused.closed() == (4401, "UNAUTHENTICATED")
    assert asked == ["right", "wrong", None]
    await right.disconnect()


async def test_logging_in_as_nobody_is_logging_out() -> None:
    """A router that requires a login closes with 4401."""
    router = Router[Any](login_required=True)

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        await ctx.login(AnonymousUser())

    client = await connect(router.as_asgi(), **of_user(7))
    client.write("PING", {})

    assert await client.closed() == ENDED


async def test_a_subclass_that_swallows_its_cancellation_is_closed_all_the_same() -> None:
    """``receive`` may have a ``suppress`` that takes too much."""
    router = Router[Any]()

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.close(4000, "bye")

    class Swallows(WsKitConsumer):
        async def receive(self, *args: Any, **kwargs: Any) -> None:
            await super().receive(*args, **kwargs)
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    client = await connect(Swallows.as_asgi(router=router))
    client.write("PING", {})

    assert await client.closed() == (4000, "bye")


@pytest.mark.parametrize("refuse", ["HTTP", "", None, 403])
def test_a_way_to_refuse_that_there_is_not_is_an_error(refuse: Any) -> None:
    """Not a silent close in its place."""
    with pytest.raises((TypeError, ValueError, ImproperlyConfigured), match="refuse"):
        Router[Any]().as_asgi(refuse=refuse)


# -- draining


def types(client: Client) -> list[str]:
    return [json.loads(event["text"])["type"] for event in client.sent if "text" in event]


async def call(server: Server, client: Client, name: str) -> None:
    client.write("WORK", {"name": name}, correlationId=name)
    await clock().advance(0.1)
    assert name in server.running


@fake_time
async def test_a_call_that_comes_after_the_bye_may_end_too() -> None:
    """It may have crossed on the way; the drain waits, up to its timeout."""
    server = Server()
    busy, other = await server.clients(2)
    await call(server, busy, "a")
    draining = asyncio.ensure_future(drain(timeout=10.0, window=2.0))
    await clock().advance(0.1)
    assert byes(other)
    await call(server, other, "b")
    server.gates["a"].set()
    await clock().advance(6.0)
    server.gates["b"].set()
    await clock().advance(5.0)
    await draining

    assert [types(client) for client in (busy, other)] == [["$ws:bye", "DONE"]] * 2
    assert server.ends == [(1012, "RESTART")] * 2


@fake_time
async def test_a_call_that_comes_while_others_are_closed_may_end_too() -> None:
    """Closes are spread over the window: whose turn comes later is served until then."""
    server = Server()
    clients = await server.clients(40)
    draining = asyncio.ensure_future(drain(timeout=10.0, window=4.0))
    await clock().advance(0.5)
    left = [client for client in clients if not client.task.done()]
    for number, client in enumerate(left):
        client.write("WORK", {"name": str(number)}, correlationId="1")
    await clock().advance(8.0)
    assert len(server.running) == len(left)
    for gate in server.gates.values():
        gate.set()
    await clock().advance(5.0)
    await draining

    assert left
    assert [types(client) for client in left] == [["$ws:bye", "DONE"]] * len(left)


@fake_time
async def test_calls_that_keep_coming_hold_the_drain_up_no_longer_than_it_may(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its timeout counts from its beginning, not from the last call."""
    server = Server()
    (client,) = await server.clients(1)
    await call(server, client, "0")
    draining = asyncio.ensure_future(drain(timeout=10.0, window=0.0))
    for number in range(1, 10):
        await clock().advance(0.9)
        await call(server, client, str(number))
        server.gates[str(number - 1)].set()
    await clock().advance(2.5)

    assert draining.done()
    assert server.ends == [(1012, "RESTART")]
    assert types(client).count("DONE") == 9
    assert "draining: calls that did not end in time: 1" in caplog.messages


# -- SIGTERM


async def test_a_loop_that_handles_the_signal_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not at every connection."""
    server = Server()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, list)
    try:
        with override_settings(WSKIT=DRAINING):
            await disconnect(*await server.clients(3))
    finally:
        loop.remove_signal_handler(signal.SIGTERM)

    assert len([text for text in caplog.messages if "Call drain()" in text]) == 1


def test_once_the_loop_has_closed_the_signal_is_the_servers() -> None:
    """There is nothing left to drain."""

    async def main() -> None:
        await disconnect(*await Server().clients(1))

    with sigterm_kept() as received:
        with override_settings(WSKIT=DRAINING):
            asyncio.run(main())
        os.kill(os.getpid(), signal.SIGTERM)
        give_up = time.monotonic() + PATIENCE
        while not received and time.monotonic() < give_up:
            pass

        assert received == [signal.SIGTERM]
