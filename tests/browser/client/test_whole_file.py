"""How much of ``client.js`` the other tests of this folder have run; theirs come first."""

from pathlib import Path

import pytest

from .coverage import Recorder

pytestmark = [pytest.mark.browser, pytest.mark.live]

ENOUGH = 0.90


def test_nearly_all_of_client_js_has_run(
    request: pytest.FixtureRequest, recorder: Recorder
) -> None:
    here = Path(__file__)
    wanted = set(here.parent.glob("test_*.py")) - {here}
    if missing := wanted - {item.path for item in request.session.items}:
        names = ", ".join(sorted(path.name for path in missing))
        pytest.skip(f"measures all tests of the client, and {names} did not run")

    print(f"client.js: {recorder.share():.1%} of its lines; missing {recorder.missing()}")  # noqa: T201
    assert recorder.share() >= ENOUGH, f"lines that did not run whole: {recorder.missing()}"
