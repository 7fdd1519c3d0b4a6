"""Each kind of change, from a router of before and one of after."""

import enum
from collections.abc import Callable
from typing import Annotated, Any, Literal, NotRequired

import pytest
from pydantic import BaseModel, Field, RootModel, create_model
from typing_extensions import TypedDict

from wskit_channels import Context, Message, Meta, Router, message, rpc
from wskit_channels.codegen.asyncapi import ApiInfo, asyncapi
from wskit_channels.codegen.compare import NotComparable, compare
from wskit_channels.codegen.contract import contract_of

Json = dict[str, Any]


async def handler(ctx: Context[Any]) -> None: ...


def document(*routes: Any, sends: Any = (), info: ApiInfo | None = None, **options: Any) -> Json:
    router = Router[Any](**options).sends(*sends)
    for route in routes:
        if hasattr(route, "response"):
            router.rpc(route)(handler)
        else:
            router.on(route)(handler)
    return asyncapi(contract_of(router), info or ApiInfo(path="/ws/"))


def changes(old: Json, new: Json) -> list[str]:
    return [str(change) for change in compare(old, new)]


def taken(kind: Any, default: Any = ...) -> Json:
    """A router that takes one message with one field."""
    return document(message("M", {"a": (kind, default)}))


def sent(kind: Any) -> Json:
    """A router that sends one message with one field."""
    return document(sends=[message("M", {"a": kind})])


class Red(enum.Enum):
    RED = "red"


class RedGreen(enum.Enum):
    RED = "red"
    GREEN = "green"


class Inner(BaseModel):
    x: int


class InnerMore(BaseModel):
    x: int
    y: int = 0


class InnerNeeds(BaseModel):
    x: int
    y: int


def shape(kind_: str, **fields: Any) -> type[BaseModel]:
    return create_model(kind_.capitalize(), kind=(Literal[kind_], ...), **fields)


def union(*members: type[BaseModel]) -> Any:
    made: Any = members[0]
    for one in members[1:]:
        made |= one
    return Annotated[made, Field(discriminator="kind")] if len(members) > 1 else made


CIRCLE = shape("circle", r=(int, ...))
WIDER_CIRCLE = shape("circle", r=(float, ...))
SQUARE = shape("square", side=(int, ...))

NARROWER = [
    pytest.param(float, int, "payload.a: type was {0}, is {1}", ("number", "integer"), id="whole"),
    pytest.param(int | None, int, "payload.a: null is {gone}", (), id="null"),
    pytest.param(int | str, int, "payload.a: string is {gone}", (), id="union"),
    pytest.param(RedGreen, Red, 'payload.a: "green" is {gone}', (), id="enum"),
    pytest.param(Literal["a", "b"], Literal["a"], 'payload.a: "b" is {gone}', (), id="literal"),
    pytest.param(str, Literal["a"], "payload.a: value was {0}, is {1}", ("string", '"a"'), id="s"),
    pytest.param(
        bool, Literal[True], "payload.a: value was {0}, is {1}", ("boolean", "true"), id="b"
    ),
    pytest.param(Any, int, "payload.a: type was {0}, is {1}", ("anything", "integer"), id="any"),
    pytest.param(
        str,
        Annotated[str, Field(max_length=5)],
        "payload.a: maxLength was {0}, is {1}",
        ("free", "5"),
        id="max length",
    ),
    pytest.param(
        Annotated[str, Field(min_length=1)],
        Annotated[str, Field(min_length=2)],
        "payload.a: minLength was {0}, is {1}",
        ("1", "2"),
        id="min length",
    ),
    pytest.param(
        str,
        Annotated[str, Field(pattern="^a$")],
        "payload.a: pattern was {0}, is {1}",
        ("free", '"^a$"'),
        id="pattern",
    ),
    pytest.param(
        Annotated[float, Field(ge=0)],
        Annotated[float, Field(gt=0)],
        "payload.a: minimum was {0}, is {1}",
        ("0", "0 (itself left out)"),
        id="exclusive",
    ),
    pytest.param(
        Annotated[int, Field(le=9)],
        Annotated[int, Field(lt=9)],
        "payload.a: maximum was {0}, is {1}",
        ("9", "9 (itself left out)"),
        id="maximum",
    ),
    pytest.param(
        Annotated[int, Field(multiple_of=2)],
        Annotated[int, Field(multiple_of=4)],
        "payload.a: multipleOf was {0}, is {1}",
        ("2", "4"),
        id="longer step",
    ),
    pytest.param(
        int,
        Annotated[int, Field(multiple_of=2)],
        "payload.a: multipleOf was {0}, is {1}",
        ("free", "2"),
        id="step",
    ),
    pytest.param(
        list[int],
        list[Literal[1]],
        "payload.a[]: value was {0}, is {1}",
        ("integer", "1"),
        id="list",
    ),
    pytest.param(
        tuple[int, float],
        tuple[int, int],
        "payload.a[1]: type was {0}, is {1}",
        ("number", "integer"),
        id="tuple",
    ),
    pytest.param(
        dict[str, float],
        dict[str, int],
        "payload.a[key]: type was {0}, is {1}",
        ("number", "integer"),
        id="dict",
    ),
    pytest.param(
        dict[Literal["a", "b"], int],
        dict[Literal["a"], int],
        'payload.a[key name]: "b" is {gone}',
        (),
        id="keys",
    ),
    pytest.param(
        union(CIRCLE, SQUARE), union(CIRCLE), "payload.a: object is {gone}", (), id="kinds"
    ),
    pytest.param(
        union(WIDER_CIRCLE, SQUARE),
        union(CIRCLE, SQUARE),
        "payload.a.r: type was {0}, is {1}",
        ("number", "integer"),
        id="one kind",
    ),
]


@pytest.mark.parametrize(("wide", "narrow", "text", "values"), NARROWER)
def test_what_clients_send_may_be_widened_but_not_narrowed(
    wide: Any, narrow: Any, text: str, values: tuple[str, ...]
) -> None:
    narrower, wider = (
        text.format(*values, gone="gone"),
        text.format(*reversed(values), gone="new"),
    )

    assert changes(taken(wide), taken(narrow)) == [f"breaking: M {narrower}"]
    assert changes(taken(narrow), taken(wide)) == [f"compatible: M {wider}"]


@pytest.mark.parametrize(("wide", "narrow", "text", "values"), NARROWER)
def test_what_clients_are_sent_may_be_narrowed_but_not_widened(
    wide: Any, narrow: Any, text: str, values: tuple[str, ...]
) -> None:
    narrower, wider = (
        text.format(*values, gone="gone"),
        text.format(*reversed(values), gone="new"),
    )

    assert changes(sent(wide), sent(narrow)) == [f"compatible: M {narrower}"]
    assert changes(sent(narrow), sent(wide)) == [f"breaking: M {wider}"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (Literal["a", "b"], Literal["b", "a"]),
        (Red, Literal["red"]),
        (bool, Literal[True, False]),
        (Annotated[int, Field(gt=0)], Annotated[int, Field(ge=1)]),
        (Inner, create_model("Renamed", x=(int, ...))),
        (list[Inner], list[create_model("Inner2", x=(int, ...))]),
        (int, Annotated[int, Field(description="Now described.")]),
    ],
    ids=["order", "spelling", "boolean", "bounds", "name", "name in list", "words"],
)
@pytest.mark.parametrize("make", [taken, sent], ids=["taken", "sent"])
def test_what_means_the_same_is_only_words(make: Callable[[Any], Json], old: Any, new: Any) -> None:
    words = "compatible: document: only descriptions, defaults or the order of things"

    assert changes(make(old), make(new)) in ([], [words])


@pytest.mark.parametrize("make", [taken, sent], ids=["taken", "sent"])
def test_another_type_breaks_both_ways(make: Callable[[Any], Json]) -> None:
    assert changes(make(int), make(str)) == ["breaking: M payload.a: type was integer, is string"]
    assert changes(make(str), make(Inner)) == ["breaking: M payload.a: type was string, is object"]


def test_a_literal_is_taken_where_its_value_fits() -> None:
    """True is not 1, and what is too long or too small does not fit."""
    short, small = Annotated[str, Field(max_length=2)], Annotated[int, Field(ge=6)]

    assert changes(taken(Literal["ab"]), taken(short)) == [
        'compatible: M payload.a: value was "ab", is string'
    ]
    assert changes(taken(Literal["abc"]), taken(short)) == [
        'breaking: M payload.a: value was "abc", is string'
    ]
    assert changes(taken(Literal[5]), taken(small)) == [
        "breaking: M payload.a: value was 5, is integer"
    ]
    assert changes(taken(Literal[5]), taken(str)) == [
        "breaking: M payload.a: value was 5, is string"
    ]
    assert changes(taken(Literal[True]), taken(Literal[1])) == [
        "breaking: M payload.a: value was true, is 1"
    ]


TREE = create_model("Tree", v=(int, ...), next=("Tree | None", None))
WIDER_TREE = create_model("Tree", v=(int | str, ...), next=("Tree | None", None))


def test_recursive_models_are_compared_and_end() -> None:
    assert changes(taken(TREE), taken(WIDER_TREE)) == ["compatible: M payload.a.v: string is new"]
    assert changes(sent(TREE), sent(WIDER_TREE)) == ["breaking: M payload.a.v: string is new"]


def test_a_default_changes_nothing_for_who_gives_a_value() -> None:
    words = "compatible: document: only descriptions, defaults or the order of things"

    assert changes(taken(int, 1), taken(int, 2)) == [words]


# -- fields


def test_fields_that_clients_send() -> None:
    """A new one that is required, or one that is refused now, breaks them."""
    one, optional, required = map(taken, (Inner, InnerMore, InnerNeeds))

    assert changes(one, required) == ["breaking: M payload.a.y: required field added"]
    assert changes(one, optional) == ["compatible: M payload.a.y: optional field added"]
    assert changes(optional, required) == ["breaking: M payload.a.y: it was optional, is required"]
    assert changes(required, optional) == [
        "compatible: M payload.a.y: it was required, is optional"
    ]
    assert changes(optional, one) == ["breaking: M payload.a.y: field removed"]


def test_fields_that_clients_are_sent() -> None:
    """One that is gone breaks them; a new one they pass over."""
    one, more = sent(Inner), sent(InnerNeeds)

    assert changes(one, more) == ["compatible: M payload.a.y: required field added"]
    assert changes(more, one) == ["breaking: M payload.a.y: field removed"]


class Sometimes(TypedDict):
    x: int
    y: NotRequired[int]


def test_a_field_that_was_only_sometimes_sent_is_missed_too() -> None:
    always, sometimes = sent(InnerNeeds), sent(Sometimes)

    assert changes(sometimes, sent(Inner)) == ["breaking: M payload.a.y: field removed"]
    assert changes(always, sometimes) == ["breaking: M payload.a.y: it was required, is optional"]
    assert changes(sometimes, always) == ["compatible: M payload.a.y: it was optional, is required"]


def test_payloads_that_come_and_go() -> None:
    empty, full = message("M"), message("M", {"a": int})

    assert changes(document(empty), document(full)) == ["breaking: M payload: required field added"]
    assert changes(document(full), document(empty)) == ["breaking: M payload: field removed"]
    assert changes(document(sends=[full]), document(sends=[empty])) == [
        "breaking: M payload: field removed"
    ]


def test_extended_meta_is_compared_like_a_payload() -> None:
    """PROTOCOL 1."""

    class TraceMeta(Meta):
        trace: str

    plain, traced = message("M"), message("M", meta=TraceMeta)

    assert changes(document(plain), document(traced)) == [
        "breaking: M meta: it was optional, is required",
        "breaking: M meta.trace: required field added",
    ]


# -- messages


def test_messages_that_come_and_go() -> None:
    a, b = message("A"), message("B")

    assert changes(document(a, b), document(a)) == ["breaking: B: no longer taken"]
    assert changes(document(a), document(a, b)) == ["compatible: B: now taken"]
    assert changes(document(sends=[a, b]), document(sends=[a])) == ["breaking: B: no longer sent"]
    assert changes(document(sends=[a]), document(sends=[a, b])) == ["compatible: B: now sent"]


def test_an_event_that_becomes_a_request() -> None:
    event, request = message("M"), rpc("M", None, "R")

    assert changes(document(event), document(request)) == [
        "breaking: M: was an event, is a request"
    ]
    assert changes(document(request), document(event)) == [
        "breaking: M: was a request, is an event"
    ]


def test_a_reply_of_another_type() -> None:
    assert changes(document(rpc("M", None, "R")), document(rpc("M", None, "S"))) == [
        "breaking: M > R: no longer a reply",
        "breaking: M > S: a new reply",
    ]


def test_a_reply_with_other_fields() -> None:
    one, two = rpc("M", None, "R", {"a": int}), rpc("M", None, "R", {"a": int, "b": int})

    assert changes(document(two), document(one)) == ["breaking: M > R payload.b: field removed"]
    assert changes(document(one), document(two)) == [
        "compatible: M > R payload.b: required field added"
    ]


def test_progress_of_another_kind() -> None:
    free, whole = rpc("M", None, "R"), rpc("M", None, "R", progress=int)

    assert changes(document(whole), document(free)) == [
        "breaking: M > $ws:rpc-progress data: it was required, is optional",
        "breaking: M > $ws:rpc-progress data: type was integer, is anything",
    ]
    assert all(line.startswith("compatible") for line in changes(document(free), document(whole)))


def test_error_codes_that_come_go_and_change() -> None:
    without, full, busy = document(), document(), document()
    full["components"]["schemas"]["wskit.ErrorCode"]["oneOf"].append(
        {"const": "COMPARE_FULL", "x-wskit-retryable": True}
    )
    busy["components"]["schemas"]["wskit.ErrorCode"]["oneOf"].append(
        {"const": "COMPARE_FULL", "x-wskit-retryable": False}
    )

    assert changes(without, full) == ["compatible: error COMPARE_FULL: added"]
    assert changes(full, without) == ["breaking: error COMPARE_FULL: no longer used"]
    assert changes(full, busy) == [
        "compatible: error COMPARE_FULL: was retryable, is not retryable"
    ]


# -- the connection


def test_the_address_and_subprotocols() -> None:
    old = document(subprotocols=["v1"])
    new = document(subprotocols=["v2"], info=ApiInfo(path="/other/"))

    assert changes(old, new) == [
        "breaking: address: was /ws/, is /other/",
        "breaking: subprotocol v1: no longer spoken",
        "compatible: subprotocol v2: now spoken",
    ]


def test_credentials_that_are_asked_for() -> None:
    free, asking = document(), document(login_required=True)

    assert changes(free, asking) == ["breaking: credentials: are required now"]
    assert changes(asking, free) == ["compatible: credentials: are no longer required"]


def test_a_version_is_only_words() -> None:
    new = document(info=ApiInfo(path="/ws/", version="2.0.0"))

    assert changes(document(), new) == [
        "compatible: document: only descriptions, defaults or the order of things"
    ]
    assert changes(new, new) == []


@pytest.mark.parametrize("other", [{}, [], {"operations": 1}, {"openapi": "3.1.0"}])
def test_other_documents_are_not_compared(other: Any) -> None:
    with pytest.raises(NotComparable):
        compare(other, document())


def test_a_payload_of_one_value_is_compared_by_its_inside() -> None:
    """A root model is what is in it."""
    root = RootModel[int]

    assert changes(taken(root), taken(int)) in (
        [],
        ["compatible: document: only descriptions, defaults or the order of things"],
    )
    assert changes(taken(root), taken(str)) == [
        "breaking: M payload.a: type was integer, is string"
    ]


class Wide(Message, type="WIDE"):
    """For the compiler's sake only: a class form among the short ones."""

    a: int | str


def test_class_forms_compare_like_short_ones() -> None:
    assert changes(document(Wide), document(message("WIDE", {"a": int}))) == [
        "breaking: WIDE payload.a: string is gone"
    ]
