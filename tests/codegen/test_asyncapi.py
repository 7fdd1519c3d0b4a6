import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from tests.codegen.sample.handlers import router
from wskit_channels import Context, Message, Router
from wskit_channels.codegen.asyncapi import ApiInfo, Credentials, asyncapi, asyncapi_text
from wskit_channels.codegen.contract import contract_of
from wskit_channels.protocol import wire
from wskit_channels.protocol.validation import schema_of

OFFICIAL = Path(__file__).parent / "asyncapi" / "3.0.0.json.gz"
INFO = ApiInfo(title="Shapes", version="2.1.0", path="/ws/{house}/")

Json = dict[str, Any]


@pytest.fixture(scope="module")
def official() -> Draft7Validator:
    return Draft7Validator(json.loads(gzip.decompress(OFFICIAL.read_bytes())))


@pytest.fixture(scope="module")
def document() -> Json:
    return asyncapi(contract_of(router), INFO)


def test_the_document_is_valid(official: Draft7Validator, document: Json) -> None:
    """The official JSON Schema of AsyncAPI 3.0."""
    assert [error.message for error in official.iter_errors(document)] == []


def test_the_official_schema_is_in_force(official: Draft7Validator, document: Json) -> None:
    """An operation without its action is found, deep in the document."""
    broken = json.loads(json.dumps(document))
    del broken["operations"]["receive.FIND"]["action"]

    assert not official.is_valid(broken)


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        here = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return here.union(*(references(value) for value in part.values()))
    if isinstance(part, list):
        return set().union(*map(references, part))
    return set()


def found(document: Json, reference: str) -> Any:
    part: Any = document
    for key in reference.removeprefix("#/").split("/"):
        part = part[key]
    return part


def test_every_reference_leads_somewhere(document: Json) -> None:
    all_of_them = references(document)

    assert len(all_of_them) > 30
    assert all(found(document, one) is not None for one in all_of_them)


def test_every_route_error_and_control_frame_is_named(document: Json) -> None:
    names: dict[str, set[str]] = {"receive": set(), "send": set()}
    for operation in document["operations"].values():
        (message,) = operation["messages"]
        key = message["$ref"].rpartition("/")[2]
        names[operation["action"]].add(document["components"]["messages"][key]["name"])
    codes = {one["const"] for one in document["components"]["schemas"]["wskit.ErrorCode"]["oneOf"]}

    routes = {route.type for route in router.routes()}
    control = {wire.ABORT, wire.PING, wire.PONG, wire.HEARTBEAT}
    assert names["receive"] == routes | control
    assert names["send"] == {
        "CLEARED", "DRAWN", "NOTED", "SHORT", wire.ERROR, wire.RPC_ERROR,
        wire.PING, wire.PONG, wire.BYE, wire.HEARTBEAT_ACK,
    }  # fmt: skip
    assert codes == {error.code for error in contract_of(router).errors}


def message_of(document: Json, key: str) -> Json:
    found_: Json = document["components"]["messages"][key]
    return found_


def test_a_request_has_its_replies_by_correlation(document: Json) -> None:
    """PROTOCOL 5: reply, progress and failure carry the request's id."""
    operation = document["operations"]["receive.FIND"]
    replies = [one["$ref"].rpartition("/")[2] for one in operation["reply"]["messages"]]
    involved = [message_of(document, key) for key in ("received.FIND", *replies)]

    assert replies == ["reply.FOUND", "progress.FIND", "error.RPC_ERROR"]
    assert {json.dumps(one["correlationId"]) for one in involved} == {
        '{"$ref": "#/components/correlationIds/call"}'
    }
    assert document["components"]["correlationIds"]["call"]["location"] == (
        "$message.payload#/meta/correlationId"
    )
    assert operation["description"] == "Finds shapes."


def validator(document: Json, key: str) -> Draft7Validator:
    schema = message_of(document, key)["payload"]
    return Draft7Validator({**schema, "components": document["components"]})


DRAW = {
    "shape": {"kind": "circle", "radius": 2.0},
    "colour": "red",
    "at": {"x": 1},
    "size": [1, 2],
    "path": [None, {"x": 1, "y": 2}],
    "tree": {"name": "a", "children": [{"name": "b"}]},
    "quoted-name": "n",
}


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"size": [1, 2, 3]}, False),
        ({"size": [1]}, False),
        ({"size": [1, "2"]}, False),
        ({"at": {"x": 1, "z": 2}}, False),
        ({"shape": {"kind": "triangle"}}, False),
        ({"shape": {"kind": "circle", "radius": 0}}, False),
        ({"tree": {"name": "a", "children": [{"label": "b"}]}}, False),
        ({"colour": "blue"}, False),
        ({"level": 2, "mode": "line", "by_mode": {"fill": 1}}, True),
        ({"by_mode": {"other": 1}}, False),
        ({"quoted_name": "by its own name"}, False),
        ({"extra": {"tag": "t"}}, True),
        ({"extra": {"tag": "t", "note": 1}}, False),
    ],
)
def test_frames_in_are_told_as_they_are_validated(
    document: Json, change: Json, valid: bool
) -> None:
    """PROTOCOL 1: what the document takes, the server takes, and the other way round."""
    frame = {"type": "DRAW", "meta": {}, "payload": {**DRAW, **change}}
    route = next(one for one in router.routes() if one.type == "DRAW")

    told = validator(document, "received.DRAW").is_valid(frame)
    taken = schema_of(route.message).decode(json.dumps(frame)) is not None

    assert (told, taken) == (valid, valid)


@pytest.mark.parametrize(
    ("frame", "valid"),
    [
        ({"type": "LEAVE"}, True),
        ({"type": "LEAVE", "meta": {"timestamp": 1, "timeoutMs": 5}}, True),
        ({"type": "LEAVE", "meta": {"timeoutMs": 0}}, False),
        ({"type": "LEAVE", "meta": {"other": 1}}, False),
        ({"type": "LEAVE", "payload": {}}, False),
        ({"type": "LEAVE", "payload": None}, False),
        ({"type": "LEFT"}, False),
        ({"type": "LEAVE", "more": 1}, False),
    ],
)
def test_envelopes_are_told_as_they_are_validated(document: Json, frame: Json, valid: bool) -> None:
    """PROTOCOL 1, for a message without payload."""
    leave = next(one for one in router.routes() if one.type == "LEAVE")

    told = validator(document, "received.LEAVE").is_valid(frame)
    taken = schema_of(leave.message).decode(json.dumps(frame)) is not None

    assert (told, taken) == (valid, valid)


def test_required_extended_meta_makes_meta_required(document: Json) -> None:
    """PROTOCOL 1: extended meta is validated like a payload."""
    told = validator(document, "received.HIDDEN")

    assert told.is_valid({"type": "HIDDEN", "meta": {"traceId": "t", "correlationId": "c"}})
    assert not told.is_valid({"type": "HIDDEN", "meta": {}})
    assert not told.is_valid({"type": "HIDDEN"})


def test_frames_out_are_told_as_they_are_written(document: Json) -> None:
    """PROTOCOL 4, 5, 7: frames that the wire module writes."""
    error = {"code": "OTHER", "message": "m", "retry_after": None}
    frames = {
        "error.ERROR": wire.error_frame(error, now=1.0, rpc=False, correlation_id=None),
        "error.RPC_ERROR": wire.error_frame(error, now=1.0, rpc=True, correlation_id="c"),
        "progress.FIND": wire.progress_frame("c", '{"done":1,"total":2}', now=1.0),
        "progress.COUNT": wire.progress_frame("c", None, now=1.0),
        "control.sent.ws.pong": wire.pong_frame(5, now=1.0),
        "control.sent.__heartbeat_ack": wire.heartbeat_ack_frame(now=1.0),
        "control.sent.ws.bye": wire.bye_frame(code=1012, reason="", retry_after=1.0, now=1.0),
        "reply.FOUND": wire.frame(
            wire.prefix("FOUND"),
            1.0,
            wire.meta_suffix("c", {"traceId": "t"}),
            '{"page":{"items":[],"next":null},"tree":{"name":"a","children":[]}}',
        ),
        "reply.CLEARED": wire.frame(wire.prefix("CLEARED"), 1.0, wire.meta_suffix("c")),
    }
    wrong = {
        key: [error.message for error in validator(document, key).iter_errors(json.loads(text))]
        for key, text in frames.items()
    }

    assert wrong == {key: [] for key in frames}
    without_id = json.loads(frames["reply.FOUND"]) | {"meta": {"timestamp": 1, "traceId": "t"}}
    assert not validator(document, "reply.FOUND").is_valid(without_id)


def test_types_that_make_the_same_key_are_kept_apart() -> None:
    class One(Message, type="A:B"):
        a: int

    class Other(Message, type="A/B"):
        b: int

    host = Router()

    @host.on(One, Other)
    async def handle(ctx: Context[Any]) -> None: ...

    made = asyncapi(contract_of(host), INFO)
    taken = {
        name: operation["messages"][0]["$ref"].rpartition("/")[2]
        for name, operation in made["operations"].items()
        if operation["title"] in ("A:B", "A/B")
    }

    assert len(taken) == 2
    assert {message_of(made, key)["name"] for key in taken.values()} == {"A:B", "A/B"}


def schemes(host: Router[Any], **credentials: Any) -> tuple[list[str], list[str]]:
    """Security schemes that there are, and those that one needs."""
    info = ApiInfo(credentials=Credentials(**credentials))
    made = asyncapi(contract_of(host), info)
    needed = made["servers"]["server"].get("security", [])
    known = made["components"]["securitySchemes"]
    return list(known), [one["$ref"].rpartition("/")[2] for one in needed]


def test_credentials_are_required_where_the_router_asks_for_them() -> None:
    """PROTOCOL 9, DESIGN 2: login_required, and authenticate hooks that read tokens."""
    asking = Router[Any]()
    asking.authenticate(lambda handshake: True)
    tokens = ["tokenHeader", "tokenParameter", "tokenSubprotocol"]

    assert schemes(Router()) == (["session"], [])
    assert schemes(Router(login_required=True)) == (["session"], ["session"])
    assert schemes(asking) == (["session", *tokens], ["session", *tokens])
    assert schemes(asking, session_cookie=None) == (tokens, tokens)


def test_names_of_credentials_are_the_projects() -> None:
    asking = Router[Any]()
    asking.authenticate(lambda handshake: True)
    info = ApiInfo(
        credentials=Credentials(
            session_cookie="sid", token_parameter="key", token_subprotocol_prefix="token."
        )
    )
    known = asyncapi(contract_of(asking), info)["components"]["securitySchemes"]

    assert (known["session"]["name"], known["tokenParameter"]["name"]) == ("sid", "key")
    assert "token.<token>" in known["tokenSubprotocol"]["description"]


def test_the_channel_tells_address_parameters_subprotocols_and_topics(document: Json) -> None:
    channel = document["channels"]["socket"]

    assert (channel["address"], channel["parameters"]) == ("/ws/{house}/", {"house": {}})
    assert channel["x-wskit-subprotocols"] == ["v1"]
    assert channel["x-wskit-topics"] == [
        {
            "name": "RoomTopic",
            "pattern": "room:{room_id}",
            "description": "What happens in one room.",
            "messages": ["CLEARED", "DRAWN"],
        }
    ]


def test_the_same_router_gives_the_same_text() -> None:
    assert asyncapi_text(contract_of(router), INFO) == asyncapi_text(contract_of(router), INFO)


def test_the_order_of_registering_makes_no_difference() -> None:
    class A(Message, type="A"):
        a: int

    class B(Message, type="B"):
        b: int

    texts = set()
    for order in ([A, B], [B, A]):
        host = Router().sends(*order)
        for one in order:
            host.on(one)(_handle)
        texts.add(asyncapi_text(contract_of(host), INFO))

    assert len(texts) == 1


async def _handle(ctx: Context[Any]) -> None: ...


def test_the_neutral_schemas_are_of_draft_2020_12() -> None:
    """What other tools read from the contract itself."""
    made = contract_of(router)
    body = {"$ref": "#/$defs/Draw", "$defs": dict(made.definitions)}

    Draft202012Validator.check_schema(body)
    assert Draft202012Validator(body).is_valid(DRAW)
