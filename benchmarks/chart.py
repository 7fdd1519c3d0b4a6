"""
A bar chart in SVG, by hand: groups of horizontal bars, one of them in another colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

__all__ = ["Group", "svg"]

Group = tuple[str, Sequence[tuple[str, float]]]
"""A title, and bars with their names."""

WIDTH, LABELS, FIGURES = 760, 270, 80
BAR, GAP, TITLE = 18, 6, 34


def svg(groups: Sequence[Group], highlighted: str) -> str:
    """Draw the groups one below the other, each on a scale of its own."""
    parts: list[str] = []
    y = 10
    for title, bars in groups:
        parts.append(_text(10, y + 18, title, weight="bold"))
        y += TITLE
        longest = max((value for _, value in bars), default=0) or 1
        for name, value in bars:
            parts += _bar(y, name, value, value / longest, name == highlighted)
            y += BAR + GAP
        y += GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" '
        f'height="{y}" font-family="system-ui, sans-serif" font-size="13" role="img" '
        f'aria-label="Benchmark results"><rect width="{WIDTH}" height="{y}" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _bar(y: int, name: str, value: float, share: float, highlighted: bool) -> list[str]:
    width = max(round((WIDTH - LABELS - FIGURES) * share), 1)
    colour = "#0c7a5a" if highlighted else "#a9b4bd"
    figure = f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"
    return [
        _text(LABELS - 8, y + 13, name, anchor="end", weight="bold" if highlighted else "normal"),
        f'<rect x="{LABELS}" y="{y}" width="{width}" height="{BAR}" rx="2" fill="{colour}"/>',
        _text(LABELS + width + 6, y + 13, figure),
    ]


def _text(x: int, y: int, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="#1c2429">'
        f"{escape(text)}</text>"
    )
