"""``routing/fingerprint.py``: payloads are the same in every process (DESIGN 8)."""

import dataclasses
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel

from wskit_channels.routing.fingerprint import digest, plain


class Colour(Enum):
    RED = "red"


class Inner(BaseModel):
    number: float


@dataclasses.dataclass
class Point:
    x: Any


class Struct(msgspec.Struct):
    x: Any


class Outer(BaseModel):
    value: Any


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}, True),
        ([1, 2], [2, 1], False),
        ([1, 2], (1, 2), True),
        ({"a": 1}, {"a": 2}, False),
        ({1: "a"}, {"1": "a"}, False),
        (frozenset([0, 8]), frozenset([8, 0]), True),
        (Point(frozenset([0, 8])), Point(frozenset([8, 0])), True),
        (Struct(frozenset([0, 8])), Struct(frozenset([8, 0])), True),
        (1, "1", False),
        (None, "None", False),
        (True, 1, False),
        (Inner(number=1), Inner(number=1.0), True),
        (Inner(number=1), Inner(number=2), False),
        (Point(1), Point(1), True),
        (Point(1), Point(2), False),
        (Struct(1), Struct(1), True),
        (Struct(1), Struct(2), False),
        (b"\xff", b"\xff", True),
        (b"\xff", b"\xfe", False),
        (Decimal("1.0"), Decimal("2.0"), False),
        (UUID(int=1), UUID(int=2), False),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), False),
        (Colour.RED, "red", True),
        ("\ud800", "\ud801", False),
    ],
)
def test_what_counts_as_the_same_payload(one: Any, other: Any, same: bool) -> None:
    found = [digest(plain(Outer(value=value))) for value in (one, other)]

    assert (found[0] == found[1]) is same


def test_a_payload_has_the_same_digest_in_every_process() -> None:
    """Sets have another order in each, which a retry that reaches another process meets."""
    script = (
        "from wskit_channels.routing.fingerprint import digest, plain\n"
        "print(digest(plain({'tags': set('abcdefgh'), 'pairs': {(1, 'x'), (2, 'y')}})))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(found) == 1
