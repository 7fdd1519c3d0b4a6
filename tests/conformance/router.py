"""The router of the conformance server, with what its messages have in common."""

from dataclasses import dataclass

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from wskit_channels import Limits, Message, Router

CAMEL = ConfigDict(alias_generator=to_camel)


class CamelMessage(Message):
    """A message whose wire names are camelCase."""

    model_config = CAMEL


@dataclass
class Data:
    name: str | None = None


def make_router() -> Router[Data]:
    """A router without handlers, as the scenarios want it set up."""
    return Router(
        data=Data,
        subprotocols=("chat.v1",),
        limits=Limits(max_payload_bytes=4096, max_inflight_rpcs=8, max_topics_per_connection=10),
        rpc_timeout=2.0,
    )


router = make_router()


def room_topic(room_id: str) -> str:
    return f"room:{room_id}"
