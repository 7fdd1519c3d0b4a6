"""``routing/topics.py``: the way that every operation on topics goes (DESIGN 7)."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from tests.helpers import connected, settle, soon
from tests.routing.messages import Said, Third
from tests.shell_helpers import RemoteLayer, layer_in_use
from wskit_channels import (
    ConnectionContext,
    Context,
    Limits,
    PubSubError,
    Router,
    Topic,
    Topics,
    TopicsChange,
)
from wskit_channels.protocol.limits import DEFAULTS
from wskit_channels.routing.peer import Peer


class RoomTopic(Topic[Said], pattern="room:{room_id}"):
    room_id: str


class Bench:
    """
    The topics of a connection whose transport notes what it is asked, and fails on demand.

    ``steps`` is all that happened, hooks included: "authorize subscribe a", "+a" and "-a"
    of the transport, "joined a" and "left a" of the hooks, "lower A" of the normaliser.
    """

    def __init__(self, *, policy: bool = True, **limits: Any) -> None:
        self.steps: list[str] = []
        self.failing: set[str] = set()
        self.gates: dict[str, asyncio.Event] = defaultdict(_open_gate)
        self.denied: set[str] = set()
        self.router: Router[Any] = Router(limits=Limits(**limits))
        if policy:
            self._add_policy(self.router)
        self.peer = Peer(
            self.router.freeze(),
            cast(Any, self),
            cast(Any, None),
            cast(Any, None),
            limits=self.router.limits.resolved(DEFAULTS),
            client_id="me",
            data=None,
            debug=False,
        )
        self.topics: Topics = self.peer.topics

    def _add_policy(self, router: Router[Any]) -> None:
        @router.normalize_topic
        def lower(topic: str) -> str:
            return topic.lower()

        @router.authorize_topic
        async def authorize(action: str, topic: str, ctx: ConnectionContext[Any]) -> bool:
            self.steps.append(f"authorize {action} {topic}")
            await self.gates[f"authorize {topic}"].wait()
            return f"{action} {topic}" not in self.denied

        @router.on_subscribe
        async def joined(topic: str, ctx: ConnectionContext[Any]) -> None:
            self.steps.append(f"joined {topic}")
            await self.gates[f"joined {topic}"].wait()

        @router.on_unsubscribe
        async def left(topic: str, ctx: ConnectionContext[Any]) -> None:
            self.steps.append(f"left {topic}")

    async def subscribe(self, topic: str) -> None:
        await self._do(f"+{topic}")

    async def unsubscribe(self, topic: str) -> None:
        await self._do(f"-{topic}")

    async def _do(self, step: str) -> None:
        self.steps.append(step)
        await self.gates[step].wait()
        if step in self.failing:
            raise PubSubError("ADAPTER_ERROR", "The channel layer failed")

    async def run_sync(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    def shut(self, step: str) -> asyncio.Event:
        gate = self.gates[step] = asyncio.Event()
        return gate

    def taken(self) -> list[str]:
        """The steps since this was asked last."""
        steps, self.steps = self.steps, []
        return steps

    def asked(self) -> list[str]:
        """What the transport was asked since this or ``taken`` was asked last."""
        return [step for step in self.taken() if step[0] in "+-"]


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


async def bench(*topics: str, **options: Any) -> Bench:
    """A bench that is subscribed to these."""
    made = Bench(**options)
    await made.topics.subscribe_many(topics)
    made.taken()
    return made


async def refused(work: Awaitable[Any]) -> tuple[str, dict[str, Any]]:
    with pytest.raises(PubSubError) as caught:
        await work
    return caught.value.code, dict(caught.value.details or {})


# -- the order


async def test_subscribing_goes_the_canonical_way() -> None:
    it = await bench()
    await it.topics.subscribe("A")
    assert it.taken() == ["authorize subscribe a", "+a", "joined a"]
    assert list(it.topics) == ["a"]


async def test_unsubscribing_goes_the_canonical_way() -> None:
    it = await bench("a")
    await it.topics.unsubscribe("A")
    assert it.taken() == ["authorize unsubscribe a", "-a", "left a"]
    assert list(it.topics) == []


NO_CHANGES: dict[str, Callable[[Topics], Awaitable[Any]]] = {
    "subscribe": lambda topics: topics.subscribe("A"),
    "unsubscribe": lambda topics: topics.unsubscribe("never"),
    "unsubscribe an invalid name": lambda topics: topics.unsubscribe("not valid"),
    "subscribe_many": lambda topics: topics.subscribe_many(["a", "b", "A"]),
    "subscribe to none": lambda topics: topics.subscribe_many([]),
    "unsubscribe_many": lambda topics: topics.unsubscribe_many(["x", "not valid"]),
    "set": lambda topics: topics.set(["B", "a"]),
    "update": lambda topics: topics.update(lambda draft: draft.add("A")),
    "update nothing": lambda topics: topics.update(lambda draft: None),
}


@pytest.mark.parametrize("name", NO_CHANGES)
async def test_a_no_op_has_no_side_effect_at_all(name: str) -> None:
    """No validation, no authorisation, no layer call, no hook; not even when closed or full."""
    it = await bench("a", "b", max_topics_per_connection=2)
    it.denied |= {"subscribe a", "subscribe b", "unsubscribe never"}
    for it.peer.closed in (False, True):
        change = await NO_CHANGES[name](it.topics)
        assert change in (None, TopicsChange((), (), 2))
    assert it.taken() == []
    assert list(it.topics) == ["a", "b"]


async def test_clearing_nothing_is_a_no_op() -> None:
    it = await bench()
    assert await it.topics.clear() == TopicsChange()
    assert it.taken() == []


async def test_what_is_invalid_is_not_authorised() -> None:
    it = await bench()
    assert await refused(it.topics.subscribe("not valid")) == (
        "INVALID_TOPIC",
        {"reason": "pattern"},
    )
    assert it.taken() == []


async def test_the_normalised_name_is_validated() -> None:
    """PROTOCOL 6: pattern and length are judged after the normalise hook."""
    it = await bench(topic_pattern="[a-z]+")
    await it.topics.subscribe("ABC")
    assert list(it.topics) == ["abc"]


async def test_what_is_not_allowed_is_not_counted() -> None:
    """Authorise, then the limit: who may not is not told how full it is."""
    it = await bench("a", max_topics_per_connection=1)
    it.denied.add("subscribe b")
    assert await refused(it.topics.subscribe("b")) == ("ACL_SUBSCRIBE", {"topic": "b"})
    assert await refused(it.topics.subscribe("c")) == (
        "TOPIC_LIMIT_EXCEEDED",
        {"limit": 1, "current": 1, "requested": 1},
    )
    assert it.taken() == ["authorize subscribe b", "authorize subscribe c"]


async def test_leaving_may_be_forbidden() -> None:
    it = await bench("a")
    it.denied.add("unsubscribe a")
    assert await refused(it.topics.unsubscribe("a")) == ("ACL_UNSUBSCRIBE", {"topic": "a"})
    assert await refused(it.topics.clear()) == ("ACL_UNSUBSCRIBE", {"topic": "a"})
    assert (it.asked(), list(it.topics)) == ([], ["a"])


async def test_a_transport_that_fails_changes_nothing_and_tells_no_hook() -> None:
    it = await bench("a")
    it.failing |= {"+b", "-a"}
    assert await refused(it.topics.subscribe("b")) == ("ADAPTER_ERROR", {})
    assert await refused(it.topics.unsubscribe("a")) == ("ADAPTER_ERROR", {})
    assert it.taken() == ["authorize subscribe b", "+b", "authorize unsubscribe a", "-a"]
    assert list(it.topics) == ["a"]
    it.failing.clear()
    await it.topics.subscribe("b")
    assert list(it.topics) == ["a", "b"]


async def test_a_closed_connection_refuses_every_change() -> None:
    it = await bench("a")
    it.peer.closed = True
    for work in (it.topics.subscribe("b"), it.topics.unsubscribe("a"), it.topics.clear()):
        assert (await refused(work))[0] == "CONNECTION_CLOSED"
    assert it.taken() == []


# -- several


async def test_a_batch_says_what_changed() -> None:
    it = await bench("a")
    assert await it.topics.subscribe_many(["B", "a", "c", "b"]) == TopicsChange(("b", "c"), (), 3)
    assert it.asked() == ["+b", "+c"]
    assert await it.topics.unsubscribe_many(["c", "x", "A"]) == TopicsChange((), ("c", "a"), 1)
    assert it.asked() == ["-c", "-a"]


async def test_typed_topics_stand_for_their_names() -> None:
    it = await bench()
    one, two = RoomTopic(room_id="1"), RoomTopic(room_id="2")
    await it.topics.subscribe(one)
    await it.topics.subscribe_many([two, "room:1"])
    assert list(it.topics) == ["room:1", "room:2"]
    assert (cast(Any, one) in it.topics, it.topics.status(two)) == (True, "subscribed")
    await it.topics.unsubscribe(one)
    assert await it.topics.set([one]) == TopicsChange(("room:1",), ("room:2",), 1)
    await it.topics.unsubscribe_many([one])
    assert (await refused(it.topics.subscribe(RoomTopic(room_id=""))))[0] == "INVALID_TOPIC"


async def test_set_unsubscribes_before_it_subscribes() -> None:
    it = await bench("a", "b", max_topics_per_connection=2)
    assert await it.topics.set(["b", "c"]) == TopicsChange(("c",), ("a",), 2)
    assert it.taken() == [
        "authorize unsubscribe a",
        "authorize subscribe c",
        "-a",
        "+c",
        "left a",
        "joined c",
    ]
    assert list(it.topics) == ["b", "c"]


async def test_the_limit_is_judged_on_the_resulting_size() -> None:
    it = await bench("a", "b", max_topics_per_connection=2)
    assert (await it.topics.set(["c", "d"])).total == 2
    assert await refused(it.topics.set(["c", "e", "f"])) == (
        "TOPIC_LIMIT_EXCEEDED",
        {"limit": 2, "current": 2, "requested": 2},
    )
    assert list(it.topics) == ["c", "d"]


async def test_update_changes_a_draft() -> None:
    it = await bench("a", "b")

    def change(draft: Any) -> None:
        assert draft == {"a", "b"}
        draft.discard("a")
        draft |= {"D", "c"}
        draft.discard("never")

    assert await it.topics.update(change) == TopicsChange(("d", "c"), ("a",), 3)
    assert list(it.topics) == ["b", "d", "c"]


async def test_an_update_that_raises_changes_nothing() -> None:
    it = await bench("a")

    def change(draft: Any) -> None:
        draft.clear()
        raise KeyError

    with pytest.raises(KeyError):
        await it.topics.update(change)
    assert (it.taken(), list(it.topics)) == ([], ["a"])


async def test_update_leaves_alone_what_others_subscribe_to_meanwhile() -> None:
    it = await bench("a")
    gate = it.shut("+b")
    other = asyncio.create_task(it.topics.subscribe("b"))
    await settle()
    await it.topics.update(lambda draft: draft.discard("a"))
    gate.set()
    await soon(other)
    assert list(it.topics) == ["b"]


async def test_clear_leaves_all() -> None:
    it = await bench("a", "b")
    assert await it.topics.clear() == TopicsChange((), ("a", "b"), 0)
    assert it.asked() == ["-a", "-b"]


async def test_names_are_normalised_once() -> None:
    """A hook that adds something each time, as a tenant's prefix, still names one topic."""
    it = Bench(policy=False)
    it.peer.table.policy.normalize.extend(_prefixing().policy.normalize)
    await it.topics.subscribe("a")
    assert await it.topics.set(["a", "b"]) == TopicsChange(("tenant/b",), (), 2)
    assert await it.topics.update(lambda draft: draft.add("c")) == TopicsChange(
        ("tenant/c",), (), 3
    )
    await it.topics.update(lambda draft: draft.discard("tenant/c"))
    assert list(it.topics) == ["tenant/a", "tenant/b"]
    assert (await it.topics.clear()).total == 0


def _prefixing() -> Router[Any]:
    router = Router()
    router.normalize_topic(lambda topic: f"tenant/{topic}")
    return router


@pytest.mark.parametrize(
    ("problem", "code"),
    [("not valid", "INVALID_TOPIC"), ("denied", "ACL_SUBSCRIBE"), ("full", "TOPIC_LIMIT_EXCEEDED")],
)
async def test_one_that_is_refused_refuses_the_batch(problem: str, code: str) -> None:
    it = await bench("z", max_topics_per_connection=4)
    it.denied.add("subscribe denied")
    more = ["d", "e"] if problem == "full" else []
    assert (await refused(it.topics.subscribe_many(["a", problem, "b", *more])))[0] == code
    assert (await refused(it.topics.set(["a", problem, "b", "c", *more])))[0] == code
    assert (it.asked(), list(it.topics)) == ([], ["z"])


async def test_a_batch_that_fails_is_rolled_back_in_reverse() -> None:
    it = await bench("x", "y")
    it.failing.add("+c")
    assert await refused(it.topics.set(["a", "b", "c", "d"])) == (
        "ADAPTER_ERROR",
        {"rollback_failed": False, "failed_rollback_topics": []},
    )
    asked = [step for step in it.steps if not step.startswith("authorize")]
    assert asked == ["-x", "-y", "+a", "+b", "+c", "-b", "-a", "+y", "+x"]  # and no hook
    assert list(it.topics) == ["x", "y"]


async def test_what_cannot_be_rolled_back_is_told() -> None:
    """And it is no longer in the set, for it was left and could not be joined again."""
    it = await bench("x", "y")
    it.failing |= {"+b", "+x", "-a"}
    assert await refused(it.topics.set(["a", "b"])) == (
        "ADAPTER_ERROR",
        {"rollback_failed": True, "failed_rollback_topics": ["a", "x"]},
    )
    assert it.asked() == ["-x", "-y", "+a", "+b", "-a", "+y", "+x"]
    assert list(it.topics) == ["y"]


async def test_a_cancelled_batch_is_rolled_back() -> None:
    it = await bench("x")
    it.shut("+b")
    work = asyncio.create_task(it.topics.set(["a", "b"]))
    await settle()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert it.asked() == ["-x", "+a", "+b", "-a", "+x"]
    assert list(it.topics) == ["x"]
    assert [it.topics.status(name) for name in "abx"] == ["absent", "absent", "subscribed"]


async def test_a_close_in_the_middle_of_a_batch_leaves_nothing_joined() -> None:
    it = await bench("x")
    gate = it.shut("+b")
    work = asyncio.create_task(it.topics.set(["a", "b"]))
    await settle()
    it.peer.closed = True
    gate.set()
    assert (await refused(work))[0] == "CONNECTION_CLOSED"
    assert it.asked() == ["-x", "+a", "+b", "-b", "-a"]


@pytest.mark.parametrize("name", ["subscribe_many", "unsubscribe_many", "set"])
@pytest.mark.parametrize("topics", ["room:1", RoomTopic(room_id="1")], ids=["name", "typed"])
async def test_one_topic_is_not_several(name: str, topics: Any) -> None:
    """A string is a sequence of strings to type checkers: of topics called r, o and m."""
    it = await bench("r")
    with pytest.raises(TypeError, match="takes several topics"):
        await getattr(it.topics, name)(topics)
    assert (it.taken(), list(it.topics)) == ([], ["r"])


# -- at the same time


async def test_operations_on_one_topic_take_turns() -> None:
    it = await bench()
    gate = it.shut("+a")
    works = [
        asyncio.create_task(it.topics.subscribe("a")),
        asyncio.create_task(it.topics.unsubscribe("a")),
        asyncio.create_task(it.topics.subscribe("a")),
        asyncio.create_task(it.topics.subscribe("a")),
    ]
    await settle()
    assert it.asked() == ["+a"]
    gate.set()
    await soon(asyncio.gather(*works))
    assert it.asked() == ["-a", "+a"]
    assert list(it.topics) == ["a"]


async def test_who_waited_is_judged_by_what_it_finds() -> None:
    """The idempotency check comes after the wait."""
    it = await bench()
    gate = it.shut("+a")
    it.failing.add("+a")
    works = [asyncio.create_task(it.topics.subscribe("a")) for _ in range(2)]
    await settle()
    gate.set()
    found = await asyncio.gather(*works, return_exceptions=True)
    assert [type(one) for one in found] == [PubSubError, PubSubError]
    assert it.asked() == ["+a", "+a"]


async def test_operations_on_different_topics_do_not_wait() -> None:
    it = await bench()
    gate = it.shut("+a")
    slow = asyncio.create_task(it.topics.subscribe("a"))
    await settle()
    await soon(it.topics.subscribe("b"))
    assert list(it.topics) == ["b"]
    gate.set()
    await soon(slow)
    assert list(it.topics) == ["b", "a"]


async def test_batches_that_meet_crosswise_do_not_wait_for_each_other_for_ever() -> None:
    it = await bench()
    gate = it.shut("+m")
    works = [
        asyncio.create_task(it.topics.subscribe("m")),
        asyncio.create_task(it.topics.subscribe_many(["a", "m", "z"])),
        asyncio.create_task(it.topics.unsubscribe_many(["z", "m", "a"])),
    ]
    await settle()
    gate.set()
    await soon(asyncio.gather(*works))
    assert list(it.topics) == []


async def test_subscribing_at_the_same_time_does_not_pass_the_limit() -> None:
    it = await bench(max_topics_per_connection=2)
    for name in "abc":
        it.shut(f"+{name}")
    works = [asyncio.create_task(it.topics.subscribe(name)) for name in "abc"]
    await settle()
    assert it.asked() == ["+a", "+b"]
    for gate in it.gates.values():
        gate.set()
    found = await asyncio.gather(*works, return_exceptions=True)
    assert [getattr(one, "code", None) for one in found] == [None, None, "TOPIC_LIMIT_EXCEEDED"]


async def test_a_topic_whose_hook_still_runs_is_counted_once() -> None:
    it = await bench(max_topics_per_connection=2)
    gate = it.shut("joined a")
    first = asyncio.create_task(it.topics.subscribe("a"))
    await settle()
    assert it.topics.status("a") == "subscribed"
    await it.topics.subscribe("b")
    gate.set()
    await soon(first)
    assert list(it.topics) == ["a", "b"]


async def test_set_takes_what_is_being_subscribed_to_into_account() -> None:
    it = await bench()
    gate = it.shut("+a")
    first = asyncio.create_task(it.topics.subscribe("a"))
    await settle()
    clearing = asyncio.create_task(it.topics.clear())
    await settle()
    gate.set()
    await soon(asyncio.gather(first, clearing))
    assert (it.asked(), list(it.topics)) == (["+a", "-a"], [])


async def test_status_says_where_a_topic_stands() -> None:
    it = await bench()
    seen = [it.topics.status("A")]
    for step, work in (("+a", it.topics.subscribe), ("-a", it.topics.unsubscribe)):
        gate = it.shut(step)
        task = asyncio.create_task(work("a"))
        await settle()
        seen.append(it.topics.status("A"))
        gate.set()
        await soon(task)
        seen.append(it.topics.status("A"))
    assert seen == ["absent", "subscribing", "subscribed", "unsubscribing", "absent"]


@pytest.mark.parametrize("topic", ["A", None])
async def test_settling_waits_for_what_is_in_flight(topic: str | None) -> None:
    it = await bench()
    gate = it.shut("+a")
    it.failing.add("+a")
    work = asyncio.create_task(it.topics.subscribe("a"))
    await settle()
    await soon(it.topics.settle("b"))
    waiting = asyncio.create_task(it.topics.settle(topic))
    await settle()
    assert not waiting.done()
    gate.set()
    await soon(waiting)  # and does not tell of a failure that is not its own
    assert (await refused(work))[0] == "ADAPTER_ERROR"
    await soon(it.topics.settle())


# -- with a real connection and a real hub


class OneGroupFails(RemoteLayer):
    """A layer that refuses to add a member to one group, and lets others run meanwhile."""

    refused = ""

    async def group_add(self, group: str, channel: str) -> None:
        await settle()
        if self.refused and group.endswith(self.refused):
            self.failing.add("group_add")
        try:
            await super().group_add(group, channel)
        finally:
            self.failing.clear()


async def test_a_batch_that_the_layer_refuses_leaves_the_groups_as_they_were() -> None:
    layer = OneGroupFails()
    found: list[Any] = []
    router = Router()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        await ctx.topics.subscribe_many(["x", "y"])
        before = layer.members().keys()
        layer.refused = "__c"
        found.append(await refused(ctx.topics.set(["a", "b", "c"])))
        await settle()
        found.append((list(ctx.topics), layer.members().keys() == before))
        results = [await router.apublish(name, Said(text=name)) for name in "xyabc"]
        found.append([(result.details or {}).get("matched_local") for result in results])

    with layer_in_use(layer):
        async with connected(router) as client:
            await client.send("THIRD")
            assert [(await client.receive())["payload"]["text"] for _ in "xy"] == ["x", "y"]
            await settle()
        await settle()
    assert found == [
        ("ADAPTER_ERROR", {"rollback_failed": False, "failed_rollback_topics": []}),
        (["x", "y"], True),
        [1, 1, 0, 0, 0],
    ]
    assert layer.members() == {}


@pytest.mark.parametrize("operation", ["subscribe", "subscribe_many", "set"])
async def test_a_disconnect_half_way_leaves_nothing_behind(operation: str) -> None:
    """Also when the close comes in the middle of a subscribe."""
    layer, router = RemoteLayer(), Router()
    layer.gates["group_add"] = asyncio.Event()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        wanted: Any = "a" if operation == "subscribe" else ["a", "b"]
        await getattr(ctx.topics, operation)(wanted)

    with layer_in_use(layer):
        async with connected(router) as client:
            await client.send("THIRD")
            await settle()
            assert len(layer.members()) == 1
            await client.disconnect()
            await client.ended()
        layer.gates.clear()
        await settle()
        result = await router.apublish("a", Said(text="x"))
    assert result.details == {"matched_local": 0}
    assert layer.members() == {}


async def test_a_handler_that_goes_on_after_the_close_subscribes_to_nothing() -> None:
    router = Router()
    codes: list[str] = []

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            codes.append((await refused(ctx.topics.subscribe("a")))[0])

    async with connected(router) as client:
        await client.send("THIRD")
        await settle()
    assert codes == ["CONNECTION_CLOSED"]
    assert (await router.apublish("a", Said(text="x"))).matched == 0


async def test_a_plain_handler_has_typed_topics_too() -> None:
    router = Router()
    seen: list[Any] = []

    @router.on(Third)
    def handle(ctx: Context[Third]) -> None:
        ctx.sync.subscribe(RoomTopic(room_id="1"))
        seen.append(list(ctx.topics))
        ctx.sync.publish(RoomTopic(room_id="1"), Said(text="x"))
        ctx.sync.unsubscribe(RoomTopic(room_id="1"))
        seen.append(list(ctx.topics))
        ctx.send(Said(text="done"))

    async with connected(router) as client:
        await client.send("THIRD")
        assert [one["payload"]["text"] for one in await client.received(2)] == ["x", "done"]
    assert seen == [["room:1"], []]
