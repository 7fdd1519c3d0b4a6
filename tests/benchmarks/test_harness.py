"""The in-process harness ends with the application that it calls."""

from typing import Any

import pytest

from benchmarks.harness import Client


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    raise LookupError("no such room")


async def leaving(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


async def test_what_an_application_raises_reaches_who_waits_for_it() -> None:
    with pytest.raises(LookupError, match="no such room"):
        await Client(refusing, "/").opened()


async def test_an_application_that_ends_leaves_nobody_waiting() -> None:
    client = Client(leaving, "/")
    await client.opened()

    with pytest.raises(RuntimeError, match="ended without an answer"):
        await client.ask("hello?")
