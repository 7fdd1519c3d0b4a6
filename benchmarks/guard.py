"""
The guard: what a message costs now, beside what ``baseline.json`` says it did.

Prints the change and fails on none: what is worth its cost is for people to say. The
figures do not depend on the machine or its load, but on the versions of Python and of
pydantic, so that another Python than the baseline's is pointed out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT

__all__ = ["BASELINE", "GuardFailed", "changes", "guard", "machine_instructions", "measured"]

BASELINE = Path(__file__).with_name("baseline.json")
CASES = ("event echo", "call", "publish delivery", "refused frame")
NOTABLE = 0.02
"""Share from which a change is marked."""


class GuardFailed(RuntimeError):
    """What should be measured does not run."""


Figures = Mapping[str, Mapping[str, float]]


def changes(before: Figures, now: Figures) -> list[str]:
    """A line for each figure: what it was, what it is, and the change."""
    names = dict.fromkeys(
        (case, name) for part in (now, before) for case in part for name in part[case]
    )
    return [
        _change(case, name, before.get(case, {}).get(name), now.get(case, {}).get(name))
        for case, name in names
    ]


def _change(case: str, name: str, old: float | None, new: float | None) -> str:
    return f"{case:18}{name:14}{_shown(old):>12}{_shown(new):>12}  {_verdict(old, new)}"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _verdict(old: float | None, new: float | None) -> str:
    if new is None:
        return "not measured"
    if old is None:
        return "new"
    if old == new:
        return "same"
    if not old:
        return f"{new - old:+.2f}"
    share = (new - old) / old
    mark = "" if abs(share) < NOTABLE else "  more" if share > 0 else "  less"
    return f"{share:+.1%}{mark}"


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "0",
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        "BENCH_LAYER": "memory",
    }


def _run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """
    Run a command to its end.

    Raises:
        GuardFailed: If it fails, with the end of what it printed.
    """
    done = subprocess.run(
        arguments, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise GuardFailed(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done


def measured() -> dict[str, Any]:
    """Counts by case, from a process of its own, with the Python they hold for."""
    found: dict[str, Any] = json.loads(_run([sys.executable, "-m", "benchmarks.counts"]).stdout)
    return found


def instruction_counter() -> list[str] | None:
    """A command that counts the machine instructions of another, or None if there is none."""
    perf = ["perf", "stat", "-x", ",", "-e", "instructions:u"]
    if shutil.which("perf"):
        tried = subprocess.run([*perf, "true"], capture_output=True, text=True, check=False)
        if _instructions(tried.stderr) is not None:
            return perf
    if shutil.which("valgrind"):
        return ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    return None


def _instructions(output: str) -> int | None:
    """The figure in what perf or callgrind printed."""
    found = re.search(r"^(\d+),.*instructions", output, re.MULTILINE) or re.search(
        r"Collected : (\d+)", output
    )
    return int(found[1]) if found else None


def machine_instructions(messages: int = 300) -> dict[str, float] | None:
    """
    Machine instructions for a message by case; None where nothing counts them.

    All cases are run once with no message, and each once more with ``messages``: what
    start-up costs drops out.
    """
    counter = instruction_counter()
    if counter is None:
        return None

    def count(times: Mapping[str, int]) -> int:
        cases = [f"{name}={times.get(name, 20)}" for name in CASES]
        done = _run([*counter, sys.executable, "-m", "benchmarks.counts", *cases])
        found = _instructions(done.stderr)
        if found is None:
            raise GuardFailed(f"{counter[0]} printed no count: {done.stderr[-500:]}")
        return found

    base = count({})
    subscribers = {"publish delivery": 50}
    return {
        name: round((count({name: 20 + messages}) - base) / messages / subscribers.get(name, 1), 1)
        for name in CASES
    }


def guard(*, update: bool, instructions: bool) -> list[str]:
    """Measure and compare; what there is to print."""
    now = measured()
    if instructions:
        machine = machine_instructions()
        if machine is None:
            return ["no machine instructions: neither perf can count here nor is valgrind there"]
        for case, count in machine.items():
            now["cases"][case]["instructions"] = count
    if update:
        kept = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"cases": {}}
        for case, figures in kept["cases"].items():
            if kept.get("python") == now["python"] and "instructions" in figures:
                now["cases"][case].setdefault("instructions", figures["instructions"])
        BASELINE.write_text(json.dumps(now, indent=2) + "\n")
        return [f"{BASELINE.name} holds these figures now, of Python {now['python']}"]
    if not BASELINE.exists():
        return ["there is no baseline yet: write one with --update"]
    before = json.loads(BASELINE.read_text())
    lines = [f"{'per message':18}{'':14}{'baseline':>12}{'now':>12}"]
    lines += changes(before["cases"], now["cases"])
    if before["python"] != now["python"]:
        lines.append(
            f"The baseline is of Python {before['python']} and this is {now['python']}: "
            "the figures do not compare."
        )
    return lines
