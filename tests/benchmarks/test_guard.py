"""The comparison with the baseline, and the counts that go into it."""

import asyncio
import gc
import json
from dataclasses import replace

import pytest

from benchmarks.counts import Bytecodes, Calls
from benchmarks.guard import BASELINE, CASES, changes
from benchmarks.inprocess import CASES as IN_PROCESS
from benchmarks.inprocess import measure, prepared
from benchmarks.peers import MSGSPEC, PYDANTIC

looks_at_the_database = pytest.mark.django_db(transaction=True)
"""As Channels' own consumers do before each frame, where its thread has a connection."""


def columns(lines: list[str]) -> list[list[str]]:
    return [line.split() for line in lines]


def test_changes_are_shown_and_marked_from_two_percent() -> None:
    """One line a figure, with what was, what is, and the change."""
    before = {"call": {"bytecodes": 1000.0, "calls": 100.0, "peak_bytes": 50.0, "gone": 1.0}}
    now = {
        "call": {"bytecodes": 1019.0, "calls": 98.0, "peak_bytes": 50.0},
        "event": {"calls": 2.0},
    }

    assert columns(changes(before, now)) == [
        ["call", "bytecodes", "1,000.0", "1,019.0", "+1.9%"],
        ["call", "calls", "100.0", "98.0", "-2.0%", "less"],
        ["call", "peak_bytes", "50.0", "50.0", "same"],
        ["event", "calls", "-", "2.0", "new"],
        ["call", "gone", "1.0", "-", "not", "measured"],
    ]


def test_growth_from_nothing_has_no_percentage() -> None:
    """Blocks that are kept begin at 0."""
    assert columns(changes({"call": {"kept": 0.0}}, {"call": {"kept": 1.5}})) == [
        ["call", "kept", "0.0", "1.5", "+1.50"]
    ]


def test_the_baseline_has_every_guarded_case() -> None:
    """``python -m benchmarks guard --update`` wrote it."""
    kept = json.loads(BASELINE.read_text())["cases"]

    assert tuple(kept) == CASES
    for figures in kept.values():
        assert {"bytecodes", "calls", "peak_bytes", "kept_blocks"} <= figures.keys()


def test_counters_count_the_same_for_the_same_work() -> None:
    """What a guard compares must not depend on when it is measured."""

    def work(times: int) -> int:
        return sum(len(str(number)) for number in range(times))

    def counted(kind: type[Bytecodes] | type[Calls], times: int) -> int:
        # A collection may run code of others: finalizers, and what hypothesis is told by.
        gc.disable()
        try:
            with kind() as counter:
                work(times)
        finally:
            gc.enable()
        return counter.count

    for kind in (Bytecodes, Calls):
        first, again, more = counted(kind, 10), counted(kind, 10), counted(kind, 20)
        assert first == again
        assert more > first


@looks_at_the_database
async def test_an_in_process_cell_measures_every_peer_that_needs_no_extra() -> None:
    """A cell drives real applications: bare ASGI, Channels and ours answer."""
    names = ["bare", "channels", "channels-json", "wskit_channels", "call", "layered"]
    names += ["channels, publish to 100", "wskit_channels, publish to 100", PYDANTIC, MSGSPEC]

    async with asyncio.timeout(300):
        found = await measure([IN_PROCESS[name] for name in names], seconds=0.001, rounds=2)

    assert found["problems"] == []
    assert list(found["microseconds"]) == names
    assert all(len(times) == 2 and min(times) > 0 for times in found["microseconds"].values())


@looks_at_the_database
async def test_as_many_messages_are_exchanged_as_were_asked_for() -> None:
    """Every figure is divided by that number."""
    one = await prepared(IN_PROCESS["channels, publish to 100"])
    heard: list[None] = []
    one.echoes.on_answer = lambda: heard.append(None)

    await one.echoes.run(1)
    await one.echoes.run(3)
    await one.close()

    assert len(heard) == 4


async def test_a_peer_that_is_missing_is_told_of_and_the_others_are_measured() -> None:
    """Extras are optional; what could not be measured is in the report."""
    missing = replace(IN_PROCESS["bare"], name="absent", module="no_such_peer")

    found = await measure([missing, IN_PROCESS["bare"]], seconds=0.001, rounds=1)

    assert list(found["microseconds"]) == ["bare"]
    assert found["problems"] == [
        "in-process absent: No module named 'benchmarks.peers.no_such_peer'"
    ]
