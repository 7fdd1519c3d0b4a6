"""The client stands on the protocol alone (DESIGN 4)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import wskit_channels.client
from tests.test_storeys import imported, run

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "wskit_channels" / "client"
MODULES = [f"wskit_channels.client.{path.stem}" for path in PACKAGE.glob("[a-z]*.py")]


def test_importing_it_leaves_django_out() -> None:
    done = run(
        f"import sys, {', '.join(MODULES)}\n"
        "print(sorted(set(sys.modules) & {'django', 'channels', 'asgiref'}))"
    )

    assert len(MODULES) > 10
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_it_imports_only_the_protocol_and_its_extra() -> None:
    allowed = {
        "pydantic",
        "typing_extensions",
        "websockets",
        "wskit_channels.client",
        "wskit_channels.protocol",
    }
    strangers = {
        path.name: imported(path) - allowed - sys.stdlib_module_names
        for path in PACKAGE.glob("*.py")
    }

    assert {name: found for name, found in strangers.items() if found} == {}


def test_only_one_module_knows_the_websockets_library() -> None:
    knowing = [path.name for path in PACKAGE.glob("*.py") if "websockets" in imported(path)]

    assert knowing == ["link.py"]


def test_without_the_extra_it_says_what_to_install() -> None:
    done = run("import wskit_channels.client", without=["websockets"])

    assert done.returncode == 1
    assert 'pip install "wskit-channels[client]"' in done.stderr


def test_it_exports_what_it_imports() -> None:
    """STYLE 11."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    names = [
        alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]

    assert sorted(wskit_channels.client.__all__) == sorted(names)


@pytest.mark.parametrize("flag", ["--help"])
def test_the_probe_explains_itself(flag: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wskit_channels.client", flag],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith("usage: python -m wskit_channels.client [-h] [--token TOKEN]")
