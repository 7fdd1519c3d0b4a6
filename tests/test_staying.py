"""Who may stay connected: sessions, users, and orders to disconnect them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import alogout, authenticate, get_user_model, login, logout
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.models import Session
from django.db import transaction
from django.test import AsyncClient, override_settings
from django.urls import path
from django.utils import timezone

from tests.auth_helpers import count_queries, request_of
from tests.shell_helpers import (
    ORDERS,
    Client,
    Ping,
    Pong,
    RemoteLayer,
    connect,
    in_thread,
    layer_in_use,
)
from wskit_channels import (
    ConnectionContext,
    Context,
    Message,
    Router,
    WsKitError,
    auth,
    control,
    identity,
    revalidation,
)
from wskit_channels.asgi import websocket_application
from wskit_channels.registry import registry_here

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick_hashes")]


@pytest.fixture
def quick_hashes(settings: Any) -> None:
    """Many users are made here."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


ENDED = (4401, "SESSION_ENDED")


class Login(Message, type="LOGIN"):
    username: str
    password: str


class Logout(Message, type="LOGOUT"):
    pass


class Refresh(Message, type="REFRESH"):
    pass


class Follow(Message, type="FOLLOW"):
    topic: str


def site(**options: Any) -> tuple[Any, Router[Any]]:
    """A whole WebSocket application, whose router says who is there."""
    router = Router(**options)

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Pong(text=f"{ctx.user.get_username()} {sorted(ctx.topics)}"))

    @router.on(Login)
    async def log_in(ctx: Context[Login]) -> None:
        given = ctx.payload
        user = await sync_to_async(authenticate)(username=given.username, password=given.password)
        if user is None:
            raise WsKitError("UNAUTHENTICATED")
        await ctx.login(user)
        ctx.send(Pong(text=ctx.user.get_username()))

    @router.on(Logout)
    async def log_out(ctx: Context[Logout]) -> None:
        await ctx.logout()
        ctx.send(Pong(text=f"{ctx.user.is_authenticated} {sorted(ctx.topics)}"))

    @router.on(Refresh)
    async def refresh(ctx: Context[Refresh]) -> None:
        await ctx.refresh_auth()
        ctx.send(Pong(text=f"{ctx.user.get_username()} {sorted(ctx.topics)}"))

    @router.on(Follow)
    async def follow(ctx: Context[Follow]) -> None:
        await ctx.topics.subscribe(ctx.payload.topic)

    application = websocket_application(
        [path("ws/", router.as_asgi())], allowed_origins=["http://testserver"]
    )
    return application, router


async def user_of(name: str) -> User:
    return await sync_to_async(User.objects.create_user)(name, password="right")


async def browser_of(user: User) -> AsyncClient:
    """A browser in which a user has logged in."""
    browser = AsyncClient()
    await sync_to_async(browser.force_login)(user)
    return browser


def cookie(browser: AsyncClient) -> str:
    return browser.cookies["sessionid"].value


async def tab(application: Any, session: str | None = None, **options: Any) -> Client:
    """A socket that a page of this site opens with a session's cookie."""
    headers = [(b"host", b"testserver"), (b"origin", b"http://testserver")]
    if session is not None:
        headers.append((b"cookie", f"sessionid={session}".encode()))
    return await connect(application, path="/ws/", headers=headers, **options)


async def says(client: Client, type_: str = "PING", payload: Any = None) -> str:
    client.write(type_, {} if payload is None and type_ == "PING" else payload)
    kind, answer = await client.receive()
    assert kind == "PONG", (kind, answer)
    text: str = answer["text"]
    return text


@asynccontextmanager
async def two_tabs_and_another(application: Any) -> AsyncIterator[tuple[User, str, list[Client]]]:
    """Two tabs of one user, and one of another, who has to be there at the end."""
    alice, bob = await user_of("alice"), await user_of("bob")
    session = cookie(await browser_of(alice))
    tabs = [await tab(application, session) for _ in range(2)]
    other = await tab(application, cookie(await browser_of(bob)))
    yield alice, session, tabs
    assert await says(other) == "bob []"
    await other.disconnect()


# -- logging out, a new password, a user who is gone


async def test_logging_out_closes_all_tabs() -> None:
    """DESIGN 10: with 4401, and the session that they would come back with is gone."""
    application, _ = site()
    async with two_tabs_and_another(application) as (alice, session, tabs):
        await sync_to_async(logout)(request_of(session, alice))

        assert [await one.closed() for one in tabs] == [ENDED] * 2
        again = await tab(application, session)
        assert await says(again) == " []"
        await again.disconnect()


async def test_logging_out_in_async_code_does_the_same() -> None:
    """``alogout``."""
    application, _ = site()
    async with two_tabs_and_another(application) as (alice, session, tabs):
        await alogout(request_of(session, alice))
        assert [await one.closed() for one in tabs] == [ENDED] * 2


async def test_a_logout_that_is_rolled_back_ends_nothing() -> None:
    """The session is still there: so are the tabs."""
    application, _ = site()

    def log_out_and_fail(session: str, user: User) -> None:
        with transaction.atomic():
            logout(request_of(session, user))
            transaction.set_rollback(True)

    async with two_tabs_and_another(application) as (alice, session, tabs):
        await sync_to_async(log_out_and_fail)(session, alice)
        assert [await says(one) for one in tabs] == ["alice []"] * 2
        await asyncio.gather(*(one.disconnect() for one in tabs))


async def test_other_sessions_of_the_user_stay() -> None:
    """As in Django: logging out ends this browser's session."""
    application, _ = site()
    async with two_tabs_and_another(application) as (alice, session, tabs):
        elsewhere = await tab(application, cookie(await browser_of(alice)))
        await sync_to_async(logout)(request_of(session, alice))

        assert [await one.closed() for one in tabs] == [ENDED] * 2
        assert await says(elsewhere) == "alice []"
        await elsewhere.disconnect()


def new_password(user: User) -> None:
    user.set_password("another")
    user.save()


def deactivate(user: User) -> None:
    user.is_active = False
    user.save(update_fields=["is_active"])


@pytest.mark.parametrize("change", [new_password, deactivate, User.delete])
async def test_a_changed_user_is_closed(change: Callable[[User], Any]) -> None:
    """DESIGN 10: through ``save()`` and ``delete()``."""
    application, _ = site()
    async with two_tabs_and_another(application) as (alice, _, tabs):
        await sync_to_async(change)(alice)
        assert [await one.closed() for one in tabs] == [ENDED] * 2


async def test_a_user_who_was_only_saved_stays() -> None:
    """A new name, or the time of the last login, ends nothing."""
    application, _ = site()
    async with two_tabs_and_another(application) as (alice, _, tabs):
        alice.first_name = "Alice"
        await alice.asave()
        alice.last_login = timezone.now()
        await alice.asave(update_fields=["last_login"])
        await checked()

        assert [await says(one) for one in tabs] == ["alice []"] * 2
        await asyncio.gather(*(one.disconnect() for one in tabs))


async def checked() -> None:
    """Wait until nobody is being looked at."""
    await asyncio.sleep(0)
    while checks := registry_here().revalidation._checks:
        await asyncio.wait(set(checks))


# -- orders


@pytest.mark.parametrize("by", ["user", "pk", "session", "in a thread"])
async def test_an_order_closes_who_is_meant(by: str) -> None:
    """DESIGN 10: ``disconnect_user`` and ``disconnect_session``, from any code."""
    application, _ = site()
    async with two_tabs_and_another(application) as (alice, session, tabs):
        if by == "session":
            await auth.adisconnect_session(session)
        elif by == "in a thread":
            in_thread(lambda: [auth.disconnect_user(alice)])
        else:
            await auth.adisconnect_user(alice if by == "user" else alice.pk)
        assert [await one.closed() for one in tabs] == [ENDED] * 2


async def test_one_client_can_be_disconnected() -> None:
    """``disconnect(client_id)``; an id that is nobody's is no error."""
    application, router = site()
    ids: list[str] = []

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        ids.append(ctx.client_id)

    first, second = await tab(application), await tab(application)
    await says(first)
    await auth.adisconnect("nobody")
    auth.disconnect(ids[0])

    assert await first.closed() == ENDED
    assert await says(second) == " []"
    await second.disconnect()


def test_nobody_is_no_user_to_disconnect() -> None:
    for nobody in (AnonymousUser(), User(), None):
        with pytest.raises(ValueError, match="has no primary key"):
            auth.disconnect_user(nobody)


async def test_orders_of_another_process_are_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN 10: in every process, by the channel layer."""
    with layer_in_use(RemoteLayer()) as layer:
        assert isinstance(layer, RemoteLayer)
        application, _ = site()
        async with two_tabs_and_another(application) as (alice, _, tabs):
            while not layer.groups[ORDERS]:
                await asyncio.sleep(0)
            await elsewhere(monkeypatch, lambda: auth.adisconnect_user(alice))
            assert [await one.closed() for one in tabs] == [ENDED] * 2


async def elsewhere(monkeypatch: pytest.MonkeyPatch, order: Callable[[], Any]) -> None:
    """Give an order as a process would that has none of these connections."""
    import weakref

    from wskit_channels import hub, relay

    with monkeypatch.context() as patch:
        patch.setattr(relay, "_process", "another")
        patch.setattr(hub, "_hubs", weakref.WeakValueDictionary())
        patch.setattr(control, "_buses", weakref.WeakSet())
        await order()


async def test_orders_name_no_session() -> None:
    """What crosses the layer is a digest: with it nobody can log in."""
    with layer_in_use(RemoteLayer()) as layer:
        assert isinstance(layer, RemoteLayer)
        sent: list[str] = []
        application, _ = site()
        session = cookie(await browser_of(await user_of("alice")))
        client = await tab(application, session)
        while not layer.groups[ORDERS]:
            await asyncio.sleep(0)
        channel = await layer.new_channel()
        await layer.group_add(ORDERS, channel)
        await auth.adisconnect_session(session)
        sent.append(str(await layer.receive(channel)))

        assert session not in sent[0]
        assert await client.closed() == ENDED


async def test_a_failing_layer_does_not_hide_orders_from_this_process() -> None:
    """Bounded harm: it is logged, and the next look at who may stay finds the rest."""
    with layer_in_use(RemoteLayer()) as layer:
        assert isinstance(layer, RemoteLayer)
        layer.break_down("group_add", "group_send", "new_channel", "send")
        application, _ = site()
        async with two_tabs_and_another(application) as (alice, _, tabs):
            await auth.adisconnect_user(alice)
            assert [await one.closed() for one in tabs] == [ENDED] * 2


# -- looking again


async def revalidated() -> None:
    registry_here().revalidation._look_at_all()
    await checked()


async def test_what_no_signal_tells_is_found_by_looking_again() -> None:
    """Issue: a bare ``QuerySet.update`` is caught by the next revalidation."""
    application, _ = site()
    async with two_tabs_and_another(application) as (alice, _, tabs):
        await User.objects.filter(pk=alice.pk).aupdate(is_active=False)
        await checked()
        assert await says(tabs[0]) == "alice []"

        await revalidated()
        assert [await one.closed() for one in tabs] == [ENDED] * 2


async def test_a_session_that_was_deleted_is_found_by_looking_again() -> None:
    """Also one that expired before its time, as ``clearsessions`` would have it."""
    application, _ = site()
    async with two_tabs_and_another(application) as (_, session, tabs):
        await Session.objects.filter(session_key=session).aupdate(expire_date=timezone.now())
        await revalidated()
        assert [await one.closed() for one in tabs] == [ENDED] * 2


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """What time it is for sessions: it stands still until a test moves it."""
    found = [timezone.now()]
    monkeypatch.setattr(identity, "timezone", SimpleNamespace(now=lambda: found[0]))
    monkeypatch.setattr(revalidation, "time", SimpleNamespace(time=lambda: found[0].timestamp()))
    return found


async def test_a_session_that_expires_closes(now: list[datetime]) -> None:
    """DESIGN 10: when its time has come, without waiting for a round."""
    application, _ = site()
    alice = await user_of("alice")
    session = cookie(await browser_of(alice))
    soon = now[0] + timedelta(seconds=0.1)
    await Session.objects.filter(session_key=session).aupdate(expire_date=soon)
    with override_settings(WSKIT={"REVALIDATE_INTERVAL": 0}):
        client = await tab(application, session)
        registry_here().revalidation._look_at_expired()
        await checked()
        assert await says(client) == "alice []"
        now[0] = soon
        assert await client.closed() == ENDED


async def test_a_session_that_was_extended_meanwhile_stays(now: list[datetime]) -> None:
    """Every request of the browser may have moved its end."""
    application, _ = site()
    session = cookie(await browser_of(await user_of("alice")))
    rows = Session.objects.filter(session_key=session)
    end = now[0] + timedelta(seconds=60)
    await rows.aupdate(expire_date=end)
    client = await tab(application, session)
    await rows.aupdate(expire_date=now[0] + timedelta(days=1))
    now[0] = end
    registry = registry_here()
    (live,) = registry.live.values()
    assert live.account.identity is not None
    assert live.account.identity.expires_at is not None

    registry.revalidation._look_at_expired()
    await checked()

    assert await says(client) == "alice []"
    await client.disconnect()


async def test_looking_again_takes_few_queries() -> None:
    """However many tabs and users there are."""
    application, _ = site()
    tabs = []
    for number in range(5):
        session = cookie(await browser_of(await user_of(f"user{number}")))
        tabs += [await tab(application, session) for _ in range(4)]

    with count_queries() as queries:
        await revalidated()

    assert len(queries) == 2
    await asyncio.gather(*(one.disconnect() for one in tabs))


@pytest.fixture
def long_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was loaded is shared for as long as even a slow test takes."""
    monkeypatch.setattr(identity, "FRESH", 3600.0)


@pytest.mark.usefixtures("long_fresh")
async def test_tabs_that_come_back_at_once_are_loaded_together() -> None:
    """Issue: a reconnect storm is no database storm: two queries a user at most."""
    application, _ = site()
    sessions = [cookie(await browser_of(await user_of(f"user{n}"))) for n in range(5)]
    with count_queries() as queries:
        tabs = await asyncio.gather(*(tab(application, one) for one in sessions * 20))

    assert len(queries) == 10
    assert {await says(one) for one in tabs} == {f"user{n} []" for n in range(5)}
    await asyncio.gather(*(one.disconnect() for one in tabs))


@pytest.mark.usefixtures("long_fresh")
async def test_a_session_that_is_saved_is_loaded_anew_and_no_other() -> None:
    """A site whose pages save sessions all the time has a busy HTTP side, and no storm here."""
    application, _ = site()
    mine, theirs = [cookie(await browser_of(await user_of(name))) for name in ("alice", "bob")]
    first = [await tab(application, one) for one in (mine, theirs)]
    row = await Session.objects.aget(session_key=theirs)
    known = registry_here().identities.generation
    await row.asave()

    with count_queries() as queries:
        again = await tab(application, mine)
        assert queries == []
        other = await tab(application, theirs)
    assert len(queries) == 2
    assert registry_here().identities.generation == known
    await asyncio.gather(*(one.disconnect() for one in (*first, again, other)))


async def test_tabs_share_no_user_and_no_session() -> None:
    """What a handler sets on the one is not the other's."""
    application, router = site()
    seen: list[Any] = []

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        seen.append((ctx.user, ctx.session))
        ctx.session["mark"] = ctx.client_id

    session = cookie(await browser_of(await user_of("alice")))
    tabs = [await tab(application, session) for _ in range(2)]
    for one in tabs:
        await says(one)

    (user, store), (other, another) = seen
    assert (user, user is other) == (other, False)
    assert store["mark"] != another["mark"]
    await asyncio.gather(*(one.disconnect() for one in tabs))


# -- login and logout of a connection


async def test_a_first_message_may_log_in() -> None:
    """PROTOCOL 9 is not the only way: ``ctx.login`` in a handler changes the user everywhere."""
    application, _ = site()
    alice = await user_of("alice")
    client = await tab(application)
    assert await says(client) == " []"

    login = {"username": "alice", "password": "right"}
    assert await says(client, "LOGIN", login) == "alice"
    assert await says(client) == "alice []"
    await auth.adisconnect_user(alice)
    assert await client.closed() == ENDED


async def test_a_wrong_password_is_answered_and_no_more() -> None:
    """The connection stays what it was."""
    application, _ = site()
    await user_of("alice")
    client = await tab(application)
    client.write("LOGIN", {"username": "alice", "password": "wrong"})

    assert (await client.receive())[1]["code"] == "UNAUTHENTICATED"
    assert await says(client) == " []"
    await client.disconnect()


async def test_who_logged_in_by_message_is_looked_at_too() -> None:
    """A new password ends that as well, and no session is needed for it."""
    application, _ = site()
    alice = await user_of("alice")
    client = await tab(application)
    await says(client, "LOGIN", {"username": "alice", "password": "right"})
    await revalidated()
    assert await says(client) == "alice []"

    await sync_to_async(new_password)(alice)
    assert await client.closed() == ENDED


async def test_who_logged_out_by_message_is_nobody() -> None:
    """Neither closed with the user, nor in the topics that only the user may read."""
    application, router = site()

    @router.authorize_topic
    async def allowed(action: str, topic: str, ctx: ConnectionContext[Any]) -> bool:
        return topic == "open" or ctx.user.is_authenticated

    alice = await user_of("alice")
    client = await tab(application, cookie(await browser_of(alice)))
    client.write("FOLLOW", {"topic": "secret"})
    client.write("FOLLOW", {"topic": "open"})
    assert await says(client) == "alice ['open', 'secret']"

    assert await says(client, "LOGOUT") == "False ['open']"
    await auth.adisconnect_user(alice)
    assert await says(client) == " ['open']"
    await client.disconnect()


async def test_a_router_that_requires_a_login_keeps_nobody_who_logs_out() -> None:
    """With 4401, as it would refuse them."""
    application, _ = site(login_required=True)
    client = await tab(application, cookie(await browser_of(await user_of("alice"))))
    client.write("LOGOUT")

    assert await client.closed() == ENDED


async def test_permissions_are_read_anew_and_lost_topics_left() -> None:
    """``ctx.refresh_auth()``."""
    application, router = site()
    told: list[str] = []

    @router.authorize_topic
    def allowed(action: str, topic: str, ctx: ConnectionContext[Any]) -> bool:
        return topic == "open" or bool(ctx.user.is_staff)  # type: ignore[attr-defined]  # a User

    @router.on_unsubscribe
    async def left(topic: str, ctx: ConnectionContext[Any]) -> None:
        told.append(topic)

    alice = await user_of("alice")
    await User.objects.filter(pk=alice.pk).aupdate(is_staff=True)
    client = await tab(application, cookie(await browser_of(alice)))
    client.write("FOLLOW", {"topic": "staff"})
    client.write("FOLLOW", {"topic": "open"})
    assert await says(client) == "alice ['open', 'staff']"

    await User.objects.filter(pk=alice.pk).aupdate(is_staff=False, username="alicia")
    assert await says(client, "REFRESH") == "alicia ['open']"
    assert told == ["staff"]
    await client.disconnect()


async def test_refreshing_closes_who_may_not_stay() -> None:
    """As looking again would."""
    application, _ = site()
    alice = await user_of("alice")
    client = await tab(application, cookie(await browser_of(alice)))
    await User.objects.filter(pk=alice.pk).aupdate(is_active=False)
    client.write("REFRESH")

    assert await client.closed() == ENDED


# -- attacks


async def test_a_session_that_logs_in_gets_a_new_key() -> None:
    """Session fixation: a socket opened with the key from before is nobody's, and stays so."""
    application, _ = site()
    alice = await user_of("alice")
    from django.contrib.sessions.backends.db import SessionStore

    planted = SessionStore()
    await sync_to_async(planted.create)()
    before = await tab(application, planted.session_key)
    request = request_of(str(planted.session_key), alice)
    await sync_to_async(login)(request, alice)
    after = await tab(application, planted.session_key)

    assert [await says(one) for one in (before, after)] == [" []"] * 2
    assert request.session.session_key != planted.session_key
    await asyncio.gather(before.disconnect(), after.disconnect())


async def test_a_forged_session_is_nobody() -> None:
    """A key that the database does not have, or that is none."""
    application, _ = site()
    for key in ("x" * 32, "", "../../etc", "\u00e9"):
        client = await tab(application, key)
        assert await says(client) == " []"
        await client.disconnect()


async def test_the_user_model_may_be_named() -> None:
    """The identity is the project's own user model's."""
    assert get_user_model() is User
    assert control._alias() == "default"
