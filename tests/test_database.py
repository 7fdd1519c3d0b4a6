"""Database connections of handlers and hooks: broken ones, aged ones, and several databases."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import AsyncClient
from django.urls import path

from example_project.chat.models import Room
from tests.shell_helpers import PATIENCE, Client, Ping, Pong, connect, disconnect, until
from wskit_channels import Context, Handshake, Message, Router, Rpc, RpcContext
from wskit_channels import threads as threads_module
from wskit_channels.asgi import websocket_application
from wskit_channels.leases import Job, Lease
from wskit_channels.registry import registry_here

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("one_thread")]

ORIGIN = [(b"host", b"testserver"), (b"origin", b"http://testserver")]


class Go(Message, type="GO"):
    pass


class Done(Message, type="DONE"):
    pass


class Call(Rpc[Done], type="CALL"):
    pass


@pytest.fixture
def one_thread(settings: Any, transactional_db: None) -> Iterator[None]:
    """Whoever comes next meets the same thread, and with it its connections."""
    settings.WSKIT = {"DATABASE_THREADS": 1}
    yield
    for thread in threads_module._pool()._threads:
        thread.executor.submit(connections.close_all).result()


@pytest.fixture
def other_database(tmp_path: Path, one_thread: None) -> Iterator[dict[str, Any]]:
    """The settings of a second database, called "other", whose connections may live."""
    configured = dict(connections["default"].settings_dict)
    configured |= {"NAME": tmp_path / "other.sqlite3", "CONN_MAX_AGE": None}
    allowed = BaseDatabaseWrapper.ensure_connection

    def ensure_connection(self: Any) -> None:
        """Django's tests let threads have only what was configured when they began."""
        if self.alias == "other" and self.connection is None:
            self.connect()
        else:
            allowed(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connections.databases, "other", configured)
        patch.setattr(BaseDatabaseWrapper, "ensure_connection", ensure_connection)
        yield configured
        for thread in threads_module._pool()._threads:
            thread.executor.submit(connections.close_all).result()


@pytest.fixture
def max_age(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    def use(seconds: int | None) -> None:
        monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", seconds)

    return use


@pytest.fixture
def sqlite_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the database whether a connection works, as Django does of servers, not of sqlite."""

    def is_usable(self: Any) -> bool:
        try:
            self.connection.execute("SELECT 1")
        except self.Database.Error:
            return False
        return True

    monkeypatch.setattr(type(connections["default"]), "is_usable", is_usable)


def open_connections() -> list[str]:
    """The databases to which the pool's threads have a connection."""
    threads = threads_module._pool()._threads
    return sorted(one.alias for thread in threads for one in thread._live())


def lose_the_connection() -> None:
    """Ask a database that has gone away. Raises DatabaseError."""
    connection.ensure_connection()
    connection.connection.close()
    Room.objects.count()


def query_both() -> tuple[Any, Any]:
    """Ask both databases; the connections that did it."""
    for alias in ("default", "other"):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1")
    return connections["default"].connection, connections["other"].connection


async def run(client: Client, type_: str = "GO") -> None:
    client.write(type_)
    assert await client.receive() == ("DONE", None)


# -- connections that broke


def breaking(kind: str) -> tuple[Any, str]:
    """An application of one kind of handler, which loses its connection the first time."""
    router = Router()
    steps = iter([lose_the_connection])

    def step() -> None:
        next(steps, Room.objects.count)()

    if kind == "plain":

        @router.on(Go)
        def plain(ctx: Context[Go]) -> None:
            step()
            ctx.send(Done())

    elif kind == "event":

        @router.on(Go)
        async def event(ctx: Context[Go]) -> None:
            await sync_to_async(step)()
            ctx.send(Done())

    else:

        @router.rpc(Call)
        async def call(ctx: RpcContext[Call]) -> Done:
            await sync_to_async(step)()
            return Done()

    return router.as_asgi(), "CALL" if kind == "call" else "GO"


def test_a_thread_is_settled_before_its_result_is_handed_over() -> None:
    """Whoever has it asks for the thread at once, and must not meet what just broke."""
    lease, found = Lease(threads_module._pool()), list[int]()
    handed_over = threading.Event()

    def look(future: Any) -> None:
        found.append(lease._running)
        handed_over.set()

    job = Job(lambda: None)
    job.future.add_done_callback(look)
    lease.submit(job)
    assert handed_over.wait(PATIENCE)
    lease.release()

    assert found == [0]


@pytest.mark.usefixtures("sqlite_notices")
@pytest.mark.parametrize("max_age_of_all", [None, 0, 3600])
@pytest.mark.parametrize("kind", ["plain", "event", "call"])
async def test_the_handler_after_a_lost_connection_has_one_that_works(
    max_age: Callable[[int | None], None], kind: str, max_age_of_all: int | None
) -> None:
    """DESIGN 5: one that had errors is looked at before anybody else is given it."""
    max_age(max_age_of_all)
    application, type_ = breaking(kind)
    first, second = await connect(application), await connect(application)
    first.write(type_)
    assert (await first.receive())[1]["code"] == "INTERNAL"

    await run(second, type_)
    await run(first, type_)
    await disconnect(first, second)


@pytest.mark.usefixtures("sqlite_notices")
async def test_a_handler_that_goes_on_without_its_connection_harms_nobody(
    max_age: Callable[[int | None], None],
) -> None:
    """DESIGN 5: also where the error was caught, and the answer was a good one."""
    max_age(None)
    router = Router()
    steps = iter([lose_the_connection])
    caught: list[str] = []

    @router.on(Go)
    async def go(ctx: Context[Go]) -> None:
        try:
            await sync_to_async(next(steps, Room.objects.count))()
        except DatabaseError as error:
            caught.append(str(error))
        ctx.send(Done())

    clients = [await connect(router.as_asgi()) for _ in range(2)]
    for client in clients:
        await run(client)
    await disconnect(*clients)

    assert caught == ["Cannot operate on a closed database."]


@pytest.mark.usefixtures("sqlite_notices")
async def test_the_handshake_after_a_lost_connection_has_one_that_works(
    max_age: Callable[[int | None], None],
) -> None:
    """DESIGN 5: hooks and the loading of sessions as well; who was unlucky is refused."""
    max_age(None)
    router = Router()
    steps = iter([lose_the_connection])
    seen: list[str] = []

    @router.authenticate
    def authenticate(handshake: Handshake) -> bool:
        next(steps, Room.objects.count)()
        seen.append(handshake.user.get_username())
        return True

    browser = AsyncClient()
    await browser.aforce_login(await User.objects.acreate(username="alice"))
    cookie = (b"cookie", f"sessionid={browser.cookies['sessionid'].value}".encode())
    application = websocket_application([path("ws/", router.as_asgi())])
    options: dict[str, Any] = {"path": "/ws/", "headers": [*ORIGIN, cookie]}

    assert await (await connect(application, **options)).closed() == (1011, "INTERNAL")
    await (await connect(application, **options)).disconnect()
    assert seen == ["alice"]


# -- CONN_MAX_AGE


async def test_a_connection_that_has_come_of_age_is_replaced(
    max_age: Callable[[int | None], None],
) -> None:
    """DESIGN 5: a positive ``CONN_MAX_AGE`` ends, also for a client that never leaves."""
    max_age(3600)
    router = Router()
    raw: list[Any] = []

    def query() -> None:
        Room.objects.count()
        raw.append(connection.connection)

    def grow_old() -> None:
        assert connection.close_at is not None
        assert connection.close_at > time.monotonic() + 3000
        connection.close_at = time.monotonic() - 1

    steps = iter([query, query, grow_old, query])

    @router.on(Go)
    async def go(ctx: Context[Go]) -> None:
        await sync_to_async(next(steps))()
        ctx.send(Done())

    client = await connect(router.as_asgi())
    for _ in range(3):
        await run(client)
    await until(lambda: open_connections() == [])
    await run(client)
    await client.disconnect()

    assert [one is raw[0] for one in raw] == [True, True, False]


async def test_what_handshakes_and_looks_at_users_open_is_closed(
    max_age: Callable[[int | None], None],
) -> None:
    """DESIGN 5: ``CONN_MAX_AGE`` 0 leaves nothing open behind an idle connection."""
    max_age(0)
    router = Router()

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Pong(text=ctx.user.get_username()))

    browser = AsyncClient()
    await browser.aforce_login(await User.objects.acreate(username="alice"))
    cookie = (b"cookie", f"sessionid={browser.cookies['sessionid'].value}".encode())
    application = websocket_application([path("ws/", router.as_asgi())])
    client = await connect(application, path="/ws/", headers=[*ORIGIN, cookie])
    await until(lambda: open_connections() == [])

    revalidation = registry_here().revalidation
    revalidation._look_at_all()
    await asyncio.wait(set(revalidation._checks))
    await until(lambda: open_connections() == [])

    client.write("PING", {})
    assert await client.receive() == ("PONG", {"text": "alice"})
    await client.disconnect()


@pytest.mark.parametrize("seconds", [0, None])
async def test_frames_after_a_query_cost_no_hop(
    max_age: Callable[[int | None], None], monkeypatch: pytest.MonkeyPatch, seconds: int | None
) -> None:
    """DESIGN 5: never a hop per frame, whatever this connection asked the database before."""
    max_age(seconds)
    router = Router()

    @router.on(Go)
    async def go(ctx: Context[Go]) -> None:
        await Room.objects.acount()
        ctx.send(Done())

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Pong(text=ctx.payload.text))

    client = await connect(router.as_asgi())
    await run(client)
    await until(lambda: open_connections() == ([] if seconds == 0 else ["default"]))
    submitted: list[Any] = []
    submit = ThreadPoolExecutor.submit

    def counted(self: ThreadPoolExecutor, *args: Any, **kwargs: Any) -> Any:
        submitted.append(args[0])
        return submit(self, *args, **kwargs)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", counted)
    for number in range(20):
        client.write("PING", {"text": str(number)})
        assert await client.receive() == ("PONG", {"text": str(number)})
    assert submitted == []
    await run(client)
    assert submitted != []
    await client.disconnect()


# -- several databases


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_each_databases_connections_live_by_its_own_age(
    max_age: Callable[[int | None], None], other_database: dict[str, Any], kind: str
) -> None:
    """DESIGN 5: one of 0 is closed after the handler, one without an end is met again."""
    max_age(0)
    router = Router()
    used: list[tuple[Any, Any]] = []

    if kind == "plain":

        @router.on(Go)
        def plain(ctx: Context[Go]) -> None:
            used.append(query_both())
            ctx.send(Done())

    else:

        @router.on(Go)
        async def in_async_code(ctx: Context[Go]) -> None:
            used.append(await sync_to_async(query_both)())
            ctx.send(Done())

    client = await connect(router.as_asgi())
    await run(client)
    await until(lambda: open_connections() == ["other"])
    await run(client)
    await until(lambda: open_connections() == ["other"])
    await client.disconnect()

    (default, other), (another, again) = used
    assert (default is another, other is again) == (False, True)
    assert None not in (default, other, another)


@pytest.mark.usefixtures("sqlite_notices")
async def test_a_lost_connection_is_no_reason_to_close_the_other_databases(
    max_age: Callable[[int | None], None], other_database: dict[str, Any]
) -> None:
    """DESIGN 5: what broke is discarded, and what works is kept."""
    max_age(None)
    router = Router()
    used: list[tuple[Any, Any]] = []

    def step() -> None:
        used.append(query_both())
        if len(used) == 1:
            with contextlib.suppress(DatabaseError):
                lose_the_connection()

    @router.on(Go)
    async def go(ctx: Context[Go]) -> None:
        await sync_to_async(step)()
        ctx.send(Done())

    clients = [await connect(router.as_asgi()) for _ in range(2)]
    for client in clients:
        await run(client)
    await disconnect(*clients)

    (default, other), (another, again) = used
    assert (default is another, other is again) == (False, True)


async def test_a_transaction_in_any_database_keeps_its_thread(
    other_database: dict[str, Any],
) -> None:
    """DESIGN 5: keeps it until it ends (transactions!); another handler waits for it."""
    router = Router()
    opened, may_end = asyncio.Event(), asyncio.Event()
    order: list[Any] = []

    @router.on(Go)
    async def go(ctx: Context[Go]) -> None:
        block = transaction.atomic(using="other")
        await sync_to_async(block.__enter__)()
        opened.set()
        await may_end.wait()
        await sync_to_async(block.__exit__)(None, None, None)
        order.append("transaction")
        ctx.send(Done())

    def look() -> None:
        order.append(connections["other"].in_atomic_block)

    @router.rpc(Call)
    async def call(ctx: RpcContext[Call]) -> Done:
        await sync_to_async(look)()
        return Done()

    owner, stranger = await connect(router.as_asgi()), await connect(router.as_asgi())
    owner.write("GO")
    await until(opened.is_set)
    stranger.write("CALL")
    await until(
        lambda: threads_module._pool().waiting or threads_module._pool()._threads[0].waiting
    )
    assert order == []
    may_end.set()
    assert await stranger.receive() == ("DONE", None)
    assert await owner.receive() == ("DONE", None)
    await disconnect(owner, stranger)

    assert sorted(order, key=str) == [False, "transaction"]
