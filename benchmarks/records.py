"""
What was measured: one record a peer, cell and round, and questions to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.stats import Ratio, paired

__all__ = ["Cell", "Record", "Records"]


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One setting, the same for all peers: a benchmark, a server, a layer and a size."""

    bench: str
    server: str = ""
    layer: str = "memory"
    size: int = 0
    """Connections or subscribers."""


@dataclass(frozen=True, slots=True)
class Record:
    """What one peer did in one round of a cell."""

    cell: Cell
    peer: str
    turn: int
    values: dict[str, float]


@dataclass(slots=True)
class Records:
    """All of a run; ``problems`` tells of what could not be measured."""

    kept: list[Record] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, cell: Cell, peer: str, turn: int, values: dict[str, Any]) -> None:
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        self.kept.append(Record(cell, peer, turn, numbers))

    def rounds(self, cell: Cell, peer: str, value: str) -> dict[int, float]:
        """A value by round."""
        return {
            record.turn: record.values[value]
            for record in self.kept
            if record.cell == cell and record.peer == peer and value in record.values
        }

    def middle(self, cell: Cell, peer: str, value: str) -> float | None:
        found = self.rounds(cell, peer, value)
        return median(found.values()) if found else None

    def ratio(
        self, cell: Cell, ours: str, theirs: str, value: str, *, lower_is_better: bool = False
    ) -> Ratio | None:
        """How many times better one peer is than another in a cell, paired by round."""
        mine, other = self.rounds(cell, ours, value), self.rounds(cell, theirs, value)
        return paired(other, mine) if lower_is_better else paired(mine, other)

    def cells(self, bench: str) -> list[Cell]:
        return sorted({record.cell for record in self.kept if record.cell.bench == bench})

    def peers(self, cell: Cell) -> Iterator[str]:
        """Those with a record, in the order of the first."""
        seen: dict[str, None] = {}
        for record in self.kept:
            if record.cell == cell:
                seen[record.peer] = None
        return iter(seen)

    def as_json(self) -> dict[str, Any]:
        return {
            "problems": self.problems,
            "records": [
                {
                    "bench": record.cell.bench,
                    "server": record.cell.server,
                    "layer": record.cell.layer,
                    "size": record.cell.size,
                    "peer": record.peer,
                    "round": record.turn,
                    **record.values,
                }
                for record in self.kept
            ],
        }
