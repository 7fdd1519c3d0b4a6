import asyncio
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncRequestFactory, override_settings

from tests.shell_helpers import (
    LayerFailed,
    Number,
    Pong,
    RemoteLayer,
    Said,
    in_room,
    in_thread,
    join,
    layer_in_use,
    numbers,
    other_tasks,
    rooms,
    until,
)
from wskit_channels import Limits, Message, PublishResult, PubSubError, relay
from wskit_channels.publish import apublish, publish

ROOT = Path(__file__).parents[1]
ONE = PublishResult(ok=True, capability="exact", matched=1)
NOBODY = PublishResult(ok=True, capability="exact", matched=0)


@pytest.fixture(autouse=True)
def no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow a test is, no probe meets a layer that is to fail."""
    monkeypatch.setattr(relay, "PROBE_INTERVAL", 3600.0)


class Anything(Message, type="ANYTHING"):
    value: Any


# -- from wherever


async def test_from_an_async_view() -> None:
    """DESIGN 7: publishing works from an async view."""
    client = await in_room(rooms().as_asgi(), "room:1")

    async def view(request: Any) -> PublishResult:
        return await apublish("room:1", Number(value=1))

    assert await view(AsyncRequestFactory().get("/")) == ONE
    assert await numbers(client, 1) == [1]
    await client.disconnect()


async def test_from_a_sync_view() -> None:
    """DESIGN 7: which Django runs in a thread of its own."""
    client = await in_room(rooms().as_asgi(), "room:1")

    result = await sync_to_async(publish)("room:1", Number(value=1))

    assert (result, await numbers(client, 1)) == (ONE, [1])
    await client.disconnect()


async def test_from_a_plain_thread() -> None:
    """DESIGN 7: a signal receiver or a task may run in any."""
    client = await in_room(rooms().as_asgi(), "room:1")

    result = in_thread(lambda: publish("room:1", Number(value=1)))  # with the loop standing still

    assert (result, await numbers(client, 1)) == (ONE, [1])
    await client.disconnect()


async def test_from_another_event_loop() -> None:
    """DESIGN 7: a publish from another loop reaches the process's hubs."""
    client = await in_room(rooms().as_asgi(), "room:1")

    result = in_thread(lambda: asyncio.run(apublish("room:1", Number(value=1))))

    assert (result, await numbers(client, 1)) == (ONE, [1])
    await client.disconnect()


async def test_from_sync_code_in_the_loops_own_thread() -> None:
    """DESIGN 7: as a signal receiver is called by async code."""
    client = await in_room(rooms().as_asgi(), "room:1")

    result = publish("room:1", Number(value=1))

    assert (result, await numbers(client, 1)) == (ONE, [1])
    await client.disconnect()


def test_without_any_loop() -> None:
    """DESIGN 7: in a process that serves no sockets."""
    assert publish("room:1", Number(value=1)) == NOBODY


async def test_from_a_plain_handler() -> None:
    """DESIGN 1: plain handlers run in a thread."""
    other = rooms()
    results: list[PublishResult] = []

    class Shout(Message, type="SHOUT"):
        pass

    @other.on(Shout)
    def shout(ctx: Any) -> None:
        results.append(other.publish("room:1", Number(value=1)))
        results.append(ctx.sync.publish("room:1", Number(value=2)))
        ctx.send(Said())

    client = await in_room(other.as_asgi(), "room:1")
    client.write("SHOUT")

    assert await numbers(client, 2) == [1, 2]
    assert (await client.receive())[0] == "SAID"
    await client.disconnect()
    assert results == [ONE, ONE]


async def test_frames_of_one_thread_keep_their_order() -> None:
    """PROTOCOL 6: frames of one topic from one process arrive in that process's order."""
    client = await in_room(rooms().as_asgi(), "room:1")

    in_thread(lambda: [publish("room:1", Number(value=value)) for value in range(50)])

    assert await numbers(client, 50) == list(range(50))
    await client.disconnect()


async def test_from_a_process_that_serves_nothing(valkey: str) -> None:
    """DESIGN 7: a management command reaches the sockets of other processes."""
    script = textwrap.dedent(
        """
        import django
        django.setup()
        from tests.shell_helpers import PATIENCE, Number
        from wskit_channels import relay
        from wskit_channels.publish import publish
        relay.LAYER_TIMEOUT = PATIENCE
        print([publish("room:1", Number(value=value)).ok for value in range(3)])
        """
    )
    layers = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [{"address": valkey, "socket_timeout": None}]},
        }
    }
    with override_settings(CHANNEL_LAYERS=layers):
        client = await in_room(rooms().as_asgi(), "room:1")
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "REDIS_URL": valkey},
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.stdout, done.stderr) == ("[True, True, True]\n", "")
        assert await numbers(client, 3) == [0, 1, 2]
        await client.disconnect()


# -- a router's own


async def test_a_routers_publish_has_the_routers_values() -> None:
    """DESIGN 2: ``router.publish`` is the same, with its namespace, layer and limits."""
    router = rooms(namespace="chat", limits=Limits(topic_pattern="[a-z]+!"))
    client = await in_room(router.as_asgi(), "room!")

    assert await router.apublish("room!", Number(value=1)) == ONE
    assert router.publish("room!", Number(value=2)) == ONE
    assert (await router.apublish("room:1", Number(value=3))).error == "VALIDATION"

    assert await numbers(client, 2) == [1, 2]
    await client.disconnect()


async def test_extended_meta_goes_out() -> None:
    """PROTOCOL 1: timestamp, then extended meta that the sending code gave."""
    client = await in_room(rooms().as_asgi(), "room:1")

    await apublish("room:1", Number(value=1), meta={"trace": "abc"})
    frame = await client.frame()

    assert list(frame) == ["type", "meta", "payload"]
    assert list(frame["meta"]) == ["timestamp", "trace"]
    assert frame["meta"]["trace"] == "abc"
    await client.disconnect()


# -- what is refused


@pytest.mark.parametrize("topic", ["", "a room", "x" * 129, None, 7])
async def test_a_bad_topic_is_a_result_and_no_exception(topic: Any) -> None:
    """DESIGN 2: publishing never raises at run time."""
    results = [publish(topic, Number(value=1)), await apublish(topic, Number(value=1))]

    assert [(one.ok, one.error, one.retryable) for one in results] == [
        (False, "VALIDATION", False),
        (False, "VALIDATION", False),
    ]
    assert [one.cause.code for one in results if isinstance(one.cause, PubSubError)] == [
        "INVALID_TOPIC",
        "INVALID_TOPIC",
    ]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "NUMBER", "payload": {"value": 1}},
        "NUMBER",
        None,
        Anything(value=float("nan")),
        Anything(value=object()),
        Anything(value="\ud800"),
    ],
    ids=["dict", "str", "none", "nan", "object", "surrogate"],
)
async def test_what_is_no_message_is_a_result_and_no_exception(
    message: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """DESIGN 2: it is a bug, and so is logged; nobody gets it."""
    client = await in_room(rooms().as_asgi(), "room:1")
    with caplog.at_level(logging.ERROR, "wskit_channels"):
        results = [publish("room:1", message), await apublish("room:1", message)]
    await apublish("room:1", Number(value=1))

    assert [(one.ok, one.error, one.retryable) for one in results] == [
        (False, "VALIDATION", False),
        (False, "VALIDATION", False),
    ]
    assert len(caplog.records) == 2
    assert await numbers(client, 1) == [1]
    await client.disconnect()


@pytest.mark.parametrize("key", ["timestamp", "correlationId", "clientId", "receivedAt"])
async def test_meta_of_the_protocols_is_refused(key: str) -> None:
    """PROTOCOL 1: reserved and standard keys are not the application's."""
    result = await apublish("room:1", Number(value=1), meta={key: "mine"})

    assert (result.ok, result.error) == (False, "VALIDATION")


# -- a layer that fails


async def failing_layer_result(publishing: Any) -> tuple[PublishResult, list[int]]:
    layer = RemoteLayer()
    with layer_in_use(layer):
        client = await in_room(rooms().as_asgi(), "room:1")
        layer.break_down("group_send")
        result = await publishing()
        found = await numbers(client, 1)
        await client.disconnect()
        await until(lambda: not other_tasks())
    return result, found


async def test_a_failing_layer_is_a_result_in_async_code() -> None:
    """PROTOCOL 6: ``ADAPTER_ERROR`` after local delivery."""
    result, found = await failing_layer_result(lambda: apublish("room:1", Number(value=1)))

    assert isinstance(result.cause, LayerFailed)
    assert (result.ok, result.error, result.retryable) == (False, "ADAPTER_ERROR", True)
    assert (result.details, found) == ({"delivered_locally": True}, [1])


async def test_a_failing_layer_is_a_result_in_a_thread() -> None:
    """PROTOCOL 6: for ``publish`` as for ``apublish``."""
    result, found = await failing_layer_result(
        lambda: asyncio.to_thread(publish, "room:1", Number(value=1))
    )

    assert isinstance(result.cause, LayerFailed)
    assert (result.ok, result.error, result.retryable) == (False, "ADAPTER_ERROR", True)
    assert (result.details, found) == ({"delivered_locally": True}, [1])


async def test_in_the_loops_thread_a_failing_layer_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """DESIGN 7: there ``publish`` cannot wait; the layer's part goes on behind its back."""

    async def publishing() -> PublishResult:
        return publish("room:1", Number(value=1))

    with caplog.at_level(logging.WARNING, "wskit_channels"):
        result, found = await failing_layer_result(publishing)

    assert (result.ok, result.capability, result.matched, found) == (True, "unknown", None, [1])
    assert [record.getMessage() for record in caplog.records] == [
        "publishing through the channel layer failed: LayerFailed"
    ]


async def test_in_the_loops_thread_the_layer_is_reached_in_the_background() -> None:
    """DESIGN 7: what is not awaited still happens."""
    layer = RemoteLayer()
    with layer_in_use(layer):
        publish("room:1", Number(value=1))
        await until(lambda: layer.calls)
        await until(lambda: not other_tasks())

    assert [call[0] for call in layer.calls] == ["group_send"]


async def test_a_layer_that_fails_delays_and_ends_no_socket() -> None:
    """DESIGN 7: sockets stay open."""
    layer = RemoteLayer()
    with layer_in_use(layer):
        client = await in_room(rooms().as_asgi(), "room:1")
        layer.break_down("group_send")
        client.write("SAY", {"topic": "room:1", "value": 1})
        assert await numbers(client, 1) == [1]
        said = await client.receive()
        layer.failing.clear()
        await join(client, "room:2")
        await client.disconnect()
        await until(lambda: not other_tasks())

    assert said == ("SAID", {"topics": ["room:1"], "problem": "ADAPTER_ERROR"})


async def test_a_frame_for_many_has_a_size(settings: Any) -> None:
    """``PAYLOAD_TOO_LARGE``: the same publish will never succeed."""
    settings.WSKIT = {"SOCKET_BUFFER_LIMIT_BYTES": 100}
    frame = len('{"type":"PONG","meta":{"timestamp":1795334306717},"payload":{"text":""}}')

    fits = await apublish("room:1", Pong(text="ü" + "x" * (98 - frame)))
    result = await apublish("room:1", Pong(text="ü" + "x" * (99 - frame)))

    assert (fits.ok, fits.error) == (True, None)
    assert (result.ok, result.error, result.retryable) == (False, "PAYLOAD_TOO_LARGE", False)
    assert result.details == {"observed": 101, "limit": 100}


async def test_a_layer_that_cannot_be_made_is_a_result(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """``STATE``: publishing never raises at run time, however the project is set up."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "nowhere.Layer"}}

    result = await apublish("room:1", Pong())

    assert (result.ok, result.error, result.retryable) == (False, "STATE", False)
    assert "cannot be made" in caplog.text
