import sys
from typing import Any

import pytest
from pydantic import BaseModel

from tests.codegen.sample import errors
from tests.codegen.sample import messages as m
from tests.codegen.sample.handlers import router
from wskit_channels import Context, Message, Router, RpcContext, Topic, WsKitError, rpc
from wskit_channels import message as make_message
from wskit_channels.codegen.contract import Contract, contract_of
from wskit_channels.codegen.schemas import ContractError
from wskit_channels.protocol.errors import STANDARD_CODES


@pytest.fixture(scope="module")
def contract() -> Contract:
    return contract_of(router)


def test_routes_are_listed_by_type_with_what_they_take_and_answer(contract: Contract) -> None:
    """DESIGN 1: a request names its response, and what its progress is."""
    assert [
        (
            route.message.type,
            route.message.payload and route.message.payload["$ref"].removeprefix("#/$defs/"),
            route.response and route.response.type,
            route.progress,
            route.sends,
        )
        for route in contract.routes
    ] == [
        ("ASK", "Ask", "ASKED", {}, ()),
        ("COUNT", None, "CLEARED", {}, ()),
        ("DRAW", "Draw", None, None, ("CLEARED", "NOTED")),
        ("FIND", "Find", "FOUND", {"$ref": "#/$defs/Stage"}, ()),
        ("HIDDEN", None, None, None, ()),
        ("LEAVE", None, None, None, ()),
        ("TRACED", "Traced", None, None, ()),
        ("camel:case", "Camel", None, None, ()),
    ]


def test_what_the_server_sends_is_what_is_declared(contract: Contract) -> None:
    """DESIGN 2: ``sends=``, ``router.sends()`` and ``Topic[...]`` declare it."""
    assert [message.type for message in contract.sent] == ["CLEARED", "DRAWN", "NOTED", "SHORT"]


def test_topics_have_their_pattern_and_messages(contract: Contract) -> None:
    assert [(one.name, one.pattern, one.doc, one.messages) for one in contract.topics] == [
        ("RoomTopic", "room:{room_id}", "What happens in one room.", ("CLEARED", "DRAWN"))
    ]


def test_docstrings_are_kept_as_they_read(contract: Contract) -> None:
    """A handler's for the route, a class's for the message; none is inherited."""
    docs = {route.message.type: (route.doc, route.message.doc) for route in contract.routes}

    assert docs["DRAW"] == (
        "Draws it for everybody in the room.",
        "Draws a shape.\n\nWith */ in its text.",
    )
    assert docs["TRACED"] == ("", "")


def test_fields_are_described_by_the_strings_below_them(contract: Contract) -> None:
    upwards = contract.definitions["Point-Input"]["properties"]["y"]

    assert upwards == {"type": "integer", "default": 0, "description": "Upwards."}


def test_extended_meta_is_told_without_the_keys_that_every_message_has(
    contract: Contract,
) -> None:
    """PROTOCOL 1: a message may declare more meta keys."""
    traced = next(one.message for one in contract.routes if one.message.type == "TRACED")

    assert traced.meta == {
        "type": "object",
        "properties": {"traceId": {"type": "string"}, "hops": {"type": "integer", "default": 0}},
        "required": ["traceId"],
    }
    assert not any("Meta" in name for name in contract.definitions)


def test_defaults_may_be_left_out_on_the_way_in_and_are_there_on_the_way_out(
    contract: Contract,
) -> None:
    """PROTOCOL 1: what goes out holds every field."""
    point_in, point_out = (contract.definitions[f"Point-{way}"] for way in ("Input", "Output"))

    assert (point_in["required"], point_out["required"]) == (["x"], ["x", "y"])


def test_unknown_keys_are_refused_at_every_level_whatever_a_class_says() -> None:
    """PROTOCOL 1: an unknown key in any nested model is a validation failure."""

    class Open(BaseModel, extra="allow"):
        a: int

    class Carrier(Message, type="CARRIER"):
        inner: Open
        plain: dict[str, int]

    host = Router()
    host.on(Carrier)(_handler)
    made = contract_of(host).definitions

    assert made["Open"]["additionalProperties"] is False
    assert made["Carrier"]["properties"]["plain"] == {
        "type": "object",
        "additionalProperties": {"type": "integer"},
    }


async def _handler(ctx: Context[Any]) -> None: ...


def test_error_codes_are_the_standard_ones_topics_and_the_applications(
    contract: Contract,
) -> None:
    """DESIGN 2: an application's own are found by code generation."""
    by_origin: dict[str, list[str]] = {}
    for error in contract.errors:
        by_origin.setdefault(error.origin, []).append(error.code)
    own = [error for error in contract.errors if error.origin == "application"]

    assert set(by_origin["standard"]) == STANDARD_CODES
    assert by_origin["topics"][0] == "INVALID_TOPIC"
    assert [(one.code, one.doc, one.retryable) for one in own] == [
        ("ROOM_FULL", "The room has as many people as it takes.", True)
    ]


class FromElsewhere(WsKitError, code="FROM_ELSEWHERE"):
    """Declared in this module: another package than the sample's."""


def test_errors_of_other_apps_are_left_out(contract: Contract) -> None:
    """What is not of a handler's package, not named there and not in ``sends``."""
    assert "FROM_ELSEWHERE" not in {error.code for error in contract.errors}


def test_an_error_from_elsewhere_counts_where_sends_names_it() -> None:
    host = Router().merge(Router().sends(errors.RoomFull))

    codes = {one.code for one in contract_of(host).errors if one.origin == "application"}

    assert codes == {"ROOM_FULL"}


def test_an_error_counts_where_a_handlers_module_imports_it() -> None:
    host = Router()
    host.on(m.Leave)(_handler)  # this module imports the sample's errors

    codes = {one.code for one in contract_of(host).errors if one.origin == "application"}

    assert codes == {"FROM_ELSEWHERE", "ROOM_FULL"}


def test_a_mounted_route_has_its_prefix_and_its_response_has_none() -> None:
    """DESIGN 2: mount() prefixes the types of routes."""
    host = Router()
    host.mount("shapes.", router)

    routes = {one.message.type: one.response for one in contract_of(host).routes}
    response = routes["shapes.FIND"]

    assert response is not None
    assert response.type == "FOUND"


def test_reading_a_contract_leaves_the_router_open() -> None:
    host = Router()
    contract_of(host)

    host.on(m.Leave)(_handler)

    assert [route.type for route in host.routes()] == ["LEAVE"]


def test_two_classes_of_one_name_are_told_apart() -> None:
    first = make_message("A:B", {"a": int})
    second = make_message("A_B", {"b": str})
    first.__name__ = second.__name__ = "Same"
    host = Router()
    host.on(first, second)(_handler)

    payloads = [route.message.payload for route in contract_of(host).routes]
    definitions = contract_of(host).definitions

    bodies = [definitions[one["$ref"].removeprefix("#/$defs/")] for one in payloads if one]
    assert [list(body["properties"]) for body in bodies] == [["a"], ["b"]]


def test_two_classes_sent_by_one_type_are_refused() -> None:
    """Clients could not tell them apart."""
    host = Router().sends(make_message("TWICE", {"a": int}), make_message("TWICE", {"a": str}))

    with pytest.raises(ContractError, match=r"'TWICE' is sent as .*give one of them another type"):
        contract_of(host)


def test_a_field_without_a_schema_is_reported_with_its_class() -> None:
    class Strange(Message, type="STRANGE", arbitrary_types_allowed=True):
        what: Router[Any]

    host = Router()
    host.on(Strange)(_handler)

    with pytest.raises(ContractError, match=r"The payload of .*Strange has no JSON Schema"):
        contract_of(host)


def test_a_topic_that_takes_any_message_declares_none() -> None:
    class AnyTopic(Topic[Any], pattern="any:{name}"):
        name: str

    host = Router().sends(AnyTopic)
    made = contract_of(host)

    assert [(one.name, one.messages) for one in made.topics] == [("AnyTopic", ())]
    assert made.sent == ()


def test_recursive_and_generic_models_refer_to_themselves_and_their_parts(
    contract: Contract,
) -> None:
    tree = contract.definitions["Tree-Output"]["properties"]["children"]
    page = contract.definitions["Page_Point_"]["properties"]["items"]

    assert tree == {"type": "array", "items": {"$ref": "#/$defs/Tree-Output"}}
    assert page == {"type": "array", "items": {"$ref": "#/$defs/Point-Output"}}


def test_a_call_made_in_one_line_has_its_contract_too() -> None:
    """DESIGN 1: the short form makes the same kind of class."""
    ping = rpc("PING", {"text": str}, "PONG", {"reply": str}, progress=int)
    host = Router()

    @host.rpc(ping)
    async def answer(ctx: RpcContext[Any]) -> Any: ...

    (route,) = contract_of(host).routes

    assert route.response is not None
    assert (route.response.type, route.progress) == ("PONG", {"type": "integer"})


def test_the_modules_of_code_generation_need_no_django() -> None:
    """DESIGN 4: codegen imports protocol and routing."""
    import subprocess

    script = (
        "import sys\n"
        "sys.modules['django'] = sys.modules['channels'] = None\n"
        "import wskit_channels.codegen.asyncapi, wskit_channels.codegen.compare\n"
        "import wskit_channels.codegen.typescript\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


def test_structs_have_a_contract_like_pydantics_classes() -> None:
    """Fields with defaults are always there in what is written, ``UNSET`` ones are not."""
    msgspec = pytest.importorskip("msgspec")
    made = contract_of(_struct_router(msgspec))
    (route,) = made.routes
    response = made.definitions["StructFound"]

    assert route.message.payload == {"$ref": "#/$defs/StructFind"}
    assert made.definitions["StructFind"] == {
        "title": "StructFind",
        "type": "object",
        "properties": {"text": {"type": "string"}, "most": {"type": "integer", "default": 5}},
        "required": ["text"],
        "additionalProperties": False,
    }
    assert route.message.meta == {
        "type": "object",
        "properties": {"traceId": {"type": "string"}},
        "required": ["traceId"],
    }
    assert (response["required"], sorted(response["properties"])) == (
        ["ids", "total"],
        ["hint", "ids", "total"],
    )
    assert route.progress == {"type": "integer"}
    assert made.sent[0].payload is None


def _struct_router(msgspec: Any) -> Router[Any]:
    from wskit_channels.contrib import msgspec as structs

    class StructTrace(structs.Meta):
        trace_id: str = msgspec.field(name="traceId")

    class StructFound(structs.Message, type="STRUCT_FOUND"):
        ids: list[int]
        total: int = 0
        hint: str | msgspec.UnsetType = msgspec.UNSET

    class StructFind(structs.Rpc[StructFound, int], type="STRUCT_FIND", meta=StructTrace):
        text: str
        most: int = 5

    class StructGone(structs.Message, type="STRUCT_GONE"):
        pass

    host = Router[Any]().sends(StructGone)
    host.rpc(StructFind)(_handler)
    return host


def test_a_validator_of_ones_own_gives_its_schemas_or_is_told_to() -> None:
    class Foreign:
        name: str

    class Plain:
        def type_of(self, message: type[Any]) -> str | None:
            return "FOREIGN" if message is Foreign else None

        def compile(self, message: type[Any], type_: str | None = None) -> Any:
            raise NotImplementedError

    class Telling(Plain):
        def json_schema(self, kind: Any, mode: str) -> dict[str, Any]:
            return {"type": "object", "properties": {"mode": {"const": mode}}}

    def host(validator: Any) -> Router[Any]:
        made = Router[Any](validator=validator)
        made.on(Foreign)(_handler)
        return made

    (route,) = contract_of(host(Telling())).routes
    assert route.message.payload == {
        "type": "object",
        "properties": {"mode": {"const": "validation"}},
    }
    with pytest.raises(ContractError, match=r"Plain makes no JSON Schema of .*Foreign: it needs"):
        contract_of(host(Plain()))


def test_middleware_of_this_library_brings_nothing_of_its_own() -> None:
    from wskit_channels import permissions

    class OfTheLibrary(WsKitError, code="OF_THE_LIBRARY"):
        __module__ = "wskit_channels.permissions"

    host = Router()
    host.on(m.Leave, use=[permissions.require_login])(_handler)

    assert OfTheLibrary.declared_code not in {error.code for error in contract_of(host).errors}
