import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

TYPESCRIPT = "5.9.3"


@pytest.fixture(scope="session")
def tsc(request: pytest.FixtureRequest) -> list[str]:
    """
    The command of a real TypeScript compiler, installed once by npm into pytest's cache.

    Skips where there is no node or npm, or no registry to install from; fails there if
    ``WSKIT_REQUIRE_NODE=1``.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        _absent("node or npm is not installed")
    folder = _cache(request) / f"typescript-{TYPESCRIPT}"
    compiler = folder / "node_modules" / "typescript" / "bin" / "tsc"
    if not compiler.exists():
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-save"]
        command = [npm, "install", "--prefix", str(folder), *options, f"typescript@{TYPESCRIPT}"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=180)
        except subprocess.CalledProcessError as error:
            _absent(f"npm cannot install TypeScript: {error.stderr.strip()[-300:]}")
        except subprocess.TimeoutExpired:
            _absent("npm took more than 180 s to install TypeScript")
    return [node, str(compiler)]


def _cache(request: pytest.FixtureRequest) -> Path:
    cache = getattr(request.config, "cache", None)
    if cache is None:  # -p no:cacheprovider
        factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
        return factory.mktemp("npm")
    folder: Path = cache.mkdir("npm")
    return folder


def _absent(reason: str) -> NoReturn:
    if os.environ.get("WSKIT_REQUIRE_NODE") == "1":
        pytest.fail(f"WSKIT_REQUIRE_NODE=1, and there is no TypeScript: {reason}")
    pytest.skip(f"no TypeScript: {reason}")
