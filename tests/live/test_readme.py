"""The README's example, pasted into a new project, works."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

from tests.live.clients import RECEIVE_TIMEOUT, receive, send
from tests.live.servers import ROOT, free_port, python

pytestmark = pytest.mark.live


def paste_example(project: Path) -> None:
    """Start a project and put each Python block of the README where its first line says."""
    subprocess.run(
        [sys.executable, "-m", "django", "startproject", "mysite", str(project)], check=True
    )
    readme = (ROOT / "README.md").read_text()
    for name, code in re.findall(r"```python\n# (\S+\.py)\n(.*?)```", readme, re.DOTALL):
        file = project / name
        file.parent.mkdir(exist_ok=True)
        # Settings are added to; the other files are the README's alone.
        kept = file.read_text() if file.name == "settings.py" else ""
        file.write_text(kept + code)


async def test_the_example_works_as_pasted(tmp_path: Path) -> None:
    paste_example(tmp_path)
    port = free_port()
    argv = ["-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "mysite.asgi:application"]
    with python(argv, port=port, log=tmp_path / "server.log", cwd=tmp_path):
        url = f"ws://127.0.0.1:{port}/ws/"
        async with (
            asyncio.timeout(RECEIVE_TIMEOUT),
            connect(url, origin=Origin(f"http://127.0.0.1:{port}"), proxy=None) as socket,
        ):
            await send(socket, "JOIN_ROOM", room="lobby")
            await send(socket, "SAY", text="Hello!")
            frame = await receive(socket)

    assert (frame["type"], frame["payload"]) == ("SAID", {"text": "Hello!"})
