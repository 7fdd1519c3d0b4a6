"""The scenarios of ``tests/clients``, played by the JavaScript client in Chromium."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.servers import ROOT

from .conftest import OpenTab
from .pages import ClientServer

pytestmark = [pytest.mark.browser, pytest.mark.live]

SCENARIOS = json.loads((ROOT / "tests/clients/scenarios.json").read_text())


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClientServer]:
    log: Path = tmp_path_factory.mktemp("server") / "server.log"
    with ClientServer(log, request.param) as server:
        yield server


def test_every_scenario(open_tab: OpenTab, server: ClientServer) -> None:
    tab = open_tab(server)
    failures = {}
    for scenario in SCENARIOS:
        if failure := tab.run("return play(...arg)", [scenario, server.url]):
            failures[scenario["name"]] = failure

    assert failures == {}, server.log[-4000:]
