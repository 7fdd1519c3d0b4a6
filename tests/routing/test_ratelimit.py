"""``routing/ratelimit.py``: token buckets and the middleware that asks them (DESIGN 9)."""

import logging
import re
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_clock import clock, fake_time, run
from tests.helpers import Client, connected
from tests.routing.calls import failure, internal
from tests.routing.messages import Answer, Ask, AskMore, Note, Other
from wskit_channels import Context, LimitExceeded, Router, RpcContext
from wskit_channels.routing.ratelimit import (
    Decision,
    MemoryLimiter,
    per_address,
    per_user,
    rate_limit,
)

T = TypeVar("T")


class Now:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def limiter(capacity: int = 2, refill: float = 1.0, **options: Any) -> tuple[MemoryLimiter, Now]:
    now = Now()
    return (
        MemoryLimiter(capacity=capacity, refill_per_second=refill, clock=now, **options),
        now,
    )


def decisions(bucket: MemoryLimiter, *costs: int, key: str = "k") -> list[Decision]:
    return [at_once(bucket.consume(key, cost)) for cost in costs]


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits")


# -- buckets


def test_a_bucket_grants_its_capacity_and_then_says_how_long_to_wait() -> None:
    bucket, now = limiter(capacity=2, refill=0.5)

    assert decisions(bucket, 1, 1, 1) == [
        Decision(True, available=2),
        Decision(True, available=1),
        Decision(False, 2.0, 0),
    ]
    now.seconds = 2.0
    assert decisions(bucket, 1, 1) == [Decision(True, available=1), Decision(False, 2.0, 0)]


def test_a_cost_over_the_capacity_can_never_be_had() -> None:
    bucket, _ = limiter(capacity=2)

    assert decisions(bucket, 3, 2) == [Decision(False, None, 2), Decision(True, available=2)]


def test_a_refused_cost_takes_nothing() -> None:
    bucket, _ = limiter(capacity=3)

    assert decisions(bucket, 2, 2, 1) == [
        Decision(True, available=3),
        Decision(False, 1.0, 1),
        Decision(True, available=1),
    ]


def test_a_bucket_that_is_polled_faster_than_it_refills_still_refills() -> None:
    """DESIGN 9: no part of a token is lost."""
    bucket, now = limiter(capacity=1, refill=1.0)
    assert decisions(bucket, 1) == [Decision(True, available=1)]

    polls = []
    for step in range(1, 1025):
        now.seconds = step / 1024
        polls += decisions(bucket, 1)

    assert [poll.allowed for poll in polls] == [False] * 1023 + [True]


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    bucket, now = limiter(capacity=1)
    now.seconds = 10.0
    decisions(bucket, 1)
    now.seconds = 5.0

    assert decisions(bucket, 1) == [Decision(False, 1.0, 0)]


def test_keys_have_buckets_of_their_own() -> None:
    bucket, _ = limiter(capacity=1)

    assert decisions(bucket, 1, key="a") == decisions(bucket, 1, key="b")


def test_full_buckets_are_forgotten() -> None:
    """DESIGN 9: memory is that of the keys in use."""
    bucket, now = limiter(capacity=10)
    for number in range(1000):
        decisions(bucket, 1, key=str(number))
    assert len(bucket) == 1000

    now.seconds = 1.0
    for _ in range(600):
        decisions(bucket, 1, key="busy")
        now.seconds += 1.0

    assert len(bucket) <= 1


def test_over_the_cap_the_longest_unused_bucket_is_forgotten() -> None:
    bucket, _ = limiter(capacity=2, max_keys=2)
    for key in ("a", "b", "a", "c"):
        decisions(bucket, 1, key=key)

    assert len(bucket) == 2
    assert decisions(bucket, 1, key="a") == [Decision(False, 1.0, 0)]
    assert decisions(bucket, 2, key="b") == [Decision(True, available=2)]


@given(
    capacity=st.integers(1, 50),
    refill=st.floats(0.01, 1000, allow_nan=False),
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(0, 60)), max_size=60),
)
def test_never_more_is_granted_than_capacity_and_refill(
    capacity: int, refill: float, steps: list[tuple[float, int]]
) -> None:
    """DESIGN 9: over any stretch of time, from any state that the bucket can be in."""
    bucket, now = limiter(capacity, refill)
    grants: list[tuple[float, int]] = []
    for wait, cost in steps:
        now.seconds += wait
        (decision,) = decisions(bucket, cost)
        if decision.allowed:
            grants.append((now.seconds, cost))
        elif cost <= capacity:
            assert decision.retry_after is not None
            now.seconds += decision.retry_after + 1e-6
            assert decisions(bucket, cost)[0].allowed
            grants.append((now.seconds, cost))

    for first, (start, _) in enumerate(grants):
        spent = 0
        for end, cost in grants[first:]:
            spent += cost
            assert spent <= capacity + refill * (end - start) + 1e-6


def test_several_threads_never_overspend() -> None:
    """A process may have several event loops."""
    bucket, _ = limiter(capacity=10_000)
    granted: list[int] = []

    def work() -> None:
        granted.append(sum(one.allowed for one in decisions(bucket, *[1] * 5000)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert sum(granted) == 10_000


@pytest.mark.parametrize(
    "options",
    [
        {"capacity": 0, "refill_per_second": 1},
        {"capacity": True, "refill_per_second": 1},
        {"capacity": 1.5, "refill_per_second": 1},
        {"capacity": 1, "refill_per_second": 0},
        {"capacity": 1, "refill_per_second": float("inf")},
        {"capacity": 1, "refill_per_second": float("nan")},
        {"capacity": 1, "refill_per_second": 1, "max_keys": 0},
    ],
)
def test_a_bucket_that_could_not_be_used_is_refused(options: Any) -> None:
    with pytest.raises(ValueError, match="above 0"):
        MemoryLimiter(**options)


# -- middleware


class Limited:
    """A router of events and calls behind one limit, and what it reported."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.router: Router[Any] = Router()
        self.reports: list[LimitExceeded] = []
        self.handled: list[str] = []
        self.bugs: list[Exception] = []
        self.router.use(rate_limit(*args, **options))
        self.router.on_limit_exceeded(self.reports.append)
        self.router.on_error(lambda error, ctx: self.bugs.append(error))
        self.router.on(Note, Other)(self._event)
        self.router.rpc(Ask)(self._call)
        self.router.rpc(AskMore)(self._call)

    async def _event(self, ctx: Context[Any]) -> None:
        self.handled.append(ctx.type)

    async def _call(self, ctx: RpcContext[Any]) -> Answer:
        self.handled.append(ctx.type)
        return Answer(text="")

    async def outcomes(self, client: Client, *types: str) -> list[str]:
        """The type of each call's answer, or its error's code."""
        found = []
        for number, type_ in enumerate(types):
            await client.call(type_, {}, id=str(number))
            frame = await client.receive()
            found.append(frame["payload"].get("code", frame["type"]))
        return found


def user(pk: Any) -> Any:
    class User:
        is_authenticated = True

        def __init__(self) -> None:
            self.pk = pk

    return User()


def serve(limited: Limited, *, address: str | None = "192.0.2.1", **scope: Any) -> Any:
    """The router's application, with a scope as servers and middleware make it."""
    application = limited.router.as_asgi()
    client = None if address is None else [address, 40000]

    async def serve(received: Any, receive: Any, send: Any) -> None:
        await application({**received, "client": client, **scope}, receive, send)

    return serve


async def test_an_event_over_the_limit_is_refused_with_the_time_to_wait() -> None:
    """DESIGN 9."""
    limited = Limited(limiter(capacity=1, refill=0.3)[0])

    async with connected(limited.router) as client:
        await client.send("NOTE", {"text": ""})
        await client.send("NOTE", {"text": ""})
        payload = {
            "code": "RESOURCE_EXHAUSTED",
            "message": "Rate limit exceeded",
            "retryable": True,
            "retryAfterMs": 3334,
        }
        assert await client.heard() == [{"type": "ERROR", "payload": payload}]
    assert limited.handled == ["NOTE"]


async def test_a_call_over_the_limit_is_refused_whatever_its_payload() -> None:
    """PROTOCOL 3: middleware comes before validation."""
    bucket, now = limiter(capacity=1)
    limited = Limited(bucket)

    async with connected(limited.router) as client:
        assert await limited.outcomes(client, "ASK") == ["ANSWER"]
        await client.call("ASK", {"wrong": 1}, id="2")
        assert await client.heard() == [
            failure("2", "RESOURCE_EXHAUSTED", "Rate limit exceeded", True, retryAfterMs=1000)
        ]
        now.seconds = 1.0
        assert await limited.outcomes(client, "ASK") == ["ANSWER"]


async def test_a_cost_that_can_never_be_had_is_not_to_be_tried_again() -> None:
    """DESIGN 9: cost over capacity."""
    limited = Limited(limiter(capacity=2)[0], cost=3)

    async with connected(limited.router) as client:
        await client.call("ASK", {}, id="1")
        message = "This costs more than the rate limit ever allows"
        assert await client.heard() == [failure("1", "FAILED_PRECONDITION", message)]
        report = LimitExceeded(
            type="rate", observed=3, limit=2, client_id=limited.reports[0].client_id
        )
        assert limited.reports == [report]


@pytest.mark.parametrize("cost", [-1, 1.0, True, "1", None])
async def test_a_cost_that_is_no_number_of_tokens_is_our_bug(
    cost: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """DESIGN 9: INTERNAL, logged, and nothing runs."""
    limited = Limited(limiter()[0], cost=lambda ctx: cost)

    async with connected(limited.router) as client:
        await client.call("ASK", {}, id="1")
        assert await client.heard() == [internal("1")]
    sentence = f"the cost of ASK is a whole number of tokens, 0 or more, not {cost!r}"
    assert [str(bug) for bug in limited.bugs] == [sentence]
    assert [record.name for record in caplog.records if record.levelno >= logging.ERROR] == [
        "wskit_channels.dispatch"
    ]
    assert limited.handled == []


async def test_a_cost_function_sees_the_message_and_0_is_free() -> None:
    prices = {"ASK": 2, "ASK_MORE": 0}
    limited = Limited(limiter(capacity=2)[0], key=per_user, cost=lambda ctx: prices[ctx.type])

    async with connected(limited.router) as client:
        assert await limited.outcomes(client, "ASK", "ASK_MORE", "ASK", "ASK_MORE") == [
            "ANSWER",
            "ANSWER",
            "RESOURCE_EXHAUSTED",
            "ANSWER",
        ]


@pytest.mark.parametrize("cost", [-1, 1.0, True, "1"])
def test_a_fixed_cost_is_judged_when_it_is_written(cost: Any) -> None:
    with pytest.raises(ValueError, match="whole number of tokens"):
        rate_limit(limiter()[0], cost=cost)


def test_key_and_cost_are_plain_functions() -> None:
    async def late(ctx: Any) -> Any: ...

    with pytest.raises(TypeError, match="late is a coroutine function"):
        rate_limit(limiter()[0], key=late)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(TypeError, match="late is a coroutine function"):
        rate_limit(limiter()[0], cost=late)


def test_a_misspelt_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="on_failure is 'allow' or 'deny', not 'refuse'"):
        rate_limit(limiter()[0], on_failure="refuse")  # type: ignore[arg-type]  # likewise


# -- who shares a bucket


@pytest.mark.parametrize(
    ("key", "one", "other", "shared"),
    [
        (None, {"user": user(1)}, {"user": user(1)}, True),
        (None, {"user": user(1)}, {"user": user(2)}, False),
        (None, {}, {}, True),
        (None, {}, {"address": "192.0.2.2"}, False),
        (None, {"address": None}, {"address": None}, False),
        (None, {"user": user("192.0.2.1")}, {}, False),
        (per_address, {"user": user(1)}, {"user": user(2)}, True),
        (per_address, {"address": "2001:db8::1"}, {"address": "2001:db8::ffff:2"}, True),
        (per_address, {"address": "2001:db8::1"}, {"address": "2001:db8:0:1::1"}, False),
        (per_address, {"address": "::ffff:192.0.2.1"}, {}, True),
    ],
)
async def test_who_shares_a_bucket(key: Any, one: Any, other: Any, shared: bool) -> None:
    """DESIGN 9: users by who they are, anonymous clients by address, never all together."""
    options = {} if key is None else {"key": key}
    limited = Limited(limiter(capacity=1)[0], **options)

    async with (
        connected(serve(limited, **one)) as first,
        connected(serve(limited, **other)) as second,
    ):
        assert await limited.outcomes(first, "ASK") == ["ANSWER"]
        found = await limited.outcomes(second, "ASK")
    assert found == (["RESOURCE_EXHAUSTED"] if shared else ["ANSWER"])


async def test_by_default_each_type_has_a_bucket_and_with_per_user_all_share_one() -> None:
    apart = Limited(limiter(capacity=1)[0])
    together = Limited(limiter(capacity=1)[0], key=per_user)

    async with connected(apart.router) as client:
        assert await apart.outcomes(client, "ASK", "ASK_MORE") == ["ANSWER", "ANSWER"]
    async with connected(together.router) as client:
        assert await together.outcomes(client, "ASK", "ASK_MORE") == [
            "ANSWER",
            "RESOURCE_EXHAUSTED",
        ]


async def test_a_limit_may_be_one_routes_own() -> None:
    router: Router[Any] = Router()
    limit = rate_limit(limiter(capacity=1)[0], key=per_user)

    @router.rpc(Ask, use=[limit])
    async def ask(ctx: RpcContext[Ask]) -> Answer:
        return Answer(text="")

    @router.rpc(AskMore)
    async def ask_more(ctx: RpcContext[AskMore]) -> Answer:
        return Answer(text="")

    async with connected(router) as client:
        for number, type_ in enumerate(["ASK", "ASK_MORE", "ASK", "ASK_MORE"]):
            await client.call(type_, {}, id=str(number))
        frames = {one["meta"]["correlationId"]: one["type"] for one in await client.received(4)}
    assert frames == {"0": "ANSWER", "1": "ANSWER", "2": "RPC_ERROR", "3": "ANSWER"}


# -- reports


async def test_a_flood_is_reported_once_until_something_is_let_through() -> None:
    """By connection and key: a hook must not become an amplifier."""
    bucket, now = limiter(capacity=1)
    limited = Limited(bucket)

    async with connected(limited.router) as client, connected(limited.router) as other:
        await limited.outcomes(client, *["ASK"] * 5)
        await limited.outcomes(other, *["ASK"] * 2)
        assert [
            (one.type, one.observed, one.limit, one.retry_after) for one in limited.reports
        ] == [
            ("rate", 1, 0, 1.0),
            ("rate", 1, 0, 1.0),
        ]
        assert len({one.client_id for one in limited.reports}) == 2
        now.seconds = 1.0
        assert await limited.outcomes(client, "ASK", "ASK") == ["ANSWER", "RESOURCE_EXHAUSTED"]
    assert len(limited.reports) == 3


# -- a limiter that fails


class Broken:
    async def consume(self, key: str, cost: int) -> Decision:
        raise ConnectionError("no server")


Warned = Callable[[], list[str]]


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Warned:
    """The lines that were logged about rate limiters."""
    return lambda: [
        record.getMessage()
        for record in caplog.records
        if record.name == "wskit_channels.ratelimit"
    ]


def test_where_the_limiter_fails_messages_pass_and_one_line_a_minute_says_so(
    warned: Warned,
) -> None:
    limited = Limited(Broken())
    line = "a rate limiter fails, messages pass: limiter=Broken error=ConnectionError"

    async def main() -> None:
        async with connected(limited.router) as client:
            assert await limited.outcomes(client, *["ASK"] * 3) == ["ANSWER"] * 3
            await clock().advance(59.0)
            await limited.outcomes(client, "ASK")
            assert warned() == [line]
            await clock().advance(1.0)
            await limited.outcomes(client, "ASK")

    run(main())
    assert warned() == [line] * 2


async def test_what_costs_nothing_does_not_need_the_limiter() -> None:
    limited = Limited(Broken(), cost=0, on_failure="deny")

    async with connected(limited.router) as client:
        assert await limited.outcomes(client, "ASK") == ["ANSWER"]


@fake_time
async def test_or_they_are_refused_where_that_is_asked_for() -> None:
    limited = Limited(Broken(), on_failure="deny")

    async with connected(limited.router) as client:
        await client.call("ASK", {}, id="1")
        assert await client.heard() == [
            failure("1", "UNAVAILABLE", "Temporarily unavailable", retryable=True)
        ]
    assert (limited.handled, limited.bugs) == ([], [])


def test_the_guide_runs() -> None:
    """docs/rate-limits.md: every limit that it shows can be made."""
    guide = Path(__file__).parents[2] / "docs" / "rate-limits.md"
    module = ModuleType("tests.guide_of_rate_limits")
    sys.modules[module.__name__] = module
    exec("".join(re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL)), vars(module))

    (route,) = module.router.routes()
    limits = ["wskit_channels.routing.ratelimit.RateLimit"] * 4
    assert (route.type, list(route.middleware)) == ("SEARCH", limits)
    assert at_once(module.Closed().consume("k", 1)) == Decision(False, 3600.0)
