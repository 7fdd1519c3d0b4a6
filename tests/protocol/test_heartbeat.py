"""When a silent client is pinged, and when it is given up: ``protocol/heartbeat.py``."""

from typing import Any

import pytest

from wskit_channels.protocol.heartbeat import Beat, Heartbeat, Pulse


def pulse() -> Pulse:
    return Pulse(Heartbeat(interval=30.0, timeout=5.0), now=100.0)


def test_a_silent_client_is_pinged_and_then_given_up() -> None:
    """PROTOCOL 7: after ``interval``, and ``timeout`` later."""
    silent = pulse()
    assert silent.due == 130.0

    assert silent.check(heard_at=100.0, now=130.0) is Beat.PING
    assert silent.due == 135.0
    assert silent.check(heard_at=100.0, now=135.0) is Beat.STALE


@pytest.mark.parametrize("heard_at", [130.0, 134.9])
def test_any_frame_after_the_ping_proves_life(heard_at: float) -> None:
    """PROTOCOL 7: not only the pong."""
    answering = pulse()
    answering.check(heard_at=100.0, now=130.0)

    assert answering.check(heard_at=heard_at, now=135.0) is Beat.WAIT
    assert answering.due == heard_at + 30.0


def test_a_talking_client_is_never_pinged() -> None:
    """PROTOCOL 7: the interval is counted from the last inbound frame."""
    talking = pulse()
    for now in (130.0, 155.0, 180.0):
        assert talking.check(heard_at=now - 5.0, now=now) is Beat.WAIT
        assert talking.due == now + 25.0


def test_a_check_that_comes_late_gives_frames_the_time_to_be_read() -> None:
    """A loop that was blocked has frames waiting unread: their senders are not stale."""
    blocked = pulse()
    blocked.check(heard_at=100.0, now=130.0)

    assert blocked.check(heard_at=100.0, now=150.0) is Beat.WAIT
    assert blocked.due == 150.5
    assert blocked.check(heard_at=100.0, now=150.5) is Beat.STALE


@pytest.mark.parametrize("field", ["interval", "timeout"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), True, "5"])
def test_a_figure_that_cannot_be_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field} is a number of seconds above 0, not "):
        Heartbeat(**{field: value})
