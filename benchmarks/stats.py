"""
Arithmetic on measurements: medians, percentiles, and ratios of what was measured side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


def percentile(values: Sequence[float], share: float) -> float:
    """
    The smallest value that at least ``share`` of them do not exceed (nearest rank).

    Raises:
        ValueError: If there are no values.
    """
    if not values:
        raise ValueError("no values were measured")
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)  # rounded up
    return ordered[max(int(rank), 1) - 1]


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of ratios, each of two figures of one round, and the extremes."""

    median: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.median:.2f}x ({self.low:.2f} to {self.high:.2f})"


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Ratio | None:
    """
    Compare round with round: ours over theirs; None where no round has both.

    Machines drift, and what is measured in the same round drifts together, so that the
    median of ratios says more than a ratio of medians.
    """
    ratios = [ours[turn] / theirs[turn] for turn in ours if theirs.get(turn)]
    if not ratios:
        return None
    return Ratio(median(ratios), min(ratios), max(ratios), len(ratios))
