"""What users write has types that two checkers agree on, without casts."""

import os

import pytest

from tests.typing.checkers import CHECKERS, Line, absent, differences, errors, marked


@pytest.mark.parametrize("checker", CHECKERS)
def test_right_code_passes_and_wrong_code_fails(checker: str) -> None:
    """Every marked line of ``wrong.py`` is an error, and no line beside."""
    if why := absent(checker):
        if os.environ.get("WSKIT_REQUIRE_TYPECHECKERS") == "1":
            pytest.fail(f"WSKIT_REQUIRE_TYPECHECKERS=1, and {why}")
        pytest.skip(why)

    assert differences(marked(checker), errors(checker)) == []


def test_a_difference_is_told_by_its_line() -> None:
    a, b, c = Line("right.py", 3), Line("wrong.py", 1), Line("wrong.py", 2)

    assert differences([b, c], [a, b]) == [
        "right.py:3: an error that is not marked",
        "wrong.py:2: marked, but no error",
    ]


def test_marks_are_found() -> None:
    """Or an empty set would agree with a checker that saw nothing."""
    assert {line.file for line in marked("mypy")} == {
        "wrong.py",
        "wrong_client.py",
        "wrong_structs.py",
    }
    assert len(marked("mypy")) > 60
    assert len(marked("mypy with pydantic's plugin")) == len(marked("mypy")) + 1
