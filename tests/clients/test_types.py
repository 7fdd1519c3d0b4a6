"""``client.d.ts``, used right and wrong under ``tsc --strict``."""

import shutil
import subprocess
from pathlib import Path

from tests.codegen.conftest import tsc  # noqa: F401 - a fixture
from tests.live.servers import ROOT

TYPES = Path(__file__).parent / "types"
CLIENT = ROOT / "wskit_channels" / "static" / "wskit_channels"
OPTIONS = ["--noEmit", "--target", "es2022", "--lib", "es2022,dom", "--module", "nodenext"]


def test_right_uses_compile_and_wrong_ones_do_not(
    tsc: list[str],  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    """Each wrong line is marked as expected to be an error, which is one if it is none."""
    for path in (CLIENT / "client.js", CLIENT / "client.d.ts", *TYPES.glob("*.ts")):
        shutil.copy(path, tmp_path)

    command = [*tsc, "--strict", "--exactOptionalPropertyTypes", *OPTIONS, "right.ts", "wrong.ts"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert done.stdout + done.stderr == ""
