import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.test import override_settings

from tests.shell_helpers import Client, Ping, Pong, RemoteLayer, connect, layer_in_use, until
from wskit_channels import Context, Router, control, own_channel
from wskit_channels.consumer import WsKitConsumer


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """And however slow a test is, orders to the process are not listened for in the layer."""
    monkeypatch.setattr(own_channel, "FIRST_RETRY", 1e-6)
    monkeypatch.setattr(own_channel, "LAST_RETRY", 1e-5)
    monkeypatch.setattr(control, "PATIENCE", 3600.0)


@pytest.fixture
def layer() -> Iterator[RemoteLayer]:
    with layer_in_use(RemoteLayer()) as found:
        assert isinstance(found, RemoteLayer)
        yield found


def echo() -> Router[Any]:
    router = Router()

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Pong(text=ctx.payload.text))

    return router


class Plain(WsKitConsumer):
    """Nothing of its own."""

    router = echo()


class Asking(WsKitConsumer):
    """Asks for a channel, and says its name when it is asked."""

    router = echo()
    own_channel = True

    async def receive(self, *args: Any, **kwargs: Any) -> None:
        await self.send(text_data='{"type":"NAME","payload":"' + self.channel_name + '"}')


class Listening(WsKitConsumer):
    """Has a channel-layer handler, and so a channel."""

    router = echo()
    groups = ["news"]

    async def news_item(self, event: dict[str, Any]) -> None:
        if event.get("broken"):
            raise RuntimeError("broken on purpose")
        await self.send(text_data='{"type":"NEWS","payload":' + str(event["number"]) + "}")


class Handler(WsKitConsumer):
    router = echo()

    async def news_item(self, event: dict[str, Any]) -> None:
        raise NotImplementedError


class Helper(WsKitConsumer):
    """Methods that are no channel-layer handlers."""

    router = echo()

    def plain(self, event: dict[str, Any]) -> None: ...
    async def _private(self, event: dict[str, Any]) -> None: ...
    async def two(self, event: dict[str, Any], more: int) -> None: ...
    async def none(self) -> None: ...
    async def connect(self) -> None:
        await super().connect()

    async def disconnect(self, code: int) -> None: ...


class Refusing(Handler):
    own_channel = False


@pytest.mark.parametrize(
    ("consumer", "wants"),
    [
        (Plain, False),
        (Helper, False),
        (Refusing, False),
        (Asking, True),
        (Handler, True),
        (Listening, True),
    ],
)
def test_who_gets_a_channel(consumer: type[WsKitConsumer], wants: bool) -> None:
    """DESIGN 5: a subclass that defines channel-layer handlers, or sets ``own_channel``."""
    assert own_channel.wants_own_channel(consumer(), WsKitConsumer) is wants


async def test_without_one_the_layer_is_left_alone(layer: RemoteLayer) -> None:
    """DESIGN 5: no per-connection channel in the channel layer."""
    client = await connect(Plain.as_asgi())
    await client.disconnect()

    assert layer.calls == []


async def test_without_one_its_name_cannot_be_read() -> None:
    """DESIGN 5: reading ``channel_name`` raises, saying so."""
    with pytest.raises(RuntimeError, match=r"^Plain has no channel .* own_channel = True"):
        _ = Plain().channel_name


async def test_its_name_is_known_before_connect(layer: RemoteLayer) -> None:
    """DESIGN 5: it gets one before ``connect()``."""
    names: list[str] = []

    class Early(Asking):
        async def connect(self) -> None:
            names.append(self.channel_name)
            await super().connect()

    client = await connect(Early.as_asgi())
    client.write("PING", {})
    assert await client.receive() == ("NAME", "specific.remote!1")
    await client.disconnect()

    assert names == ["specific.remote!1"]


async def test_sending_to_its_name_or_group_reaches_the_handler() -> None:
    """DESIGN 5: with the real in-memory layer, as existing Channels code does it."""
    channel_layer = InMemoryChannelLayer()
    with layer_in_use(channel_layer):
        client = await connect(Listening.as_asgi())

        await channel_layer.group_send("news", {"type": "news.item", "number": 1})
        await channel_layer.group_send("news", {"type": "news.item", "number": 2})

        assert [await client.receive() for _ in range(2)] == [("NEWS", 1), ("NEWS", 2)]
        await client.disconnect()
    assert channel_layer.groups == {}


async def test_a_handler_that_fails_is_logged_and_the_next_message_handled(
    layer: RemoteLayer, caplog: pytest.LogCaptureFixture
) -> None:
    """DESIGN 5: never fatal to the socket."""
    client = await connect(Listening.as_asgi())
    with caplog.at_level(logging.WARNING, "wskit_channels"):
        await layer.group_send("news", {"type": "news.item", "broken": True})
        await layer.group_send("news", {"type": "nobody.handles.this"})
        await layer.group_send("news", {"type": "_private"})
        await layer.group_send("news", {"type": "news.item", "number": 1})
        assert await client.receive() == ("NEWS", 1)
    await client.disconnect()

    assert len(caplog.records) == 3


async def echoes(client: Client, text: str) -> bool:
    client.write("PING", {"text": text})
    return await client.receive() == ("PONG", {"text": text})


@pytest.mark.parametrize("method", ["new_channel", "group_add", "receive"])
async def test_a_failing_layer_is_logged_retried_and_never_fatal(
    layer: RemoteLayer, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    """DESIGN 5: the socket lives meanwhile, and hears its groups afterwards."""
    layer.break_down(method)
    with caplog.at_level(logging.WARNING, "wskit_channels"):
        client = await connect(Listening.as_asgi())
        assert await echoes(client, "meanwhile")
        await until(lambda: layer.failures[method] > 2)
    assert caplog.records
    layer.failing.clear()
    await until(lambda: layer.members().get("news"))

    await layer.group_send("news", {"type": "news.item", "number": 1})

    assert await client.receive() == ("NEWS", 1)
    await client.disconnect()
    assert layer.members() == {}


async def test_a_layer_that_breaks_down_later_loses_no_socket(layer: RemoteLayer) -> None:
    """BASELINES 4: with Channels a lost Redis connection kills every consumer."""
    client = await connect(Listening.as_asgi())
    layer.break_down("receive", "group_add")
    await until(lambda: layer.failures["group_add"] > 2)
    layer.groups.clear()
    assert await echoes(client, "meanwhile")
    layer.failing.clear()
    await until(lambda: layer.members().get("news"))

    await layer.group_send("news", {"type": "news.item", "number": 1})

    assert await client.receive() == ("NEWS", 1)
    await client.disconnect()


async def test_a_layer_that_fails_at_the_end_is_logged(
    layer: RemoteLayer, caplog: pytest.LogCaptureFixture
) -> None:
    """DESIGN 5: a layer failure is never fatal, and leaves no task behind."""
    client = await connect(Listening.as_asgi())
    layer.break_down("group_discard")
    with caplog.at_level(logging.WARNING, "wskit_channels"):
        await client.disconnect()

    assert [record.getMessage() for record in caplog.records] == [
        "leaving a group failed: LayerFailed"
    ]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_without_a_layer_there_is_a_warning_and_a_socket(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """DESIGN 5: a failure there is never fatal to the socket."""
    with override_settings(CHANNEL_LAYERS={}), caplog.at_level(logging.WARNING, "wskit_channels"):
        client = await connect(Listening.as_asgi())
        assert await echoes(client, "there?")
        await client.disconnect()

    assert [record.getMessage() for record in caplog.records] == [
        "Listening asks for a channel, but there is no layer"
    ]
