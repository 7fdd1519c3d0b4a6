import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.shell_helpers import other_tasks, until
from wskit_channels.outbox import Outbox


class Socket:
    """A server's ``send``: keeps what it is given; ``stall`` stops the client's reading."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.error: Exception | None = None
        self.entered = 0

    def stall(self) -> None:
        self.reading.clear()

    async def send(self, event: dict[str, Any]) -> None:
        self.entered += 1
        if self.error is not None:
            raise self.error
        assert event["type"] == "websocket.send"
        await self.reading.wait()
        self.texts.append(event["text"])


@pytest.fixture
async def socket() -> Socket:
    return Socket()


@pytest.fixture
def overflows() -> list[int]:
    return []


@pytest.fixture
def make(socket: Socket, overflows: list[int]) -> Callable[[int], Outbox]:
    def make(limit: int) -> Outbox:
        return Outbox(socket.send, limit, overflows.append)

    return make


async def test_frames_leave_in_the_order_queued(
    socket: Socket, make: Callable[[int], Outbox]
) -> None:
    """DESIGN 6: whoever writes them, a handler's flush or the outbox's own writer."""
    outbox = make(1000)
    outbox.put("a")
    outbox.put("b")
    await outbox.flush()
    outbox.put("c")
    await outbox.drain()

    assert socket.texts == ["a", "b", "c"]


async def test_what_is_flushed_by_its_sender_wakes_no_other_task(
    make: Callable[[int], Outbox],
) -> None:
    """DESIGN 6: a send made while a handler runs is written when the handler returns."""
    outbox = make(1000)
    outbox.put("a")
    await outbox.flush()

    assert other_tasks() == set()


async def test_a_background_send_is_written_by_itself(
    socket: Socket, make: Callable[[int], Outbox]
) -> None:
    """DESIGN 6: publishes and background sends start a writer."""
    outbox = make(1000)
    outbox.put("a")
    await until(lambda: socket.texts)

    assert socket.texts == ["a"]


async def test_an_idle_outbox_owns_no_task(make: Callable[[int], Outbox]) -> None:
    """DESIGN 6: the writer ends when the queue is empty."""
    outbox = make(1000)
    outbox.put("a")
    await outbox.drain()
    await until(lambda: not other_tasks())

    assert not outbox.unwritten


@pytest.mark.parametrize(
    ("frame", "size"), [("a", 1), ("é", 2), ("漢", 3), ("😀", 4)], ids=["1", "2", "3", "4"]
)
async def test_waiting_frames_are_counted_in_bytes_of_utf_8(
    make: Callable[[int], Outbox], frame: str, size: int
) -> None:
    """DESIGN 6: one bounded queue a connection, in bytes."""
    outbox = make(1000)
    outbox.put(frame)
    outbox.put(frame)

    assert outbox.waiting_bytes == 2 * size
    await outbox.flush()
    assert outbox.waiting_bytes == 0


async def test_a_frame_is_refused_only_if_more_than_the_limit_waits(
    socket: Socket, overflows: list[int], make: Callable[[int], Outbox]
) -> None:
    """DESIGN 6: exactly the limit is not over it."""
    outbox = make(4)
    outbox.put("aaaa")
    outbox.put("b")
    assert overflows == []

    outbox.put("c")

    assert overflows == [5]
    await outbox.flush()
    assert socket.texts == ["aaaa", "b"]


async def test_one_big_frame_to_a_reading_client_always_goes(
    socket: Socket, overflows: list[int], make: Callable[[int], Outbox]
) -> None:
    """DESIGN 6: what counts is what waits, not what comes."""
    outbox = make(4)
    for frame in ("a" * 1000, "b" * 1000):
        outbox.put(frame)
        await outbox.flush()

    assert (socket.texts, overflows) == (["a" * 1000, "b" * 1000], [])


async def test_an_overflow_is_reported_once(
    overflows: list[int], make: Callable[[int], Outbox]
) -> None:
    """DESIGN 6: a thousand refused frames are one slow client."""
    outbox = make(1)
    for _ in range(10):
        outbox.put("aa")

    assert overflows == [2]


async def test_a_frame_being_written_still_waits(
    socket: Socket, overflows: list[int], make: Callable[[int], Outbox]
) -> None:
    """DESIGN 6: uvicorn's send waits for the client, and what it holds is not yet gone."""
    socket.stall()
    outbox = make(1)
    outbox.put("aa")
    await until(lambda: socket.entered)

    outbox.put("b")

    assert overflows == [2]


async def test_a_stalled_client_delays_no_other(make: Callable[[int], Outbox]) -> None:
    """DESIGN 6: a slow reader never delays another connection."""
    stalled, reading = Socket(), Socket()
    stalled.stall()
    for socket in (stalled, reading):
        Outbox(socket.send, 1000, lambda _: None).put("a")
    await until(lambda: reading.texts)

    assert (stalled.texts, reading.texts) == ([], ["a"])
    stalled.reading.set()
    await until(lambda: stalled.texts)


async def test_drain_waits_until_everything_is_written(
    socket: Socket, make: Callable[[int], Outbox]
) -> None:
    """DESIGN 1: ``ctx.drain()`` is for bulk senders."""
    socket.stall()
    outbox = make(1000)
    outbox.put("a")
    outbox.put("b")
    drained = asyncio.ensure_future(outbox.drain())
    await until(lambda: socket.entered)
    assert not drained.done()

    socket.reading.set()
    await drained

    assert socket.texts == ["a", "b"]


async def test_drain_waits_for_the_frame_that_is_being_written(
    socket: Socket, make: Callable[[int], Outbox]
) -> None:
    """DESIGN 1: until this connection's queue is written, and not only empty."""
    socket.stall()
    outbox = make(1000)
    outbox.put("a")
    await until(lambda: socket.entered)
    drained = asyncio.ensure_future(outbox.drain())
    await asyncio.sleep(0)
    assert not drained.done()

    socket.reading.set()
    await drained

    assert socket.texts == ["a"]


async def test_drain_of_an_empty_outbox_returns_at_once(make: Callable[[int], Outbox]) -> None:
    """DESIGN 1: there is nothing to wait for."""
    outbox = make(1000)

    with pytest.raises(StopIteration):
        outbox.drain().send(None)


async def test_drain_ends_when_the_connection_does(
    socket: Socket, make: Callable[[int], Outbox]
) -> None:
    """DESIGN 1: ``drain`` waits for the queue to be written or the connection to close."""
    socket.stall()
    outbox = make(1000)
    outbox.put("a")
    drained = asyncio.ensure_future(outbox.drain())
    await until(lambda: socket.entered)

    outbox.close()
    await drained

    assert (socket.texts, outbox.waiting_bytes) == ([], 0)


async def test_a_send_that_raises_ends_the_outbox_and_nothing_else(
    socket: Socket, make: Callable[[int], Outbox]
) -> None:
    """DESIGN 6: it is how a server says that the client has gone."""
    socket.error = OSError("gone")
    outbox = make(1000)
    outbox.put("a")
    outbox.put("b")

    await outbox.flush()
    outbox.put("c")
    await outbox.drain()

    assert (socket.entered, outbox.unwritten, outbox.waiting_bytes) == (1, False, 0)


async def test_after_a_close_nothing_is_taken(
    socket: Socket, overflows: list[int], make: Callable[[int], Outbox]
) -> None:
    """DESIGN 1: after the connection has closed a send does nothing."""
    outbox = make(1)
    outbox.put("aa")
    outbox.close()
    outbox.put("bb")
    outbox.put("cc")
    await outbox.flush()

    assert (socket.texts, overflows, outbox.waiting_bytes) == ([], [], 0)


async def test_what_a_cancelled_writer_leaves_another_writes(
    socket: Socket, make: Callable[[int], Outbox]
) -> None:
    """DESIGN 6: a handler cancelled half way takes no other's frames with it."""
    socket.stall()
    outbox = make(1000)
    outbox.put("lost")
    outbox.put("a")
    outbox.put("b")
    flushing = asyncio.ensure_future(outbox.flush())
    await until(lambda: socket.entered)

    flushing.cancel()
    socket.reading.set()
    await outbox.drain()

    assert flushing.cancelled()
    assert socket.texts[-2:] == ["a", "b"]
    assert outbox.waiting_bytes == 0


async def test_frames_queued_while_one_is_written_keep_their_turn(
    socket: Socket, make: Callable[[int], Outbox]
) -> None:
    """DESIGN 6: a second flush leaves the writing to the first."""
    socket.stall()
    outbox = make(1000)
    outbox.put("a")
    await until(lambda: socket.entered)
    outbox.put("b")
    await outbox.flush()
    assert socket.texts == []

    socket.reading.set()
    await outbox.drain()

    assert socket.texts == ["a", "b"]
