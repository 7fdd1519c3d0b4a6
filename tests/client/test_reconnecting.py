import asyncio
import json

import pytest

from tests.client.contract import Done, News, Work
from tests.client.wire import MemoryServer
from tests.fake_clock import clock, fake_time
from tests.helpers import settle
from wskit_channels.client import (
    Auth,
    ConnectFailed,
    ConnectionClosed,
    Heartbeat,
    Reconnect,
)
from wskit_channels.client.link import DialFailed

SLOWLY = Reconnect(initial_delay=2.0, max_delay=8.0, jitter="none")


@fake_time
async def test_states_from_the_start_to_the_end() -> None:
    server = MemoryServer()
    client = server.client(reconnect=SLOWLY)
    states: list[str] = []
    client.on_state(states.append)
    async with client:
        server.link.end()
        await clock().advance(2.0)
        assert client.is_connected

    expected = ["connecting", "open", "reconnecting", "open", "closing", "closed"]
    assert (states, client.state) == (expected, "closed")
    assert server.link.closed_with == (1000, "")


@fake_time
async def test_attempts_come_later_and_later() -> None:
    server = MemoryServer()
    server.is_up = False
    client = server.client(reconnect=SLOWLY)
    client.start()
    await clock().advance(30.0)
    await client.close()

    assert [at - server.attempts[0] for at in server.attempts] == [0.0, 2.0, 6.0, 14.0, 22.0, 30.0]


@fake_time
async def test_connecting_gives_up_in_time_and_says_why() -> None:
    server = MemoryServer()
    server.is_up = False
    client = server.client(reconnect=SLOWLY, connect_timeout=5.0)
    entering = asyncio.create_task(client.__aenter__())
    await clock().advance(5.0)

    with pytest.raises(ConnectFailed, match=r"no connection within 5 s: .*nobody listens"):
        await entering
    assert client.state == "closed"


@fake_time
async def test_without_reconnecting_the_first_failure_is_told_at_once() -> None:
    server = MemoryServer()
    server.is_up = False

    with pytest.raises(ConnectionClosed, match="1006: no connection: nobody listens"):
        await server.client(reconnect=False).connect()


@fake_time
async def test_whoever_connects_while_it_reconnects_waits_for_that() -> None:
    server = MemoryServer()
    async with server.client(reconnect=SLOWLY) as client:
        server.link.end()
        await settle()
        connecting = asyncio.create_task(client.connect())
        await clock().advance(1.9)
        assert not connecting.done()
        await clock().advance(0.1)
        await connecting

        assert (client.state, len(server.links)) == ("open", 2)


@fake_time
async def test_a_token_is_asked_for_at_each_connect() -> None:
    server = MemoryServer()
    tokens = iter(["one", "two"])

    async def fetch() -> str:
        return next(tokens)

    async with server.client(auth=fetch, headers=lambda: {"X-A": "1"}):
        server.link.end()
        await clock().advance(1.0)

    assert [link.target.headers for link in server.links] == [
        {"X-A": "1", "Authorization": "Bearer one"},
        {"X-A": "1", "Authorization": "Bearer two"},
    ]


@fake_time
async def test_what_a_refused_connection_never_read_is_written_on_the_next() -> None:
    """PROTOCOL 8: 4401 comes before any handler, so that nothing is done twice."""
    server = MemoryServer()
    client = server.client(auth=lambda: "token")
    client.send(News(text="once"))
    task = asyncio.create_task(client.request(Work(n=1), timeout=9.0))
    client.start()
    await settle()
    lost = [json.loads(text)["type"] for text in server.link.written]
    assert lost == ["$ws:ping", "NEWS", "WORK"]  # the ping first: its pong is the proof
    server.link.end(4401)
    await clock().advance(1.0)
    news, work = await server.link.heard()

    assert news == {"type": "NEWS", "payload": {"text": "once"}}
    server.link.say("DONE", {"n": 1}, correlationId=work["meta"]["correlationId"])
    assert await task == Done(n=1)
    await client.close()


@fake_time
async def test_what_a_connection_may_have_read_is_not_written_twice() -> None:
    """The pong has come: a later 4401 ends a session that was good."""
    server = MemoryServer()
    async with server.client(auth=lambda: "token") as client:
        client.send(News(text="once"))
        await server.link.heard()
        server.link.say("$ws:pong")
        await settle()
        server.link.end(4401)
        await clock().advance(1.0)

        assert len(server.links) == 2
        assert await server.link.heard() == []


@fake_time
async def test_two_refused_tokens_are_the_end() -> None:
    """PROTOCOL 8."""
    server = MemoryServer()
    async with server.client(auth=lambda: "token") as client:
        server.link.end(4401)
        await clock().advance(1.0)
        server.link.end(4401, "UNAUTHENTICATED")
        closed = await client.wait_closed()

        assert (str(closed), len(server.links)) == (
            "the connection closed with 4401 (UNAUTHENTICATED): the client does not connect again",
            2,
        )


@fake_time
async def test_a_frame_proves_that_a_fresh_token_was_good() -> None:
    """So that the next 4401, however soon, asks for another."""
    server = MemoryServer()
    async with server.client(auth=lambda: "token") as client:
        server.link.end(4401)
        await clock().advance(0.1)
        server.link.say("$ws:pong")
        await settle()
        server.link.end(4401)
        await clock().advance(0.1)

        assert (client.state, len(server.links)) == ("open", 3)


@pytest.mark.parametrize("code", [1000, 1008, 4008, 4403])
def test_final_closes_end_the_client_until_it_is_started_again(code: int) -> None:
    """PROTOCOL 8."""

    @fake_time
    async def story() -> None:
        server = MemoryServer()
        async with server.client(auth=lambda: "token") as client:
            server.link.end(code)
            closed = await client.wait_closed()
            assert closed is not None
            assert (closed.code, client.state, client.close_code) == (code, "closed", code)
            assert client.send(News(text="x")) is False

            await client.connect()
            assert (client.state, client.closed_by, len(server.links)) == ("open", None, 2)

    story()


@fake_time
async def test_after_a_goodbye_messages_wait_for_the_next_connection() -> None:
    """PROTOCOL 7: and that comes when the server asked for it."""
    server = MemoryServer()
    async with server.client(reconnect=Reconnect(initial_delay=0.0)) as client:
        await server.link.heard()
        server.link.say("$ws:bye", data={"code": 1012, "reconnect": True, "retryAfterMs": 3000})
        await settle()
        client.send(News(text="later"))
        assert await server.link.heard() == []
        server.link.end(1012)
        await clock().advance(2.9)
        assert client.state == "reconnecting"
        await clock().advance(0.1)

        assert await server.link.heard() == [{"type": "NEWS", "payload": {"text": "later"}}]


@fake_time
async def test_closing_while_a_token_is_fetched_leaves_no_connection_behind() -> None:
    server = MemoryServer()
    fetching, answer = asyncio.Event(), asyncio.Event()

    async def fetch() -> str:
        fetching.set()
        await answer.wait()
        return "token"

    client = server.client(auth=fetch)
    client.start()
    await fetching.wait()
    await client.close()
    answer.set()
    await clock().advance(60.0)

    assert (client.state, server.attempts) == ("closed", [])


@fake_time
async def test_closing_is_final_also_where_the_server_closes_otherwise_meanwhile() -> None:
    server = MemoryServer()
    async with server.client() as client:
        server.link.answers_close_with = 1012
    await clock().advance(60.0)

    assert (client.state, len(server.links)) == ("closed", 1)
    assert str(client.closed_by) == "the connection closed with 1000: the client was closed"


@fake_time
async def test_closing_while_it_dials_or_waits_ends_that() -> None:
    server = MemoryServer()
    server.accepting.clear()
    dialling = server.client()
    dialling.start()
    await settle()
    await dialling.close()
    server.accepting.set()
    server.is_up = False
    waiting = server.client()
    waiting.start()
    await settle()
    await waiting.close()
    server.is_up = True
    await clock().advance(60.0)

    assert (dialling.state, waiting.state, server.links) == ("closed", "closed", [])


@fake_time
async def test_a_token_source_that_fails_is_told_and_asked_again() -> None:
    server = MemoryServer()
    answers = iter([ConnectionError("no token today"), None])

    def fetch() -> str:
        if (error := next(answers)) is not None:
            raise error
        return "token"

    client = server.client(auth=fetch)
    errors: list[Exception] = []
    client.on_error(errors.append)
    client.start()
    await clock().advance(1.0)

    assert [str(error) for error in errors] == ["no token today"]
    assert server.link.target.headers == {"Authorization": "Bearer token"}
    await client.close()


@pytest.mark.parametrize(("auth", "attempts"), [("static", 1), (Auth(lambda: "t"), 2)])
def test_a_handshake_answered_with_403_is_a_refused_token(auth: str | Auth, attempts: int) -> None:
    """PROTOCOL 8: ``refuse="http"``."""

    @fake_time
    async def story() -> None:
        server = MemoryServer()
        server.failures.extend(DialFailed(403) for _ in range(9))
        with pytest.raises(ConnectionClosed, match="answered the handshake with HTTP 403"):
            await server.client(auth=auth).connect()
        assert len(server.attempts) == attempts

    story()


@fake_time
async def test_a_ping_is_answered() -> None:
    """PROTOCOL 7: with a pong that copies the time stamp."""
    server = MemoryServer()
    async with server.client():
        await server.link.heard()
        server.link.say("$ws:ping")

        assert await server.link.heard() == [{"type": "$ws:pong", "meta": {"echo": 1}}]


@fake_time
async def test_a_flood_of_pings_is_answered_once() -> None:
    """What waits to be written stays bounded."""
    server = MemoryServer()
    async with server.client():
        await server.link.heard()
        server.link.room.clear()
        server.link.say("$ws:ping")
        await server.link.heard()
        for _ in range(100):
            server.link.say("$ws:ping")
        await settle(200)
        server.link.room.set()

        assert len(await server.link.heard()) == 1


@fake_time
async def test_a_silent_server_is_asked_and_then_left() -> None:
    """PROTOCOL 7, from the client's side."""
    server = MemoryServer()
    beat = Heartbeat(interval=10.0, timeout=2.0)
    async with server.client(heartbeat=beat, reconnect=SLOWLY) as client:
        first = server.link
        await first.heard()
        await clock().advance(9.0)
        first.say("$ws:pong")
        await clock().advance(9.9)
        assert first.written == []
        await clock().advance(0.1)
        assert [json.loads(text)["type"] for text in first.written] == ["$ws:ping"]
        await clock().advance(1.9)
        assert client.is_connected
        await clock().advance(0.2)

        assert (client.state, client.close_code, first.aborted) == ("reconnecting", 4000, True)
        await clock().advance(2.0)
        assert client.is_connected


@fake_time
async def test_what_is_sent_when_it_opens_goes_before_what_waits() -> None:
    """Rooms are joined again before anything is said in them."""
    server = MemoryServer()
    async with server.client(reconnect=SLOWLY) as client:

        @client.on_state
        def join(state: str) -> None:
            if state == "open":
                client.send(News(text="join"))

        again = asyncio.create_task(client.request(Work(n=1), idempotency_key="k"))
        await server.link.heard()
        server.link.end()
        await settle()
        client.send(News(text="say"))
        await clock().advance(2.0)
        frames = await server.link.heard()

        expected = [{"text": "join"}, {"n": 1}, {"text": "say"}]
        assert [frame["payload"] for frame in frames] == expected
        again.cancel()


@fake_time
async def test_messages_queued_before_the_end_wait_for_another_start() -> None:
    """After new credentials, say; but what the user closed is over."""
    server = MemoryServer()
    server.failures.append(DialFailed(404))
    client = server.client()
    client.send(News(text="kept"))
    with pytest.raises(ConnectionClosed, match="HTTP 404"):
        await client.connect()
    async with client:
        assert await server.link.heard() == [{"type": "NEWS", "payload": {"text": "kept"}}]
        server.is_up = False
        server.link.end()
        await settle()
        client.send(News(text="gone"))
    server.is_up = True
    async with client:
        assert await server.link.heard() == []


@fake_time
async def test_leaving_writes_what_is_queued() -> None:
    server = MemoryServer()
    async with server.client() as client:
        client.send(News(text="last words"))

    assert [json.loads(text)["type"] for text in server.link.written] == ["$ws:ping", "NEWS"]


@fake_time
async def test_leaving_does_not_wait_for_ever_for_a_server_that_does_not_read() -> None:
    server = MemoryServer()
    async with server.client(close_timeout=5.0) as client:
        await server.link.heard()
        server.link.room.clear()
        for _ in range(3):
            client.send(News(text="x"))
        started = clock().time()
        await settle()
        closing = asyncio.create_task(client.close())
        await clock().advance(5.0)
        await closing

        assert clock().time() - started == 5.0
        assert client.state == "closed"
