"""``routing/policy.py``: an application's rules for its topics (DESIGN 7)."""

import asyncio
import logging
import threading
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from tests.helpers import connected, settle, soon
from tests.routing.messages import Note, Said, Third
from wskit_channels import (
    CloseContext,
    ConnectionContext,
    Context,
    PublishResult,
    PubSubError,
    Router,
    RouterFrozen,
    Topic,
    WsKitError,
)


class RoomTopic(Topic[Said | Note], pattern="room:{number}"):
    number: int


class UserTopic(Topic[Said], pattern="user:{name}"):
    name: str


def acting(router: Router[Any], act: Any) -> list[Any]:
    """Have THIRD run ``act``; the list that will hold what it returned."""
    found: list[Any] = []

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        found.append(await act(ctx))

    return found


async def outcome(router: Router[Any], act: Any) -> Any:
    """What ``act`` returns in a handler; frames are not looked at."""
    found = acting(router, act)
    async with connected(router) as client:
        await client.send("THIRD")
        await settle()
        frames = await client.heard()
    assert len(found) == 1, frames
    return found[0]


async def code_of(work: Any) -> str | None:
    try:
        await work
    except PubSubError as error:
        return error.code
    return None


async def all_three(ctx: ConnectionContext[Any], topic: Any = "room:1") -> list[Any]:
    """How subscribing, publishing and unsubscribing end."""
    return [
        await code_of(ctx.topics.subscribe(topic)),
        (await ctx.publish(topic, Said(text="x"), exclude_self=True)).error,
        await code_of(ctx.topics.unsubscribe(topic)),
    ]


async def test_without_a_policy_all_that_is_valid_is_allowed() -> None:
    assert await outcome(Router(), all_three) == [None, None, None]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("action", "codes"),
    [
        ("subscribe", ["ACL_SUBSCRIBE", None, None]),
        ("publish", [None, "ACL_PUBLISH", None]),
        ("unsubscribe", [None, None, "ACL_UNSUBSCRIBE"]),
    ],
)
async def test_each_action_is_authorised(action: str, codes: list[Any], plain: bool) -> None:
    router = Router()
    asked: list[tuple[str, str]] = []

    def authorize(this: str, topic: str, ctx: ConnectionContext[Any]) -> bool:
        asked.append((this, topic))
        assert ctx.client_id
        return this != action

    async def authorize_async(this: str, topic: str, ctx: ConnectionContext[Any]) -> bool:
        return authorize(this, topic, ctx)

    router.authorize_topic(authorize if plain else authorize_async)
    found = acting(router, all_three)
    router.on(Note)(_done)
    async with connected(router) as client:
        await client.send("THIRD")
        await client.send("NOTE", {"text": ""})
        assert (await client.receive())["payload"] == {"text": "done"}
    assert found == [codes]
    if action == "subscribe":  # and what was not subscribed is not asked about
        assert asked == [("subscribe", "room:1"), ("publish", "room:1")]
    else:
        actions = ["subscribe", "publish", "unsubscribe"]
        assert asked == [(this, "room:1") for this in actions]


async def _done(ctx: Context[Note]) -> None:
    ctx.send(Said(text="done"))


@pytest.mark.parametrize("answer", [None, False, 0, "", []])
async def test_only_a_true_answer_allows(answer: Any) -> None:
    router = Router()

    @router.authorize_topic
    async def forgets(action: str, topic: str, ctx: ConnectionContext[Any]) -> Any:
        return answer

    assert (await outcome(router, all_three))[:2] == ["ACL_SUBSCRIBE", "ACL_PUBLISH"]


async def test_every_hook_must_allow_and_the_first_refusal_ends_it() -> None:
    router = Router()
    asked: list[int] = []

    def hook(number: int, answer: bool) -> Any:
        async def authorize(action: str, topic: str, ctx: ConnectionContext[Any]) -> bool:
            asked.append(number)
            return answer

        return authorize

    for number, answer in ((1, True), (2, False), (3, True)):
        router.authorize_topic(hook(number, answer))

    assert await outcome(router, lambda ctx: code_of(ctx.topics.subscribe("a"))) == "ACL_SUBSCRIBE"
    assert asked == [1, 2]


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [Broken("secret"), WsKitError("NOT_FOUND")])
async def test_authorising_that_raises_fails_closed(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is joined or left, and nothing is published."""
    router = Router()
    broken: list[bool] = []

    @router.authorize_topic
    async def authorize(action: str, topic: str, ctx: ConnectionContext[Any]) -> bool:
        if broken:
            raise error
        return True

    async def act(ctx: ConnectionContext[Any]) -> Any:
        await ctx.topics.subscribe("there")
        broken.append(True)
        with pytest.raises(type(error)):
            await ctx.topics.subscribe("a")
        with pytest.raises(type(error)):
            await ctx.topics.unsubscribe("there")
        result = await ctx.publish("there", Said(text="x"))
        return list(ctx.topics), [ctx.topics.status(one) for one in ("a", "there")], result

    topics, status, result = await outcome(router, act)
    assert (topics, status) == (["there"], ["absent", "subscribed"])
    assert result == PublishResult(
        ok=False, error="ACL_PUBLISH", details={"topic": "there"}, cause=error
    )
    assert ("authorising a publish failed" in caplog.messages) == isinstance(error, Broken)


async def test_a_refusal_that_is_not_caught_answers_the_client() -> None:
    router = Router()
    router.authorize_topic(lambda action, topic, ctx: False)

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        await ctx.topics.subscribe("secret:1")

    async with connected(router) as client:
        await client.send("THIRD")
        payload = (await client.receive())["payload"]
    assert payload["code"] == "ACL_SUBSCRIBE"
    assert payload["details"] == {"topic": "secret:1"}


@pytest.mark.django_db(transaction=True)
async def test_a_plain_hook_may_use_the_orm() -> None:
    await get_user_model().objects.acreate(username="ann")
    router, threads = Router(), []

    @router.authorize_topic(UserTopic)
    def authorize(action: str, topic: UserTopic, ctx: ConnectionContext[Any]) -> bool:
        threads.append(threading.get_ident())
        assert not connection.in_atomic_block
        return get_user_model().objects.filter(username=topic.name).exists()

    found: list[str | None] = []

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        for name in ("ann", "bob"):
            found.append(await code_of(ctx.topics.subscribe(UserTopic(name=name))))
        ctx.send(Said(text="done"))

    async with connected(router) as client:
        await client.send("THIRD")
        await client.receive()
    assert found == [None, "ACL_SUBSCRIBE"]
    assert threading.get_ident() not in threads


# -- bound to a class


async def test_a_hook_bound_to_a_class_is_given_the_typed_topic_and_asked_of_no_other() -> None:
    router = Router()
    seen: list[Any] = []

    @router.authorize_topic(RoomTopic)
    async def authorize(action: str, topic: RoomTopic, ctx: ConnectionContext[Any]) -> bool:
        seen.append((action, topic))
        return topic.number != 13

    @router.on_subscribe(RoomTopic)
    async def joined(topic: RoomTopic, ctx: ConnectionContext[Any]) -> None:
        seen.append(("joined", topic, str(topic) in ctx.topics))

    @router.on_unsubscribe(RoomTopic)
    async def left(topic: RoomTopic, ctx: ConnectionContext[Any]) -> None:
        seen.append(("left", topic, str(topic) in ctx.topics))

    async def act(ctx: ConnectionContext[Any]) -> Any:
        typed = RoomTopic(number=1)
        for topic in ("room:1", typed, "room:x", "user:1", UserTopic(name="room:1")):
            await ctx.topics.subscribe(topic)
        refusals = [await code_of(ctx.topics.subscribe(one)) for one in ("room:13",)]
        await ctx.topics.unsubscribe(typed)
        return refusals

    assert await outcome(router, act) == ["ACL_SUBSCRIBE"]
    one = RoomTopic(number=1)
    assert seen == [
        ("subscribe", one),
        ("joined", one, True),
        ("subscribe", RoomTopic(number=13)),
        ("unsubscribe", one),
        ("left", one, False),
    ]


async def test_contributed_apps_bring_their_own_policy() -> None:
    rooms, users, router = Router(), Router(), Router()
    rooms.authorize_topic(RoomTopic)(lambda action, topic, ctx: topic.number == 1)
    users.authorize_topic(UserTopic)(lambda action, topic, ctx: topic.name == "me")
    router.merge(rooms)
    router.mount("users:", users)
    found: list[Any] = []

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        for topic in ("room:1", "room:2", "user:me", "user:you", "other"):
            found.append(await code_of(ctx.topics.subscribe(topic)))
        ctx.send(Said(text="done"))

    async with connected(router) as client:
        await client.send("THIRD")
        await client.receive()
    assert found == [None, "ACL_SUBSCRIBE", None, "ACL_SUBSCRIBE", None]


# -- names


async def test_names_are_normalised_by_every_hook_in_turn() -> None:
    router = Router()
    router.normalize_topic(str.strip)
    router.normalize_topic(str.lower)

    @router.normalize_topic(RoomTopic)
    def one_room(topic: RoomTopic) -> RoomTopic:
        return RoomTopic(number=topic.number % 10)

    async def act(ctx: ConnectionContext[Any]) -> Any:
        for topic in (" A ", "ROOM:13", RoomTopic(number=25), "room:x", "b"):
            await ctx.topics.subscribe(topic)
        await ctx.topics.unsubscribe(" B")
        published = await ctx.publish("Room:43 ", Said(text="x"), exclude_self=True)
        return list(ctx.topics), published.ok, ctx.topics.status(" ROOM:93")

    topics, ok, status = await outcome(router, act)
    assert topics == ["a", "room:3", "room:5", "room:x"]
    assert (ok, status) == (True, "subscribed")


async def test_publishing_reaches_the_normalised_name() -> None:
    """From a connection and from outside; the module's functions know no router."""
    router = Router()
    router.normalize_topic(str.lower)
    seen: list[str] = []
    router.on_publish(lambda message, topic: seen.append(topic))
    acting(router, lambda ctx: ctx.topics.subscribe("ROOM:1"))

    async with connected(router) as client:
        await client.send("THIRD")
        await settle()
        assert (await router.apublish("Room:1", Said(text="1"))).matched == 1
        assert router.publish("rOOM:1", Said(text="2")).matched == 1
        assert [one["payload"]["text"] for one in await client.heard()] == ["1", "2"]
    assert seen == ["room:1", "room:1"]


async def test_a_normaliser_that_raises_changes_nothing() -> None:
    router = Router()

    @router.normalize_topic
    def broken(topic: str) -> str:
        raise Broken

    async def act(ctx: ConnectionContext[Any]) -> Any:
        with pytest.raises(Broken):
            await ctx.topics.subscribe("a")
        result = await ctx.publish("a", Said(text="x"))
        return list(ctx.topics), result.error, type(result.cause)

    assert await outcome(router, act) == ([], "VALIDATION", Broken)


# -- hooks that look on


@pytest.mark.parametrize("name", ["on_subscribe", "on_unsubscribe"])
async def test_a_hook_that_raises_is_logged_and_the_next_one_runs(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    router = Router()
    ran: list[str] = []

    async def broken(topic: str, ctx: ConnectionContext[Any]) -> None:
        raise Broken("the hook is broken")

    async def next_one(topic: str, ctx: ConnectionContext[Any]) -> None:
        ran.append(topic)

    getattr(router, name)(broken)
    getattr(router, name)(next_one)

    async def act(ctx: ConnectionContext[Any]) -> Any:
        await ctx.topics.subscribe("a")
        subscribed = list(ctx.topics)
        await ctx.topics.unsubscribe("a")
        return subscribed, list(ctx.topics)

    assert await outcome(router, act) == (["a"], [])
    assert ran == ["a"]
    assert "the hook is broken" in caplog.text


async def test_a_hook_may_send_and_publish_to_those_who_are_there() -> None:
    router = Router()

    @router.on_subscribe
    async def joined(topic: str, ctx: ConnectionContext[Any]) -> None:
        await ctx.publish(topic, Said(text="I am here"))
        ctx.send(Said(text="welcome"))

    acting(router, lambda ctx: ctx.topics.subscribe("a"))
    async with connected(router) as client:
        await client.send("THIRD")
        texts = [one["payload"]["text"] for one in await client.received(2)]
    assert texts == ["I am here", "welcome"]


async def test_a_close_is_no_unsubscribing() -> None:
    """It is not authorised, and ``on_unsubscribe`` is for those who leave and stay."""
    router = Router()
    seen: list[str] = []

    @router.on_unsubscribe
    async def left(topic: str, ctx: ConnectionContext[Any]) -> None:
        seen.append(topic)

    router.authorize_topic(lambda action, topic, ctx: action != "unsubscribe")
    acting(router, lambda ctx: ctx.topics.subscribe("a"))
    router.on(Note)(_done)
    async with connected(router) as client:
        await client.send("THIRD")
        await client.send("NOTE", {"text": ""})
        await client.receive()
        assert (await router.apublish("a", Said(text="x"))).matched == 1
        await client.receive()
    assert seen == []
    assert (await router.apublish("a", Said(text="x"))).matched == 0


# -- where it is in force


async def test_the_policy_is_in_force_in_on_open_and_on_close() -> None:
    router = Router()
    found: list[Any] = []

    @router.authorize_topic
    async def authorize(action: str, topic: str, ctx: ConnectionContext[Any]) -> bool:
        return topic != "secret"

    @router.on_subscribe
    async def joined(topic: str, ctx: ConnectionContext[Any]) -> None:
        found.append(f"joined {topic}")

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        found.append(await all_three(ctx, "secret"))
        found.append(await all_three(ctx, "public"))

    @router.on_close
    async def closed(ctx: CloseContext[Any]) -> None:
        found.append((await ctx.publish("secret", Said(text="x"))).error)
        found.append((await ctx.publish("public", Said(text="x"))).error)

    async with connected(router) as client:
        await client.ping()
    assert found == [
        ["ACL_SUBSCRIBE", "ACL_PUBLISH", None],
        "joined public",
        [None, None, None],
        "ACL_PUBLISH",
        None,
    ]


async def test_publishing_from_outside_is_trusted() -> None:
    router = Router()
    router.authorize_topic(lambda action, topic, ctx: False)

    assert (await router.apublish("a", Said(text="x"))).ok
    assert router.publish("a", Said(text="x")).ok


@pytest.mark.parametrize(
    "register",
    [
        lambda router, hook: router.normalize_topic(hook),
        lambda router, hook: router.authorize_topic(hook),
        lambda router, hook: router.on_subscribe(hook),
        lambda router, hook: router.on_unsubscribe(RoomTopic)(hook),
    ],
)
def test_a_policy_that_comes_too_late_raises(register: Any) -> None:
    router = Router()
    router.freeze()
    with pytest.raises(RouterFrozen, match="comes too late"):
        register(router, lambda *args: None)


def test_registering_gives_the_function_back() -> None:
    router = Router()

    async def hook(topic: Any, ctx: ConnectionContext[Any]) -> None: ...

    assert router.on_subscribe(hook) is hook
    assert router.on_subscribe(RoomTopic)(hook) is hook


# -- what a publish is refused for


@pytest.mark.parametrize("where", ["ctx", "router", "router, plain"])
async def test_a_typed_topic_takes_its_own_messages_only(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A type error; at run time a result with VALIDATION, and nobody gets it."""
    router = Router()
    room: Any = RoomTopic(number=1)
    seen: list[Any] = []
    router.on_publish(lambda message, topic: seen.append((message, topic)))

    async def act(ctx: ConnectionContext[Any]) -> Any:
        await ctx.topics.subscribe(room)
        if where == "router, plain":
            return [router.publish(room, one) for one in (Third(), Note(text="y"))]
        publish = ctx.publish if where == "ctx" else router.apublish
        return [await publish(room, one) for one in (Third(), Note(text="y"))]

    found = acting(router, act)
    with caplog.at_level(logging.ERROR, "wskit_channels.publish"):
        async with connected(router) as client:
            await client.send("THIRD")
            assert await client.receive() == {"type": "NOTE", "payload": {"text": "y"}}
    ((refused, published),) = found
    assert (refused.ok, refused.error, refused.retryable) == (False, "VALIDATION", False)
    assert str(refused.cause) == "RoomTopic takes no Third"
    assert published.ok
    assert seen == [(Note(text="y"), "room:1")]
    assert len(caplog.records) == 1


class AnyTopic(Topic[Any], pattern="any:{name}"):
    name: str


async def test_a_typed_topic_may_take_anything() -> None:
    assert (await Router().apublish(AnyTopic(name="1"), Said(text="x"))).ok
    assert (await Router().apublish(AnyTopic(name="1"), {"a": 1})).error == "VALIDATION"


class PairTopic(Topic[Said], pattern="{a}-{b}"):
    a: str
    b: str


async def test_a_typed_topic_without_a_name_is_a_result_and_no_exception() -> None:
    """Publishing never raises at run time, hooks or no hooks."""
    router = Router()
    seen: list[Any] = []
    router.on_publish(lambda message, topic: seen.append(topic))
    pair = PairTopic(a="1-2", b="3")

    async def act(ctx: ConnectionContext[Any]) -> Any:
        return [
            await ctx.publish(pair, Said(text="x")),
            await router.apublish(pair, Said(text="x")),
            router.publish(pair, Said(text="x")),
        ]

    results = await outcome(router, act)
    assert [(one.error, one.details) for one in results] == [
        ("VALIDATION", {"reason": "ambiguous"})
    ] * 3
    assert seen == []


async def test_a_closed_connection_publishes_nothing() -> None:
    """But ``on_close`` may, with its own context."""
    router = Router()
    kept: list[ConnectionContext[Any]] = []

    @router.on_open
    async def opened(ctx: ConnectionContext[Any]) -> None:
        kept.append(ctx)

    async with connected(router) as client:
        await client.ping()
        await settle()
    result = await kept[0].publish("a", Said(text="x"))
    assert result == PublishResult(ok=False, error="CONNECTION_CLOSED")


async def test_a_hook_may_work_on_the_topic_that_it_is_told_of() -> None:
    """The operation is over when its hooks run; they wait for nothing of their own."""
    router, found = Router(), asyncio.Event()

    @router.on_subscribe
    async def leave_again(topic: str, ctx: ConnectionContext[Any]) -> None:
        await ctx.topics.unsubscribe(topic)

    @router.on(Note)
    async def note(ctx: Context[Note]) -> None:
        await ctx.topics.subscribe("room:1")
        assert list(ctx.topics) == []
        found.set()

    async with connected(router) as client:
        await client.send("NOTE", {"text": "x"})
        await soon(found.wait())
    assert found.is_set()
