"""uvicorn: the close that gets out to a client that does not read."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.fake_clock import clock, fake_time
from wskit_channels.servers import uvicorn


class Transport:
    """asyncio's, as far as its buffer is concerned."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def abort(self) -> None:
        self.aborted = True


def servers_send(waiting: int = 0, module: str = "uvicorn.protocols.websockets.x") -> Any:
    """The ``send`` that uvicorn gives an application: a method of its protocol object."""

    class Protocol:
        def __init__(self) -> None:
            self.writable = asyncio.Event()
            self.transport = Transport(waiting)

        async def send(self, event: dict[str, Any]) -> None:
            raise NotImplementedError

    Protocol.__module__ = module
    return Protocol().send


@fake_time
async def test_a_close_does_not_wait_for_the_client() -> None:
    """BASELINES 3: its ``send`` waits after some megabytes, with a close too."""
    send = servers_send(waiting=10)
    uvicorn.let_close_pass(send, None)
    assert send.__self__.writable.is_set()

    await clock().advance(4.9)
    assert not send.__self__.transport.aborted
    await clock().advance(0.2)
    assert send.__self__.transport.aborted


@fake_time
async def test_a_client_that_read_all_is_not_cut() -> None:
    """Its answer to the close may still be on its way."""
    send = servers_send(waiting=10)
    uvicorn.let_close_pass(None, send)
    send.__self__.transport.waiting = 0
    await clock().advance(10)

    assert not send.__self__.transport.aborted


@pytest.mark.parametrize("send", [None, print, servers_send], ids=["none", "print", "function"])
async def test_other_servers_are_left_alone(send: Callable[..., Any] | None) -> None:
    uvicorn.let_close_pass(send, None)
    assert uvicorn.protocol_behind(send) is None


async def test_a_method_of_another_library_is_not_taken_for_it() -> None:
    send = servers_send(module="hypercorn.protocol")
    uvicorn.let_close_pass(send, None)

    assert not send.__self__.writable.is_set()
