import pytest

from wskit_channels.client import StateError
from wskit_channels.client.calls import CallTable, Exchange, Phase


def exchange(id: str = "a", **options: object) -> Exchange:
    given: dict[str, object] = {"response_type": "DONE", "timeout": 5.0, **options}
    return Exchange(id, frame=lambda timeout: f"{id} {timeout}", **given)  # type: ignore[arg-type]  # as given


def table(limit: int = 10, resend_window: float = 60.0) -> CallTable[Exchange]:
    return CallTable(limit=limit, resend_window=resend_window)


def test_the_timeout_counts_from_when_it_is_written() -> None:
    calls, call = table(), exchange()
    calls.open(call, now=0.0)
    assert calls.next_due() is None

    assert calls.sent(call, now=100.0) == "a 5.0"
    assert calls.expire(now=104.9) == []
    assert calls.expire(now=105.0) == [(call, Phase.SENT)]
    assert len(calls) == 0


def test_a_queued_call_may_have_a_time_of_its_own() -> None:
    calls, call = table(), exchange(queue_timeout=2.0)
    calls.open(call, now=0.0)

    assert calls.next_due() == 2.0
    assert calls.expire(now=2.0) == [(call, Phase.QUEUED)]


def test_only_so_many_may_be_open() -> None:
    calls, first = table(limit=1), exchange("a")
    calls.open(first, now=0.0)

    with pytest.raises(StateError, match=r"^1 requests wait for an answer, as many as"):
        calls.open(exchange("b"), now=0.0)
    calls.end(first)
    calls.open(exchange("b"), now=0.0)


def test_a_loss_takes_what_was_sent_and_cannot_be_repeated() -> None:
    calls = table()
    sent, kept, queued = exchange("a"), exchange("b", idempotent=True), exchange("c")
    for call in (sent, kept, queued):
        calls.open(call, now=0.0)
    calls.sent(sent, now=0.0)
    calls.sent(kept, now=0.0)

    assert calls.lost(now=1.0) == [sent]
    assert [call.phase for call in (sent, kept, queued)] == [
        Phase.ENDED,
        Phase.LOST,
        Phase.QUEUED,
    ]
    assert calls.resend() == [kept]


def test_what_is_written_again_has_the_time_that_is_left() -> None:
    """The first writing started it, and the server is told what remains."""
    calls, call = table(), exchange(idempotent=True)
    calls.open(call, now=0.0)
    calls.sent(call, now=0.0)
    calls.lost(now=1.0)
    calls.resend()
    assert calls.next_due() == 5.0

    assert calls.sent(call, now=3.0) == "a 2.0"
    assert calls.expire(now=5.0) == [(call, Phase.SENT)]


@pytest.mark.parametrize(("timeout", "due"), [(None, 61.0), (5.0, 5.0), (500.0, 61.0)])
def test_it_waits_for_a_connection_as_long_as_both_limits_allow(
    timeout: float | None, due: float
) -> None:
    calls, call = table(resend_window=60.0), exchange(idempotent=True, timeout=timeout)
    calls.open(call, now=0.0)
    calls.sent(call, now=0.0)
    calls.lost(now=1.0)

    assert calls.next_due() == due


def test_without_a_window_nothing_is_sent_again() -> None:
    calls, call = table(resend_window=0.0), exchange(idempotent=True)
    calls.open(call, now=0.0)
    calls.sent(call, now=0.0)

    assert calls.lost(now=1.0) == [call]


def test_what_nobody_has_read_starts_afresh() -> None:
    calls, call = table(), exchange(queue_timeout=2.0)
    calls.open(call, now=0.0)
    calls.sent(call, now=1.0)
    calls.unread(call, now=3.0)

    assert (call.phase, calls.next_due()) == (Phase.QUEUED, 5.0)
    assert calls.sent(call, now=4.0) == "a 5.0"


def test_the_late_reply_of_a_call_that_was_given_up_is_known() -> None:
    calls, call = table(limit=1), exchange("a")
    calls.open(call, now=0.0)
    assert not calls.is_late("a", "DONE")
    calls.end(call)

    assert calls.is_late("a", "DONE")
    assert not calls.is_late("a", "NEWS")
    calls.open(other := exchange("b"), now=0.0)
    calls.end(other)
    assert not calls.is_late("a", "DONE")  # only so many are remembered
