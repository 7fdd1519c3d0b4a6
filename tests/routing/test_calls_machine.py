"""
Calls of one connection under random calls, answers, aborts, deadlines and disconnects.

A machine drives a real consumer in a loop with a fake clock, beside a model of what
``PROTOCOL 5`` promises: whatever happens in whatever order, every accepted call gets the
one terminal frame that it was due, and nothing else does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.fake_clock import FakeClockLoop
from tests.helpers import Client, Frame, settle
from tests.routing.messages import Answer, Ask, AskMore
from wskit_channels import CloseContext, Limits, Router, RpcContext, WsKitError

T = TypeVar("T")

SLOTS = 4
THROTTLE = 1.0
EARLY = 1e-9
"""A loop runs its timers early by up to its clock's resolution, which hides rounding."""

IDS = st.sampled_from("abcde")
MODES = st.sampled_from(["obedient", "swallowing", "not cancellable"])
TIMEOUTS = st.sampled_from([None, 200, 1000, 1500, 10**9])


@dataclass(eq=False)
class Live:
    """One accepted call, as the model knows it."""

    id: str
    mode: str
    deadline: float
    commands: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    given: list[int] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    due: str | None = None
    """The terminal frame's type or code; None while the call is open."""

    settled: bool = False
    began: bool = False
    ended: bool = False
    cancellations: int = 0

    @property
    def takes_a_slot(self) -> bool:
        return self.began and not self.ended


class Connection:
    """A connection to a router whose handlers do what the machine tells them to."""

    def __init__(self) -> None:
        self.lives: list[Live] = []
        self.closes = 0
        self.router: Router[Any] = Router(limits=Limits(max_inflight_rpcs=SLOTS))
        for register, handler in (
            (self.router.rpc(Ask), self._ask),
            (self.router.rpc(AskMore, cancellable=False), self._ask_more),
        ):
            untyped: Any = register  # it may forget to answer, which types forbid
            untyped(handler)
        self.router.on_close(self._closed)
        self.client = Client(self.router.as_asgi())

    async def _ask(self, ctx: RpcContext[Ask]) -> Answer | None:
        return await self._handle(ctx, ctx.payload.text)

    async def _ask_more(self, ctx: RpcContext[AskMore]) -> Answer | None:
        return await self._handle(ctx, ctx.payload.text)

    async def _closed(self, ctx: CloseContext[Any]) -> None:
        self.closes += 1

    async def _handle(self, ctx: RpcContext[Any], number: str) -> Answer | None:
        live = self.lives[int(number)]
        live.began = True
        try:
            while True:
                try:
                    command = await live.commands.get()
                except asyncio.CancelledError:
                    live.cancellations += 1
                    if live.mode == "obedient":
                        raise
                    continue
                if isinstance(command, tuple):
                    value, throttle = command
                    ctx.progress(value, throttle=throttle)
                elif command == "reply":
                    ctx.reply(Answer(text=number))
                elif command == "error":
                    ctx.error("NOT_FOUND")
                elif command == "return":
                    return Answer(text=number)
                elif command == "forget":
                    return None
                elif command == "raise":
                    raise WsKitError("ABORTED")
                else:
                    raise RuntimeError("a bug")
        finally:
            live.ended = True


ENDINGS = {"return": "ANSWER", "forget": "INTERNAL", "raise": "ABORTED", "bug": "INTERNAL"}
ANSWERS = {"reply": "ANSWER", "error": "NOT_FOUND"}


class Calls(RuleBasedStateMachine):
    """The machine; each rule is followed by a comparison with the model."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=FakeClockLoop)
        self.loop = self.runner.get_loop()
        assert isinstance(self.loop, FakeClockLoop)
        self.clock: FakeClockLoop = self.loop
        self.values = 0
        self.refusals: list[tuple[str | None, set[str]]] = []
        self.connection = self._connect()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(main)

    def _connect(self) -> Connection:
        async def connect() -> Connection:
            connection = Connection()
            await connection.client.open()
            return connection

        return self.run(connect())

    @property
    def lives(self) -> list[Live]:
        return self.connection.lives

    @property
    def running(self) -> list[Live]:
        return [live for live in self.lives if live.takes_a_slot]

    def _open(self, id: str) -> Live | None:
        return next((live for live in self.lives if live.id == id and live.due is None), None)

    async def _request(self, id: str, mode: str, timeout: int | None) -> Live | None:
        """Send a request; the call that the model says it opens."""
        slots_taken = len(self.running)
        in_flight = self._open(id) is not None
        meta = {} if timeout is None else {"timeoutMs": timeout}
        type_ = "ASK_MORE" if mode == "not cancellable" else "ASK"
        await self.connection.client.call(type_, {"text": str(len(self.lives))}, id=id, **meta)
        if in_flight:
            both = {"RESOURCE_EXHAUSTED"} if slots_taken >= SLOTS else set()
            self.refusals.append((None, {"ALREADY_EXISTS"} | both))
            return None
        if slots_taken >= SLOTS:
            self.refusals.append((id, {"RESOURCE_EXHAUSTED"}))
            return None
        seconds = min(30.0 if timeout is None else timeout / 1000, 300.0)
        self.lives.append(Live(id, mode, self.clock.time() + seconds))
        return self.lives[-1]

    def _pick(self, data: st.DataObject) -> Live:
        """Any call whose handler runs; a new one where there is none."""
        if not self.running:
            self.call("a", data.draw(MODES), data.draw(TIMEOUTS))
        return data.draw(st.sampled_from(self.running))

    # -- what may happen

    @rule(id=IDS, mode=MODES, timeout=TIMEOUTS)
    def call(self, id: str, mode: str, timeout: int | None) -> None:
        async def act() -> None:
            await self._request(id, mode, timeout)
            await settle()

        self.run(act())

    @rule(id=IDS, mode=MODES)
    def call_and_abort_in_one_breath(self, id: str, mode: str) -> None:
        async def act() -> None:
            await self._request(id, mode, None)
            if (live := self._open(id)) is not None:
                live.due = "CANCELLED"
            await self.connection.client.abort(id)
            await settle()

        self.run(act())

    @rule(data=st.data(), throttled=st.booleans(), times=st.integers(1, 3))
    def report_progress(self, data: st.DataObject, throttled: bool, times: int) -> None:
        live = self._pick(data)
        for _ in range(times):
            self.values += 1
            live.commands.put_nowait((self.values, THROTTLE if throttled else None))
            if live.due is None:
                live.given.append(self.values)
        self.run(settle())
        if live.due is None and not throttled:
            assert live_sent(self, live)[-1] == self.values

    @rule(data=st.data(), command=st.sampled_from([*ENDINGS, *ANSWERS]))
    def tell_a_handler(self, data: st.DataObject, command: str) -> None:
        live = self._pick(data)
        if live.due is None:
            live.due = (ENDINGS | ANSWERS)[command]
        live.commands.put_nowait(command)
        self.run(settle())
        assert live.ended == (command in ENDINGS)

    @rule(id=IDS)
    def abort(self, id: str) -> None:
        async def act() -> None:
            if (live := self._open(id)) is not None:
                live.due = "CANCELLED"
            await self.connection.client.abort(id)
            await settle()

        self.run(act())

    @rule(data=st.data())
    def answer_and_abort_in_one_breath(self, data: st.DataObject) -> None:
        """Whichever comes first, there is one terminal frame."""
        live = self._pick(data)

        async def act() -> None:
            live.commands.put_nowait("return")
            await self.connection.client.abort(live.id)
            await settle()

        was_open = live.due is None
        other = self._open(live.id)
        self.run(act())
        if other is not None and other is not live:
            other.due = "CANCELLED"
        if was_open:
            live.due = "either"

    @rule(seconds=st.sampled_from([0.1, 0.3, 0.5, 0.5, 1.0, 30.0, 300.0]))
    def let_time_pass(self, seconds: float) -> None:
        until = self.clock.time() + seconds
        for live in self.lives:
            if live.due is None and live.deadline <= until + EARLY:
                live.due = "DEADLINE_EXCEEDED"
        self.run(self.clock.advance(seconds))
        for live in self.lives:
            if live.due is None and seconds >= THROTTLE and live.given:
                assert live_sent(self, live)[-1] == live.given[-1]

    @rule(really=st.sampled_from([False, False, False, True]))
    def disconnect(self, really: bool) -> None:
        """Everything ends; then a new client comes."""
        self.compare()
        if really:
            self._end()
            self.connection = self._connect()

    def _end(self) -> None:
        connection, loop = self.connection, self.clock

        async def leave() -> None:
            await connection.client.disconnect()
            await settle()
            await loop.advance(30)  # what swallows its cancellation gets close_timeout
            await connection.client.ended()
            for live in connection.lives:
                live.commands.put_nowait("return")
            await loop.advance(30)

        self.run(leave())
        assert connection.client.left_over() == []
        assert connection.closes == 1
        assert [live.id for live in connection.lives if live.takes_a_slot] == []
        assert asyncio.all_tasks(loop) == set()
        assert loop.pending_timers() == 0

    # -- what must be true

    @invariant()
    def compare(self) -> None:
        for frame in self.run(self.connection.client.heard()):
            self._take(frame)
        assert [live for live in self.lives if (live.due is not None) != live.settled] == []
        assert self.refusals == []
        for live in self.running:
            was_cancelled = live.due in ("CANCELLED", "DEADLINE_EXCEEDED")
            expected = 1 if was_cancelled and live.mode == "swallowing" else 0
            assert live.cancellations == expected, live

    def _take(self, frame: Frame) -> None:
        id_ = frame.get("meta", {}).get("correlationId")
        if frame["type"] == "$ws:rpc-progress":
            live = self._owner(id_)
            assert frame["data"] in live.given
            assert live.sent[-1:] < [frame["data"]]
            live.sent.append(frame["data"])
            return
        kind = frame["type"] if frame["type"] == "ANSWER" else frame["payload"]["code"]
        if self.refusals and self.refusals[0][0] == id_ and kind in self.refusals[0][1]:
            self.refusals.pop(0)
            return
        live = self._owner(id_)
        live.settled = True
        assert kind in (["ANSWER", "CANCELLED"] if live.due == "either" else [live.due])
        if kind == "ANSWER":
            assert frame["payload"]["text"] == str(self.lives.index(live))
        assert live.sent[-1:] == live.given[-1:]

    def _owner(self, id: str) -> Live:
        """The call that a frame with this id belongs to: the oldest that has not settled."""
        return next(live for live in self.lives if live.id == id and not live.settled)

    def teardown(self) -> None:
        try:
            self._end()
        finally:
            self.runner.close()


def live_sent(machine: Calls, live: Live) -> list[int]:
    """What was sent of a call's progress, once all that has come is looked at."""
    machine.compare()
    return live.sent


Calls.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestCalls = Calls.TestCase
