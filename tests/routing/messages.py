"""Messages that the tests of routing send back and forth."""

from wskit_channels import Message, Rpc


class Note(Message, type="NOTE"):
    text: str


class Other(Message, type="OTHER"):
    number: int


class Third(Message, type="THIRD"):
    pass


class Said(Message, type="SAID"):
    """What handlers send, to show what they saw."""

    text: str


class Answer(Message, type="ANSWER"):
    text: str


class Ask(Rpc[Answer], type="ASK"):
    text: str = ""


class AskMore(Rpc[Answer], type="ASK_MORE"):
    text: str = ""
