"""The arithmetic of the benchmarks."""

import pytest

from benchmarks.records import Cell, Records
from benchmarks.stats import Ratio, paired, percentile
from benchmarks.verdicts import verdicts


def test_percentile_is_the_nearest_rank() -> None:
    """A value that was measured, and none between two."""
    values = [float(value) for value in range(100, 0, -1)]

    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1) == 100
    assert percentile([7.0], 0.01) == 7

    with pytest.raises(ValueError, match=r"^no values were measured$"):
        percentile([], 0.5)


def test_ratios_are_paired_by_round() -> None:
    """A round in which the machine was slow does not spoil the ratio; one-sided rounds fall out."""
    ours = {0: 200.0, 1: 20.0, 2: 270.0, 3: 1.0}
    theirs = {0: 100.0, 1: 10.0, 2: 90.0, 4: 1.0}

    assert paired(ours, theirs) == Ratio(median=2.0, low=2.0, high=3.0, rounds=3)
    assert paired(ours, {}) is None
    assert paired(ours, {0: 0.0}) is None
    assert str(Ratio(2.0, 1.5, 3.0, 3)) == "2.00x (1.50 to 3.00)"


def test_less_is_better_turns_a_ratio_round() -> None:
    """A ratio above 1 always says that ours is better."""
    records = Records()
    cell = Cell("echo", "daphne", size=50)
    records.add(cell, "wskit_channels", 0, {"rate": 300.0, "p99": 0.010, "note": "left out"})
    records.add(cell, "channels", 0, {"rate": 100.0, "p99": 0.050})

    rate = records.ratio(cell, "wskit_channels", "channels", "rate")
    p99 = records.ratio(cell, "wskit_channels", "channels", "p99", lower_is_better=True)

    assert rate == Ratio(3.0, 3.0, 3.0, 1)
    assert p99 == Ratio(5.0, 5.0, 5.0, 1)


def test_verdicts_say_what_holds_what_does_not_and_what_was_not_measured() -> None:
    """A floor is held by the median at it or over it."""
    records = Records()
    cell = Cell("echo", "daphne", size=50)
    for turn, (ours, channels, chanx) in enumerate([(190, 100, 100), (95, 50, 50)]):
        records.add(cell, "wskit_channels", turn, {"rate": ours})
        records.add(cell, "channels", turn, {"rate": channels})
        records.add(cell, "chanx", turn, {"rate": chanx})

    rows = {row.promise: row for row in verdicts(records)}
    against = {
        name: rows[f"echo, daphne, 50 connections, against {name}"]
        for name in ("channels", "chanx", "bare")
    }

    assert [(row.measured, row.floor, row.word) for row in against.values()] == [
        ("1.90x (1.90 to 1.90)", "at least 1.9x", "holds"),
        ("1.90x (1.90 to 1.90)", "at least 2.5x", "does not hold"),
        ("-", "at least 0.8x", "not measured"),
    ]


@pytest.mark.parametrize(("micros", "word"), [(15.0, "holds"), (15.1, "does not hold")])
def test_a_ceiling_is_held_by_the_median_at_it_or_under_it(micros: float, word: str) -> None:
    """Cost per delivery may grow by half, from 100 to 5,000 subscribers."""
    records = Records()
    for size, each in ((100, 10.0), (5000, micros)):
        cell = Cell("fanout", "uvicorn", size=size)
        records.add(cell, "wskit_channels", 0, {"microseconds_each": each})

    [row] = [row for row in verdicts(records) if row.promise.startswith("cost per delivery, uv")]

    assert row.word == word


def test_a_lost_message_breaks_the_promise_of_a_burst() -> None:
    """Bursts have no tolerance."""
    records = Records()
    for layer, lost in (("memory", 0), ("redis", 1)):
        records.add(Cell("burst", "uvicorn", layer, 100), "wskit_channels", 0, {"lost": lost})

    words = [row.word for row in verdicts(records) if row.promise.startswith("burst, ")]

    assert words == ["holds", "does not hold", "not measured"]
