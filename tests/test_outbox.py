import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.fake_clock import clock, fake_time
from tests.shell_helpers import other_tasks, until
from wskit_channels.outbox import Outbox
from wskit_channels.protocol.backlog import ERROR_RESERVE, Backlog, Kind
from wskit_channels.servers.daphne import WriteFlow

Drops = list[tuple[int, int, bool]]
"""What an outbox reports: bytes that wait, frames dropped, whether it has to close."""


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
def drops() -> Drops:
    return []


def outbox_of(socket: Socket, limit: int, drops: Drops, **options: Any) -> Outbox:
    def dropped(waiting: int, frames: int, closing: bool) -> None:
        drops.append((waiting, frames, closing))

    return Outbox(socket.send, Backlog(limit, **options), dropped)


@pytest.fixture
def make(socket: Socket, drops: Drops) -> Callable[[int], Outbox]:
    return lambda limit: outbox_of(socket, limit, drops)


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

    assert not outbox.queue


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

    assert outbox._backlog.bytes == 2 * size
    await outbox.flush()
    assert outbox._backlog.bytes == 0


async def test_a_frame_is_refused_only_if_more_than_the_limit_waits(
    socket: Socket, drops: Drops, make: Callable[[int], Outbox]
) -> None:
    """DESIGN 6: exactly the limit is not over it."""
    outbox = make(4)
    outbox.put("aaaa")
    outbox.put("b")
    assert drops == []

    outbox.put("c")

    # What waited is lost with it: the client does not read, and would not read that either.
    assert drops == [(5, 3, True)]
    await outbox.flush()
    assert socket.texts == []


async def test_one_big_frame_to_a_reading_client_always_goes(
    socket: Socket, drops: Drops, make: Callable[[int], Outbox]
) -> None:
    """DESIGN 6: what counts is what waits, not what comes."""
    outbox = make(4)
    for frame in ("a" * 1000, "b" * 1000):
        outbox.put(frame)
        await outbox.flush()

    assert (socket.texts, drops) == (["a" * 1000, "b" * 1000], [])


async def test_an_overflow_is_reported_once(drops: Drops, make: Callable[[int], Outbox]) -> None:
    """DESIGN 6: a thousand refused frames are one slow client."""
    outbox = make(1)
    for _ in range(10):
        outbox.put("aa")

    assert drops == [(2, 2, True)]


async def test_a_frame_being_written_still_waits(
    socket: Socket, drops: Drops, make: Callable[[int], Outbox]
) -> None:
    """DESIGN 6: uvicorn's send waits for the client, and what it holds is not yet gone."""
    socket.stall()
    outbox = make(1)
    outbox.put("aa")
    await until(lambda: socket.entered)

    outbox.put("b")

    assert drops == [(2, 1, True)]


async def test_a_stalled_client_delays_no_other(make: Callable[[int], Outbox]) -> None:
    """DESIGN 6: a slow reader never delays another connection."""
    stalled, reading = Socket(), Socket()
    stalled.stall()
    for socket in (stalled, reading):
        outbox_of(socket, 1000, []).put("a")
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

    assert (socket.texts, outbox._backlog.bytes) == ([], 0)


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

    assert (socket.entered, bool(outbox.queue), outbox._backlog.bytes) == (1, False, 0)


async def test_after_a_close_nothing_is_taken(
    socket: Socket, drops: Drops, make: Callable[[int], Outbox]
) -> None:
    """DESIGN 1: after the connection has closed a send does nothing."""
    outbox = make(1)
    outbox.put("aa")
    outbox.close()
    outbox.put("bb")
    outbox.put("cc")
    await outbox.flush()

    assert (socket.texts, drops, outbox._backlog.bytes) == ([], [], 0)


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
    assert outbox._backlog.bytes == 0


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


# -- over the limit


@fake_time
async def test_drops_are_reported_once_a_second_and_none_is_left_out() -> None:
    """DESIGN 6: every drop is counted and reported, a flood of them not one by one."""
    socket, drops = Socket(), Drops()
    socket.stall()
    outbox = outbox_of(socket, 1, drops, drop_messages=True)
    for _ in range(4):
        outbox.put("aa")
    assert drops == [(2, 1, False)]

    await clock().advance(1.0)
    outbox.put("bb")
    assert drops[1:] == [(2, 3, False)]

    outbox.put("cc")
    socket.reading.set()
    await outbox.drain()
    assert sum(frames for _, frames, _ in drops) + len(socket.texts) == 6


@fake_time
async def test_what_was_dropped_last_is_reported_at_the_end() -> None:
    """DESIGN 6: the connection's end is the last chance."""
    socket, drops = Socket(), Drops()
    socket.stall()
    outbox = outbox_of(socket, 1, drops, drop_messages=True)
    for _ in range(5):
        outbox.put("aa")
    assert drops == [(2, 1, False)]

    outbox.close()

    assert [frames for _, frames, _ in drops] == [1, 3]


async def test_a_client_that_reads_again_is_a_new_story(socket: Socket, drops: Drops) -> None:
    """DESIGN 6: after recovery the next drop is reported at once."""
    outbox = outbox_of(socket, 1, drops, drop_messages=True)
    for _ in range(2):
        outbox.put("aa")
        outbox.put("bb")
        await outbox.drain()

    assert [frames for _, frames, _ in drops] == [1, 1]
    assert socket.texts == ["bb", "bb"]


async def test_a_reply_that_does_not_fit_is_refused(socket: Socket, drops: Drops) -> None:
    """DESIGN 6: its call is failed instead, within the reserve."""
    outbox = outbox_of(socket, 1, drops)
    assert outbox.put("aa", Kind.REPLY)

    assert not outbox.put("bb", Kind.REPLY)
    assert outbox.put("error", Kind.ERROR)

    await outbox.flush()
    assert socket.texts == ["aa", "error"]
    assert drops == [(2, 1, False)]


async def test_errors_beyond_the_reserve_close(socket: Socket, drops: Drops) -> None:
    """DESIGN 6: a client that only fails and never reads is not kept."""
    outbox = outbox_of(socket, 0, drops, drop_messages=True)
    frame = "e" * 1024
    for _ in range(ERROR_RESERVE // 1024 + 1):
        outbox.put(frame, Kind.ERROR)
    assert drops == []

    outbox.put(frame, Kind.ERROR)

    assert drops == [(ERROR_RESERVE + 1024, ERROR_RESERVE // 1024 + 2, True)]


# -- a server whose send does not wait


async def test_a_paused_server_is_waited_for(socket: Socket, drops: Drops) -> None:
    """BASELINES 3: what daphne is not given stays in the queue, and is counted there."""
    flow = WriteFlow(paused=True)
    outbox = Outbox(socket.send, Backlog(3), lambda *drop: drops.append(drop), flow)
    outbox.put("aa")
    outbox.put("bb")
    flushing = asyncio.ensure_future(outbox.flush())
    await asyncio.sleep(0)
    assert (socket.texts, outbox._backlog.bytes) == ([], 4)

    flow.resumeProducing()
    await flushing
    assert (socket.texts, drops) == (["aa", "bb"], [])


async def test_a_server_that_pauses_between_two_frames_gets_no_more(
    socket: Socket, drops: Drops
) -> None:
    """BASELINES 3: the transport pauses its producer while the frame is written."""
    flow = WriteFlow()

    async def send(event: dict[str, Any]) -> None:
        await socket.send(event)
        flow.pauseProducing()

    outbox = Outbox(send, Backlog(100), lambda *drop: drops.append(drop), flow)
    outbox.put("a")
    outbox.put("b")
    await until(lambda: socket.texts)
    assert (socket.texts, outbox._backlog.bytes) == (["a"], 1)

    flow.resumeProducing()
    await until(lambda: len(socket.texts) == 2)


async def test_the_end_of_a_connection_wakes_who_waits_for_the_server(
    socket: Socket, drops: Drops
) -> None:
    """DESIGN 6: no writer outlives its connection."""
    flow = WriteFlow(paused=True)
    outbox = Outbox(socket.send, Backlog(100), lambda *drop: drops.append(drop), flow)
    outbox.put("a")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(other_tasks()) == 1

    outbox.close()
    flow.stopProducing()

    await until(lambda: not other_tasks())
    assert (socket.texts, outbox._backlog.bytes) == ([], 0)


# -- a server whose send may be begun without a task


def quick(socket: Socket, drops: Drops, limit: int = 1000) -> Outbox:
    return Outbox(socket.send, Backlog(limit), lambda *drop: drops.append(drop), needs_task=False)


async def test_what_a_server_takes_at_once_needs_no_task(socket: Socket, drops: Drops) -> None:
    """BASELINES 2: a publish to a thousand sockets makes no thousand tasks."""
    outboxes = [quick(socket, drops) for _ in range(3)]
    for outbox in outboxes:
        outbox.put("a")
        outbox.put("b")
    await asyncio.sleep(0)

    assert (socket.texts, other_tasks()) == (["a", "b"] * 3, set())


async def test_where_it_waits_a_task_goes_on(socket: Socket, drops: Drops) -> None:
    """The stalled one alone, and in order."""
    stalled = Socket()
    stalled.stall()
    waiting, going = quick(stalled, drops), quick(socket, drops)
    for outbox in (waiting, going):
        outbox.put("a")
        outbox.put("b")
    await asyncio.sleep(0)
    assert (stalled.texts, socket.texts, len(other_tasks())) == ([], ["a", "b"], 1)

    waiting.put("c")
    stalled.reading.set()
    await waiting.drain()
    assert stalled.texts == ["a", "b", "c"]
    await until(lambda: not other_tasks())


async def test_a_close_ends_the_task_that_goes_on(socket: Socket, drops: Drops) -> None:
    """DESIGN 6: what is begun without a task can be cancelled like any other."""
    socket.stall()
    outbox = quick(socket, drops)
    outbox.put("a")
    await asyncio.sleep(0)
    outbox.close()
    await until(lambda: not other_tasks() and not outbox._backlog.bytes)

    assert (socket.texts, bool(outbox.queue)) == ([], False)


async def test_a_server_that_raises_at_once_ends_one_outbox(socket: Socket, drops: Drops) -> None:
    """The client of one is gone; the others have their turn."""
    gone = Socket()
    gone.error = OSError("gone")
    first, second = quick(gone, drops), quick(socket, drops)
    first.put("a")
    second.put("b")
    await asyncio.sleep(0)

    assert (gone.texts, socket.texts, first._backlog.bytes) == ([], ["b"], 0)


async def test_a_server_that_waits_twice_is_waited_for_twice(drops: Drops) -> None:
    """As uvicorn's does when its buffer fills again."""
    steps, texts = [asyncio.Event(), asyncio.Event()], list[str]()

    async def send(event: dict[str, Any]) -> None:
        for step in steps:
            await step.wait()
        texts.append(event["text"])

    outbox = Outbox(send, Backlog(100), lambda *drop: drops.append(drop), needs_task=False)
    outbox.put("a")
    outbox.put("b")
    for step in steps:
        await asyncio.sleep(0)
        assert texts == []
        step.set()
    await outbox.drain()

    assert texts == ["a", "b"]


async def test_a_send_that_is_cancelled_from_within_costs_nobody_else_a_turn() -> None:
    """A server may wait for what it has cancelled itself."""
    texts: list[str] = []

    async def cancelled(event: dict[str, Any]) -> None:
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone

    async def fine(event: dict[str, Any]) -> None:
        texts.append(event["text"])

    first, second = (
        Outbox(send, Backlog(100), lambda *drop: None, needs_task=False)
        for send in (cancelled, fine)
    )
    first.put("a")
    second.put("b")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second.put("c")
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert texts == ["b", "c"]
