import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import channels.db
import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.db.utils import OperationalError

from example_project.chat.models import Room
from tests.shell_helpers import (
    PATIENCE,
    Client,
    Ping,
    Pong,
    connect,
    disconnect,
    thread_and_transaction,
    until,
)
from wskit_channels import ConnectionContext, Context, Limits, Message, Router, Rpc, RpcContext
from wskit_channels import threads as threads_module
from wskit_channels.leases import Lease

uses_database = pytest.mark.django_db(transaction=True)


class Go(Message, type="GO"):
    pass


class Done(Message, type="DONE"):
    pass


class Call(Rpc[Done], type="CALL"):
    pass


def serve(handler: Callable[[Any], Any], **options: Any) -> Any:
    """An application whose event GO runs a handler and is answered by DONE."""
    router = Router(**options)

    @router.on(Go)
    async def go(ctx: Context[Go]) -> None:
        await handler(ctx)
        ctx.send(Done())

    return router.as_asgi()


async def run(client: Client) -> None:
    """Have GO handled."""
    client.write("GO")
    assert await client.receive() == ("DONE", None)


class Held:
    """A blocking call that says in which thread it runs, and ends when it is let go."""

    def __init__(self) -> None:
        self.thread: int | None = None
        self._go = threading.Event()

    def __call__(self) -> None:
        self.thread = threading.get_ident()
        assert self._go.wait(PATIENCE)

    def let_go(self) -> None:
        self._go.set()


@pytest.fixture
def held() -> Iterator[Held]:
    found = Held()
    yield found
    found.let_go()


@pytest.fixture
def database_threads(settings: Any) -> Callable[[int], None]:
    def use(number: int) -> None:
        settings.WSKIT = {"DATABASE_THREADS": number}

    return use


@contextlib.asynccontextmanager
async def clients(application: Any, number: int) -> AsyncIterator[list[Client]]:
    opened = [await connect(application) for _ in range(number)]
    yield opened
    await disconnect(*opened)


# -- how many at once


@uses_database
async def test_eight_connections_are_in_the_database_at_once() -> None:
    """DESIGN 5: ORM work of different connections does not queue behind one thread."""
    barrier = threading.Barrier(8)

    def query() -> None:
        barrier.wait(PATIENCE)
        assert Room.objects.count() == 0

    application = serve(lambda ctx: sync_to_async(query)())
    async with clients(application, 8) as opened:
        await asyncio.gather(*map(run, opened))

    assert not barrier.broken


async def test_the_ninth_waits_its_turn_and_then_runs() -> None:
    """DESIGN 5: the pool is bounded by ``DATABASE_THREADS``, 8 by default."""
    calls = [Held() for _ in range(9)]
    waiting = iter(calls)
    application = serve(lambda ctx: sync_to_async(next(waiting))())
    async with clients(application, 9) as opened:
        for number, client in enumerate(opened[:8], 1):
            client.write("GO")
            await until(lambda: sum(one.thread is not None for one in calls) == number)  # noqa: B023
        opened[8].write("GO")
        calls[3].let_go()
        assert await opened[3].receive() == ("DONE", None)
        await until(lambda: calls[8].thread)
        for call in calls:
            call.let_go()
        for client in (*opened[:3], *opened[4:]):
            assert await client.receive() == ("DONE", None)

    assert len({call.thread for call in calls[:8]}) == 8
    assert calls[8].thread == calls[3].thread


async def test_those_who_wait_are_served_in_the_order_they_came(
    database_threads: Callable[[int], None], held: Held
) -> None:
    """DESIGN 5: waiting its turn means that nobody is overtaken."""
    database_threads(1)
    served: list[str] = []

    async def handler(ctx: Context[Go]) -> None:
        await sync_to_async(served.append)(ctx.client_id)

    blocking = await connect(serve(lambda ctx: sync_to_async(held)()))
    blocking.write("GO")
    await until(lambda: held.thread)
    begun: list[str] = []

    async def in_turn(ctx: Context[Go]) -> None:
        begun.append(ctx.client_id)
        await handler(ctx)

    async with clients(serve(in_turn), 5) as opened:
        for number, client in enumerate(opened, 1):
            client.write("GO")
            await until(lambda: len(begun) == number)  # noqa: B023 - waited for in this round
        held.let_go()
        for client in opened:
            assert await client.receive() == ("DONE", None)
    await blocking.receive()
    await blocking.disconnect()

    assert served == begun


@pytest.mark.parametrize("bound", [False, True], ids=["first time", "bound to it"])
async def test_one_connections_many_calls_keep_no_other_waiting(
    database_threads: Callable[[int], None], held: Held, bound: bool
) -> None:
    """Each connection in turn, and the calls of each in the order they came."""
    database_threads(1)
    begun, served = list[tuple[str, str]](), list[tuple[str, str]]()
    gate = asyncio.Event()
    router = Router()

    @router.rpc(Call)
    async def call(ctx: RpcContext[Call]) -> Done:
        if bound:
            await sync_to_async(int)()
        one = (ctx.client_id, str(ctx.meta.correlation_id))
        begun.append(one)
        await gate.wait()
        await sync_to_async(served.append)(one)
        return Done()

    blocking = await connect(serve(lambda ctx: sync_to_async(held)()))
    async with clients(router.as_asgi(), 3) as opened:
        for client, count in zip(opened, (50, 2, 1), strict=True):
            for number in range(count):
                client.write("CALL", correlationId=str(number))
        await until(lambda: len(begun) == 53)
        blocking.write("GO")
        await until(lambda: held.thread)
        gate.set()
        pool = threads_module._pool()
        line = pool._threads[0].waiting if bound else pool.waiting
        await until(lambda: len(line) == 53)
        held.let_go()
        await until(lambda: len(served) == 53)
    await blocking.receive()
    await blocking.disconnect()

    many, two, one = dict.fromkeys(client for client, _ in begun)
    of_many = [(many, str(number)) for number in range(50)]
    assert served == [of_many[0], (two, "0"), (one, "0"), of_many[1], (two, "1"), *of_many[2:]]


async def test_handlers_that_come_back_to_a_thread_leave_it_to_others_in_between(
    database_threads: Callable[[int], None],
) -> None:
    """Who has had the thread before and who has not are served by turns."""
    database_threads(1)
    ended = asyncio.Event()
    router = Router()

    @router.rpc(Call)
    async def call(ctx: RpcContext[Call]) -> Done:
        while not ended.is_set():  # each time long enough for the others to be back in line
            await sync_to_async(threading.Event().wait)(0.01)
        return Done()

    async with clients(router.as_asgi(), 1) as (busy,):
        for number in range(3):
            busy.write("CALL", correlationId=str(number))
        pool = threads_module._pool()
        await until(lambda: pool._threads and pool._threads[0].waiting)
        async with clients(serve(lambda ctx: sync_to_async(int)()), 1) as (other,):
            await run(other)
        ended.set()
        for _ in range(3):
            assert (await busy.receive())[0] == "DONE"


def test_a_lease_is_gone_when_nobody_holds_it() -> None:
    """A handshake has one of its own: no collector should have to find it."""
    lease = Lease(threads_module._pool())
    gone = weakref.ref(lease)

    lease.release()
    del lease

    assert gone() is None


async def test_one_thread_runs_one_at_a_time(database_threads: Callable[[int], None]) -> None:
    """DESIGN 5: ``DATABASE_THREADS`` 1 is Channels' behaviour."""
    database_threads(1)
    threads: list[int] = []
    application = serve(
        lambda ctx: sync_to_async(lambda: threads.append(threading.get_ident()))(),
    )
    async with clients(application, 5) as opened:
        await asyncio.gather(*map(run, opened))

    assert (len(threads), len(set(threads))) == (5, 1)


async def test_an_event_and_two_calls_of_one_connection_run_at_once() -> None:
    """DESIGN 5: each event line and each call gets a thread."""
    barrier = threading.Barrier(3)
    router = Router()

    @router.on(Go)
    async def go(ctx: Context[Go]) -> None:
        await sync_to_async(barrier.wait)(PATIENCE)
        ctx.send(Done())

    @router.rpc(Call)
    async def call(ctx: RpcContext[Call]) -> Done:
        await sync_to_async(barrier.wait)(PATIENCE)
        return Done()

    client = await connect(router.as_asgi())
    client.write("GO")
    client.write("CALL", correlationId="1")
    client.write("CALL", correlationId="2")
    found = [await client.frame() for _ in range(3)]
    await client.disconnect()

    assert {(one["type"], one["meta"].get("correlationId")) for one in found} == {
        ("DONE", None),
        ("DONE", "1"),
        ("DONE", "2"),
    }


async def test_a_blocked_thread_does_not_keep_another_connection_waiting(held: Held) -> None:
    """DESIGN 5: one slow query does not stall every socket in the process."""
    router = Router()

    @router.on(Go)
    async def go(ctx: Context[Go]) -> None:
        await sync_to_async(held)()
        ctx.send(Done())

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Pong(text=ctx.payload.text))

    async with clients(router.as_asgi(), 2) as (slow, quick):
        slow.write("GO")
        await until(lambda: held.thread)
        quick.write("PING", {"text": "there?"})

        assert await quick.receive() == ("PONG", {"text": "there?"})
        assert slow.sent == [{"type": "websocket.accept", "subprotocol": None}]
        held.let_go()
        assert await slow.receive() == ("DONE", None)


# -- one handler, one thread


@uses_database
async def test_a_handler_keeps_its_thread_over_several_hops() -> None:
    """DESIGN 5: it keeps it until it ends, since a transaction belongs to a thread."""
    hops: dict[str, list[int]] = {}
    barrier = asyncio.Barrier(3)

    async def handler(ctx: Context[Go]) -> None:
        mine = hops.setdefault(ctx.client_id, [])
        for _ in range(4):
            mine.append(await sync_to_async(threading.get_ident)())
            await barrier.wait()

    async with clients(serve(handler), 3) as opened:
        await asyncio.gather(*map(run, opened))

    assert [len(mine) for mine in hops.values()] == [4, 4, 4]
    assert [len(set(mine)) for mine in hops.values()] == [1, 1, 1]
    assert len({mine[0] for mine in hops.values()}) == 3


@uses_database
async def test_an_open_transaction_meets_no_other_handler(
    database_threads: Callable[[int], None],
) -> None:
    """DESIGN 5: a handler keeps its thread to itself while a transaction is open in it."""
    database_threads(2)
    entered, may_end = asyncio.Event(), asyncio.Event()
    mine: list[tuple[int, bool]] = []
    others: list[tuple[int, bool]] = []

    async def with_transaction(ctx: Context[Go]) -> None:
        block = transaction.atomic()
        await sync_to_async(block.__enter__)()
        mine.append(await sync_to_async(thread_and_transaction)())
        entered.set()
        await may_end.wait()
        mine.append(await sync_to_async(thread_and_transaction)())
        await sync_to_async(block.__exit__)(None, None, None)
        mine.append(await sync_to_async(thread_and_transaction)())

    async def without(ctx: Context[Go]) -> None:
        for _ in range(3):
            others.append(await sync_to_async(thread_and_transaction)())

    owner = await connect(serve(with_transaction))
    owner.write("GO")
    await entered.wait()
    async with clients(serve(without), 4) as opened:
        await asyncio.gather(*map(run, opened))
    may_end.set()
    assert await owner.receive() == ("DONE", None)
    await owner.disconnect()

    thread = mine[0][0]
    assert mine == [(thread, True), (thread, True), (thread, False)]
    assert len(others) == 12
    assert {(one == thread, inside) for one, inside in others} == {(False, False)}


async def test_the_thread_is_given_back_when_the_handler_ends(
    database_threads: Callable[[int], None],
) -> None:
    """DESIGN 5: an idle connection keeps no thread from the others."""
    database_threads(1)
    application = serve(lambda ctx: sync_to_async(threading.get_ident)())
    async with clients(application, 3) as opened:
        for client in (*opened, *opened):
            await run(client)

    assert [len(client.sent) for client in opened] == [3, 3, 3]


async def test_the_thread_of_on_open_is_given_back(
    database_threads: Callable[[int], None],
) -> None:
    """DESIGN 5: hooks take a thread as handlers do, and no longer."""
    database_threads(1)
    router = Router()

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        await sync_to_async(threading.get_ident)()
        ctx.send(Done())

    async with clients(router.as_asgi(), 3) as all_of_them:
        found = [await client.receive() for client in all_of_them]

    assert found == [("DONE", None)] * 3


@pytest.mark.parametrize("spawn", ["spawn", "create_task"])
@pytest.mark.parametrize("kind", ["GO", "CALL"])
async def test_a_task_that_outlives_its_handler_holds_no_thread_between_hops(
    database_threads: Callable[[int], None], kind: str, spawn: str
) -> None:
    """DESIGN 5: a thread is kept until the handler ends; eight tickers must not use up all."""
    database_threads(1)
    handler_has_ended, idle = asyncio.Event(), asyncio.Event()
    ticks: list[int] = []
    router = Router()
    tasks: list[asyncio.Task[None]] = []

    async def ticker() -> None:
        await handler_has_ended.wait()
        ticks.append(await sync_to_async(threading.get_ident)())
        idle.set()
        await asyncio.Event().wait()

    def start(ctx: ConnectionContext[Any]) -> None:
        tasks.append(ctx.spawn(ticker()) if spawn == "spawn" else asyncio.create_task(ticker()))

    @router.on(Go)
    async def go(ctx: Context[Go]) -> None:
        await sync_to_async(threading.get_ident)()
        start(ctx)
        ctx.send(Done())

    @router.rpc(Call)
    async def call(ctx: RpcContext[Call]) -> Done:
        await sync_to_async(threading.get_ident)()
        start(ctx)
        return Done()

    other = await connect(serve(lambda ctx: sync_to_async(threading.get_ident)()))
    client = await connect(router.as_asgi())
    client.write(kind)
    assert await client.receive() == ("DONE", None)
    handler_has_ended.set()
    await idle.wait()

    await run(other)

    assert len(ticks) == 1
    await disconnect(client, other)
    tasks[0].cancel()


async def test_a_handler_without_the_orm_costs_no_thread_hop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DESIGN 5: database clean-up never costs a hop per frame."""
    submits: list[object] = []
    submit = ThreadPoolExecutor.submit

    def counted(self: ThreadPoolExecutor, *args: Any, **kwargs: Any) -> Any:
        submits.append(args[0])
        return submit(self, *args, **kwargs)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", counted)
    router = Router()

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Pong(text=ctx.payload.text))

    @router.rpc(Call)
    async def call(ctx: RpcContext[Call]) -> Done:
        return Done()

    client = await connect(router.as_asgi())
    for number in range(3):
        client.write("PING", {"text": str(number)})
        assert await client.receive() == ("PONG", {"text": str(number)})
        client.write("CALL")
        assert await client.receive() == ("DONE", None)
    await client.disconnect()

    assert submits == []


# -- the end of a connection


async def test_a_stuck_thread_does_not_hold_up_the_disconnect(held: Held) -> None:
    """DESIGN 3: handlers get ``close_timeout``; then ``on_close`` runs, once."""
    router = Router(limits=Limits(close_timeout=0.01))
    closed: list[int] = []

    @router.on(Go)
    async def go(ctx: Context[Go]) -> None:
        await sync_to_async(held)()

    @router.on_close
    async def on_close(ctx: Any) -> None:
        closed.append(ctx.code)

    client = await connect(router.as_asgi())
    client.write("GO")
    await until(lambda: held.thread)

    await client.disconnect(1001)

    assert closed == [1001]


async def test_a_thread_that_was_stuck_comes_back(
    database_threads: Callable[[int], None], held: Held
) -> None:
    """DESIGN 5: the bound would else be used up by clients that leave."""
    database_threads(1)
    application = serve(lambda ctx: sync_to_async(held)(), limits=Limits(close_timeout=0.01))
    client = await connect(application)
    client.write("GO")
    await until(lambda: held.thread)
    await client.disconnect()
    held.let_go()

    async with clients(serve(lambda ctx: sync_to_async(threading.get_ident)()), 1) as (other,):
        await run(other)

    assert other.sent[1]["type"] == "websocket.send"


async def test_work_that_was_cancelled_while_it_waited_never_runs(
    database_threads: Callable[[int], None], held: Held
) -> None:
    """DESIGN 3: a disconnect cancels handlers, also one that waits for a thread."""
    database_threads(1)
    ran: list[str] = []
    blocking = await connect(serve(lambda ctx: sync_to_async(held)()))
    blocking.write("GO")
    await until(lambda: held.thread)
    begun: list[str] = []

    async def waits(ctx: Context[Go]) -> None:
        begun.append("waiting")
        await sync_to_async(ran.append)("never")

    leaving = await connect(serve(waits))
    leaving.write("GO")
    await until(lambda: begun)
    await leaving.disconnect()
    held.let_go()
    assert await blocking.receive() == ("DONE", None)
    await run(blocking)
    await blocking.disconnect()

    assert (begun, ran) == (["waiting"], [])


# -- database connections


@pytest.fixture
def wrappers() -> Iterator[list[Any]]:
    """The database connections of the pool's threads that a test looked at; closed after it."""
    found: list[Any] = []
    yield found
    for wrapper in found:
        wrapper.inc_thread_sharing()
        wrapper.close()


def max_age(monkeypatch: pytest.MonkeyPatch, seconds: int | None) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", seconds)


@uses_database
async def test_connections_are_closed_when_the_handler_ends_and_not_before(
    database_threads: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    wrappers: list[Any],
) -> None:
    """DESIGN 5: a thread's connections live by ``CONN_MAX_AGE``, judged between handlers."""
    database_threads(1)
    max_age(monkeypatch, 0)
    raw: list[Any] = []

    def query() -> None:
        Room.objects.count()
        wrappers.append(connections["default"])
        raw.append(connection.connection)

    async def handler(ctx: Context[Go]) -> None:
        await sync_to_async(query)()
        await sync_to_async(query)()

    async with clients(serve(handler), 1) as (client,):
        await run(client)
        await until(lambda: wrappers[0].connection is None)
        await run(client)
        await until(lambda: wrappers[0].connection is None)

    first, second, third, fourth = raw
    assert None not in raw
    assert (first is second, second is third, third is fourth) == (True, False, True)


@uses_database
async def test_connections_that_may_live_are_kept(
    database_threads: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    wrappers: list[Any],
) -> None:
    """DESIGN 5: a positive ``CONN_MAX_AGE`` saves connecting, also from client to client."""
    database_threads(1)
    max_age(monkeypatch, 3600)
    raw: list[Any] = []

    def query() -> None:
        Room.objects.count()
        wrappers.append(connections["default"])
        raw.append(connection.connection)

    async with clients(serve(lambda ctx: sync_to_async(query)()), 2) as opened:
        for client in opened:
            await run(client)

    assert len(raw) == 2
    assert raw[0] is raw[1]
    assert raw[0] is not None


@uses_database
async def test_an_unusable_connection_is_closed_before_the_next_handler(
    database_threads: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    wrappers: list[Any],
) -> None:
    """DESIGN 5: clean-up hops when a connection had errors (BASELINES 1)."""
    database_threads(1)
    max_age(monkeypatch, None)
    monkeypatch.setattr(type(connections["default"]), "is_usable", lambda self: False)
    raw: list[Any] = []

    def fail() -> None:
        wrappers.append(connections["default"])
        with connection.cursor() as cursor:
            raw.append(connection.connection)
            cursor.execute("not SQL")

    async def handler(ctx: Context[Go]) -> None:
        with contextlib.suppress(OperationalError):
            await sync_to_async(fail)()

    async with clients(serve(handler), 1) as (client,):
        await run(client)
        await until(lambda: wrappers[0].connection is None)
        await run(client)

    assert len(raw) == 2
    assert raw[0] is not raw[1]


@uses_database
async def test_plain_handlers_run_in_the_handler_thread_with_clean_up_around(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DESIGN 5: around sync handlers as Channels does."""
    seen: list[tuple[str, int]] = []
    clean_up = vars(channels.db)["close_old_connections"]

    def noted() -> None:
        seen.append(("clean-up", threading.get_ident()))
        clean_up()

    monkeypatch.setattr(channels.db, "close_old_connections", noted)
    router = Router()

    @router.on(Go)
    def go(ctx: Context[Go]) -> None:
        Room.objects.count()
        seen.append(("handler", threading.get_ident()))
        ctx.send(Done())

    async with clients(router.as_asgi(), 1) as (client,):
        await run(client)
        await until(lambda: len(seen) == 3)

    thread = seen[0][1]
    assert seen == [("clean-up", thread), ("handler", thread), ("clean-up", thread)]
    assert thread != threading.get_ident()


@uses_database
async def test_the_async_orm_runs_on_the_handlers_thread() -> None:
    """DESIGN 5: the async ORM is ``sync_to_async`` as well."""
    found: list[Any] = []

    async def handler(ctx: Context[Go]) -> None:
        thread = await sync_to_async(threading.get_ident)()
        room = await Room.objects.acreate(slug="one", name="One")
        used = await sync_to_async(lambda: connection.connection is not None)()
        found.append((room.slug, await Room.objects.acount(), used, thread))

    async with clients(serve(handler), 1) as (client,):
        await run(client)

    assert found[0][:3] == ("one", 1, True)
    assert found[0][3] != threading.get_ident()


async def test_the_number_of_threads_is_read_late(database_threads: Callable[[int], None]) -> None:
    """DESIGN 10: settings are read late, and ``override_settings`` is honoured."""
    database_threads(2)
    barrier = threading.Barrier(2)
    async with clients(serve(lambda ctx: sync_to_async(barrier.wait)(PATIENCE)), 2) as opened:
        await asyncio.gather(*map(run, opened))
    database_threads(1)
    threads: set[int] = set()
    application = serve(lambda ctx: sync_to_async(lambda: threads.add(threading.get_ident()))())
    async with clients(application, 3) as opened:
        await asyncio.gather(*map(run, opened))

    assert (barrier.broken, len(threads)) == (False, 1)


async def test_a_handler_that_waits_lets_others_use_its_thread(
    database_threads: Callable[[int], None],
) -> None:
    """Eight handlers that sleep must not stop everybody's ORM."""
    database_threads(1)
    asleep, wake = asyncio.Event(), asyncio.Event()
    threads: list[int] = []

    async def sleeper(ctx: Context[Go]) -> None:
        threads.append(await sync_to_async(threading.get_ident)())
        asleep.set()
        await wake.wait()
        threads.append(await sync_to_async(threading.get_ident)())

    sleeping = await connect(serve(sleeper))
    other = await connect(serve(lambda ctx: sync_to_async(threading.get_ident)()))
    sleeping.write("GO")
    await asleep.wait()
    await run(other)
    wake.set()
    assert await sleeping.receive() == ("DONE", None)
    await disconnect(sleeping, other)

    assert len(set(threads)) == 1


@uses_database
async def test_a_cursor_that_is_read_in_pieces_survives_others_on_its_thread(
    database_threads: Callable[[int], None],
) -> None:
    """``aiterator()`` holds a cursor over several hops: nobody may close its connection."""
    database_threads(1)
    for number in range(6):
        await Room.objects.acreate(slug=f"room-{number}", name=str(number))
    half, go_on = asyncio.Event(), asyncio.Event()
    read: list[str] = []

    async def reader(ctx: Context[Go]) -> None:
        async for room in Room.objects.order_by("slug").aiterator(chunk_size=2):
            read.append(room.slug)
            if len(read) == 3:
                half.set()
                await go_on.wait()

    reading = await connect(serve(reader))
    other = await connect(serve(lambda ctx: Room.objects.acount()))
    reading.write("GO")
    await half.wait()
    await run(other)
    go_on.set()
    assert await reading.receive() == ("DONE", None)
    await disconnect(reading, other)

    assert read == [f"room-{number}" for number in range(6)]


@uses_database
async def test_a_transaction_keeps_its_thread_from_those_who_wait(
    database_threads: Callable[[int], None],
) -> None:
    """A transaction in one handler never meets another's thread (DESIGN 5)."""
    database_threads(1)
    opened, go_on = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def in_transaction(ctx: Context[Go]) -> None:
        atomic = transaction.atomic()
        await sync_to_async(atomic.__enter__)()
        opened.set()
        await go_on.wait()
        await sync_to_async(atomic.__exit__)(None, None, None)
        order.append("transaction")

    def query() -> None:
        order.append(f"other, in a transaction: {connection.in_atomic_block}")

    first = await connect(serve(in_transaction))
    other = await connect(serve(lambda ctx: sync_to_async(query)()))
    first.write("GO")
    await opened.wait()
    other.write("GO")
    for _ in range(20):
        await asyncio.sleep(0)
    assert order == []
    go_on.set()
    assert await first.receive() == ("DONE", None)
    assert await other.receive() == ("DONE", None)
    await disconnect(first, other)

    assert sorted(order) == ["other, in a transaction: False", "transaction"]


@uses_database
async def test_a_lease_cancelled_while_it_waits_for_its_own_thread_is_unbound(
    database_threads: Callable[[int], None], held: Held
) -> None:
    """Whoever leaves while another uses the thread must not count as bound for ever."""
    database_threads(1)
    bound = asyncio.Event()
    back = asyncio.Event()

    async def twice(ctx: Context[Go]) -> None:
        await sync_to_async(threading.get_ident)()
        bound.set()
        await back.wait()
        await sync_to_async(threading.get_ident)()

    leaving = await connect(serve(twice))
    holding = await connect(serve(lambda ctx: sync_to_async(held)()))
    leaving.write("GO")
    await bound.wait()
    holding.write("GO")
    await until(lambda: held.thread)
    back.set()
    for _ in range(20):
        await asyncio.sleep(0)
    await leaving.disconnect()
    held.let_go()
    assert await holding.receive() == ("DONE", None)
    await holding.disconnect()

    await until(lambda: [one.bound for one in threads_module._pool()._threads] == [0])
    assert not threads_module._pool().waiting


async def test_a_plain_wrapper_around_an_async_handler_loses_nothing() -> None:
    """A decorator that hides what it wraps: the coroutine that it returns is awaited."""
    router = Router[Any]()

    def wrapped(handler: Any) -> Any:
        return lambda ctx: handler(ctx)

    @router.on(Ping)
    @wrapped
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Pong(text="event"))

    @router.rpc(Call)
    @wrapped
    async def call(ctx: RpcContext[Call]) -> Done:
        return Done()

    client = await connect(router.as_asgi())
    client.write("PING", {})
    client.write("CALL", correlationId="1")
    assert sorted([(await client.receive())[0] for _ in range(2)]) == ["DONE", "PONG"]
    await client.disconnect()
