"""``routing/composition.py``: merging, mounting, and the end of registering."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from tests.helpers import connected
from tests.routing.messages import Answer, Ask, Note, Other, Said, Third
from wskit_channels import (
    CallNext,
    CloseContext,
    ConnectionContext,
    Context,
    DuplicateRoute,
    Handshake,
    Router,
    RouterFrozen,
    RpcContext,
    WsKitError,
)

Handler = Callable[[Context[Any]], Coroutine[Any, Any, None]]
Middleware = Callable[[ConnectionContext[Any], CallNext], Awaitable[None]]


def says(text: str) -> Handler:
    """A handler that sends ``text``."""

    async def handle(ctx: Context[Any]) -> None:
        ctx.send(Said(text=text))

    return handle


def marks(text: str) -> Middleware:
    """Middleware that sends ``text`` and lets pass."""

    async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        ctx.send(Said(text=text))
        await call_next()

    return middleware


async def texts(router: Router[Any], *types: str) -> list[str]:
    """What handlers and middleware say when messages of these types are sent."""
    payloads = {"NOTE": {"text": "x"}, "OTHER": {"number": 1}}
    async with connected(router) as client:
        for type_ in types:
            await client.send(type_, payloads.get(type_))
        frames = await client.heard()
    return [frame["payload"]["text"] for frame in frames]


# -- merge


async def test_a_merged_router_serves_its_routes() -> None:
    host, guest = Router(), Router()
    host.on(Note)(says("host"))
    guest.on(Third)(says("guest"))

    assert host.merge(guest) is host
    assert await texts(host, "NOTE", "THIRD") == ["host", "guest"]


async def test_what_is_registered_after_the_merge_counts() -> None:
    """Merge keeps a reference until the router is frozen (DESIGN 2)."""
    host, guest = Router(), Router()
    host.merge(guest)
    guest.on(Third)(says("late"))
    guest.use(marks("late middleware"))

    assert await texts(host, "THIRD") == ["late middleware", "late"]


async def test_merged_middleware_covers_its_own_routes_and_the_hosts_covers_all() -> None:
    """The departure from ws-kit (DESIGN 2)."""
    host, guest, inner = Router(), Router(), Router()
    host.use(marks("host"))
    guest.use(marks("guest"))
    inner.use(marks("inner"))
    host.on(Note)(says("note"))
    guest.on(Third, use=[marks("route")])(says("third"))
    inner.on(Other)(says("other"))
    host.merge(guest.merge(inner))

    assert await texts(host, "NOTE") == ["host", "note"]
    assert await texts(host, "THIRD") == ["host", "guest", "route", "third"]
    assert await texts(host, "OTHER") == ["host", "guest", "inner", "other"]


async def test_connection_hooks_are_combined_in_order() -> None:
    host, guest = Router(), Router()
    order: list[str] = []
    for name, router in (("host", host), ("guest", guest)):

        @router.on_upgrade
        def upgrade(request: Handshake, name: str = name) -> None:
            order.append(f"{name} upgrade")

        @router.on_open
        async def opened(ctx: ConnectionContext[Any], name: str = name) -> None:
            order.append(f"{name} open")

        @router.on_close
        async def closed(ctx: CloseContext[Any], name: str = name) -> None:
            order.append(f"{name} close")

    host.merge(guest)
    async with connected(host):
        pass
    assert order == [
        "host upgrade",
        "guest upgrade",
        "host open",
        "guest open",
        "host close",
        "guest close",
    ]


def test_a_merged_type_that_is_taken_is_refused() -> None:
    """Duplicate types raise, and leave the router as it was (DESIGN 2)."""
    host, guest = Router(), Router()
    host.on(Note)(print)
    guest.on(Note)(says("guest"))
    guest.on(Third)(says("guest"))

    with pytest.raises(DuplicateRoute, match=r"'NOTE' is already handled by builtins\.print"):
        host.merge(guest)
    assert [(route.type, route.handler) for route in host.routes()] == [("NOTE", "builtins.print")]


def test_a_type_that_a_merged_router_has_is_refused_to_the_host() -> None:
    host, guest = Router(), Router()
    guest.on(Note)(says("guest"))
    host.merge(guest)

    with pytest.raises(DuplicateRoute, match="'NOTE'"):
        host.on(Note)(says("host"))
    assert len(host.routes()) == 1


def test_a_conflict_that_arises_after_the_merge_is_found() -> None:
    """What is merged by reference is checked at the latest when serving starts."""
    host, guest = Router(), Router()
    host.on(Note)(print)
    host.merge(guest)
    guest.on(Note)(says("guest"))

    with pytest.raises(DuplicateRoute, match="'NOTE'"):
        host.freeze()


@pytest.mark.parametrize(
    ("on_conflict", "winners"),
    [("replace", ["guest", "guest"]), ("skip", ["host", "guest"])],
)
async def test_on_conflict_chooses(
    on_conflict: Literal["replace", "skip"], winners: list[str]
) -> None:
    host, guest = Router(), Router()
    host.on(Note)(says("host"))
    guest.on(Note)(says("guest"))
    guest.on(Third)(says("guest"))
    host.merge(guest, on_conflict=on_conflict)

    assert await texts(host, "NOTE", "THIRD") == winners


def test_a_router_is_not_merged_into_itself() -> None:
    host, guest = Router(), Router()
    host.merge(guest)

    with pytest.raises(ValueError, match="into itself"):
        guest.merge(host)
    with pytest.raises(ValueError, match="into itself"):
        host.merge(host)


class GuestData(BaseModel):
    name: str = ""


class HostData(GuestData):
    count: int = 0


async def test_a_router_of_the_base_data_class_may_be_merged() -> None:
    """The host's data type is a subclass of the merged router's (DESIGN 2)."""
    host, guest = Router(data=HostData), Router(data=GuestData)

    @guest.on(Third)
    async def handle(ctx: Context[Third, GuestData]) -> None:
        ctx.send(Said(text=repr(ctx.data)))

    host.merge(guest)
    assert await texts(host, "THIRD") == ["HostData(name='', count=0)"]


def test_a_router_of_another_data_class_may_not_be_merged() -> None:
    host: Any = Router(data=GuestData)

    with pytest.raises(TypeError, match="A router of HostData data can only be merged into"):
        host.merge(Router(data=HostData))


def test_a_router_with_data_may_not_be_merged_into_one_without() -> None:
    host: Any = Router()

    with pytest.raises(TypeError, match="A router of HostData data can only be merged into"):
        host.merge(Router(data=HostData))


def test_a_router_that_authenticates_is_not_merged() -> None:
    """``authenticate`` is the host's; a second one raises (DESIGN 2)."""
    host, guest = Router(), Router()
    guest.authenticate(lambda request: True)

    with pytest.raises(TypeError, match="Only the host router authenticates"):
        host.merge(guest)


def test_a_merged_router_that_authenticates_later_is_refused() -> None:
    """A check that nobody would run must not be lost silently (DESIGN 2)."""
    host, guest = Router(), Router()
    host.merge(guest)
    guest.authenticate(lambda request: False)

    with pytest.raises(TypeError, match="Only the host router authenticates"):
        host.freeze()


async def test_the_hosts_exception_mapping_wins() -> None:
    host, guest = Router(), Router()
    host.exception(KeyError)(lambda error: WsKitError("NOT_FOUND", "host"))
    guest.exception(KeyError)(lambda error: WsKitError("NOT_FOUND", "guest"))
    guest.exception(ValueError)(lambda error: WsKitError("INVALID_ARGUMENT", "guest"))

    @guest.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        raise KeyError if ctx.payload.text == "key" else ValueError

    host.merge(guest)
    async with connected(host) as client:
        await client.send("NOTE", {"text": "key"})
        await client.send("NOTE", {"text": "value"})
        messages = [frame["payload"]["message"] for frame in await client.received(2)]
    assert messages == ["host", "guest"]


# -- mount


async def test_a_mounted_router_answers_to_prefixed_types() -> None:
    """Events and calls, and only by the prefixed type (DESIGN 2)."""
    host, guest = Router(), Router()

    @guest.on(Note)
    async def event(ctx: Context[Note]) -> None:
        ctx.send(Said(text=f"{ctx.type}: {ctx.payload.text}"))

    @guest.rpc(Ask)
    async def call(ctx: RpcContext[Ask]) -> Answer:
        return Answer(text=f"{ctx.type}: {ctx.payload.text}")

    host.mount("chat.", guest)
    async with connected(host) as client:
        await client.send("chat.NOTE", {"text": "one"})
        assert await client.receive() == {"type": "SAID", "payload": {"text": "chat.NOTE: one"}}
        await client.call("chat.ASK", {"text": "two"}, id="a")
        assert await client.receive() == {
            "type": "ANSWER",
            "meta": {"correlationId": "a"},
            "payload": {"text": "chat.ASK: two"},
        }
        await client.send("NOTE", {"text": "three"})
        assert (await client.receive())["payload"]["details"] == {"type": "NOTE"}


@pytest.mark.parametrize("prefix", ["$", "$ws:", "__", "__chat."])
def test_a_prefix_that_makes_reserved_types_is_refused(prefix: str) -> None:
    """PROTOCOL 1, 3: what starts so is a control frame, whatever routes there are."""
    with pytest.raises(ValueError, match="reserved"):
        Router().mount(prefix, Router())


async def test_a_mounted_routes_payload_is_validated() -> None:
    host, guest = Router(), Router()
    guest.on(Note)(says("no"))
    host.mount("chat.", guest)

    async with connected(host) as client:
        await client.send("chat.NOTE", {"text": 1})
        payload = (await client.receive())["payload"]
    assert payload["details"] == {
        "issues": [
            {"path": ["payload", "text"], "message": "Expected a string", "type": "string_type"}
        ]
    }


async def test_prefixes_of_mounts_within_mounts_add_up() -> None:
    host, guest, inner = Router(), Router(), Router()
    inner.on(Third)(says("inner"))
    host.mount("a.", guest.mount("b.", inner))

    assert await texts(host, "a.b.THIRD") == ["inner"]


async def test_one_router_may_be_merged_and_mounted() -> None:
    host, guest = Router(), Router()
    guest.on(Third)(says("guest"))
    host.merge(guest).mount("a.", guest)

    assert await texts(host, "a.THIRD", "THIRD") == ["guest", "guest"]


# -- routes and off


async def event_handler(ctx: Context[Any]) -> None: ...


def test_routes_lists_what_is_registered() -> None:
    host, guest = Router(), Router()
    host.use(says_nothing)
    host.on(Note, Other)(event_handler)
    guest.rpc(Ask, use=[says_nothing])(call_handler)
    host.mount("g.", guest)

    line = event_handler.__code__.co_firstlineno
    name = f"{__name__}.says_nothing"
    assert [
        (row.type, row.message, row.kind, row.handler, row.module, row.line, row.middleware)
        for row in host.routes()
    ] == [
        ("NOTE", Note, "event", f"{__name__}.event_handler", __name__, line, (name,)),
        ("OTHER", Other, "event", f"{__name__}.event_handler", __name__, line, (name,)),
        (
            "g.ASK",
            Ask,
            "rpc",
            f"{__name__}.call_handler",
            __name__,
            call_handler.__code__.co_firstlineno,
            (name, name),
        ),
    ]


async def call_handler(ctx: RpcContext[Ask]) -> Answer:
    return Answer(text="")


async def says_nothing(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
    await call_next()


def test_off_takes_back_a_handler() -> None:
    router = Router()
    router.on(Note, Other)(event_handler)
    router.on(Third)(event_handler)

    router.off(Note, Third)
    assert [route.type for route in router.routes()] == ["OTHER"]
    router.on(Note)(event_handler)
    assert [route.type for route in router.routes()] == ["OTHER", "NOTE"]


def test_off_of_what_is_not_handled_raises() -> None:
    router = Router()

    with pytest.raises(LookupError, match="Note is not handled by this router"):
        router.off(Note)


# -- frozen


LATE: list[Callable[[Any], object]] = [
    lambda router: router.on(Other)(event_handler),
    lambda router: router.rpc(Ask)(call_handler),
    lambda router: router.use(says_nothing),
    lambda router: router.on_open(event_handler),
    lambda router: router.on_close(event_handler),
    lambda router: router.on_error(event_handler),
    lambda router: router.on_upgrade(event_handler),
    lambda router: router.on_publish(event_handler),
    lambda router: router.on_limit_exceeded(event_handler),
    lambda router: router.authenticate(event_handler),
    lambda router: router.exception(KeyError)(event_handler),
    lambda router: router.plugin(event_handler),
]


@pytest.mark.parametrize("register", LATE)
@pytest.mark.parametrize("merged", [False, True])
def test_registering_after_serving_started_raises(
    register: Callable[[Any], object], merged: bool
) -> None:
    """Late registration names the module that comes too late (DESIGN 2)."""
    host, guest = Router(), Router()
    host.merge(guest)
    host.freeze()

    with pytest.raises(RouterFrozen, match=rf"{__name__}\b.* comes too late"):
        register(guest if merged else host)


def test_nothing_else_may_change_after_serving_started() -> None:
    router = Router()
    router.on(Note)(event_handler)
    router.freeze()

    for change in (
        lambda: router.off(Note),
        lambda: router.merge(Router()),
        lambda: router.mount("a.", Router()),
        lambda: router.provide(object()),
        lambda: router.sends(Said),
    ):
        with pytest.raises(RouterFrozen, match="comes too late"):
            change()
    assert [route.type for route in router.routes()] == ["NOTE"]


async def test_the_first_connection_freezes() -> None:
    router = Router()

    async with connected(router):
        with pytest.raises(RouterFrozen, match="comes too late"):
            router.on(Note)(event_handler)


def test_reading_routes_does_not_freeze() -> None:
    router = Router()
    router.routes()
    router.on(Note)(event_handler)

    assert [route.type for route in router.routes()] == ["NOTE"]


def test_a_login_that_a_merged_router_requires_is_not_lost() -> None:
    """A reusable app's ``login_required`` must not become public without a word."""
    with pytest.raises(TypeError, match=r"^A router that requires a login can only be merged"):
        Router().merge(Router(login_required=True))

    host = Router(login_required=True)
    assert host.merge(Router(login_required=True)) is host
