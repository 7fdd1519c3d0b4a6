import logging
from dataclasses import dataclass
from typing import Any

import pytest

from tests.shell_helpers import Caught
from wskit_channels import Handshake
from wskit_channels.routing.log import ConnectionLogger


class Someone:
    pk = 7


class NotYetLoaded:
    @property
    def pk(self) -> Any:
        raise ValueError("accessed before it was loaded")


@dataclass
class Connection:
    handshake: Handshake
    client_id: str = "c1"


def fields(scope: dict[str, Any], **extra: Any) -> dict[str, Any]:
    """The fields that a record of a connection has beside a plain one's."""
    logger, caught = logging.Logger("test"), Caught()  # noqa: LOG001 - a test's own
    logger.addHandler(caught)
    ConnectionLogger(logger, Connection(Handshake(scope))).warning("text", extra=extra or None)
    plain = logging.makeLogRecord({}).__dict__.keys()
    return {name: value for name, value in vars(caught.records[0]).items() if name not in plain}


@pytest.mark.parametrize(
    ("scope", "user_id"),
    [({"user": Someone()}, 7), ({}, None), ({"user": NotYetLoaded()}, None)],
    ids=["user", "nobody", "not loaded"],
)
def test_records_say_whose_they_are(scope: dict[str, Any], user_id: Any) -> None:
    """DESIGN 10: structured ``extra``."""
    assert fields(scope) == {"client_id": "c1", "user_id": user_id}


def test_a_calls_own_extra_is_kept() -> None:
    """The standard adapter drops it; but nobody is somebody else."""
    assert fields({}, room="lobby", client_id="forged") == {
        "client_id": "c1",
        "user_id": None,
        "room": "lobby",
    }
