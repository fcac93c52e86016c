"""Small multiples: one panel for each strategy, on a white sheet that reads on any page.

Every value that matters is written as well as drawn, and colors run from light to dark, so nothing
hangs on telling hues apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from dyna.files import replacing
from experiments.report.svg import text

PAD = 18.0
"""Around the sheet and between panels."""
_TITLE = 30.0
_STYLE = """
text { font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif;
  fill: #1c2024; font-variant-numeric: tabular-nums; }
.title { font-size: 15px; font-weight: 600; } .name { font-size: 13px; font-weight: 600; }
.tick, .label { fill: #5b646e; } .light { fill: #ffffff; } .value { font-weight: 600; }
.grid { stroke: #e6e8eb; } .axis { stroke: #5b646e; }
.goal { stroke: #b3145c; stroke-dasharray: 4 3; }
.joint { stroke: #5b646e; stroke-dasharray: 2 3; stroke-width: 1.5; }
.mean { fill: none; stroke: #1c2024; stroke-width: 2.6; stroke-linejoin: round; }
.task { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.own { fill: none; stroke: #1c2024; stroke-width: 2; }
"""
_SCORES = ((247, 249, 252), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))
_ORDER = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (48, 165, 96))


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One drawing of a sheet, its origin at its own top left corner."""

    title: str
    note: str
    """At the right end of the title's line."""
    body: str


def write_sheet(
    path: Path,
    panels: Sequence[Panel],
    *,
    width: float,
    height: float,
    columns: int,
    title: str,
    legend: str = "",
    legend_height: float = 0.0,
) -> None:
    """Panels of one size, row by row; `width` and `height` are of a panel's body.

    Args:
        legend: more SVG between the title and the panels, its origin below the title.
    """
    columns = min(columns, len(panels))
    cell_width, cell_height = width + PAD, height + 22 + PAD
    top = PAD + _TITLE + legend_height
    whole_width = PAD + columns * cell_width
    whole_height = top + math.ceil(len(panels) / columns) * cell_height
    parts = [
        f'<rect width="{whole_width:g}" height="{whole_height:g}" rx="8" fill="#ffffff"/>',
        text(title, x=PAD, y=PAD + 12, css="title"),
        f'<g transform="translate({PAD:g} {PAD + _TITLE:g})">{legend}</g>' if legend else "",
    ]
    for i, panel in enumerate(panels):
        x, y = PAD + (i % columns) * cell_width, top + (i // columns) * cell_height
        parts.append(
            f'<g transform="translate({x:g} {y:g})">'
            + text(panel.title, x=0, y=12, css="name")
            + text(panel.note, x=width, y=12, css="label", anchor="end")
            + f'<g transform="translate(0 22)">{panel.body}</g></g>'
        )
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole_width:g} {whole_height:g}" '
        f'width="{whole_width:g}" height="{whole_height:g}" role="img" '
        f'aria-label="{escape(title)}"><style>{_STYLE}</style>{"".join(parts)}</svg>\n'
    )
    with replacing(path) as draft:
        draft.write_text(drawing, encoding="utf-8")


def score_color(score: float) -> str:
    """From nearly white at 0 to dark blue at 1."""
    return _between(_SCORES, min(1.0, max(0.0, score)))


def order_color(place: int, *, num: int) -> str:
    """Of the `place`-th of `num` tasks: the older, the darker."""
    return _between(_ORDER, place / max(1, num - 1))


def _between(stops: Sequence[tuple[int, int, int]], share: float) -> str:
    at = share * (len(stops) - 1)
    low = min(int(at), len(stops) - 2)
    mixed = (
        round(a + (b - a) * (at - low)) for a, b in zip(stops[low], stops[low + 1], strict=True)
    )
    return "#" + "".join(f"{value:02x}" for value in mixed)


__all__ = ["PAD", "Panel", "order_color", "score_color", "write_sheet"]
