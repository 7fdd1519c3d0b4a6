"""Every scenario, played over real sockets against real servers, with both kinds of layer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.run import SCENARIOS, load, run_scenario
from tests.live.servers import SERVERS, Server, free_port, python

pytestmark = pytest.mark.live


@pytest.fixture(scope="module", params=["memory", "valkey"])
def layer(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return request.getfixturevalue("valkey") if name == "valkey" else name


@pytest.fixture(scope="module", params=sorted(SERVERS))
def server(
    request: pytest.FixtureRequest, layer: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    port = free_port()
    argv = ["-m", "tests.conformance", "--port", str(port), "--server", request.param]
    log = tmp_path_factory.mktemp("conformance") / "server.log"
    with python([*argv, "--layer", layer], port=port, log=log) as server:
        yield server


@pytest.mark.parametrize("file", sorted(SCENARIOS.glob("*.json")), ids=lambda file: file.stem)
async def test_file(server: Server, file: Path) -> None:
    failures = {}
    for _, scenario in load([file]):
        try:
            await run_scenario(server.url, scenario)
        except Exception as error:
            failures[scenario["name"]] = f"{type(error).__name__}: {error}"
    assert failures == {}, server.log.read_text()[-4000:]
