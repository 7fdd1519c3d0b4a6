"""``contrib/redis.py``: token buckets in a real server (DESIGN 9)."""

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from tests.contrib.redis_helpers import refused_address
from tests.helpers import connected
from tests.routing.calls import answer, failure
from tests.routing.messages import Answer, Ask
from wskit_channels import Router, RpcContext
from wskit_channels.contrib.redis import RedisLimiter
from wskit_channels.routing.ratelimit import Decision, Limiter, MemoryLimiter, rate_limit

SLOW = 0.001
"""Tokens a second: none comes back while a test runs."""
PATIENCE = 15.0
"""Seconds after which the server counts as failed: a busy machine is no failure."""


@pytest.fixture
def prefix() -> str:
    return f"test:{uuid.uuid4().hex}:"


@pytest.fixture
def server(valkey: str) -> Iterator[Redis]:
    """The server itself, to look into and to let time pass."""
    return Redis.from_url(valkey, decode_responses=True)


def patient(client: Any, prefix: str, **options: Any) -> RedisLimiter:
    """A limiter that waits for a server which is slow to answer."""
    return RedisLimiter(client, prefix=prefix, timeout=PATIENCE, **options)


async def let_pass(server: Redis, key: str, seconds: float) -> None:
    """Have a bucket have been used that much longer ago."""
    await server.hincrby(key, "since", -round(seconds * 1_000_000))


async def wait_of(limiter: Limiter, key: str = "k", cost: int = 1) -> float:
    decision = await limiter.consume(key, cost)
    assert not decision.allowed
    assert decision.retry_after is not None
    return decision.retry_after


async def test_a_bucket_grants_its_capacity_and_then_says_how_long_to_wait(
    valkey: str, prefix: str
) -> None:
    limiter = patient(valkey, prefix, capacity=2, refill_per_second=SLOW)

    assert [await limiter.consume("k", 1) for _ in range(2)] == [
        Decision(True, available=2),
        Decision(True, available=1),
    ]
    assert await wait_of(limiter) == pytest.approx(1 / SLOW, abs=TOLERANCE)
    assert await limiter.consume("other", 2) == Decision(True, available=2)


TOLERANCE = 10.0
"""Seconds that may pass between two steps of a test."""


async def test_a_cost_over_the_capacity_can_never_be_had(valkey: str, prefix: str) -> None:
    limiter = patient(valkey, prefix, capacity=2, refill_per_second=SLOW)

    assert await limiter.consume("k", 3) == Decision(False, None, 2)
    assert await limiter.consume("k", 2) == Decision(True, available=2)


async def test_time_is_the_servers_and_refills(valkey: str, prefix: str, server: Redis) -> None:
    limiter = patient(valkey, prefix, capacity=2, refill_per_second=0.01)
    await limiter.consume("k", 2)
    seconds, microseconds = await server.time()
    since = int(await server.hget(f"{prefix}k", "since")) / 1_000_000
    assert 0 <= seconds + microseconds / 1_000_000 - since < TOLERANCE

    await let_pass(server, f"{prefix}k", 150.0)

    assert await limiter.consume("k", 1) == Decision(True, available=1)
    assert await wait_of(limiter) == pytest.approx(50.0, abs=TOLERANCE)
    await server.aclose()


async def test_a_bucket_that_is_polled_faster_than_it_refills_still_refills(
    valkey: str, prefix: str, server: Redis
) -> None:
    """DESIGN 9: no part of a token is lost, since a refusal leaves the bucket as it was."""
    limiter = patient(valkey, prefix, capacity=1, refill_per_second=SLOW)
    await limiter.consume("k", 1)

    for _ in range(100):
        await wait_of(limiter)
        await let_pass(server, f"{prefix}k", 10.0)

    assert (await limiter.consume("k", 1)).allowed
    await server.aclose()


async def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing(
    valkey: str, prefix: str, server: Redis
) -> None:
    limiter = patient(valkey, prefix, capacity=1, refill_per_second=SLOW)
    await limiter.consume("k", 1)
    await let_pass(server, f"{prefix}k", -3600.0)

    assert await wait_of(limiter) == 1 / SLOW
    await server.aclose()


async def test_a_bucket_is_gone_when_it_is_full(valkey: str, prefix: str, server: Redis) -> None:
    limiter = patient(valkey, prefix, capacity=10, refill_per_second=0.01)
    await limiter.consume("k", 3)

    assert 290_000 < await server.pttl(f"{prefix}k") <= 300_001
    await limiter.consume("free", 0)
    assert await server.keys(f"{prefix}*") == [f"{prefix}k"]
    await server.aclose()


@settings(max_examples=25, deadline=None)
@given(
    capacity=st.integers(1, 20),
    refill=st.sampled_from([0.125, 1.0, 3.0, 7.5]),
    steps=st.lists(st.tuples(st.sampled_from([0, 10, 64, 200, 1000]), st.integers(0, 25))),
)
def test_it_decides_as_the_limiter_in_memory_does(
    valkey: str, capacity: int, refill: float, steps: list[tuple[int, int]]
) -> None:
    """Which is shown never to overspend; real time may only have it grant a little sooner."""

    async def main() -> None:
        prefix, now, spent = f"test:{uuid.uuid4().hex}:", 0.0, 0
        options: Any = {"capacity": capacity, "refill_per_second": refill}
        memory = MemoryLimiter(**options, clock=lambda: now)
        limiter = patient(valkey, prefix, **options)
        began = time.monotonic()
        for wait, cost in steps:
            now += wait
            async with Redis.from_url(valkey) as server:
                if await server.exists(f"{prefix}k"):
                    await let_pass(server, f"{prefix}k", wait)
            expected, found = await memory.consume("k", cost), await limiter.consume("k", cost)
            if expected.allowed:
                assert found.allowed
            if found.allowed:
                spent += cost
            most = capacity + refill * (now + time.monotonic() - began)
            assert spent <= most + 1e-6
            if found.allowed and not expected.allowed:
                return  # the real time that passed made the difference

    asyncio.run(main())


async def test_fifty_concurrent_consumers_never_overspend(valkey: str, prefix: str) -> None:
    """DESIGN 9: one atomic step, for all processes."""
    processes = [patient(valkey, prefix, capacity=100, refill_per_second=SLOW) for _ in range(2)]

    async def consume(number: int) -> int:
        limiter = processes[number % 2]
        return sum([(await limiter.consume("k", 1)).allowed for _ in range(10)])

    granted = await asyncio.gather(*map(consume, range(50)))

    assert sum(granted) == 100


def test_one_limiter_serves_several_event_loops(valkey: str, prefix: str) -> None:
    """One after the other, and at once in several threads."""
    limiter = patient(valkey, prefix, capacity=100, refill_per_second=SLOW)
    granted: list[bool] = []

    async def main() -> None:
        for _ in range(20):
            granted.append((await limiter.consume("k", 1)).allowed)

    asyncio.run(main())
    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(granted), sum(granted)) == (120, 100)
    assert len(limiter._clients._held) == 0  # each was closed with its loop


async def test_connections_that_the_server_cut_are_made_anew(
    valkey: str, prefix: str, server: Redis
) -> None:
    limiter = patient(valkey, prefix, capacity=10, refill_per_second=SLOW)
    await asyncio.gather(*[limiter.consume("k", 1) for _ in range(5)])
    await server.client_kill_filter(_type="normal", skipme=True)

    assert (await limiter.consume("k", 1)).allowed
    await server.aclose()


async def test_a_script_that_the_server_forgot_is_loaded_again(
    valkey: str, prefix: str, server: Redis
) -> None:
    limiter = patient(valkey, prefix, capacity=10, refill_per_second=SLOW)
    await limiter.consume("k", 1)
    await server.script_flush()

    assert await limiter.consume("k", 1) == Decision(True, available=9)
    await server.aclose()


async def test_closed_it_can_be_used_again(valkey: str, prefix: str) -> None:
    limiter = patient(valkey, prefix, capacity=10, refill_per_second=SLOW)
    await limiter.consume("k", 1)
    await limiter.aclose()
    await limiter.aclose()

    assert await limiter.consume("k", 1) == Decision(True, available=9)


# -- clients of the project's own


async def test_a_function_that_makes_clients_will_do(valkey: str, prefix: str) -> None:
    made: list[Redis] = []

    def make() -> Redis:
        made.append(Redis.from_url(valkey, decode_responses=True))
        return made[-1]

    limiter = patient(make, prefix, capacity=10, refill_per_second=SLOW)
    await limiter.consume("k", 1)

    assert await limiter.consume("k", 1) == Decision(True, available=9)
    assert len(made) == 1


async def test_a_client_will_do_for_its_own_loop_and_stays_open(valkey: str, prefix: str) -> None:
    client = Redis.from_url(valkey)
    limiter = patient(client, prefix, capacity=10, refill_per_second=SLOW)
    assert (await limiter.consume("k", 1)).allowed
    await limiter.aclose()
    assert await client.ping()

    def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="Give the address"):
            asyncio.run(limiter.consume("k", 1))

    await asyncio.to_thread(elsewhere)
    await client.aclose()


# -- failures


async def test_a_server_that_is_not_there_is_an_error(prefix: str) -> None:
    with refused_address() as url:
        limiter = patient(url, prefix, capacity=1, refill_per_second=1)
        with pytest.raises(RedisConnectionError):
            await limiter.consume("k", 1)


async def test_a_server_that_does_not_answer_is_an_error_in_time(prefix: str) -> None:
    async def silent(reader: Any, writer: Any) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    options: Any = {"capacity": 1, "refill_per_second": 1, "timeout": 0.05}
    limiter = RedisLimiter(f"redis://127.0.0.1:{port}", **options)

    with pytest.raises(TimeoutError):
        await limiter.consume("k", 1)
    await limiter.aclose()
    listener.close()
    await listener.wait_closed()


async def test_a_key_of_another_kind_is_an_error(valkey: str, prefix: str, server: Redis) -> None:
    limiter = patient(valkey, prefix, capacity=1, refill_per_second=1)
    await server.set(f"{prefix}k", "a string")

    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await limiter.consume("k", 1)
    await server.aclose()


@pytest.mark.parametrize(
    "options",
    [
        {"capacity": 0, "refill_per_second": 1},
        {"capacity": 1, "refill_per_second": 0},
        {"capacity": 1, "refill_per_second": 1, "timeout": 0},
    ],
)
def test_a_limiter_that_could_not_be_used_is_refused(options: Any) -> None:
    with pytest.raises(ValueError, match="above 0"):
        RedisLimiter("redis://127.0.0.1", **options)


@pytest.mark.parametrize("on_failure", ["allow", "deny"])
async def test_behind_a_route(valkey: str, prefix: str, on_failure: Any, server: Redis) -> None:
    """DESIGN 9: it limits while it works, and what then is the project's choice."""
    router: Router[Any] = Router()
    limiter = patient(valkey, prefix, capacity=1, refill_per_second=SLOW)

    @router.rpc(Ask, use=[rate_limit(limiter, key=lambda ctx: "k", on_failure=on_failure)])
    async def ask(ctx: RpcContext[Ask]) -> Answer:
        return Answer(text="")

    async with connected(router) as client:
        await client.call("ASK", {}, id="1")
        assert await client.receive() == answer("1")
        await client.call("ASK", {}, id="2")
        assert (await client.receive())["payload"]["code"] == "RESOURCE_EXHAUSTED"
        await server.set(f"{prefix}k", "broken")
        await client.call("ASK", {}, id="3")
        refused = failure("3", "UNAVAILABLE", "Temporarily unavailable", retryable=True)
        assert await client.receive() == (answer("3") if on_failure == "allow" else refused)
    await server.aclose()
