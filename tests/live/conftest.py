from collections.abc import Iterator

import pytest

from tests.live.servers import SERVERS, Server


@pytest.fixture(scope="module", params=sorted(SERVERS))
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """``tests.live.app`` under each server, once a module."""
    log = tmp_path_factory.mktemp(request.param) / "server.log"
    with SERVERS[request.param]("tests.live.app:application", log) as server:
        yield server
