import pytest

from wskit_channels.client import Reconnect
from wskit_channels.client.policy import Bye, Ended, Retries, plain_code


def retries(policy: Reconnect | None = None, *, can_refresh: bool = False) -> Retries:
    return Retries(policy or Reconnect(), can_refresh=can_refresh, random=lambda: 0.5)


def test_delays_double_up_to_a_ceiling() -> None:
    policy = Reconnect(initial_delay=0.5, max_delay=3.0, jitter="none")

    found = [policy.delay(attempt, lambda: 0.5) for attempt in (0, 1, 2, 3, 10_000)]

    assert found == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_full_jitter_takes_any_part_of_a_delay() -> None:
    policy = Reconnect(initial_delay=1.0, max_delay=10.0)

    assert [policy.delay(2, iter([part]).__next__) for part in (0.0, 0.25, 0.75)] == [0, 1, 3]


def test_impossible_delays_are_refused() -> None:
    with pytest.raises(ValueError, match="0 <= initial_delay <= max_delay"):
        Reconnect(initial_delay=2.0, max_delay=1.0)


@pytest.mark.parametrize("code", [1000, 1008, 4008, 4403])
def test_some_closes_are_final(code: int) -> None:
    """PROTOCOL 8; 4008 stands for 1008."""
    assert retries().next_delay(Ended(code), 0.0) is None


@pytest.mark.parametrize(
    "code", [1001, 1006, 1009, 1011, 1012, 1013, 4000, 4009, 4011, 4012, 4013, 4429, 4999]
)
def test_all_others_lead_to_another_attempt(code: int) -> None:
    """PROTOCOL 8."""
    assert retries().next_delay(Ended(code), 0.0) == 0.15


def test_codes_that_stand_for_others() -> None:
    """PROTOCOL 8: what daphne cannot send goes out 3,000 higher."""
    codes = (4007, 4008, 4013, 4014, 1012)

    assert [plain_code(code) for code in codes] == [4007, 1008, 1013, 4014, 1012]


def test_without_reconnecting_every_end_is_final() -> None:
    assert retries(Reconnect(enabled=False)).next_delay(Ended(1012), 0.0) is None


def test_so_many_attempts_in_a_row() -> None:
    tried = retries(Reconnect(max_attempts=2, jitter="none"))

    assert [tried.next_delay(Ended(), 0.0) for _ in range(3)] == [0.3, 0.6, None]


def test_a_lasting_connection_makes_earlier_failures_forgotten() -> None:
    tried = retries(Reconnect(jitter="none"))
    tried.next_delay(Ended(), 0.0)
    tried.opened(10.0)
    assert tried.next_delay(Ended(), 14.9) == 0.6  # accepted and dropped: no reason to hurry
    tried.opened(20.0)

    assert tried.next_delay(Ended(), 25.0) == 0.3


def test_4401_asks_for_one_fresh_token_and_then_stops() -> None:
    """PROTOCOL 8."""
    tried = retries(can_refresh=True)

    tried.opened(0.0)
    assert tried.next_delay(Ended(4401), 0.0) == 0.0
    tried.opened(0.1)
    assert tried.next_delay(Ended(4401), 0.1) is None


def test_a_token_that_was_good_may_be_replaced_again() -> None:
    """A frame, or time, proves that the fresh one was accepted."""
    tried = retries(can_refresh=True)
    tried.opened(0.0)
    tried.next_delay(Ended(4401), 0.0)
    tried.opened(0.1)
    tried.heard()
    assert tried.next_delay(Ended(4401), 0.2) == 0.0
    tried.opened(0.3)

    assert tried.next_delay(Ended(4401), 6.0) == 0.0


def test_without_a_source_of_tokens_4401_is_final() -> None:
    assert retries(can_refresh=False).next_delay(Ended(4401), 0.0) is None


def test_a_goodbye_says_when_to_come_back() -> None:
    """PROTOCOL 7; the jitter on top keeps clients apart."""
    tried = retries()
    tried.opened(0.0)
    tried.said_bye(Bye(retry_after=4.0))
    assert tried.next_delay(Ended(1012), 1.0) == 4.15
    tried.opened(2.0)

    assert tried.next_delay(Ended(1012), 3.0) == 0.3  # it counted for that close only


def test_a_goodbye_for_good() -> None:
    tried = retries()
    tried.opened(0.0)
    tried.said_bye(Bye(reconnect=False))

    assert tried.next_delay(Ended(1012), 1.0) is None


@pytest.mark.parametrize(
    ("status", "delay"), [(400, None), (404, None), (429, 0.15), (500, 0.15), (503, 0.15)]
)
def test_http_answers_that_will_be_the_same_are_final(status: int, delay: float | None) -> None:
    assert retries().next_delay(Ended(status=status), 0.0) == delay


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_handshake_is_as_4401(status: int) -> None:
    """PROTOCOL 8: ``refuse="http"``."""
    tried = retries(can_refresh=True)

    assert [tried.next_delay(Ended(status=status), 0.0) for _ in range(2)] == [0.0, None]
