"""How every figure looks: sizes, and marks that hold without colour.

The two sides differ in lightness, shape and line at once, and so do the verdicts, so
that a grey print and a colour-blind reader see the same as everyone else. Hues are from the
palette of Okabe and Ito (2008).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

__all__ = [
    "BASELINE",
    "LABEL_WIDTH",
    "SERIES",
    "TRAINED",
    "VERDICTS",
    "WIDTH",
    "Channel",
    "finish",
    "percent_axis",
    "series_channels",
    "side_channels",
    "verdict_channels",
]

Channel = dict[str, Any]
"""Keyword arguments of ``Chart.encode``."""

WIDTH = 560
"""Of a figure with one panel, in pixels, labels aside."""
LABEL_WIDTH = 330
"""The longest name that an axis shows, in pixels."""

BASELINE = "baseline"
TRAINED = "trained"
VERDICTS = ("better", "worse", "equivalent", "no clear difference", "undecided")

_SIDE_COLORS = ("#8c8c8c", "#0b4f8a")
_SIDE_SHAPES = ("circle", "diamond")
_VERDICT_COLORS = ("#0b4f8a", "#d55e00", "#3c8d5f", "#8c8c8c", "#8c8c8c")
_VERDICT_SHAPES = ("triangle-up", "triangle-down", "square", "circle", "cross")
SERIES: Mapping[str, Sequence[Any]] = {
    "color": (
        "#0b4f8a", "#e69f00", "#3c8d5f", "#cc79a7", "#56b4e9", "#d55e00", "#000000", "#8c8c8c",
    ),
    "dash": ([1, 0], [6, 3], [2, 2], [10, 3, 2, 3], [1, 0], [6, 3], [2, 2], [10, 3, 2, 3]),
    "shape": (
        "circle", "diamond", "square", "triangle-up", "cross", "triangle-down", "triangle-right",
        "triangle-left",
    ),
}  # fmt: skip
"""Marks of up to eight series in one panel."""


def side_channels(column: str = "side") -> Channel:
    """Tell baseline and trained apart by colour and shape."""
    sides = [BASELINE, TRAINED]
    return {
        "color": alt.Color(
            f"{column}:N", scale=alt.Scale(domain=sides, range=list(_SIDE_COLORS)), title=None
        ),
        "shape": alt.Shape(
            f"{column}:N", scale=alt.Scale(domain=sides, range=list(_SIDE_SHAPES)), title=None
        ),
    }


def verdict_channels(column: str = "verdict") -> Channel:
    """Tell the verdicts apart by colour and shape."""
    words = list(VERDICTS)
    return {
        "color": alt.Color(
            f"{column}:N", scale=alt.Scale(domain=words, range=list(_VERDICT_COLORS)), title=None
        ),
        "shape": alt.Shape(
            f"{column}:N", scale=alt.Scale(domain=words, range=list(_VERDICT_SHAPES)), title=None
        ),
    }


def series_channels(column: str, names: Sequence[str]) -> Channel:
    """Tell up to eight series apart by colour, dash and shape."""
    count = len(names)
    scales = {
        part: alt.Scale(domain=list(names), range=list(values[:count]))
        for part, values in SERIES.items()
    }
    return {
        "color": alt.Color(f"{column}:N", scale=scales["color"], title=None),
        "strokeDash": alt.StrokeDash(f"{column}:N", scale=scales["dash"], title=None),
        "shape": alt.Shape(f"{column}:N", scale=scales["shape"], title=None),
    }


def percent_axis(title: str | None, **axis: Any) -> dict[str, Any]:
    """Return axis and title of shares in [0, 1]."""
    return {"axis": alt.Axis(format=".1~%", **axis), "title": title}


def finish(chart: Any) -> Any:
    """Give a figure the shared fonts, grid and background."""
    return (
        chart.configure(background="white", font="sans-serif", padding=8)
        .configure_axis(
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            labelLimit=LABEL_WIDTH,
            gridColor="#e6e6e6",
            labelColor="#222222",
            titleColor="#222222",
        )
        .configure_header(labelFontSize=12, titleFontSize=12, labelLimit=LABEL_WIDTH)
        .configure_legend(
            labelFontSize=12,
            labelLimit=LABEL_WIDTH,
            symbolStrokeWidth=2,
            symbolOpacity=1,
            orient="top",
            columns=2,
        )
        .configure_title(fontSize=12, fontWeight="normal", color="#222222")
        .configure_view(stroke="#cccccc")
    )
