"""What waits for one client, and what gives way: ``protocol/backlog.py``."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wskit_channels.protocol.backlog import ERROR_RESERVE, Backlog, Kind, Verdict, entry_of

QUEUED, DROPPED, REFUSED, CLOSE = Verdict.QUEUED, Verdict.DROPPED, Verdict.REFUSED, Verdict.CLOSE


def filled(limit: int, frames: Iterable[tuple[str, Kind]], **options: bool) -> Backlog:
    backlog = Backlog(limit, **options)
    for frame, kind in frames:
        backlog.put(entry_of(frame, kind))
    return backlog


def rest(backlog: Backlog) -> list[str]:
    """What would be written, written."""
    frames = []
    while len(backlog):
        frame, size = backlog.pop()
        backlog.bytes -= size
        frames.append(frame)
    return frames


def test_a_frame_waits_until_it_is_written() -> None:
    """DESIGN 6: bytes of UTF-8, and also while the server is at it."""
    backlog = filled(100, [("é", Kind.MESSAGE), ("a", Kind.REPLY)])
    assert (len(backlog), backlog.bytes) == (2, 3)

    frame, size = backlog.pop()
    assert (frame, size, len(backlog), backlog.bytes) == ("é", 2, 1, 3)
    backlog.bytes -= size
    assert backlog.bytes == 1


@pytest.mark.parametrize("kind", Kind)
def test_exactly_the_limit_is_not_over_it(kind: Kind) -> None:
    """DESIGN 6: a frame is refused only if the queue already holds more than the limit."""
    backlog = filled(4, [("aaaa", Kind.MESSAGE)])

    assert backlog.put(entry_of("b" * 1000, kind)) is QUEUED
    assert backlog.dropped == 0


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (Kind.PROGRESS, DROPPED),
        (Kind.REPLY, REFUSED),
        (Kind.ERROR, QUEUED),
        (Kind.MESSAGE, CLOSE),
    ],
)
def test_over_the_limit(kind: Kind, verdict: Verdict) -> None:
    """DESIGN 6: each kind of frame has its own end."""
    backlog = filled(4, [("aaaaa", Kind.REPLY)])

    assert backlog.put(entry_of("b", kind)) is verdict


@pytest.mark.parametrize("kind", [Kind.MESSAGE, Kind.REPLY, Kind.ERROR])
def test_progress_gives_way_first(kind: Kind) -> None:
    """DESIGN 6: the oldest first, and no more of it than is needed."""
    progress = [("p1", Kind.PROGRESS), ("m", Kind.MESSAGE), ("p2", Kind.PROGRESS)]
    backlog = filled(3, [*progress, ("p3", Kind.PROGRESS)])
    assert backlog.bytes == 5

    assert backlog.put(entry_of("new", kind)) is QUEUED
    assert backlog.dropped == 2  # p3, which came too late, and p1
    assert rest(backlog) == ["m", "p2", "new"]


def test_progress_that_may_not_be_dropped_is_like_any_message() -> None:
    """``drop_progress_on_backpressure=False``."""
    backlog = filled(1, [("pp", Kind.PROGRESS)], drop_progress=False)

    assert backlog.put(entry_of("p", Kind.PROGRESS)) is CLOSE


def test_messages_are_dropped_oldest_first() -> None:
    """``on_slow_consumer="drop"``; replies and errors stay, in their order."""
    backlog = filled(
        6,
        [("m1", Kind.MESSAGE), ("r", Kind.REPLY), ("m2", Kind.MESSAGE), ("e", Kind.ERROR)],
        drop_messages=True,
    )
    assert [backlog.put(entry_of(frame, Kind.MESSAGE)) for frame in ("m3", "m4", "m5")] == [
        QUEUED
    ] * 3

    assert backlog.dropped == 2
    assert rest(backlog) == ["r", "e", "m3", "m4", "m5"]


def test_a_message_is_dropped_itself_where_nothing_else_can_be() -> None:
    """``on_slow_consumer="drop"``: what waits are answers."""
    backlog = filled(1, [("rr", Kind.REPLY)], drop_messages=True)

    assert backlog.put(entry_of("m", Kind.MESSAGE)) is DROPPED
    assert (backlog.dropped, rest(backlog)) == (1, ["rr"])


def test_errors_may_use_the_reserve_and_no_more() -> None:
    """DESIGN 6: 64 KiB beyond the limit, then the connection is closed, in either mode."""
    for drop_messages in (False, True):
        backlog = filled(0, [("r", Kind.REPLY)], drop_messages=drop_messages)
        assert backlog.put(entry_of("e" * (ERROR_RESERVE - 1), Kind.ERROR)) is QUEUED
        assert backlog.put(entry_of("e", Kind.ERROR)) is QUEUED
        assert backlog.put(entry_of("e", Kind.ERROR)) is CLOSE


def test_what_is_forgotten_counts_as_dropped() -> None:
    backlog = filled(10, [("a", Kind.MESSAGE), ("b", Kind.REPLY)])

    assert backlog.clear() == 2
    assert (backlog.dropped, backlog.bytes, len(backlog)) == (2, 0, 0)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(Kind), st.integers(1, 12)),
            st.just("write"),
        ),
        max_size=60,
    ),
    st.booleans(),
    st.booleans(),
)
def test_every_frame_is_written_in_order_or_counted(
    steps: list[tuple[Kind, int] | str], drop_progress: bool, drop_messages: bool
) -> None:
    """DESIGN 6: nothing is silent, and nothing is unbounded."""
    backlog = Backlog(20, drop_progress=drop_progress, drop_messages=drop_messages)
    written: list[int] = []
    given_: list[int] = []
    largest = 0
    for number, step in enumerate(steps):
        if isinstance(step, str):
            if len(backlog):
                frame, size = backlog.pop()
                written.append(int(frame.split(":")[0]))
                backlog.bytes -= size
            continue
        kind, padding = step
        frame = f"{number}:" + "x" * padding
        largest = max(largest, len(frame))
        if backlog.put(entry_of(frame, kind)) is CLOSE:
            break
        given_.append(number)
        assert backlog.bytes <= 20 + ERROR_RESERVE + largest
    written += [int(frame.split(":")[0]) for frame in rest(backlog)]

    assert written == sorted(written)
    assert len(written) + backlog.dropped == len(given_)
    assert backlog.bytes == 0


def test_dropping_costs_the_same_however_many_answers_wait() -> None:
    """
    DESIGN 6: a client that never reads is no burden for who publishes.

    Steps are counted by what the queue keeps, not by the clock: what was dropped is gone
    from it, and does not pile up behind the answers that may not be dropped.
    """
    backlog = Backlog(100_000, drop_messages=True)
    for _ in range(20_000):
        backlog.put(entry_of("reply", Kind.REPLY))
    for number in range(50_000):
        backlog.put(entry_of(str(number), Kind.MESSAGE))

    assert len(backlog.queue) <= 2 * len(backlog) + 64
    assert backlog.dropped + len(backlog) == 70_000
