"""Messages of many shapes."""

import enum
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, computed_field
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from wskit_channels import Message, Meta, Rpc, Topic, message, rpc

T = TypeVar("T")


class Colour(enum.Enum):
    """A colour of the house. */ not the end"""

    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Point(BaseModel):
    """Where it is."""

    x: int
    y: int = 0
    """Upwards."""


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: float = Field(gt=0)


class Square(BaseModel):
    kind: Literal["square"]
    side: float


class Tree(BaseModel):
    name: str
    children: list["Tree"] = []


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: str | None


class Extra(TypedDict):
    tag: str
    note: NotRequired[str]


class TraceMeta(Meta):
    trace_id: str = Field(alias="traceId")
    hops: int = 0


class Draw(Message, type="DRAW"):
    """
    Draws a shape.

    With */ in its text.
    """

    shape: Annotated[Circle | Square, Field(discriminator="kind")]
    colour: Colour
    level: Level = Level.LOW
    mode: Literal["fill", "line"] = "fill"
    at: Point
    size: tuple[int, int] = (1, 1)
    path: list[Point | None] = []
    labels: dict[str, str] = {}
    by_mode: dict[Literal["fill", "line"], int] = {}
    extra: Extra | None = None
    tree: Tree | None = None
    when: datetime | None = None
    price: Decimal = Decimal(0)
    anything: Any = None
    quoted_name: str = Field(alias="quoted-name", description="A name that needs quotes.")


class Camel(Message, type="camel:case"):
    model_config = ConfigDict(alias_generator=to_camel)

    room_id: int


class Leave(Message, type="LEAVE"):
    """Goes away."""


class Traced(Message, type="TRACED", meta=TraceMeta):
    text: str


class Hidden(Message, type="HIDDEN", meta=TraceMeta):
    pass


class Drawn(Message, type="DRAWN", meta=TraceMeta):
    """Something was drawn."""

    at: Point
    on: date
    by: UUID
    colour: Colour = Colour.RED

    @computed_field
    def far(self) -> bool:
        """Whether it is far away."""
        return self.at.x > 100


class Cleared(Message, type="CLEARED"):
    pass


class Found(Message, type="FOUND", meta=TraceMeta):
    page: Page[Point]
    tree: Tree


class Stage(BaseModel):
    done: int
    total: int


class Find(Rpc[Found, Stage], type="FIND"):
    text: str = Field(min_length=1)


class Count(Rpc[Cleared], type="COUNT"):
    pass


Short = message("SHORT", {"text": str})
Noted = message("NOTED", {"number": int})
Ask = rpc("ASK", {"id": int}, "ASKED", {"answer": str})


class RoomTopic(Topic[Drawn | Cleared], pattern="room:{room_id}"):
    """What happens in one room."""

    room_id: str
