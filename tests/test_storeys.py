import ast
import importlib
import pkgutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

import wskit_channels

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "wskit_channels"

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""
DJANGO = ("django", "channels", "asgiref", "daphne")


def run(script: str, *, without: Sequence[str] = DJANGO) -> "subprocess.CompletedProcess[str]":
    """Run a script in a process of its own, in which some packages cannot be imported."""
    return subprocess.run(
        [sys.executable, "-c", f"BLOCKED = {without}\n{BLOCKER}{textwrap.dedent(script)}"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_top_level_needs_no_django() -> None:
    """DESIGN 4: ``__init__`` imports neither Django nor Channels."""
    done = run(
        """
        from wskit_channels import *
        from wskit_channels import Message, Router, message, rpc

        class Ping(Message, type="PING"):
            text: str

        router = Router()

        @router.on(Ping)
        async def ping(ctx):
            pass

        print([route.type for route in router.routes()])
        print(sorted(set(sys.modules) & {"django", "channels", "asgiref"}))
        """
    )

    assert (done.stdout, done.stderr) == ("['PING']\n[]\n", "")


@pytest.mark.parametrize("storey", ["protocol", "routing", "client", "codegen"])
def test_every_module_of_the_lower_storeys_needs_no_django(storey: str) -> None:
    """DESIGN 4: what each storey may import."""
    names = [
        f"wskit_channels.{storey}.{module.name}"
        for module in pkgutil.iter_modules([str(PACKAGE / storey)])
    ]
    done = run("".join(f"import {name}\n" for name in names))

    assert len(names) > 5
    assert (done.returncode, done.stderr) == (0, "")


def imported(path: Path) -> set[str]:
    """Top-level packages that a module imports anywhere in it; our own by their storey."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            found.add(f"{top}.{rest.partition('.')[0]}" if top == "wskit_channels" else top)
    return found


@pytest.mark.parametrize(
    ("storey", "allowed"),
    [
        ("protocol", {"pydantic", "pydantic_core", "typing_extensions", "wskit_channels.protocol"}),
        (
            "routing",
            {
                "pydantic",
                "pydantic_core",
                "typing_extensions",
                "wskit_channels.protocol",
                "wskit_channels.routing",
            },
        ),
        (
            "client",
            {
                "pydantic",
                "typing_extensions",
                "websockets",
                "wskit_channels.client",
                "wskit_channels.protocol",
            },
        ),
        (
            "codegen",
            {
                "msgspec",
                "pydantic",
                "pydantic_core",
                "typing_extensions",
                "wskit_channels.codegen",
                "wskit_channels.protocol",
                "wskit_channels.routing",
            },
        ),
    ],
)
def test_storeys_import_downwards_only(storey: str, allowed: set[str]) -> None:
    """DESIGN 4: the table; what is not of the standard library is named there."""
    strangers = {
        path.name: imported(path) - allowed - sys.stdlib_module_names
        for path in (PACKAGE / storey).glob("*.py")
    }

    assert {name: found for name, found in strangers.items() if found} == {}


def test_the_protocol_is_without_io() -> None:
    """DESIGN 4: no asyncio, clock or logging in ``protocol/``."""
    banned = {"asyncio", "time", "datetime", "logging", "threading", "socket", "select", "random"}
    guilty = {path.name: imported(path) & banned for path in (PACKAGE / "protocol").glob("*.py")}

    assert {name: found for name, found in guilty.items() if found} == {}


@pytest.mark.parametrize("module", ["consumer", "asgi", "publish"])
def test_without_django_the_shell_names_what_is_missing(module: str) -> None:
    """DESIGN 4: the shell is imported by module, and Django is what it lacks."""
    done = run(f"import wskit_channels.{module}", without=["django"])

    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'django" in done.stderr


def test_a_router_without_the_app_says_so_in_one_sentence() -> None:
    """DESIGN 4: to whoever would serve it or publish by it."""
    done = run(
        """
        import asyncio
        from wskit_channels import AppNotInstalled, Router

        router = Router()
        for attempt in (
            router.as_asgi,
            lambda: router.publish("topic", None),
            lambda: asyncio.run(router.apublish("topic", None)),
        ):
            try:
                attempt()
            except AppNotInstalled as error:
                print(error)
        """
    )

    sentence = (
        'Add "wskit_channels" to INSTALLED_APPS and call django.setup() first: '
        "without the Django app a router can be neither served nor published to.\n"
    )
    assert (done.stdout, done.stderr) == (sentence * 3, "")


def test_the_app_plugs_django_in_when_the_project_is_set_up() -> None:
    """DESIGN 4: at ``ready()``, which is how routers work without importing upwards."""
    done = run(
        """
        from django.conf import settings
        settings.configure(INSTALLED_APPS=["wskit_channels"])
        import django
        django.setup()
        from wskit_channels.routing.shell import get_shell
        print(type(get_shell()).__name__)
        """,
        without=[],
    )

    assert (done.stdout, done.stderr) == ("DjangoShell\n", "")


def public_modules() -> list[str]:
    return [
        module.name
        for module in pkgutil.walk_packages([str(PACKAGE)], "wskit_channels.")
        if not module.ispkg and ".management" not in module.name
    ]


@pytest.mark.parametrize("name", public_modules())
def test_what_a_module_exports_exists(name: str) -> None:
    """STYLE 11: ``__all__`` per module."""
    module = importlib.import_module(name)

    assert [one for one in getattr(module, "__all__", []) if not hasattr(module, one)] == []


def test_the_top_level_exports_what_it_imports() -> None:
    """STYLE 11: and a test compares the two."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    names = [
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]

    assert sorted(wskit_channels.__all__) == sorted(names)
    assert len(set(names)) == len(names)


def test_what_the_top_level_exports_is_public_where_it_comes_from() -> None:
    """STYLE 11: no module gives away what it does not export itself."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    secret = [
        f"{node.module}.{alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if alias.name not in importlib.import_module(node.module).__all__
    ]

    assert secret == []
