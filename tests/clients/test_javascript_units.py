"""The JavaScript client's rules of time and order, in Node, without a network."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parent / "unit" / "client.test.mjs"


def test_units_of_the_javascript_client() -> None:
    node = shutil.which("node")
    if node is None:
        reason = "no node on the path"
        if os.environ.get("WSKIT_REQUIRE_NODE") == "1":
            pytest.fail(reason)
        pytest.skip(reason)

    done = subprocess.run(
        [node, "--test", str(UNITS)], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
