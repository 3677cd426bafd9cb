"""Rates with their intervals: baseline beside trained, by rung, difficulty or construct.

All tables have the columns side (baseline or trained), rate, low and high, and one or two
that say of what.
"""

from typing import Any

import altair as alt

from analysis.figures.rows import Rows, data, in_order, num_columns
from analysis.figures.theme import (
    LABEL_WIDTH,
    WIDTH,
    finish,
    percent_axis,
    side_channels,
    verdict_channels,
)

__all__ = [
    "baseline_against_trained",
    "comparisons",
    "differences",
    "error_classes",
    "rates_by_construct",
    "rates_by_difficulty",
    "rung_ladder",
    "think_by_curriculum",
]

_PANEL = 245
_TOOLTIP = [
    alt.Tooltip("rate:Q", format=".1%"),
    alt.Tooltip("low:Q", format=".1%"),
    alt.Tooltip("high:Q", format=".1%"),
]


def differences(rows: Rows) -> Any:
    """Draw the gain of every trial and of every cell with its interval, marked by verdict.

    Args:
        rows: trial (or what a cell is called), kind (trial or cell), model, delta_pp, low_pp,
            high_pp (percentage points) and verdict.
    """
    kinds = ["trial", "cell"]
    tooltip = ["trial:N", "model:N", "verdict:N", *_points("delta_pp", "low_pp", "high_pp")]
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("trial:N", sort=in_order(rows, "trial"), title=None), tooltip=tooltip
    )
    marks = verdict_channels()
    zero = alt.Chart(data([{"zero": 0}])).mark_rule(color="#222222").encode(x="zero:Q")
    title = "trained minus baseline, percentage points"
    widths = alt.Scale(domain=kinds, range=[1.5, 4])
    interval = base.mark_rule().encode(
        x=alt.X("low_pp:Q", title=title),
        x2="high_pp:Q",
        color=marks["color"],
        strokeWidth=alt.StrokeWidth("kind:N", scale=widths, legend=None),
    )
    sizes = alt.Scale(domain=kinds, range=[70, 190])
    point = base.mark_point(filled=True, opacity=1).encode(
        x="delta_pp:Q", size=alt.Size("kind:N", scale=sizes, legend=None), **marks
    )
    return finish(alt.layer(zero, interval, point).properties(width=WIDTH, height=alt.Step(24)))


def comparisons(rows: Rows) -> Any:
    """Draw the differences between pairs of cells, and over all pairs.

    Args:
        rows: name, delta_pp, low_pp, high_pp and kind (planned or exploratory).
    """
    kinds = ["planned", "exploratory"]
    color = alt.Color(
        "kind:N", scale=alt.Scale(domain=kinds, range=["#0b4f8a", "#8c8c8c"]), title=None
    )
    shape = alt.Shape(
        "kind:N", scale=alt.Scale(domain=kinds, range=["diamond", "circle"]), title=None
    )
    base = alt.Chart(data(rows)).encode(
        y=alt.Y(
            "name:N",
            sort=in_order(rows, "name"),
            title=None,
            axis=alt.Axis(labelLimit=2 * LABEL_WIDTH),
        ),
        color=color,
        tooltip=["name:N", "kind:N", *_points("delta_pp", "low_pp", "high_pp")],
    )
    zero = alt.Chart(data([{"zero": 0}])).mark_rule(color="#222222").encode(x="zero:Q")
    title = "difference of the final rates, percentage points"
    interval = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low_pp:Q", title=title), x2="high_pp:Q"
    )
    point = base.mark_point(filled=True, size=80, opacity=1).encode(x="delta_pp:Q", shape=shape)
    return finish(alt.layer(zero, interval, point).properties(width=440, height=alt.Step(24)))


def baseline_against_trained(rows: Rows) -> Any:
    """Draw the rate of each trial beside its baseline's, one panel a model.

    Args:
        rows: trial, model, side, rate, low, high.
    """
    panel = _interval_marks(rows, "trial").properties(width=WIDTH, height=alt.Step(14))
    facet = alt.Row(
        "model:N",
        sort=in_order(rows, "model"),
        title=None,
        header=alt.Header(labelAngle=0, labelOrient="top", labelAnchor="start"),
    )
    chart = panel.properties(data=data(rows)).facet(row=facet).resolve_scale(y="independent")
    return finish(chart)


def rung_ladder(rows: Rows) -> Any:
    """Draw the rungs of the ladder, lowest first, one panel a trial.

    Args:
        rows: trial, rung, side, rate, low, high; rungs in ladder order.
    """
    return _panels(rows, "rung")


def rates_by_difficulty(rows: Rows) -> Any:
    """Draw the primary rung by difficulty, one panel a trial.

    Args:
        rows: trial, difficulty, side, rate, low, high; difficulties easiest first.
    """
    return _panels(rows, "difficulty")


def rates_by_construct(rows: Rows) -> Any:
    """Draw the primary rung by what the prompt asks for, one panel a trial.

    Args:
        rows: trial, construct, side, rate, low, high.
    """
    return _listed_panels(rows, "construct")


def error_classes(rows: Rows) -> Any:
    """Draw the share of completions in each error class, one panel a trial.

    Args:
        rows: trial, error_class, side, rate, low, high; the most frequent class first.
    """
    return _listed_panels(rows, "error_class")


def think_by_curriculum(rows: Rows) -> Any:
    """Draw thinking against curriculum, one panel a model; the baseline stands first.

    Args:
        rows: model, trial, arm (think or no-think), curriculum (or ``baseline``), rate, low,
            high.
    """
    arms = in_order(rows, "arm")
    scale = alt.Scale(domain=arms, range=["#8c8c8c", "#0b4f8a"][-len(arms) :])
    shape = alt.Scale(domain=arms, range=["circle", "diamond"][-len(arms) :])
    x = alt.X(
        "curriculum:N",
        sort=in_order(rows, "curriculum"),
        title=None,
        axis=alt.Axis(labelAngle=0, labelLimit=110),
    )
    y = alt.Y("rate:Q", scale=alt.Scale(zero=True), **percent_axis("Pass@1"))
    base = alt.Chart().encode(
        x=x,
        xOffset=alt.XOffset("arm:N", sort=arms),
        color=alt.Color("arm:N", scale=scale, title=None),
        detail="trial:N",
        tooltip=["trial:N", "arm:N", "curriculum:N", *_TOOLTIP],
    )
    interval = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q"), y2="high:Q")
    point = base.mark_point(filled=True, size=80, opacity=1).encode(
        y=y, shape=alt.Shape("arm:N", scale=shape, title=None)
    )
    width = 90 * max(2, len(in_order(rows, "curriculum")))
    panel = alt.layer(interval, point).properties(width=width, height=220)
    facet = alt.Facet("model:N", sort=in_order(rows, "model"), title=None)
    return finish(
        panel.properties(data=data(rows)).facet(facet=facet, columns=num_columns(rows, "model"))
    )


def _panels(rows: Rows, column: str) -> Any:
    """Draw a rate on y against the few values of a column, a panel for each trial."""
    values = in_order(rows, column)
    angle = 0 if sum(len(str(value)) for value in values) < 30 else -30
    x = alt.X(f"{column}:N", sort=values, title=None, axis=alt.Axis(labelAngle=angle))
    side = side_channels()
    base = alt.Chart().encode(
        x=x, xOffset="side:N", color=side["color"], tooltip=[f"{column}:N", "side:N", *_TOOLTIP]
    )
    y_scale = alt.Scale(domain=[0, 1])
    interval = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", scale=y_scale), y2="high:Q")
    point = base.mark_point(filled=True, size=60, opacity=1).encode(
        y=alt.Y("rate:Q", scale=y_scale, **percent_axis(None)), shape=side["shape"]
    )
    panel = alt.layer(interval, point).properties(width=_PANEL, height=150)
    return _by_trial(panel, rows)


def _listed_panels(rows: Rows, column: str) -> Any:
    """Draw a rate on x against the many values of a column, a panel for each trial."""
    panel = _interval_marks(rows, column).properties(width=200, height=alt.Step(9))
    return _by_trial(panel, rows)


def _interval_marks(rows: Rows, column: str) -> Any:
    side = side_channels()
    base = alt.Chart().encode(
        y=alt.Y(f"{column}:N", sort=in_order(rows, column), title=None),
        yOffset=alt.YOffset("side:N"),
        color=side["color"],
        tooltip=[f"{column}:N", "side:N", *_TOOLTIP],
    )
    interval = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q")
    point = base.mark_point(filled=True, size=60, opacity=1).encode(
        x=alt.X("rate:Q", **percent_axis(None)), shape=side["shape"]
    )
    return alt.layer(interval, point)


def _by_trial(panel: Any, rows: Rows) -> Any:
    facet = alt.Facet("trial:N", sort=in_order(rows, "trial"), title=None)
    columns = num_columns(rows, "trial")
    chart = panel.properties(data=data(rows)).facet(facet=facet, columns=columns)
    return finish(chart.resolve_axis(x="independent"))


def _points(*columns: str) -> list[Any]:
    return [alt.Tooltip(f"{column}:Q", format="+.1f") for column in columns]
