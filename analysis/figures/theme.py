"""The style of figures, with marks that hold without colour, and their pictures.

A figure is drawn from rows of plain values, column -> value.
The two sides differ in lightness, shape and line at once, and so do the verdicts, so
that a grey print and a colour-blind reader see the same as everyone else. Hues are from the
palette of Okabe and Ito (2008). Pictures and the scripts of pages are vl-convert's, which holds
Vega-Lite, Vega and a renderer and needs no network.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import altair as alt
import vl_convert

from strictune.records import write_text

__all__ = [
    "BASELINE",
    "LABEL_WIDTH",
    "SERIES",
    "TRAINED",
    "WIDTH",
    "Picture",
    "Rows",
    "data",
    "difference_from_zero",
    "dodged",
    "finish",
    "in_order",
    "interval_marks",
    "named_channels",
    "num_columns",
    "page_scripts",
    "percent_axis",
    "points",
    "series_channels",
    "shares",
    "side_channels",
    "specification",
    "to_svg",
    "verdict_channels",
    "write_pictures",
]

Rows = Sequence[Mapping[str, Any]]
"""A table. Rates and bounds are shares in [0, 1]; NaN is not measured."""
Channel = dict[str, Any]
"""Keyword arguments of ``Chart.encode``."""

_SNIPPET = "window.vegaEmbed = vegaEmbed;"

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


def data(rows: Rows) -> Any:
    """Return rows as a figure carries them; NaN becomes null, which no mark is drawn for."""
    return alt.Data(values=[{name: _plain(value) for name, value in row.items()} for row in rows])


def in_order(rows: Rows, column: str) -> list[Any]:
    """Return a column's values in the order in which they first appear."""
    return list(dict.fromkeys(row[column] for row in rows))


def num_columns(rows: Rows, column: str) -> int:
    """Return how many panels stand in a row, a panel for each value of a column."""
    count = len(in_order(rows, column))
    return 2 if count == 4 else min(count, 3)


def dodged(rows: Rows, x: str, series: str) -> list[dict[str, Any]]:
    """Move the series of a numeric axis apart, so that their error bars do not overlap.

    Neighbours are 3% of the axis apart, which starts at 0, but the whole bundle takes no more
    than two fifths of the smallest gap between two values.
    """
    names = in_order(rows, series)
    values = sorted({float(row[x]) for row in rows})
    gap = min((after - before for before, after in pairwise(values)), default=values[-1])
    step = min(0.03 * values[-1], 0.4 * gap / len(names))
    shift = {name: step * (index - (len(names) - 1) / 2) for index, name in enumerate(names)}
    return [{**row, x: float(row[x]) + shift[row[series]]} for row in rows]


def named_channels(
    column: str, names: Sequence[str], colors: Sequence[str], shapes: Sequence[str]
) -> Channel:
    """Tell the named values of a column apart by colour and shape."""
    color, shape = (alt.Scale(domain=list(names), range=list(marks)) for marks in (colors, shapes))
    return {
        "color": alt.Color(f"{column}:N", scale=color, title=None),
        "shape": alt.Shape(f"{column}:N", scale=shape, title=None),
    }


def side_channels(column: str = "side") -> Channel:
    """Tell baseline and trained apart by colour and shape."""
    return named_channels(column, (BASELINE, TRAINED), _SIDE_COLORS, _SIDE_SHAPES)


def verdict_channels(column: str = "verdict") -> Channel:
    """Tell the verdicts apart by colour and shape."""
    return named_channels(column, VERDICTS, _VERDICT_COLORS, _VERDICT_SHAPES)


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


def interval_marks(
    base: Any,
    along: Literal["x", "y"],
    value: str,
    bounds: tuple[str, str],
    *,
    shape: Any = None,
    size: int = 60,
    **channel: Any,
) -> Any:
    """Draw a value as a point on its interval.

    Args:
        base: Chart with everything but the axis of the value.
        along: That axis.
        value: The column of the value.
        bounds: Those of the ends of its interval.
        shape: Channel of the points.
        size: Of the points.
        channel: Title, scale and axis of the value.
    """
    axis = alt.X if along == "x" else alt.Y
    low, high = bounds
    ends = {along: axis(f"{low}:Q", **channel), f"{along}2": f"{high}:Q"}
    marks = {along: axis(f"{value}:Q", **channel)} | ({} if shape is None else {"shape": shape})
    interval = base.mark_rule(strokeWidth=2).encode(**ends)
    return alt.layer(interval, base.mark_point(filled=True, size=size, opacity=1).encode(**marks))


def difference_from_zero(*layers: Any, width: int = WIDTH) -> Any:
    """Put layers over a line at 0."""
    zero = alt.Chart(data([{"zero": 0}])).mark_rule(color="#222222").encode(x="zero:Q")
    return finish(alt.layer(zero, *layers).properties(width=width, height=alt.Step(24)))


def shares(*columns: str) -> list[Any]:
    """Return tooltips in percent."""
    return [alt.Tooltip(f"{column}:Q", format=".1%") for column in columns]


def points(*columns: str) -> list[Any]:
    """Return tooltips in percentage points."""
    return [alt.Tooltip(f"{column}:Q", format="+.1f") for column in columns]


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


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Picture(NamedTuple):
    """A figure that has been drawn."""

    name: str
    """Also its file's."""
    title: str
    caption: str
    document: dict[str, Any]
    """Vega-Lite, with its data."""

    def __repr__(self) -> str:
        return f"<figure {self.name}: {self.title}>"

    def _repr_html_(self) -> str:
        """Show the figure in a notebook, which needs no network for it."""
        picture = to_svg(self.document)
        return f"<b>{escape(self.title)}</b><p>{escape(self.caption)}</p>{picture}"

    @property
    def chart(self) -> alt.TopLevelMixin:
        """The figure as an altair chart, to change it."""
        return alt.Chart.from_dict(self.document)


def specification(figure: Any) -> dict[str, Any]:
    """Return a figure as a Vega-Lite document with its data inside."""
    return dict(figure.to_dict())


def to_svg(document: Mapping[str, Any]) -> str:
    """Draw a figure as SVG."""
    return str(vl_convert.vegalite_to_svg(dict(document)))


def write_pictures(folder: Path, documents: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw figures into a folder, by the names of their files; other pictures there go."""
    folder.mkdir(exist_ok=True)
    for name, document in documents.items():
        write_text(folder / name, to_svg(document))
    for old in folder.glob("*.svg"):
        if old.name not in documents:
            old.unlink()


@cache
def page_scripts() -> str:
    """Return the JavaScript with which a page draws figures, about 0.9 MB.

    It defines ``vegaEmbed`` and loads nothing. A ``</script`` inside it would end the
    element that carries it, so one is refused.
    """
    script = str(vl_convert.javascript_bundle(_SNIPPET))
    if "</script" in script.lower():
        raise ValueError("the installed vl-convert's scripts cannot stand inside a page")
    return script
