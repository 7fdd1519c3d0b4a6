"""``manage.py demo`` needs no server beside itself."""

import asyncio
from pathlib import Path

import pytest

from tests.live.demo import sign_in, talk
from tests.live.servers import free_port, python

pytestmark = pytest.mark.live


async def test_the_demo_can_be_signed_in_to_and_spoken_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXAMPLE_DB", str(tmp_path / "demo.sqlite3"))
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    with python(["manage.py", "demo", "--port", str(port)], port=port, log=tmp_path / "log"):
        cookie = await asyncio.to_thread(sign_in, url)
        heard = await talk(url, cookie)

    assert heard == "Is anybody there?"
