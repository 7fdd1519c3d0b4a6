"""A message for each kind of form, all answered with what was understood."""

from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from wskit_channels import Message, Meta, Rpc


class Echo(Message, type="ECHO"):
    got: Any


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Point(BaseModel):
    x: int
    y: int = 0


class Circle(BaseModel):
    kind: Literal["circle"] = "circle"
    radius: float = Field(gt=0)


class Square(BaseModel):
    kind: Literal["square"] = "square"
    side: float


class Tree(BaseModel):
    name: str
    children: list["Tree"] = []


class Text(Rpc[Echo], type="TEXT"):
    """A text, with ``code`` in its words."""

    value: str = Field(min_length=1, max_length=20, description="What to say.")


class Number(Rpc[Echo], type="NUMBER"):
    whole: int
    part: float = 0.5


class Flag(Rpc[Echo], type="FLAG"):
    value: bool


class Choice(Rpc[Echo], type="CHOICE"):
    colour: Colour
    mode: Literal["fill", "line", 3]
    only: Literal["this"]


class Nullable(Rpc[Echo], type="NULLABLE"):
    value: str | None


class Optional(Rpc[Echo], type="OPTIONAL"):
    value: int = 5
    note: str | None = None


class Listed(Rpc[Echo], type="LISTED"):
    values: list[str]


class Pair(Rpc[Echo], type="PAIR"):
    value: tuple[int, str]


class Mapped(Rpc[Echo], type="MAPPED"):
    value: dict[str, int]


class Nested(Rpc[Echo], type="NESTED"):
    at: Point
    path: list[Point]


class Shaped(Rpc[Echo], type="SHAPED"):
    shape: Annotated[Circle | Square, Field(discriminator="kind")]


class Mixed(Rpc[Echo], type="MIXED"):
    value: int | str | list[int]


class Moments(Rpc[Echo], type="MOMENTS"):
    on: date
    at: time
    when: datetime


class Odd(Rpc[Echo], type="ODD"):
    id: UUID
    price: Decimal


class Anything(Rpc[Echo], type="ANYTHING"):
    value: Any


class Recursive(Rpc[Echo], type="RECURSIVE"):
    tree: Tree


class Empty(Rpc[Echo], type="EMPTY"):
    pass


class TraceMeta(Meta):
    trace: str = Field(min_length=1)


class Traced(Rpc[Echo], type="TRACED", meta=TraceMeta):
    pass


KINDS = (
    Text, Number, Flag, Choice, Nullable, Optional, Listed, Pair, Mapped, Nested, Shaped, Mixed,
    Moments, Odd, Anything, Recursive, Empty,
)  # fmt: skip


class Step(BaseModel):
    done: int
    total: int


class Work(Rpc[Echo, Step], type="WORK"):
    """Works until it is cancelled, or has taken its steps."""

    steps: int


class Shout(Message, type="SHOUT"):
    text: str = Field(max_length=10)


class Heard(Message, type="HEARD"):
    """What somebody has shouted."""

    text: str


class Where(Rpc[Echo], type="WHERE"):
    pass


class WhoAmI(Rpc[Echo], type="WHO_AM_I"):
    pass
