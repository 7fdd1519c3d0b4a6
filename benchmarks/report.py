"""
A run in Markdown: the promised figures first, then what stands behind them.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.network import Plan
from benchmarks.peers import OURS, PEERS
from benchmarks.processes import LOAD_CPU, SERVER_CPU
from benchmarks.records import Cell, Records
from benchmarks.verdicts import verdicts

__all__ = ["BEGIN", "END", "insert", "markdown", "table", "verdict_table"]

BEGIN = "<!-- results: written by python -m benchmarks --docs -->"
END = "<!-- end of results -->"
PACKAGES = (
    "wskit-channels",
    "django",
    "channels",
    "channels-redis",
    "chanx",
    "daphne",
    "msgspec",
    "pydantic",
    "python-socketio",
    "starlette",
    "uvicorn",
    "uvloop",
    "websockets",
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def verdict_table(records: Records) -> str:
    rows = [
        [row.promise, row.measured, row.floor, row.word, row.by_cpu] for row in verdicts(records)
    ]
    head = ["", "measured: median (lowest to highest round)", "promised", "", "by processor time"]
    return table(head, rows)


def markdown(records: Records, plan: Plan) -> str:
    """All of a run, without a title."""
    parts = [
        _machine(plan),
        "### What is promised\n\n" + verdict_table(records),
        *_echoes(records),
        *_variants(records),
        *_fanouts(records),
        *_bursts(records),
        *_simple(records, "connects", "Connects per second, with session and user", "rate", ",.0f"),
        *_simple(records, "memory", "Kilobytes per idle connection", "kilobytes", ".1f"),
        *_in_process(records),
        *_ceiling(records),
        *_problems(records),
    ]
    return "\n".join(parts)


def _machine(plan: Plan) -> str:
    found = [f"{name} {known}" for name in PACKAGES if (known := _version(name))]
    pinned = (
        "the server on one and the load generator on another"
        if SERVER_CPU and LOAD_CPU
        else "nothing pinned"
    )
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors ({pinned}), "
        f"Python {platform.python_version()}, {', '.join(found)}. "
        f"{plan.seconds:g} s a cell, {plan.rounds} rounds; load average {plan.load:.1f} at the "
        f"start. “uvicorn” is uvicorn on asyncio's own "
        "loop, “uvloop” is uvicorn on uvloop.\n"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _echoes(records: Records) -> Iterator[str]:
    for cell in records.cells("echo"):
        rows = []
        for peer in records.peers(cell):
            ratio = records.ratio(cell, OURS, peer, "rate")
            latencies = [records.middle(cell, peer, name) for name in ("p50", "p99")]
            rows.append(
                [
                    _title(peer),
                    _cell(records.middle(cell, peer, "rate"), ",.0f"),
                    *(_cell(None if one is None else one * 1000, ",.2f") for one in latencies),
                    "" if peer == OURS or ratio is None else str(ratio),
                    _cell(records.middle(cell, peer, "cpu_microseconds"), ",.1f"),
                    _cell(records.middle(cell, peer, "generator_cpu"), ".0%"),
                ]
            )
        connections = "1 connection" if cell.size == 1 else f"{cell.size} connections"
        head = [
            "",
            "messages/s",
            "p50, ms",
            "p99, ms",
            "ours against it",
            "server's CPU, µs a message",
            "generator's CPU",
        ]
        yield f"### Echo, {cell.server}, {connections}\n\n" + table(head, rows)


def _title(peer: str) -> str:
    return PEERS[peer].title if peer in PEERS else peer


def _variants(records: Records) -> Iterator[str]:
    for cell in records.cells("variants"):
        rows = [
            [
                name,
                _cell(records.middle(cell, name, "rate"), ",.0f"),
                str(records.ratio(cell, name, "event", "rate") or ""),
            ]
            for name in records.peers(cell)
        ]
        yield (
            f"### Events, calls, middleware, {cell.server}, {cell.size} connections\n\n"
            + table(["", "messages/s", "against an event"], rows)
        )


def _fanouts(records: Records) -> Iterator[str]:
    places = sorted({(cell.server, cell.layer) for cell in records.cells("fanout")})
    for server, layer in places:
        cells = [
            one for one in records.cells("fanout") if (one.server, one.layer) == (server, layer)
        ]
        peers = dict.fromkeys(peer for cell in cells for peer in records.peers(cell))
        rows = [
            [
                _title(peer),
                *(_cell(records.middle(cell, peer, "milliseconds"), ",.1f") for cell in cells),
                *(_against(records, cell, peer) for cell in cells),
            ]
            for peer in peers
        ]
        sizes = [f"{cell.size:,}" for cell in cells]
        head = [
            "",
            *(f"{size}, ms" for size in sizes),
            *(f"ours against it, {size}" for size in sizes),
        ]
        yield f"### One publish to N subscribers, {server}, {layer}\n\n" + table(head, rows)


def _against(records: Records, cell: Cell, peer: str) -> str:
    ratio = records.ratio(cell, OURS, peer, "milliseconds", lower_is_better=True)
    return "" if peer == OURS or ratio is None else str(ratio)


def _bursts(records: Records) -> Iterator[str]:
    rows = []
    for bench in ("burst", "burst from another process"):
        for cell in records.cells(bench):
            for peer in records.peers(cell):
                lost = records.middle(cell, peer, "lost")
                expected = records.middle(cell, peer, "expected")
                seconds = records.middle(cell, peer, "seconds")
                share = None if lost is None or not expected else lost / expected
                rows.append(
                    [
                        bench,
                        cell.layer,
                        _title(peer),
                        f"{_cell(lost, ',.0f')} ({_cell(share, '.0%')})",
                        _cell(seconds, ".2f"),
                    ]
                )
    if rows:
        head = ["", "layer", "", "lost of 50,000", "seconds"]
        yield "### 500 publishes to 100 sockets at once, uvicorn\n\n" + table(head, rows)


def _simple(records: Records, bench: str, title: str, value: str, form: str) -> Iterator[str]:
    cells = records.cells(bench)
    peers = dict.fromkeys(peer for cell in cells for peer in records.peers(cell))
    rows = [
        [_title(peer), *(_cell(records.middle(cell, peer, value), form) for cell in cells)]
        for peer in peers
    ]
    if rows:
        yield f"### {title}\n\n" + table(["", *(cell.server for cell in cells)], rows)


def _in_process(records: Records) -> Iterator[str]:
    cell = Cell("in-process")
    rows = [
        [
            name if name not in PEERS else _title(name),
            _cell(records.middle(cell, name, "microseconds"), ",.1f"),
            _cell(_per_second(records.middle(cell, name, "microseconds")), ",.0f"),
        ]
        for name in records.peers(cell)
    ]
    if rows:
        head = ["one message in, one out; or one delivery", "microseconds", "a second"]
        yield "### In-process, without sockets\n\n" + table(head, rows)


def _per_second(microseconds: float | None) -> float | None:
    return None if not microseconds else 1e6 / microseconds


def _ceiling(records: Records) -> Iterator[str]:
    cell = Cell("ceiling", size=50)
    rows = [
        [
            name if name == "reflector" else f"bare ASGI, {name}",
            _cell(records.middle(cell, name, "rate"), ",.0f"),
            _cell(records.middle(cell, name, "generator_cpu"), ".0%"),
            _cell(records.middle(cell, name, "server_cpu"), ".0%"),
        ]
        for name in records.peers(cell)
    ]
    if rows:
        head = ["driven", "messages/s", "generator's CPU", "server's CPU"]
        yield "### The load generator\n\n" + table(head, rows)


def _problems(records: Records) -> Iterator[str]:
    if records.problems:
        yield "### Not measured\n\n" + "".join(f"- {one}\n" for one in records.problems)


def insert(document: Path, results: str) -> None:
    """
    Put results between a document's two markers, in place of those there.

    Raises:
        ValueError: If the document does not have them.
    """
    text = document.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} has no place for results: put {BEGIN} and {END} there.")
    document.write_text(f"{before}{BEGIN}\n\n{results.strip()}\n\n{END}{after}")


def bars(records: Records) -> list[tuple[str, list[tuple[str, float]]]]:
    """What the chart shows: echoes at 50 connections, and publishes to 1,000."""
    groups = []
    for server in ("daphne", "uvicorn"):
        cell = Cell("echo", server, size=50)
        groups.append((f"echo, {server}, 50 connections, messages/s", _bars(records, cell, "rate")))
    for server in ("daphne", "uvicorn"):
        cell = Cell("fanout", server, "memory", 1000)
        group = _bars(records, cell, "milliseconds")
        groups.append((f"one publish to 1,000 sockets, {server}, ms (less is better)", group))
    return [(title, group) for title, group in groups if group]


def _bars(records: Records, cell: Cell, value: str) -> list[tuple[str, float]]:
    found = [(_title(peer), records.middle(cell, peer, value)) for peer in records.peers(cell)]
    known = [(title, figure) for title, figure in found if figure is not None]
    less_first = value == "milliseconds"
    return sorted(known, key=lambda bar: bar[1], reverse=not less_first)
