"""``publish_on_commit``, of ``publish.py`` and of routers: what is rolled back is not published."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models.signals import post_save
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, override_settings
from django.test import Client as HttpClient
from django.urls import path

from example_project.chat.models import Room
from tests.shell_helpers import (
    Number,
    RemoteLayer,
    Said,
    disconnect,
    in_room,
    layer_in_use,
    numbers,
    other_tasks,
    rooms,
    until,
)
from wskit_channels import Message, Topic
from wskit_channels.publish import publish, publish_on_commit

pytestmark = pytest.mark.django_db(transaction=True)

OTHER = Number(value=99)


class Failure(Exception):
    pass


class Anything(Message, type="ANYTHING"):
    value: Any


class RoomTopic(Topic[Number], pattern="room:{number}"):
    number: int


ROUTER = rooms()


def on_commit(value: int, **options: Any) -> None:
    publish_on_commit("room:1", Number(value=value), **options)


def by_router(value: int, **options: Any) -> None:
    ROUTER.publish_on_commit("room:1", Number(value=value), **options)


def rolled_back(work: Callable[[], Any]) -> None:
    """Do something in a transaction, or a savepoint, that fails."""

    @transaction.atomic
    def failing() -> None:
        work()
        raise Failure

    with pytest.raises(Failure):
        failing()


async def published(work: Any) -> list[int]:
    """The numbers that ``work``, done in a thread as sync views are, has published."""
    client = await in_room(ROUTER.as_asgi(), "room:1")
    await sync_to_async(work)()
    await sync_to_async(lambda: publish("room:1", OTHER))()
    found: list[int] = []
    while (number := (await numbers(client, 1))[0]) != OTHER.value:
        found.append(number)
    await client.disconnect()
    return found


@pytest.mark.parametrize("later", [on_commit, by_router])
async def test_it_is_published_on_commit_and_no_earlier(later: Any) -> None:
    """DESIGN 7: it waits for ``transaction.on_commit``; in the order of the calls."""

    def work() -> None:
        with transaction.atomic():
            later(1)
            later(2)
            publish("room:1", Number(value=0))

    assert await published(work) == [0, 1, 2]


@pytest.mark.parametrize("later", [on_commit, by_router])
async def test_a_rollback_publishes_nothing(later: Any) -> None:
    def work() -> None:
        rolled_back(lambda: later(1))

    assert await published(work) == []


async def test_a_savepoint_that_is_rolled_back_takes_its_own_with_it() -> None:
    def work() -> None:
        with transaction.atomic():
            on_commit(1)
            rolled_back(lambda: on_commit(2))
            with transaction.atomic():
                on_commit(3)
            on_commit(4)

    assert await published(work) == [1, 3, 4]


@pytest.mark.parametrize("later", [on_commit, by_router])
async def test_outside_a_transaction_it_is_published_at_once(later: Any) -> None:
    def work() -> None:
        later(1)
        publish("room:1", Number(value=2))

    assert await published(work) == [1, 2]


@pytest.mark.parametrize("later", [on_commit, by_router])
async def test_the_database_may_be_named(later: Any) -> None:
    def work() -> None:
        with transaction.atomic(using=DEFAULT_DB_ALIAS):
            later(1, using=DEFAULT_DB_ALIAS)
            publish("room:1", Number(value=0))

    assert await published(work) == [0, 1]


@pytest.mark.parametrize("later", [on_commit, by_router])
def test_a_database_that_is_not_there_is_a_programmers_error(later: Any) -> None:
    with pytest.raises(Exception, match="nowhere"):
        later(1, using="nowhere")


async def test_the_routers_own_values_are_used() -> None:
    """DESIGN 2: ``router.publish_on_commit`` is the same with the router's values."""
    chat = rooms(namespace="chat")
    chat.normalize_topic(str.lower)
    seen: list[Any] = []
    chat.on_publish(lambda message, topic: seen.append((message.value, topic)))
    client = await in_room(chat.as_asgi(), "room:1")

    def work() -> None:
        with transaction.atomic():
            chat.publish_on_commit("ROOM:1", Number(value=1), meta={"trace": "a"})
            publish_on_commit("room:1", Number(value=2), namespace="chat", meta={"trace": "b"})
            publish_on_commit("room:1", Number(value=3))

    await sync_to_async(work)()
    frames = [await client.frame() for _ in range(2)]
    assert [(one["payload"]["value"], one["meta"]["trace"]) for one in frames] == [
        (1, "a"),
        (2, "b"),
    ]
    await client.disconnect()
    assert seen == [(1, "room:1")]


async def test_the_layer_may_be_named() -> None:
    elsewhere = RemoteLayer()
    with layer_in_use(elsewhere, "elsewhere"):

        def work() -> None:
            with transaction.atomic():
                on_commit(1, channel_layer="elsewhere")
                assert elsewhere.calls == []

        assert await published(work) == []
        assert [call[0] for call in elsewhere.calls] == ["group_send"]


# -- what fails


async def test_a_failure_harms_neither_the_commit_nor_what_comes_after(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Robust: the transaction is committed already."""
    after: list[str] = []
    wrong: Any = Said()

    def work() -> None:
        with transaction.atomic():
            Room.objects.create(name="kept", slug="kept")
            publish_on_commit("with space", Number(value=1))
            publish_on_commit("room:1", Anything(value=object()))
            publish_on_commit(RoomTopic(number=1), wrong)
            ROUTER.publish_on_commit("with space", Number(value=1))
            on_commit(2)
            transaction.on_commit(lambda: after.append("ran"))

    with caplog.at_level(logging.WARNING, "wskit_channels.publish"):
        assert await published(work) == [2]
    assert caplog.messages.count("a publish on commit failed: VALIDATION") == 4
    assert after == ["ran"]
    assert await Room.objects.filter(slug="kept").aexists()


async def test_a_layer_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    layer = RemoteLayer()
    layer.break_down("group_send")

    def work() -> None:
        with transaction.atomic():
            Room.objects.create(name="kept", slug="kept")
            on_commit(1)

    with layer_in_use(layer), caplog.at_level(logging.WARNING, "wskit_channels.publish"):
        await sync_to_async(work)()
    assert "a publish on commit failed: ADAPTER_ERROR" in caplog.messages
    assert await Room.objects.filter(slug="kept").aexists()


async def test_nothing_is_looked_at_before_the_commit(caplog: pytest.LogCaptureFixture) -> None:
    """Nor is a bug in what is rolled back worth a word."""

    def work() -> None:
        rolled_back(lambda: publish_on_commit("with space", Anything(value=object())))

    with caplog.at_level(logging.WARNING, "wskit_channels"):
        assert await published(work) == []
    assert caplog.messages == []


# -- from wherever


@contextmanager
def announcing_rooms() -> Iterator[None]:
    """Every room that is saved is published, as an application's signal receiver would."""

    def announce(instance: Room, **_: Any) -> None:
        ROUTER.publish_on_commit(RoomTopic(number=1), Number(value=int(instance.name)))

    post_save.connect(announce, sender=Room)
    try:
        yield
    finally:
        post_save.disconnect(announce, sender=Room)


async def test_from_a_signal_receiver() -> None:
    def work() -> None:
        with announcing_rooms():
            Room.objects.create(name="1", slug="a")  # autocommit
            rolled_back(lambda: Room.objects.create(name="2", slug="b"))
            with transaction.atomic():
                Room.objects.create(name="3", slug="c")
                publish("room:1", Number(value=0))

    assert await published(work) == [1, 0, 3]


async def test_from_a_signal_receiver_below_async_code() -> None:
    client = await in_room(ROUTER.as_asgi(), "room:1")
    with announcing_rooms():
        await Room.objects.acreate(name="1", slug="a")
        await Room.objects.aupdate_or_create(slug="b", defaults={"name": "2"})
    assert await numbers(client, 2) == [1, 2]
    await client.disconnect()


@transaction.atomic
def saving_view(request: HttpRequest) -> HttpResponse:
    Room.objects.create(name="view", slug="view")
    on_commit(1)
    by_router(2)
    publish("room:1", Number(value=0))
    if "fail" in request.GET:
        raise Failure
    return HttpResponse("saved")


async def async_view(request: HttpRequest) -> HttpResponse:
    on_commit(1)
    by_router(2)
    return HttpResponse("done")


urlpatterns = [path("sync/", saving_view), path("async/", async_view)]


@override_settings(ROOT_URLCONF=__name__)
async def test_from_a_sync_view() -> None:
    def work() -> None:
        assert HttpClient().post("/sync/").content == b"saved"

    assert await published(work) == [0, 1, 2]


@override_settings(ROOT_URLCONF=__name__)
async def test_from_a_sync_view_that_fails() -> None:
    def work() -> None:
        assert HttpClient(raise_request_exception=False).post("/sync/?fail").status_code == 500

    assert await published(work) == [0]


@override_settings(ROOT_URLCONF=__name__)
async def test_from_an_async_view() -> None:
    """Which has no transaction, so that it is published at once."""
    client = await in_room(ROUTER.as_asgi(), "room:1")

    assert (await AsyncClient().get("/async/")).content == b"done"

    assert await numbers(client, 2) == [1, 2]
    await client.disconnect()


@override_settings(ROOT_URLCONF=__name__)
async def test_from_a_sync_view_of_an_asgi_server() -> None:
    client = await in_room(ROUTER.as_asgi(), "room:1")

    assert (await AsyncClient().post("/sync/")).content == b"saved"

    assert await numbers(client, 3) == [0, 1, 2]
    await client.disconnect()


async def test_all_who_are_subscribed_get_it() -> None:
    clients = [await in_room(ROUTER.as_asgi(), "room:1") for _ in range(3)]

    await sync_to_async(transaction.atomic(on_commit))(7)

    assert [await numbers(client, 1) for client in clients] == [[7], [7], [7]]
    await disconnect(*clients)
    await until(lambda: not other_tasks())


def test_without_any_loop() -> None:
    """In a process that serves no sockets: a command."""
    layer = RemoteLayer()
    with layer_in_use(layer):
        with transaction.atomic():
            on_commit(1)
            assert layer.calls == []
        assert [call[0] for call in layer.calls] == ["group_send"]
