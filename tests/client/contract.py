"""The messages of these tests."""

from typing import Any

from pydantic import BaseModel

from wskit_channels import Message, Rpc


class Stage(BaseModel):
    stage: str


class Done(Message, type="DONE"):
    n: int


class Work(Rpc[Done, Stage], type="WORK"):
    n: int


class Empty(Message, type="EMPTY"):
    pass


class Ask(Rpc[Empty], type="ASK"):
    pass


class News(Message, type="NEWS"):
    text: str


class Other(Message, type="OTHER"):
    value: Any
