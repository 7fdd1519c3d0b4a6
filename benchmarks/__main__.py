"""
``python -m benchmarks``: measure, print what is promised and what was found, write a report.

``python -m benchmarks guard`` compares what a message costs with ``baseline.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks import chart, report
from benchmarks.guard import GuardFailed, guard
from benchmarks.jobs import raise_file_limit
from benchmarks.network import NETWORK, Plan, Run
from benchmarks.peers import OURS, PEERS
from benchmarks.processes import Environment, run_module, valkey
from benchmarks.records import Cell, Records

BENCHES = (*NETWORK, "inprocess")
BUSY = 0.5
"""Load average from which somebody else is at work."""
NEEDED = ("channels_redis", "chanx", "daphne", "socketio", "starlette", "uvicorn", "uvloop")


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    found.add_argument(
        "benches",
        nargs="*",
        metavar="BENCH",
        help=f"which, of {', '.join(BENCHES)}; all by default. Or: guard",
    )
    found.add_argument("--quick", action="store_true", help="fewer sizes, rounds and seconds")
    found.add_argument("--seconds", type=float, help="measured in each cell (1, or 0.4 if quick)")
    found.add_argument("--rounds", type=int, help="times that each is measured (5, or 2 if quick)")
    found.add_argument(
        "--output", type=Path, default=Path("benchmark-results"), help="folder for the report"
    )
    found.add_argument("--docs", type=Path, help="a Markdown file to put the results into")
    found.add_argument("--update", action="store_true", help="with guard: rewrite the baseline")
    found.add_argument(
        "--instructions",
        action="store_true",
        help="with guard: count machine instructions, too, by perf, or by valgrind (minutes)",
    )
    return found


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """
    Read the command line.

    Raises:
        SystemExit: If it makes no sense, with a sentence on standard error.
    """
    reads = parser()
    options = reads.parse_args(arguments)
    known = (*BENCHES, "guard")
    if unknown := [name for name in options.benches if name not in known]:
        reads.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    if "guard" in options.benches and options.benches != ["guard"]:
        reads.error("guard stands alone")
    options.seconds = options.seconds or (0.4 if options.quick else 1.0)
    options.rounds = options.rounds or (2 if options.quick else 5)
    return options


def plan_of(options: argparse.Namespace) -> Plan:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY:
        _say(f"The machine is busy (load average {load:.1f}): ratios will be worth little.")
    return Plan(seconds=options.seconds, rounds=options.rounds, quick=options.quick, load=load)


def run(options: argparse.Namespace, plan: Plan) -> Records:
    """Measure what is asked for."""
    records = Records()
    with tempfile.TemporaryDirectory() as folder, valkey() as redis:
        # Servers inherit the limit; one that cannot accept any more says nothing.
        environment = Environment(Path(folder), redis, raise_file_limit())
        under_way = Run(plan, environment, records, _say)
        for name in options.benches or BENCHES:
            begun = time.monotonic()
            if name == "inprocess":
                in_process(under_way)
            else:
                NETWORK[name](under_way)
            _say(f"-- {name}: {time.monotonic() - begun:.0f} s")
    return records


def in_process(under_way: Run) -> None:
    arguments = [str(under_way.plan.seconds / 2), str(under_way.plan.rounds)]
    said = run_module(under_way.environment, "memory", "benchmarks.inprocess", *arguments)
    found = json.loads(said.splitlines()[-1])  # peers may log to standard output before
    under_way.records.problems += found["problems"]
    for name, times in found["microseconds"].items():
        for turn, microseconds in enumerate(times):
            under_way.records.add(Cell("in-process"), name, turn, {"microseconds": microseconds})


def write(records: Records, options: argparse.Namespace, plan: Plan) -> None:
    """Leave figures, report and chart in the output folder, and in a document if asked to."""
    results = report.markdown(records, plan)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "results.json").write_text(json.dumps(records.as_json(), indent=1))
    (options.output / "results.md").write_text(f"# Benchmark results\n\n{results}")
    drawn = chart.svg(report.bars(records), PEERS[OURS].title)
    (options.output / "benchmarks.svg").write_text(drawn)
    if options.docs is not None:
        options.docs.with_suffix(".svg").write_text(drawn)
        report.insert(options.docs, f"![Bar chart]({options.docs.stem}.svg)\n\n{results}")
    print(f"\n{report.verdict_table(records)}")
    print("\n".join(records.problems))
    print(f"The whole report: {options.output / 'results.md'}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    if options.benches == ["guard"]:
        try:
            print("\n".join(guard(update=options.update, instructions=options.instructions)))
        except GuardFailed as failure:
            _say(str(failure))
            return 1
        return 0
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        _say(f"Missing: {', '.join(missing)}. Install the extra: pip install -e '.[bench]'")
        return 2
    plan = plan_of(options)
    write(run(options, plan), options, plan)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
