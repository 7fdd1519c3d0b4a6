"""``routing/router.py``: what may be registered, and a connection's data."""

from dataclasses import dataclass, field
from typing import Any, Self

import pytest
from pydantic import BaseModel, ValidationError, model_validator

from tests.helpers import connected
from tests.routing.messages import Answer, Ask, Note, Other, Said, Third
from wskit_channels import (
    CloseContext,
    ConnectionContext,
    Context,
    DuplicateRoute,
    Message,
    Router,
    RpcContext,
    rpc,
)

# -- on() and rpc()


async def test_one_handler_takes_several_classes() -> None:
    """Several classes give a union payload (DESIGN 2)."""
    router = Router()

    @router.on(Note, Other, Third)
    async def handle(ctx: Context[Note | Other | Third]) -> None:
        ctx.send(Said(text=repr(ctx.payload)))

    async with connected(router) as client:
        await client.send("OTHER", {"number": 7})
        await client.send("NOTE", {"text": "x"})
        await client.send("THIRD")
        assert await client.received(3) == [
            {"type": "SAID", "payload": {"text": "Other(number=7)"}},
            {"type": "SAID", "payload": {"text": "Note(text='x')"}},
            {"type": "SAID", "payload": {"text": "Third()"}},
        ]


def test_the_decorator_gives_the_function_back() -> None:
    """``router.on(Msg)(handler)`` leaves the handler as it was, to be called in a test."""
    router = Router()

    async def event(ctx: Context[Note]) -> None: ...
    async def call(ctx: RpcContext[Ask]) -> Answer:
        return Answer(text="")

    assert router.on(Note)(event) is event
    assert router.rpc(Ask)(call) is call


def test_a_request_is_no_event() -> None:
    router: Any = Router()

    with pytest.raises(TypeError, match=r"^Ask is a request: register it with rpc\(\)\.$"):
        router.on(Ask)


def test_an_event_is_no_request() -> None:
    router: Any = Router()

    with pytest.raises(TypeError, match=r"Note.* names no response: derive it from Rpc"):
        router.rpc(Note)


def test_a_class_without_a_type_cannot_be_routed() -> None:
    """A class without ``type=`` is a base (DESIGN 1)."""

    class Base(Message):
        text: str

    async def handle(ctx: Context[Base]) -> None: ...

    with pytest.raises(TypeError, match="Base has no type and cannot be routed"):
        Router().on(Base)(handle)


def test_a_type_is_not_inherited() -> None:
    """``type=`` is required on every class that is routed, and not inherited (DESIGN 1)."""

    class Longer(Note):
        more: str

    async def handle(ctx: Context[Longer]) -> None: ...

    with pytest.raises(TypeError, match="Longer has no type and cannot be routed"):
        Router().on(Longer)(handle)


def test_what_is_no_message_cannot_be_routed() -> None:
    router: Any = Router()

    with pytest.raises(TypeError, match="dict has no type and cannot be routed"):
        router.on(dict)(print)


def test_on_without_a_class_is_refused() -> None:
    router: Any = Router()

    with pytest.raises(TypeError, match="at least one message class"):
        router.on()


def test_a_type_has_one_handler() -> None:
    """The developer is told what, where and the way out (STYLE 5)."""
    router = Router()

    @router.on(Note)
    async def first(ctx: Context[Note]) -> None: ...
    async def second(ctx: Context[Note]) -> None: ...

    with pytest.raises(DuplicateRoute, match=r"'NOTE' is already handled by .*first; .*second"):
        router.on(Note)(second)
    assert [route.handler for route in router.routes()] == [f"{__name__}.{first.__qualname__}"]


def test_two_classes_of_one_type_clash() -> None:
    class Again(Message, type="NOTE"):
        pass

    router = Router()
    router.on(Note)(print)

    with pytest.raises(DuplicateRoute, match="'NOTE'"):
        router.on(Again)(print)
    assert [route.message for route in router.routes()] == [Note]


async def test_the_short_form_is_routed_like_a_class() -> None:
    """``message()`` and ``rpc()`` make the same kind of class (DESIGN 1)."""
    router = Router()
    get_user = rpc("GET_USER", {"id": str}, "USER_RESPONSE", {"name": str})

    @router.rpc(get_user)
    async def handle(ctx: RpcContext[Any]) -> Any:
        return get_user.response(name=f"user {ctx.payload.id}")

    async with connected(router) as client:
        await client.call("GET_USER", {"id": "7"}, id="a")
        assert await client.receive() == {
            "type": "USER_RESPONSE",
            "meta": {"correlationId": "a"},
            "payload": {"name": "user 7"},
        }


# -- the data class


class Model(BaseModel):
    count: int = 0
    name: str = ""


@dataclass
class Plain:
    count: int = 0
    names: list[str] = field(default_factory=list)


def test_a_model_with_required_fields_cannot_be_data() -> None:
    """A connection's data starts as ``Data()`` (DESIGN 2)."""

    class Needy(BaseModel):
        name: str
        count: int = 0

    with pytest.raises(TypeError, match="Needy has fields without a default: name"):
        Router(data=Needy)


def test_a_dataclass_with_required_fields_cannot_be_data() -> None:
    @dataclass
    class Needy:
        name: str
        count: int = 0

    with pytest.raises(TypeError, match="Needy has fields without a default: name"):
        Router(data=Needy)


@pytest.mark.parametrize("kind", [Model, Plain])
async def test_each_connection_has_its_own_data(kind: type[Any]) -> None:
    """``ctx.data`` is the connection's one live object (DESIGN 2)."""
    router: Router[Any] = Router(data=kind)

    @router.on(Third)
    async def handle(ctx: Context[Third, Any]) -> None:
        ctx.data.count += 1
        ctx.send(Said(text=str(ctx.data.count)))

    async with connected(router) as one, connected(router) as other:
        await one.send("THIRD")
        await one.send("THIRD")
        await other.send("THIRD")
        texts = [frame["payload"]["text"] for frame in await one.received(2)]
        texts += [frame["payload"]["text"] for frame in await other.received(1)]
    assert texts == ["1", "2", "1"]


async def test_without_a_data_class_data_is_an_open_namespace() -> None:
    router = Router()

    @router.on(Note)
    async def remember(ctx: Context[Note]) -> None:
        ctx.data.anything = ctx.payload.text

    @router.on_close
    async def tell(ctx: CloseContext[Any]) -> None:
        seen.append(vars(ctx.data))

    seen: list[dict[str, Any]] = []
    async with connected(router) as client:
        await client.send("NOTE", {"text": "x"})
        await client.ping()
    assert seen == [{"anything": "x"}]


def test_assignment_to_a_model_is_validated() -> None:
    """Assignment is validated where data is a pydantic model (DESIGN 2)."""

    class Fresh(BaseModel):
        count: int = 0

    data = Router(data=Fresh).make_data()

    with pytest.raises(ValidationError, match="count"):
        data.count = "many"
    assert data == Fresh(count=0)


async def _assign(data_class: type[Any] | None, **changes: Any) -> tuple[Any, Exception | None]:
    """What the data is, and what was raised, after ``ctx.assign_data`` in ``on_open``."""
    router: Router[Any] = Router(data=data_class) if data_class else Router()
    found: list[tuple[Any, Exception | None]] = []

    @router.on_open
    async def assign(ctx: ConnectionContext[Any]) -> None:
        error: Exception | None = None
        try:
            ctx.assign_data(**changes)
        except Exception as caught:
            error = caught
        found.append((ctx.data, error))

    async with connected(router) as client:
        await client.send("$ws:ping")
        await client.receive()
    return found[0]


async def test_assign_data_sets_several_fields() -> None:
    assert await _assign(Model, count=2, name="x") == (Model(count=2, name="x"), None)
    assert await _assign(Plain, count=2, names=["x"]) == (Plain(2, ["x"]), None)


class Range(BaseModel):
    low: int = 0
    high: int = 9

    @model_validator(mode="after")
    def ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


async def test_assign_data_judges_fields_that_belong_together_together() -> None:
    """Setting them one by one would pass through a state that is refused."""
    assert await _assign(Range, low=20, high=29) == (Range(low=20, high=29), None)
    data, error = await _assign(Range, high=-2, low=-1)
    assert (isinstance(error, ValidationError), data) == (True, Range())


async def test_assign_data_sets_none_where_a_value_is_refused() -> None:
    """``ctx.assign_data`` is all or none (DESIGN 2)."""
    data, error = await _assign(Model, name="x", count="many")

    assert isinstance(error, ValidationError)
    assert data == Model(count=0, name="")


@pytest.mark.parametrize("kind", [Model, Plain])
async def test_assign_data_sets_none_where_a_field_is_unknown(kind: type[Any]) -> None:
    data, error = await _assign(kind, count=2, nmae="x")

    assert isinstance(error, AttributeError)
    assert str(error) == f"{kind.__name__} has no fields nmae."
    assert data == kind()


async def test_assign_data_to_an_open_namespace() -> None:
    data, error = await _assign(None, anything=1)

    assert (vars(data), error) == ({"anything": 1}, None)
