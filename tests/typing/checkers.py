"""
Type checkers run over right and wrong user code, and where they differ from the marks.

A line of a file ``wrong*.py`` that is marked ``# E`` must be an error; no other line of any
file may be. ``# E plugin`` marks those that only mypy with pydantic's plugin finds.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FILES = (
    "right.py",
    "right_client.py",
    "right_structs.py",
    "wrong.py",
    "wrong_client.py",
    "wrong_structs.py",
)

MYPY = "mypy"
MYPY_WITH_PLUGIN = "mypy with pydantic's plugin"
PYRIGHT = "basedpyright"
CHECKERS = (MYPY, MYPY_WITH_PLUGIN, PYRIGHT)


class Line(NamedTuple):
    file: str
    number: int


def absent(checker: str) -> str | None:
    """Why a checker cannot run here, or None."""
    module = "basedpyright" if checker == PYRIGHT else "mypy"
    if find_spec(module) is None:
        return f"{module} is not installed: it is in the dev extra"
    return None


def marked(checker: str) -> set[Line]:
    """The lines in which this checker must find an error."""
    found: set[Line] = set()
    for file in FILES:
        for number, line in enumerate((HERE / file).read_text().splitlines(), 1):
            _, is_marked, why = line.partition("  # E")
            if is_marked and (not why.startswith(" plugin") or checker == MYPY_WITH_PLUGIN):
                found.add(Line(file, number))
    return found


def errors(checker: str) -> set[Line]:
    """
    The lines in which this checker finds an error.

    Raises:
        RuntimeError: If it does not run to its end.
    """
    if checker == PYRIGHT:
        return _pyright()
    return _mypy("mypy_plugin.ini" if checker == MYPY_WITH_PLUGIN else "mypy.ini")


def differences(expected: Iterable[Line], found: Iterable[Line]) -> list[str]:
    """A sentence for each line that is an error and should not be, or the other way round."""
    expected, found = set(expected), set(found)
    return [
        f"{line.file}:{line.number}: "
        + ("an error that is not marked" if line in found else "marked, but no error")
        for line in sorted(expected ^ found)
    ]


def _mypy(config: str) -> set[Line]:
    files = [str((HERE / file).relative_to(ROOT)) for file in FILES]
    options = [f"--config-file={HERE / config}", f"--cache-dir={ROOT / '.mypy_cache' / 'typing'}"]
    text = _run([sys.executable, "-m", "mypy", *options, *files])
    return {
        Line(Path(match[1]).name, int(match[2]))
        for match in re.finditer(r"^(.+?):(\d+): error: ", text, re.MULTILINE)
    }


def _pyright() -> set[Line]:
    # Its wheel carries node; the interpreter is named so that it sees what is installed here.
    options = ["--outputjson", "--project", str(HERE), "--pythonpath", sys.executable]
    report = json.loads(_run([sys.executable, "-m", "basedpyright", *options]))
    return {
        Line(Path(found["file"]).name, found["range"]["start"]["line"] + 1)
        for found in report["generalDiagnostics"]
        if found["severity"] == "error"
    }


def _run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # 1: there are errors, as there should be
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout
