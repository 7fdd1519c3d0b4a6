"""
A channel of its own in the channel layer, for consumers that ask for one.

Topics need none. A consumer that is sent to by name, or joins groups by itself, gets
its messages here, one at a time; a layer that fails is tried again, and never ends the
socket.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Any

from channels.consumer import get_handler_name
from channels.layers import BaseChannelLayer, get_channel_layer

from wskit_channels.protocol.text import printable

if TYPE_CHECKING:
    from wskit_channels.consumer import WsKitConsumer

__all__ = ["OwnChannel", "wants_own_channel"]

logger = logging.getLogger("wskit_channels.consumer")

FIRST_RETRY, LAST_RETRY = 0.1, 5.0
CLOSE_TIMEOUT = 5.0
"""Seconds that a handler which is cancelled has to end."""


def wants_own_channel(consumer: WsKitConsumer, base: type[WsKitConsumer]) -> bool:
    """Whether a consumer is to have a channel: as it says, or as a handler beyond ``base`` does."""
    if consumer.own_channel is not None:
        return consumer.own_channel
    return bool(consumer.groups) or any(
        _is_handler(name, member) and not hasattr(base, name)
        for cls in type(consumer).__mro__[: type(consumer).__mro__.index(base)]
        for name, member in vars(cls).items()
    )


def _is_handler(name: str, member: Any) -> bool:
    if name.startswith("_") or not inspect.iscoroutinefunction(member):
        return False
    parameters = list(inspect.signature(member).parameters.values())
    return len(parameters) == 2 and all(
        one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters
    )


class OwnChannel:
    """One consumer's channel: its name, its groups, and the task that receives."""

    def __init__(self, consumer: WsKitConsumer) -> None:
        self._consumer = consumer
        self._layer = get_channel_layer(consumer.channel_layer_alias)
        self._task: asyncio.Task[None] | None = None
        self._joined = False
        self.name: str | None = None
        self._closing = False

    async def open(self) -> None:
        """Take a channel, so that ``connect`` can use its name, and start receiving."""
        consumer, layer = self._consumer, self._layer
        if layer is None:
            logger.warning("%s asks for a channel, but there is no layer", type(consumer).__name__)
            return
        consumer.channel_layer = layer
        try:
            await self._join(layer)
        except Exception:
            logger.exception("the channel layer failed; the connection goes on without it")
        self._task = asyncio.create_task(self._receive(layer))

    async def _join(self, layer: BaseChannelLayer) -> str:
        """Take a channel if there is none yet, and be in all groups; the channel's name."""
        name = self.name = self.name or await layer.new_channel()
        if not self._joined:
            for group in self._consumer.groups or ():
                await layer.group_add(group, name)
            self._joined = True
        return name

    async def _receive(self, layer: BaseChannelLayer) -> None:
        retry = 0.0
        while not self._closing:
            try:
                message = await layer.receive(await self._join(layer))
                retry = 0.0
            except Exception as error:  # noqa: BLE001 - any layer's, and none may end the socket
                self._joined = False  # it may have forgotten
                if not retry:
                    logger.warning("the channel layer failed: %s", type(error).__name__)
                retry = min(LAST_RETRY, retry * 2 or FIRST_RETRY)
                await asyncio.sleep(retry)
            else:
                await self._dispatch(message)

    async def _dispatch(self, message: dict[str, Any]) -> None:
        try:
            handler = getattr(self._consumer, get_handler_name(message), None)
            if handler is None:
                logger.warning(
                    "no handler for a channel-layer message: %s", printable(str(message["type"]))
                )
            else:
                await handler(message)
        except Exception:
            logger.exception("a channel-layer handler failed")

    async def close(self) -> None:
        if self._task is not None:
            self._closing = True  # a handler may swallow the cancellation
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CLOSE_TIMEOUT)
        if self._layer is not None and self.name is not None:
            for group in self._consumer.groups or ():
                try:
                    await self._layer.group_discard(group, self.name)
                except Exception as error:  # noqa: BLE001 - any layer's; the group expires
                    logger.warning("leaving a group failed: %s", type(error).__name__)
