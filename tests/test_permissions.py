import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.decorators import (
    login_required,
    permission_required,
    user_passes_test,
)
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.views.decorators.cache import cache_page, never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from tests.helpers import named
from tests.shell_helpers import Client, Number, Ping, Pong, connect
from wskit_channels import (
    ConnectionContext,
    Context,
    Message,
    Router,
    Rpc,
    RpcContext,
    WsKitError,
    permissions,
)
from wskit_channels.permissions import (
    check_permission,
    require,
    require_login,
    require_permission,
)

uses_database = pytest.mark.django_db(transaction=True)

ADD_USER = "auth.add_user"


class Ask(Rpc[Pong], type="ASK"):
    text: str = ""


def guarded(*middleware: Any) -> Router[Any]:
    """A router with an event and a call behind middleware."""
    router = Router()

    @router.on(Ping, use=middleware)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Pong(text="event"))

    @router.rpc(Ask, use=middleware)
    async def ask(ctx: RpcContext[Ask]) -> Pong:
        return Pong(text="call")

    return router


async def outcome(client: Client) -> str:
    """What comes of a PING: "PONG", or an error's code."""
    client.write("PING", {})
    type_, payload = await client.receive()
    return str(payload["code"]) if type_ == "ERROR" else type_


async def once(router: Router[Any], user: Any) -> str:
    client = await connect(router.as_asgi(), user=user)
    found = await outcome(client)
    await client.disconnect()
    return found


@sync_to_async
def make_user(*permissions: str, **fields: Any) -> User:
    user = User.objects.create_user(f"user{User.objects.count()}", **fields)
    user.user_permissions.set(permissions_named(*permissions))
    return user


def permissions_named(*names: str) -> list[Permission]:
    return [
        Permission.objects.get(content_type__app_label=app, codename=codename)
        for app, codename in (name.split(".") for name in names)
    ]


class Member(AnonymousUser):
    """Somebody who is logged in and in no database."""

    is_authenticated: Any = True
    is_staff: Any = True


# -- require_login


@pytest.mark.parametrize("user", [None, AnonymousUser()], ids=["nobody", "anonymous"])
async def test_who_is_not_logged_in_is_unauthenticated(user: Any) -> None:
    """DESIGN 10: ``require_login`` answers UNAUTHENTICATED."""
    assert await once(guarded(require_login), user) == "UNAUTHENTICATED"


async def test_who_is_logged_in_passes() -> None:
    """DESIGN 10."""
    assert await once(guarded(require_login), Member()) == "PONG"


async def test_a_refusal_comes_before_the_payload_is_looked_at() -> None:
    """PROTOCOL 3: what middleware refuses is answered so, also when the payload is invalid."""
    client = await connect(guarded(require_login).as_asgi())
    client.write("PING", {"wrong": 1})
    client.write("ASK", {"wrong": 1}, correlationId="a")

    frames = [await client.frame(), await client.frame()]
    await client.disconnect()

    assert sorted((frame["type"], frame["payload"]["code"]) for frame in frames) == [
        ("ERROR", "UNAUTHENTICATED"),
        ("RPC_ERROR", "UNAUTHENTICATED"),
    ]


async def test_it_can_guard_a_whole_router() -> None:
    """DESIGN 2: middleware of a router covers all its routes."""
    router = guarded()
    router.use(require_login)

    assert await once(router, None) == "UNAUTHENTICATED"


# -- require


async def is_staff(ctx: ConnectionContext[Any]) -> bool:
    return bool(getattr(ctx.user, "is_staff", False))


def is_staff_in_a_thread(ctx: ConnectionContext[Any]) -> bool:
    assert threading.current_thread() is not threading.main_thread()
    return bool(getattr(ctx.user, "is_staff", False))


TESTS: list[Callable[[ConnectionContext[Any]], Any]] = [
    is_staff,
    is_staff_in_a_thread,
    lambda ctx: is_staff(ctx),
    functools.partial(is_staff),
]


@pytest.mark.parametrize("test", TESTS, ids=["async", "plain", "lambda", "partial"])
async def test_a_test_admits_and_refuses(test: Any) -> None:
    """DESIGN 10: a sync or async test; UNAUTHENTICATED for anonymous users."""
    router = guarded(require(test))
    mere = Member()
    mere.is_staff = False

    assert [await once(router, user) for user in (Member(), mere, AnonymousUser())] == [
        "PONG",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
    ]


@pytest.mark.parametrize("answer", [None, 1, "yes", is_staff], ids=named)
async def test_what_is_merely_true_admits_nobody(answer: Any) -> None:
    """A forgotten call is true as any function is; that is a bug, not an admission."""
    assert await once(guarded(require(lambda ctx: answer)), Member()) == "INTERNAL"


async def test_a_test_may_refuse_with_an_error_of_its_own() -> None:
    """DESIGN 1: guards raise."""

    async def refuses(ctx: ConnectionContext[Any]) -> bool:
        raise WsKitError("FAILED_PRECONDITION")

    assert await once(guarded(require(refuses)), Member()) == "FAILED_PRECONDITION"


async def test_a_test_sees_the_connections_data() -> None:
    """DESIGN 2: ``ctx.data``; there is no payload to misuse."""
    router = guarded(require(lambda ctx: ctx.data.level > 3))

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        ctx.data.level = 3 + int(ctx.scope["query_string"])

    allowed = await connect(router.as_asgi(), query="1")
    refused = await connect(router.as_asgi(), query="0", user=Member())

    assert (await outcome(allowed), await outcome(refused)) == ("PONG", "PERMISSION_DENIED")
    await allowed.disconnect()
    await refused.disconnect()


# -- require_permission


@uses_database
async def test_a_permission_is_of_the_user_or_a_group() -> None:
    """DESIGN 10: Django's permissions, by Django's backends."""
    router = guarded(require_permission(ADD_USER))
    owner, member, other = [await make_user(*names) for names in ([ADD_USER], [], [])]
    group = await Group.objects.acreate(name="adders")
    await group.permissions.aset(await sync_to_async(permissions_named)(ADD_USER))
    await member.groups.aadd(group)

    assert [await once(router, user) for user in (owner, member, other, AnonymousUser(), None)] == [
        "PONG",
        "PONG",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "UNAUTHENTICATED",
    ]


@uses_database
async def test_all_permissions_are_required() -> None:
    """As Django's ``permission_required`` takes several."""
    router = guarded(require_permission(ADD_USER, "auth.change_user"))
    one, both = await make_user(ADD_USER), await make_user(ADD_USER, "auth.change_user")

    assert [await once(router, user) for user in (one, both)] == ["PERMISSION_DENIED", "PONG"]


@uses_database
async def test_superusers_may_all_and_inactive_ones_nothing() -> None:
    """As Django has it."""
    router = guarded(require_permission(ADD_USER))
    superuser = await make_user(is_superuser=True)
    inactive = await make_user(is_superuser=True, is_active=False)

    assert [await once(router, user) for user in (superuser, inactive)] == [
        "PONG",
        "PERMISSION_DENIED",
    ]


@uses_database
async def test_permissions_are_those_of_now() -> None:
    """Issue: a socket must not keep the permissions it was opened with."""
    user = await make_user()
    client = await connect(guarded(require_permission(ADD_USER)).as_asgi(), user=user)
    permission = (await sync_to_async(permissions_named)(ADD_USER))[0]

    found = [await outcome(client)]
    await user.user_permissions.aadd(permission)
    found.append(await outcome(client))
    await user.user_permissions.aremove(permission)
    found.append(await outcome(client))
    await User.objects.filter(pk=user.pk).aupdate(is_superuser=True)
    found.append(await outcome(client))
    await User.objects.filter(pk=user.pk).aupdate(is_active=False)
    found.append(await outcome(client))
    await client.disconnect()

    assert found == [
        "PERMISSION_DENIED",
        "PONG",
        "PERMISSION_DENIED",
        "PONG",
        "PERMISSION_DENIED",
    ]


@uses_database
async def test_who_is_gone_is_unauthenticated() -> None:
    """Issue: a user who was deleted, here in a way that sends no signal."""
    user = await make_user(is_superuser=True)
    client = await connect(guarded(require_permission(ADD_USER)).as_asgi(), user=user)

    before = await outcome(client)
    await sync_to_async(User.objects.filter(pk=user.pk)._raw_delete)("default")
    after = await outcome(client)
    await client.disconnect()

    assert (before, after) == ("PONG", "UNAUTHENTICATED")


@uses_database
async def test_max_age_keeps_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It saves queries for as long as it says, and no longer."""
    user = await make_user(ADD_USER)
    clock = [100.0]
    monkeypatch.setattr("wskit_channels.permissions.monotonic", lambda: clock[0])
    router = guarded(require_permission(ADD_USER, max_age=60.0))
    client = await connect(router.as_asgi(), user=user)

    found = [await outcome(client)]
    await User.objects.filter(pk=user.pk).aupdate(is_active=False)
    clock[0] += 59.9
    found.append(await outcome(client))
    clock[0] += 0.1
    found.append(await outcome(client))
    await client.disconnect()

    assert found == ["PONG", "PONG", "PERMISSION_DENIED"]


@uses_database
async def test_max_age_is_of_one_user() -> None:
    """DESIGN 2: a login changes the user everywhere, permissions too."""
    owner, other = await make_user(ADD_USER), await make_user()
    router = guarded(require_permission(ADD_USER, max_age=60.0))

    @router.on(Number)
    async def become(ctx: Context[Number]) -> None:
        await ctx.login(await User.objects.aget(pk=ctx.payload.value))
        ctx.send(Pong())

    client = await connect(router.as_asgi(), user=owner)
    before = await outcome(client)
    client.write("NUMBER", {"value": other.pk})
    await client.receive()
    after = await outcome(client)
    await client.disconnect()

    assert (before, after) == ("PONG", "PERMISSION_DENIED")


@pytest.mark.django_db
def test_what_a_check_costs() -> None:
    """docs/permissions.md: three queries, as with a view; none within ``max_age``."""
    ask = permissions._has_permissions
    user = User.objects.create_user("user")
    scope: dict[str, Any] = {}
    counts = []
    for max_age in (0.0, 60.0):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            ask(scope, user, (ADD_USER, "auth.change_user"), None, max_age)
        counts.append(len(queries))

    assert counts == [3, 0]
    superuser = User.objects.create_superuser("superuser")
    with CaptureQueriesContext(connection) as queries:
        assert ask({}, superuser, (ADD_USER,), None, 0.0)
    assert len(queries) == 1


# -- require_permission(obj=)


class Owners(ModelBackend):
    """Permissions on an object are its owner's. Written before Django had ``ahas_perm``."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if obj is None:
            return perm == ADD_USER
        return bool(obj == user_obj.get_username())


@pytest.fixture
def owners(settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Owners"]


@uses_database
@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_an_object_is_asked_for(owners: None, kind: str) -> None:
    """DESIGN 10: object-level permission through a callable."""

    async def async_owner(ctx: ConnectionContext[Any]) -> str:
        return (await User.objects.aget(username=ctx.scope["owner"])).username

    def plain_owner(ctx: ConnectionContext[Any]) -> str:
        return User.objects.get(username=ctx.scope["owner"]).username

    get = async_owner if kind == "async" else plain_owner
    router = guarded(require_permission(ADD_USER, obj=get))
    user, other = await make_user(), await make_user()
    found = []
    for owner in (user, other):
        client = await connect(router.as_asgi(), user=user, owner=owner.username)
        found.append(await outcome(client))
        await client.disconnect()

    assert found == ["PONG", "PERMISSION_DENIED"]


@uses_database
async def test_no_object_is_no_permission(owners: None) -> None:
    """Django takes None for "whatever the object", which this backend would allow."""
    user = await make_user()

    assert await once(guarded(require_permission(ADD_USER)), user) == "PONG"
    refusing = guarded(require_permission(ADD_USER, obj=lambda ctx: None))
    assert await once(refusing, user) == "PERMISSION_DENIED"
    assert await once(refusing, AnonymousUser()) == "UNAUTHENTICATED"


@uses_database
async def test_an_object_that_does_not_exist_is_not_found() -> None:
    """DESIGN 2: ObjectDoesNotExist is answered as NOT_FOUND."""
    router = guarded(require_permission(ADD_USER, obj=lambda ctx: User.objects.get(pk=0)))

    assert await once(router, Member()) == "NOT_FOUND"


@uses_database
async def test_backends_that_know_no_async_are_asked(owners: None) -> None:
    """``ahas_perm`` would pass over what such a backend overrides, and admit nobody here."""
    user = await make_user()

    assert not await user.ahas_perm(ADD_USER)
    assert await once(guarded(require_permission(ADD_USER)), user) == "PONG"


# -- check_permission


class Read(Message, type="READ"):
    owner: str


@uses_database
async def test_a_handler_asks_about_what_the_payload_names(owners: None) -> None:
    """docs/permissions.md: middleware sees no payload, a handler does."""
    router = Router()

    @router.on(Read)
    async def read(ctx: Context[Read]) -> None:
        await check_permission(ctx, ADD_USER, obj=ctx.payload.owner)
        ctx.send(Pong())

    user = await make_user()
    client = await connect(router.as_asgi(), user=user)
    client.write("READ", {"owner": user.username})
    client.write("READ", {"owner": "somebody else"})
    found = [await client.receive(), await client.receive()]
    await client.disconnect()

    assert [(type_, payload.get("code")) for type_, payload in found] == [
        ("PONG", None),
        ("ERROR", "PERMISSION_DENIED"),
    ]


# -- what is refused when it is declared


@pytest.mark.parametrize("name", ["add_user", "", ".add_user", "auth.", "auth. add_user"])
def test_a_permission_without_its_app_is_refused(name: str) -> None:
    """A misspelt permission would refuse everyone, for ever and silently."""
    with pytest.raises(ValueError, match=r'is no permission: write "app_label.codename"'):
        require_permission(name)


def test_no_permission_is_refused() -> None:
    """All of none would admit everyone."""
    with pytest.raises(TypeError, match=r"^Name a permission"):
        require_permission()


async def test_check_permission_is_as_strict() -> None:
    """A misspelt permission is a bug, not a refusal."""
    ctx: Any = None

    with pytest.raises(ValueError, match="is no permission"):
        await check_permission(ctx, "add_user")


def test_routes_show_what_is_required() -> None:
    """DESIGN 10: ``wskit_routes`` prints each route's middleware."""
    router = guarded(
        require_login, require(is_staff), require_permission(ADD_USER, obj=is_staff_in_a_thread)
    )

    login, test, permission = router.routes()[0].middleware
    assert (login, test) == (
        "wskit_channels.permissions.require_login",
        "wskit_channels.permissions.require(tests.test_permissions.is_staff)",
    )
    assert permission == (
        "wskit_channels.permissions.require_permission('auth.add_user', "
        "obj=tests.test_permissions.is_staff_in_a_thread)"
    )


# -- Django's own decorators

FOR_ACCESS: dict[str, Any] = {
    "login_required": login_required,
    "permission_required": permission_required("auth.add_user"),
    "user_passes_test": user_passes_test(lambda user: True),
    "staff_member_required": staff_member_required,
}
FOR_VIEWS: dict[str, Any] = {
    "require_http_methods": require_http_methods(["GET"]),
    "csrf_exempt": csrf_exempt,
    "csrf_protect": csrf_protect,
    "never_cache": never_cache,
    "cache_page": cache_page(60),
}


def passed_through(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(ctx: Any) -> None:
        await function(ctx)

    return wrapper


async def handler(ctx: Any) -> None: ...


def plain_handler(ctx: Any) -> None: ...


@pytest.mark.parametrize("wrapped", [handler, plain_handler], ids=["async", "plain"])
@pytest.mark.parametrize("name", FOR_ACCESS)
def test_a_handler_in_djangos_access_decorators_is_refused(name: str, wrapped: Any) -> None:
    """DESIGN 10: refused at registration with a pointer."""
    router = Router()

    with pytest.raises(TypeError, match=r"is wrapped by django.contrib.auth.decorators.*require_"):
        router.on(Ping)(FOR_ACCESS[name](wrapped))
    assert router.routes() == []


@pytest.mark.parametrize("name", FOR_VIEWS)
def test_a_handler_in_decorators_for_views_is_refused(name: str) -> None:
    """DESIGN 10: it would be given a context for a request."""
    with pytest.raises(TypeError, match=r"is wrapped by django\..*given no HttpRequest: take it"):
        Router().on(Ping)(FOR_VIEWS[name](handler))


wrongly: Any = login_required  # whose type refuses what follows, too


class Handler:
    @wrongly  # type: ignore[untyped-decorator]  # so that it may be wrong
    async def method(self, ctx: Any) -> None: ...

    @wrongly  # type: ignore[untyped-decorator]  # so that it may be wrong
    async def __call__(self, ctx: Any) -> None: ...


@pytest.mark.parametrize(
    "hidden",
    [
        passed_through(wrongly(handler)),
        functools.partial(wrongly(handler)),
        Handler().method,
        Handler(),
    ],
    ids=["inside another", "partial", "method", "callable object"],
)
def test_they_are_found_wherever_they_hide(hidden: Any) -> None:
    """DESIGN 10."""
    with pytest.raises(TypeError, match=r"is wrapped by django.contrib.auth.decorators"):
        Router().on(Ping)(hidden)


def test_calls_and_middleware_are_looked_at_too() -> None:
    """DESIGN 10: ``use=[login_required]`` would be called with a context for a view."""
    router = Router()
    with pytest.raises(TypeError, match="is wrapped by"):
        router.rpc(Ask)(wrongly(handler))
    use: Any = [login_required]
    with pytest.raises(TypeError, match="is wrapped by"):
        router.on(Ping, use=use)(handler)


@pytest.mark.parametrize("wrapped", [handler, plain_handler], ids=["async", "plain"])
def test_decorators_that_suit_any_function_are_not(wrapped: Any) -> None:
    """``sensitive_variables`` keeps secrets out of error reports; it is no decorator of views."""
    router = Router()
    router.on(Ping)(sensitive_variables("ctx")(wrapped))
    router.on(Number)(passed_through(wrapped))

    assert [route.type for route in router.routes()] == ["PING", "NUMBER"]
