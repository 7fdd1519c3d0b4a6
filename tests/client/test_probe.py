import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

from tests.client.conftest import Serve, work
from wskit_channels.client.probe import frame_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("line", "frame"),
    [
        ("PING", '{"type":"PING","meta":{"timestamp":1000}}'),
        ('SAY {"a": 1}', '{"type":"SAY","meta":{"timestamp":1000},"payload":{"a": 1}}'),
        ('{"type": "X", "anything": 1', '{"type": "X", "anything": 1'),
    ],
)
def test_what_a_line_stands_for(line: str, frame: str) -> None:
    """Frames go as they were typed, so that wrong ones can be tried."""
    assert frame_of(line, now=1.0) == frame


def test_a_payload_that_is_no_json_is_not_sent() -> None:
    with pytest.raises(ValueError, match=r"a line is a frame as JSON, or TYPE, or TYPE \{json"):
        frame_of("SAY {a}", now=1.0)


async def probe(
    url: str, *options: str, typed: str | None = ""
) -> tuple[int | None, list[str], str]:
    """
    Run the probe to its end; its exit code, what it printed, and its complaints.

    Its input ends after ``typed``, or never where that is None.
    """
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        # Long enough for a busy machine to answer; only who comes to the end of input waits.
        *("-m", "wskit_channels.client", url, "--wait", "2", *options),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=reading,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(reading)
    with open(writing, "wb", closefd=True) as input_:
        if typed is not None:
            input_.write(typed.encode())
            input_.close()
        out, complaints = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode().splitlines(), complaints.decode()


async def test_lines_are_sent_and_frames_printed_until_the_end_of_input(serving: Serve) -> None:
    """And what answers the last line is still seen."""
    code, lines, complaints = await probe(
        await serving(work), typed='SAY {"a": 1}\n\nSAY {oops\n{"type": "RAW"}\n'
    )

    assert (code, complaints) == (0, "")
    assert lines[:2] == ["- connecting", "- open"]
    assert lines[-2:] == ["- closing", "- closed"]
    assert "! not sent: a line is a frame as JSON, or TYPE, or TYPE {json payload}" in lines
    assert '> {"type": "RAW"}' in lines
    heard = [json.loads(line[2:])["payload"] for line in lines if line.startswith("<")]
    assert heard == [{"text": '{"a": 1}'}, {"text": "null"}]


async def test_a_close_by_the_server_ends_it_with_1(serving: Serve) -> None:
    async def refuse(socket: ServerConnection) -> None:
        assert socket.request is not None
        headers = socket.request.headers
        await socket.close(4403, f"{headers['Authorization']} {headers['X-A']}")

    # The input stays open: its end would have the probe wait for what comes, and leave.
    code, lines, complaints = await probe(
        await serving(refuse), "--token", "t0ken", "--header", "X-A: 1", typed=None
    )

    assert (code, complaints) == (1, "")
    assert lines[-1] == (
        "! the connection closed with 4403 (Bearer t0ken 1): the client does not connect again"
    )


async def test_where_nobody_listens_it_says_so() -> None:
    code, lines, complaints = await probe("ws://127.0.0.1:1/")

    assert (code, complaints) == (1, "")
    assert lines[-1].startswith("! the connection closed with 1006: no connection: ")


async def test_a_header_without_a_colon_is_a_usage_error() -> None:
    code, _, complaints = await probe("ws://127.0.0.1:1/", "--header", "oops")

    assert code == 2
    assert "'oops' is not NAME:VALUE" in complaints
