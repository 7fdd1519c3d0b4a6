"""Calls in flight: ``protocol/calls.py``."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from wskit_channels.protocol.calls import (
    Call,
    CallEnded,
    CallTable,
    IdInFlight,
    Move,
    State,
    TooManyCalls,
    advance,
)

TERMINAL = {
    Move.REPLY: State.REPLIED,
    Move.FAIL: State.FAILED,
    Move.CANCEL: State.CANCELLED,
    Move.EXPIRE: State.EXPIRED,
    Move.DISCONNECT: State.DISCONNECTED,
}


@pytest.mark.parametrize(("move", "state"), TERMINAL.items())
def test_an_open_call_ends_by(move: Move, state: State) -> None:
    """PROTOCOL 5."""
    assert advance(State.OPEN, move) is state


def test_progress_leaves_a_call_open() -> None:
    assert advance(State.OPEN, Move.PROGRESS) is State.OPEN


@pytest.mark.parametrize("move", Move)
@pytest.mark.parametrize("state", TERMINAL.values())
def test_an_ended_call_moves_no_more(state: State, move: Move) -> None:
    """PROTOCOL 5.2: the first terminal wins, and progress after it is dropped."""
    with pytest.raises(CallEnded, match=f"^cannot {move.value}: call is {state.value}$"):
        advance(state, move)


@pytest.mark.parametrize("move", TERMINAL)
def test_an_id_is_free_at_the_terminal_frame(move: Move) -> None:
    """PROTOCOL 5.7 and 5.9."""
    calls = CallTable(max_inflight=2, timeout=5.0)
    first = calls.open("a", now=0.0)
    calls.move(first, move)

    assert "a" not in calls
    assert calls.find("a") is None
    assert calls.open("a", now=0.0) is not first


def test_an_id_in_flight_is_taken() -> None:
    """PROTOCOL 5.8."""
    calls = CallTable(max_inflight=2, timeout=5.0)
    call = calls.open("a", now=0.0)
    calls.move(call, Move.PROGRESS)

    with pytest.raises(IdInFlight):
        calls.open("a", now=0.0)
    assert (calls.find("a"), calls.running) == (call, 1)


def test_an_old_answer_does_not_end_a_call_that_uses_the_id_again() -> None:
    """PROTOCOL 5.9."""
    calls = CallTable(max_inflight=2, timeout=5.0)
    old = calls.open("a", now=0.0)
    calls.move(old, Move.REPLY)
    new = calls.open("a", now=0.0)

    with pytest.raises(CallEnded):
        calls.move(old, Move.FAIL)
    assert calls.find("a") is new


def test_an_id_in_flight_is_told_before_a_full_table() -> None:
    """Either refusal may not carry the id, which belongs to its call (PROTOCOL 3)."""
    calls = CallTable(max_inflight=1, timeout=5.0)
    calls.open("a", now=0.0)

    with pytest.raises(IdInFlight):
        calls.open("a", now=0.0)


def test_expired_call_keeps_its_slot_until_the_handler_ends() -> None:
    """A tiny deadline cannot start unbounded work (PROTOCOL 5.7)."""
    calls = CallTable(max_inflight=1, timeout=5.0)
    call = calls.open("a", now=0.0)

    assert calls.expire(now=4.9) == []
    assert calls.expire(now=5.0) == [call]

    with pytest.raises(TooManyCalls, match=r"^1 of 1 calls are in flight$"):
        calls.open("b", now=5.0)
    calls.handler_ended()
    calls.open("b", now=5.0)


def test_no_slots_no_calls() -> None:
    with pytest.raises(TooManyCalls, match=r"^0 of 0 calls are in flight$"):
        CallTable(max_inflight=0, timeout=5.0).open("a", now=0.0)


@pytest.mark.parametrize(
    ("timeout", "deadline"), [(None, 130.0), (0.001, 100.001), (299.0, 399.0), (301.0, 400.0)]
)
def test_deadline(timeout: float | None, deadline: float) -> None:
    """PROTOCOL 5.4: arrival + timeoutMs, or 30 s without one, capped at 300 s."""
    calls = CallTable(max_inflight=1, timeout=30.0)

    assert calls.open("a", now=100.0, timeout=timeout).deadline == deadline


def test_the_servers_own_timeout_is_capped_too() -> None:
    """PROTOCOL 5.4."""
    calls = CallTable(max_inflight=1, timeout=30.0, max_timeout=10.0)

    assert calls.open("a", now=0.0).deadline == 10.0


def test_calls_expire_in_the_order_of_their_deadlines() -> None:
    calls = CallTable(max_inflight=3, timeout=5.0)
    late = calls.open("late", now=0.0, timeout=3.0)
    early = calls.open("early", now=0.0, timeout=1.0)
    calls.open("never", now=0.0, timeout=4.0)

    assert calls.expire(now=3.0) == [early, late]
    assert "never" in calls


def test_disconnect_ends_every_open_call() -> None:
    """PROTOCOL 5.6."""
    calls = CallTable(max_inflight=3, timeout=5.0)
    one, two = calls.open("a", now=0.0), calls.open("b", now=0.0)
    replied = calls.open("c", now=0.0)
    calls.move(replied, Move.REPLY)

    assert calls.disconnect() == [one, two]
    assert {one.state, two.state, replied.state} == {State.DISCONNECTED, State.REPLIED}
    assert calls.expire(now=100.0) == []


class Model:
    """One call as the rules have it: its terminals, and whether its handler runs."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.terminals: list[Move] = []


class CallsMachine(RuleBasedStateMachine):
    """Any order of what a client, a clock and handlers may do to a connection's calls."""

    running = Bundle("running")
    ended = Bundle("ended")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.connected = True
        self.open: dict[str, Model] = {}
        self.all: list[Model] = []
        self.slots = 0

    @initialize(max_inflight=st.integers(1, 4))
    def start(self, max_inflight: int) -> None:
        self.max_inflight = max_inflight
        self.calls = CallTable(max_inflight, timeout=5.0, max_timeout=8.0)

    @precondition(lambda self: self.connected)
    @rule(
        target=running,
        id_=st.sampled_from("abc"),
        timeout=st.none() | st.sampled_from([1.0, 3.0, 20.0]),
    )
    def request(self, id_: str, timeout: float | None) -> Model | None:
        if id_ in self.open:
            with pytest.raises(IdInFlight):
                self.calls.open(id_, now=self.now, timeout=timeout)
            return None
        if self.slots == self.max_inflight:
            with pytest.raises(TooManyCalls):
                self.calls.open(id_, now=self.now, timeout=timeout)
            return None
        call = self.calls.open(id_, now=self.now, timeout=timeout)
        assert call.deadline == self.now + min(8.0, 5.0 if timeout is None else timeout)
        model = self.open[id_] = Model(call)
        self.all.append(model)
        self.slots += 1
        return model

    @rule(model=running, move=st.sampled_from([Move.REPLY, Move.FAIL, Move.CANCEL]))
    def finish(self, model: Model | None, move: Move) -> None:
        if model is None:
            return
        if model.terminals or not self.connected:
            with pytest.raises(CallEnded):
                self.calls.move(model.call, move)
        else:
            self.calls.move(model.call, move)
            self._ended(model, move)

    @rule(model=running)
    def progress(self, model: Model | None) -> None:
        if model is None:
            return
        if model.terminals or not self.connected:
            with pytest.raises(CallEnded):
                self.calls.move(model.call, Move.PROGRESS)
        else:
            self.calls.move(model.call, Move.PROGRESS)

    @rule(seconds=st.sampled_from([0.0, 1.0, 5.0, 8.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        due = sorted(
            (model for model in self.open.values() if model.call.deadline <= self.now),
            key=lambda model: model.call.deadline,
        )
        assert self.calls.expire(now=self.now) == [model.call for model in due]
        for model in due:
            self._ended(model, Move.EXPIRE)

    @rule(target=ended, model=consumes(running))
    def handler_ends(self, model: Model | None) -> None:
        if model is None:
            return
        if not model.terminals and self.connected:  # it forgot to answer
            self.calls.move(model.call, Move.FAIL)
            self._ended(model, Move.FAIL)
        self.calls.handler_ended()
        self.slots -= 1

    @precondition(lambda self: self.connected)
    @rule()
    def disconnect(self) -> None:
        gone = [model.call for model in self.open.values()]
        assert self.calls.disconnect() == gone
        self.connected = False
        self.open.clear()

    def _ended(self, model: Model, move: Move) -> None:
        model.terminals.append(move)
        del self.open[model.call.id]

    @invariant()
    def one_terminal_at_most(self) -> None:
        for model in self.all:
            assert len(model.terminals) <= 1
            last = [TERMINAL[move] for move in model.terminals]
            if not last:
                last = [State.OPEN if self.connected else State.DISCONNECTED]
            assert [model.call.state] == last
            assert model.call.ended is (model.call.state is not State.OPEN)

    @invariant()
    def ids_are_free_at_the_terminal(self) -> None:
        for id_ in "abc":
            model = self.open.get(id_)
            assert self.calls.find(id_) is (model.call if model else None)
            assert (id_ in self.calls) is (id_ in self.open)

    @invariant()
    def slots_are_free_when_handlers_end(self) -> None:
        assert self.calls.running == self.slots <= self.max_inflight


CallsMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCalls = CallsMachine.TestCase
