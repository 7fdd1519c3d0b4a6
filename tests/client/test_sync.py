import asyncio
import json
import queue
import signal
import threading
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.sync.server import ServerConnection as SyncServerConnection
from websockets.sync.server import serve as sync_serve

from tests.client.conftest import Serve, receive, work
from tests.client.contract import Done, News, Stage, Work
from wskit_channels.client import (
    ConnectionClosed,
    RequestTimeout,
    ServerError,
    SyncClient,
)
from wskit_channels.client.settings import ClientOptions, ClientSettings
from wskit_channels.client.sync import _Interruptible


async def test_requests_messages_and_progress_without_asyncio(serving: Serve) -> None:
    steps: list[Stage] = []

    def script(url: str) -> list[object]:
        with SyncClient(url, messages=[News]) as client:
            replied = client.request(Work(n=1), on_progress=steps.append)
            call = client.call(Work(n=2))
            seen = [*call, call.result()]
            assert client.send(News(text="x"))
            client.drain()
            news = next(iter(client))
            assert client.is_connected
        return [replied, seen, news, client.state]

    found = await asyncio.to_thread(script, await serving(work))

    expected = [Done(n=2), [Stage(stage="begun"), Done(n=3)], News(text='{"text": "x"}'), "closed"]
    assert (found, steps) == (expected, [Stage(stage="begun")])


async def test_errors_are_raised_in_the_script(serving: Serve) -> None:
    async def silent(socket: ServerConnection) -> None:
        frames.append(await receive(socket))
        frames.append(await receive(socket))
        await socket.close(4403)

    frames: list[dict[str, object]] = []

    def script(url: str) -> None:
        with SyncClient(url) as client:
            with pytest.raises(RequestTimeout):
                client.request(Work(n=1), timeout=0.05)
            with pytest.raises(ConnectionClosed, match="4403"):
                next(iter(client))
            assert client.closed_by is not None

    await asyncio.to_thread(script, await serving(silent))

    assert [frame["type"] for frame in frames] == ["WORK", "$ws:abort"]


async def test_a_call_is_aborted(serving: Serve) -> None:
    aborted = asyncio.Event()

    async def silent(socket: ServerConnection) -> None:
        while (await receive(socket))["type"] != "$ws:abort":
            pass
        aborted.set()
        await socket.wait_closed()

    def script(url: str) -> None:
        with SyncClient(url) as client:
            call = client.call(Work(n=1))
            client.drain()
            call.abort()
            with pytest.raises(ServerError, match="CANCELLED"):
                call.result()

    script_done = asyncio.create_task(asyncio.to_thread(script, await serving(silent)))
    await asyncio.wait_for(aborted.wait(), 10)
    await script_done


async def test_handlers_run_in_the_clients_thread_and_cannot_call_back(serving: Serve) -> None:
    seen: list[object] = []
    handled = threading.Event()

    def script(url: str) -> None:
        client = SyncClient(url)

        @client.on(News)
        def note(news: News) -> None:
            try:
                client.send(news)
            except RuntimeError as error:
                seen.append(str(error))
            handled.set()

        with client:
            client.send(News(text="x"))
            assert handled.wait(10)

    await asyncio.to_thread(script, await serving(work))

    assert seen == [
        "SyncClient is connected by `with` or connect(), and is not used by its handlers."
    ]


async def test_a_connection_that_fails_leaves_no_thread() -> None:
    before = threading.active_count()

    def script() -> None:
        with pytest.raises(ConnectionClosed, match="no connection"):
            SyncClient("ws://127.0.0.1:1/", reconnect=False).connect()

    await asyncio.to_thread(script)

    names = [thread.name for thread in threading.enumerate()]
    assert "wskit-client" not in names
    assert threading.active_count() <= before + 1  # to_thread() keeps its own


def test_an_interrupt_aborts_the_request_that_it_interrupts() -> None:
    frames: queue.Queue[str] = queue.Queue()

    def interrupt(socket: SyncServerConnection) -> None:
        for text in socket:
            type_ = json.loads(text)["type"]
            if type_ == "WORK":
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            frames.put(type_)

    with sync_serve(interrupt, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever).start()
        port = server.socket.getsockname()[1]
        with SyncClient(f"ws://127.0.0.1:{port}/") as client:
            with pytest.raises(KeyboardInterrupt):
                client.request(Work(n=1))
            found = [frames.get(timeout=10) for _ in range(3)]
        server.shutdown()

    assert found == ["$ws:ping", "WORK", "$ws:abort"]


def test_an_interrupt_aborts_a_request_that_nobody_waits_for_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may come at any moment: here before there is anything to cancel."""
    frames: queue.Queue[str] = queue.Queue()
    submit = asyncio.run_coroutine_threadsafe

    def interrupted(work: Any, loop: Any) -> Any:
        submit(work, loop)
        assert [frames.get(timeout=10) for _ in range(2)] == ["$ws:ping", "WORK"]
        raise KeyboardInterrupt

    def note(socket: SyncServerConnection) -> None:
        for text in socket:
            frames.put(json.loads(text)["type"])

    with sync_serve(note, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever).start()
        port = server.socket.getsockname()[1]
        with SyncClient(f"ws://127.0.0.1:{port}/") as client:
            monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", interrupted)
            with pytest.raises(KeyboardInterrupt):
                client.request(Work(n=1))
            monkeypatch.undo()
            assert frames.get(timeout=10) == "$ws:abort"
        server.shutdown()


async def test_what_is_cancelled_before_it_begins_never_does() -> None:
    begun: list[None] = []

    async def work() -> None:
        begun.append(None)

    ours = _Interruptible(work())
    ours.cancel()

    with pytest.raises(asyncio.CancelledError):
        await ours.run()
    assert begun == []


def test_before_it_is_connected_it_says_how() -> None:
    with pytest.raises(RuntimeError, match="connected by `with`"):
        SyncClient("ws://h/").send(News(text="x"))


def test_both_lists_of_options_agree() -> None:
    """``ClientOptions`` is for type checkers what ``ClientSettings`` is at run time."""
    assert set(ClientOptions.__annotations__) == set(ClientSettings.__dataclass_fields__)
