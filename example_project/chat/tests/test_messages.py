import subprocess
import sys

import pytest
from pydantic import ValidationError

from example_project.chat.messages import SendMessage


def test_contract_can_be_read_without_django() -> None:
    program = "import sys, example_project.chat.messages; sys.exit('django' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], check=False)  # noqa: S603  # ours
    assert done.returncode == 0


def test_text_is_stripped() -> None:
    assert SendMessage(room="lobby", text="  hello\n").text == "hello"


@pytest.mark.parametrize("text", ["", " \n ", "x" * 2001, "a\x00b"])
def test_text_that_cannot_be_said_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        SendMessage(room="lobby", text=text)
