"""``python -m benchmarks``: its arguments, and the report that it writes."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.__main__ import BENCHES, parse
from benchmarks.chart import svg
from benchmarks.network import Plan, in_turns
from benchmarks.records import Cell, Records
from benchmarks.report import BEGIN, END, bars, insert, markdown


def test_all_is_measured_unless_something_is_named() -> None:
    """Defaults of a whole run and of a quick one."""
    whole, quick = parse([]), parse(["--quick", "echo", "fanout"])

    assert (whole.benches, whole.seconds, whole.rounds) == ([], 1.0, 5)
    assert (quick.benches, quick.seconds, quick.rounds) == (["echo", "fanout"], 0.4, 2)
    assert parse(["--quick", "--seconds", "2", "--rounds", "7"]).seconds == 2
    assert "inprocess" in BENCHES


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ehco"], "unknown: ehco; there are"),
        (["guard", "echo"], "guard stands alone"),
    ],
)
def test_a_misspelt_command_is_refused_with_what_there_is(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The developer gets the way out."""
    with pytest.raises(SystemExit):
        parse(arguments)

    assert said in capsys.readouterr().err


def test_every_round_begins_with_another() -> None:
    """Whoever comes first has a cold or a calm machine: nobody always does."""
    assert list(in_turns("abc", 3)) == [
        (0, "a"),
        (0, "b"),
        (0, "c"),
        (1, "b"),
        (1, "c"),
        (1, "a"),
        (2, "c"),
        (2, "a"),
        (2, "b"),
    ]


def a_run() -> Records:
    records = Records()
    cell = Cell("echo", "uvicorn", size=50)
    for peer, rate in (("bare", 1000), ("wskit_channels", 750)):
        values = {"rate": rate, "p50": 0.001, "p99": 0.002, "generator_cpu": 0.25}
        records.add(cell, peer, 0, values)
    records.problems.append("chanx did not come up")
    return records


def test_the_report_has_figures_ratios_verdicts_and_what_is_missing() -> None:
    """One document says all that a run found."""
    lines = markdown(a_run(), Plan()).splitlines()

    promised = [line for line in lines if "uvicorn, 50 connections, against bare" in line]
    ours = "| wskit_channels | 750 | 1.00 | 2.00 |  |  | 25% |"
    bare = "| bare ASGI | 1,000 | 1.00 | 2.00 | 0.75x (0.75 to 0.75) |  | 25% |"
    ratio = "0.75x (0.75 to 0.75)"
    row = f"| echo, uvicorn, 50 connections, against bare | {ratio} | at least 0.6x | holds |  |"
    assert promised == [row]
    assert {ours, bare, "- chanx did not come up"} <= set(lines)


def test_results_go_between_the_markers_and_replace_the_last_ones(tmp_path: Path) -> None:
    """The rest of the page is left alone."""
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Method\n\n{BEGIN}\n\nold\n\n{END}\n\nafterword\n")

    insert(page, "new")
    insert(page, "newer\n")

    assert page.read_text() == f"# Method\n\n{BEGIN}\n\nnewer\n\n{END}\n\nafterword\n"


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    """Nothing is overwritten."""
    page = tmp_path / "benchmarks.md"
    page.write_text("# Method\n")

    with pytest.raises(ValueError, match="has no place for results"):
        insert(page, "new")

    assert page.read_text() == "# Method\n"


def test_the_chart_is_xml_with_a_bar_for_each_figure() -> None:
    """Bars are as long as their figures, and ours has its own colour."""
    groups = bars(a_run())
    root = ET.fromstring(svg([*groups, ("a & b", [("<none>", 0.0)])], "wskit_channels"))
    space = "{http://www.w3.org/2000/svg}"
    drawn = [one for one in root.iter(f"{space}rect") if one.get("rx")]
    words = [one.text for one in root.iter(f"{space}text")]

    assert [one.get("fill") for one in drawn] == ["#a9b4bd", "#0c7a5a", "#a9b4bd"]
    assert int(drawn[1].get("width", 0)) / int(drawn[0].get("width", 0)) == pytest.approx(
        0.75, 0.01
    )
    assert {"bare ASGI", "1,000", "wskit_channels", "750", "a & b", "<none>"} <= set(words)
