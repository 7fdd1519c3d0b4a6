import pytest

from wskit_channels.protocol.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("JOIN_ROOM", "JOIN_ROOM"),
        ("", ""),
        ("Grüße, 你好 🎈", "Grüße, 你好 🎈"),
        ("a\r\nERROR fake line", r"a\r\nERROR fake line"),
        ("\t\0\x07\x7f", r"\t\x00\x07\x7f"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x85\x9b1m", r"\x85\x9b1m"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
        ("\u202eback\u2066 to front\u2069", r"\u202eback\u2066 to front\u2069"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("\ud800", r"\ud800"),
        ("\U000e0001", r"\U000e0001"),
        (r"a\nb", r"a\\nb"),
    ],
)
def test_nothing_in_it_acts_on_a_log(text: str, shown: str) -> None:
    """Issue: CR, LF and control characters escaped; an escape is never the client's own."""
    assert printable(text) == shown
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("aaaa", "aaaa"), ("aaaaa", "aaaa..."), ("\n" * 4, r"\n\n\n\n"), ("\n" * 5, r"\n\n\n\n...")],
)
def test_it_is_cut(text: str, shown: str) -> None:
    """A log line is not as long as a client likes; characters of the client's are counted."""
    assert printable(text, limit=4) == shown
