"""
The figures that this library promises, and whether a run holds them.

Each row names cells and two peers; what is compared is the median of ratios, paired by
round. Nothing here measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from benchmarks.peers import CHANNELS, CHANX, MSGSPEC, OURS, PYDANTIC
from benchmarks.records import Cell, Records
from benchmarks.stats import Ratio, paired

__all__ = ["Verdict", "verdicts"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row: what was promised, and what a run measured, if it did."""

    promise: str
    measured: str
    floor: str
    holds: bool | None
    """None where the run did not measure it."""

    by_cpu: str = ""
    """The same ratio of the server's processor time for each message."""

    @property
    def word(self) -> str:
        return {True: "holds", False: "does not hold", None: "not measured"}[self.holds]


def verdicts(records: Records) -> list[Verdict]:
    return [row for rows in _ROWS for row in rows(records)]


def _at_least(
    promise: str, ratio: Ratio | None, floor: float, by_cpu: Ratio | None = None
) -> Verdict:
    measured = "-" if ratio is None else str(ratio)
    holds = None if ratio is None else ratio.median >= floor
    return Verdict(
        promise, measured, f"at least {floor:g}x", holds, "" if by_cpu is None else str(by_cpu)
    )


def _by_cpu(records: Records, cell: Cell, ours: str, theirs: str) -> Ratio | None:
    return records.ratio(cell, ours, theirs, "cpu_microseconds", lower_is_better=True)


ECHO_FLOORS = {
    "daphne": {CHANNELS: 1.9, CHANX: 2.5, "bare": 0.8},
    "uvicorn": {CHANNELS: 2.2, CHANX: 3.3, "starlette": 0.8, "starlette-json": 0.8, "bare": 0.6},
}


def _echo(records: Records) -> Iterator[Verdict]:
    for server, floors in ECHO_FLOORS.items():
        cell = Cell("echo", server, size=50)
        for peer, floor in floors.items():
            ratio = records.ratio(cell, OURS, peer, "rate")
            by_cpu = _by_cpu(records, cell, OURS, peer)
            promise = f"echo, {server}, 50 connections, against {peer}"
            yield _at_least(promise, ratio, floor, by_cpu)


def _latency(records: Records) -> Iterator[Verdict]:
    for server in ("daphne", "uvicorn"):
        cell = Cell("echo", server, size=50)
        ratio = records.ratio(cell, OURS, CHANNELS, "p99", lower_is_better=True)
        yield _at_least(f"p99 latency, {server}, 50 connections, against channels", ratio, 5)


def _fanout(records: Records) -> Iterator[Verdict]:
    for server, peer, floor in (
        ("uvicorn", CHANNELS, 15),
        ("daphne", CHANNELS, 5),
        ("uvicorn", "socketio", 3),
    ):
        cell = Cell("fanout", server, "memory", 1000)
        ratio = records.ratio(cell, OURS, peer, "milliseconds", lower_is_better=True)
        by_cpu = _by_cpu(records, cell, OURS, peer)
        promise = f"one publish to 1,000 sockets, {server}, against {peer}"
        yield _at_least(promise, ratio, floor, by_cpu)


def _burst(records: Records) -> Iterator[Verdict]:
    for bench in ("burst", "burst from another process"):
        for layer in ("memory", "redis", "redis-pubsub"):
            if bench != "burst" and layer == "memory":
                continue
            lost = records.middle(Cell(bench, "uvicorn", layer, 100), OURS, "lost")
            yield Verdict(
                f"{bench}, 500 publishes to 100 sockets, {layer}, lost",
                "-" if lost is None else f"{lost:,.0f}",
                "0",
                None if lost is None else lost == 0,
            )


FLAT = 1.5


def _flat(records: Records) -> Iterator[Verdict]:
    for server in ("uvicorn", "daphne"):
        ratio = _growth(records, server, "microseconds_each")
        by_cpu = _growth(records, server, "cpu_microseconds")
        yield Verdict(
            f"cost per delivery, {server}, 5,000 subscribers against 100",
            "-" if ratio is None else str(ratio),
            f"at most {FLAT:g}x",
            None if ratio is None else ratio.median <= FLAT,
            "" if by_cpu is None else str(by_cpu),
        )


def _growth(records: Records, server: str, value: str) -> Ratio | None:
    """A figure at 5,000 subscribers over the same at 100."""
    few, many = (Cell("fanout", server, "memory", size) for size in (100, 5000))
    return paired(records.rounds(many, OURS, value), records.rounds(few, OURS, value))


def _variants(records: Records) -> Iterator[Verdict]:
    for server in ("daphne", "uvicorn"):
        cell = Cell("variants", server, size=50)
        call = records.ratio(cell, "call", "event", "rate")
        by_cpu = _by_cpu(records, cell, "call", "event")
        yield _at_least(f"RPC, {server}, against an event echo", call, 0.7, by_cpu)
    for server in ("daphne", "uvicorn"):
        cell = Cell("variants", server, size=50)
        layered = records.ratio(cell, "layered", "event", "rate")
        by_cpu = _by_cpu(records, cell, "layered", "event")
        promise = f"five middlewares and three hooks, {server}, against none"
        yield _at_least(promise, layered, 0.85, by_cpu)


def _connects(records: Records) -> Iterator[Verdict]:
    for server in ("daphne", "uvicorn"):
        cell = Cell("connects", server, size=20)
        ratio = records.ratio(cell, OURS, CHANNELS, "rate")
        yield _at_least(
            f"connects per second, {server}, with session auth, against AuthMiddlewareStack",
            ratio,
            1.5,
            _by_cpu(records, cell, OURS, CHANNELS),
        )


def _memory(records: Records) -> Iterator[Verdict]:
    for cell in records.cells("memory"):
        ours = records.rounds(cell, OURS, "kilobytes")
        theirs = records.rounds(cell, CHANNELS, "kilobytes")
        ratio = paired(ours, theirs)
        if ratio is None:
            continue
        kilobytes = f"{median(ours.values()):.1f} KB against {median(theirs.values()):.1f} KB"
        yield Verdict(
            f"idle memory per connection, {cell.server}, against channels",
            f"{ratio}, {kilobytes}",
            "at most 1x",
            ratio.median <= 1,
        )


def _msgspec(records: Records) -> Iterator[Verdict]:
    cell = Cell("in-process")
    ratio = records.ratio(cell, MSGSPEC, PYDANTIC, "microseconds", lower_is_better=True)
    yield _at_least("msgspec validator against the pydantic one, in-process", ratio, 1.3)


_ROWS: tuple[Callable[[Records], Iterator[Verdict]], ...] = (
    _echo,
    _latency,
    _fanout,
    _burst,
    _flat,
    _variants,
    _connects,
    _memory,
    _msgspec,
)
