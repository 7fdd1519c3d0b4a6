"""
What one message costs, in figures that a busy machine does not change.

Run in a process of its own, ``python -m benchmarks.counts``; prints JSON. Every figure is a
difference between a longer and a shorter run, so that what happens once drops out.

- ``bytecodes``: instructions of the interpreter that were executed;
- ``calls``: functions called, of Python and of C;
- ``peak_bytes``: memory in use at most between a message and its last answer;
- ``kept_blocks``: blocks of memory that are there afterwards and were not before.

With arguments, ``CASE=MESSAGES ...``, it only handles so many messages: for tools that
count a process' machine instructions.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tracemalloc
from collections.abc import Callable
from statistics import median
from types import FrameType
from typing import Any

from benchmarks.inprocess import Case, Prepared, prepared
from benchmarks.peers import CALL, OURS, PEERS, REFUSED

__all__ = ["GUARDED", "count_all"]

SHORT, LONG = 20, 120
SUBSCRIBERS = 50

_MODULE = PEERS[OURS].module
GUARDED: dict[str, Case] = {
    case.name: case
    for case in (
        Case(name="event echo", module=_MODULE, frame=PEERS[OURS].echo),
        Case(name="call", module=_MODULE, frame=CALL),
        Case(
            name="publish delivery",
            module=_MODULE,
            frame=PEERS[OURS].shout,
            join=PEERS[OURS].join,
            subscribers=SUBSCRIBERS,
        ),
        Case(name="refused frame", module=_MODULE, frame=REFUSED),
    )
}


class Bytecodes:
    """Counts instructions of all frames that are entered or resumed while it is on."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Bytecodes:
        sys.settrace(self._entered)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.settrace(None)

    def _entered(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._executed

    def _executed(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
        if event == "opcode":
            self.count += 1
        return self._executed


class Calls:
    """Counts calls, of Python and C functions."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Calls:
        sys.setprofile(self._profiled)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.setprofile(None)

    def _profiled(self, frame: FrameType, event: str, arg: Any) -> None:
        if event in ("call", "c_call"):
            self.count += 1


async def count_one(case: Case) -> dict[str, float]:
    """All figures of one case, for one message or one delivery."""
    one = await prepared(case)
    # Deliveries: a subscriber's own share is what a message costs, divided by their number.
    short, long = (2, 12) if case.subscribers else (SHORT, LONG)
    await one.echoes.run(long)
    figures = {
        "bytecodes": await _difference(Bytecodes, one, short, long),
        "calls": await _difference(Calls, one, short, long),
        "peak_bytes": await _peak(one, short),
        "kept_blocks": await _kept(one, long),
    }
    await one.close()
    return {
        name: round(value / (1 if name == "peak_bytes" else one.deliveries), 2)
        for name, value in figures.items()
    }


async def _difference(counter: Any, one: Prepared, short: int, long: int) -> float:
    counts = []
    for times in (short, long):
        with counter() as counting:
            await one.echoes.run(times)
        counts.append(int(counting.count))
    return (counts[1] - counts[0]) / (long - short)


async def _peak(one: Prepared, times: int) -> float:
    peaks: list[int] = []

    def answered() -> None:
        _, peak = tracemalloc.get_traced_memory()
        peaks.append(peak - start)

    one.echoes.on_answer = answered
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(times):
            start = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            await one.echoes.run(1)
    finally:
        tracemalloc.stop()
        gc.enable()
        one.echoes.on_answer = None
    return median(peaks)


async def _kept(one: Prepared, times: int) -> float:
    gc.collect()
    before = sys.getallocatedblocks()
    await one.echoes.run(times)
    gc.collect()
    between = sys.getallocatedblocks()
    await one.echoes.run(3 * times)
    gc.collect()
    after = sys.getallocatedblocks()
    return ((after - between) - (between - before)) / (2 * times)


def count_all() -> dict[str, dict[str, float]]:
    """Figures by case; each in an event loop of its own."""
    return {name: asyncio.run(count_one(case)) for name, case in GUARDED.items()}


async def handle(case: Case, messages: int) -> None:
    one = await prepared(case)
    if messages:
        await one.echoes.run(messages)
    await one.close()


def main() -> None:
    if len(sys.argv) > 1:
        for argument in sys.argv[1:]:
            name, _, messages = argument.partition("=")
            asyncio.run(handle(GUARDED[name], int(messages)))
        return
    print(json.dumps({"python": ".".join(map(str, sys.version_info[:2])), "cases": count_all()}))


if __name__ == "__main__":
    main()
