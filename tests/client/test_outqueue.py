import pytest

from tests.client.test_calls import exchange
from wskit_channels.client.outqueue import Outgoing, OutQueue, QueuePolicy


def texts(queue: OutQueue) -> list[str]:
    found = []
    while (frame := queue.pop()) is not None:
        found.append(frame.text)
    return found


@pytest.mark.parametrize(
    ("policy", "taken", "left"),
    [
        ("drop-newest", [True, True, False], ["1", "2"]),
        ("drop-oldest", [True, True, True], ["2", "3"]),
        ("off", [False, False, False], []),
    ],
)
def test_policies_of_a_client_that_is_offline(
    policy: QueuePolicy, taken: list[bool], left: list[str]
) -> None:
    queue = OutQueue(policy, size=2)

    found = [queue.push(Outgoing(text), online=False)[0] for text in "123"]

    assert (found, texts(queue)) == (taken, left)


@pytest.mark.parametrize("policy", ["drop-newest", "drop-oldest", "off"])
def test_online_what_waits_is_about_to_go_and_is_not_driven_out(policy: QueuePolicy) -> None:
    queue = OutQueue(policy, size=2)

    found = [queue.push(Outgoing(text), online=True) for text in "123"]

    assert found == [(True, None), (True, None), (False, None)]
    assert texts(queue) == ["1", "2"]


def test_what_was_driven_out_is_told() -> None:
    queue, first = OutQueue("drop-oldest", size=1), Outgoing("1")
    queue.push(first, online=False)

    assert queue.push(Outgoing("2"), online=False) == (True, first)


def test_what_comes_back_goes_first() -> None:
    queue = OutQueue("drop-newest", size=1)
    queue.push(Outgoing("3"), online=False)
    queue.put_back([Outgoing("1"), Outgoing("2")])

    assert texts(queue) == ["1", "2", "3"]


def test_a_request_is_taken_out() -> None:
    queue, call = OutQueue("drop-newest", size=9), exchange()
    queue.push(Outgoing("1"), online=False)
    queue.push(Outgoing(call=call), online=False)

    assert [queue.withdraw(call), queue.withdraw(call)] == [True, False]
    assert texts(queue) == ["1"]


@pytest.mark.parametrize(("keep", "left"), [(True, ["1"]), (False, [])])
def test_messages_may_wait_for_another_start_but_requests_do_not(
    keep: bool, left: list[str]
) -> None:
    queue = OutQueue("drop-newest", size=9)
    queue.push(Outgoing("1"), online=False)
    queue.push(Outgoing(call=exchange()), online=False)

    queue.clear(keep_messages=keep)

    assert texts(queue) == left
