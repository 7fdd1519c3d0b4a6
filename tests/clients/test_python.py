"""The shared scenarios, played by the Python client against real servers."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.player import SCENARIOS, play
from tests.live.servers import Server, free_port, python

pytestmark = pytest.mark.live


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """``tests.clients.server`` under each server, once a module."""
    log = tmp_path_factory.mktemp(request.param) / "server.log"
    port = free_port()
    argv = ["-m", "tests.clients.server", "--port", str(port), "--server", request.param]
    with python(argv, port=port, log=log) as server:
        yield server


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
async def test_the_python_client_plays(scenario: dict[str, Any], server: Server) -> None:
    """Both clients behave alike (``tests/clients/README.md``)."""
    await play(scenario, f"{server.url}ws/")


async def test_a_scenario_whose_promise_is_broken_fails(server: Server) -> None:
    """Or the player would be worth nothing."""
    asked = {"do": "request", "type": "ADD", "payload": {"a": 1, "b": 1}}
    wrong = {**asked, "reply": {"type": "SUM", "payload": {"total": 3}}}
    scenario = {"name": "wrong", "rule": "", "steps": [{"do": "connect"}, wrong]}

    with pytest.raises(AssertionError):
        await play(scenario, f"{server.url}ws/")
