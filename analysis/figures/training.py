"""What changed while training: stages, reward components, think rate, error classes."""

from typing import Any

import altair as alt

from analysis.figures.theme import (
    WIDTH,
    Rows,
    data,
    dodged,
    finish,
    in_order,
    num_columns,
    percent_axis,
    series_channels,
    shares,
)

__all__ = [
    "curriculum_progression",
    "dealt_prompts",
    "error_classes_by_stage",
    "reward_components",
    "stage_by_difficulty",
    "think_rate",
]

_DARK_FROM = 0.58
"""Cells of a heat map above this rate carry white text."""


def curriculum_progression(rows: Rows) -> Any:
    """Draw the validation rate after each stage, one panel for each model and arm.

    Rows: panel, trial, curriculum, stage, step (the optimizer step at its end), rate,
    low, high.
    """
    marks = series_channels("curriculum", in_order(rows, "curriculum"))
    base = alt.Chart().encode(
        x=alt.X("step:Q", title="step", scale=alt.Scale(zero=True)),
        detail="trial:N",
        color=marks["color"],
        tooltip=["trial:N", "stage:N", "step:Q", *shares("rate", "low", "high")],
    )
    y = alt.Y("rate:Q", scale=alt.Scale(zero=True), **percent_axis("Pass@1, validation"))
    line = base.mark_line().encode(y=y, strokeDash=marks["strokeDash"])
    interval = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q"), y2="high:Q")
    point = base.mark_point(filled=True, size=70, opacity=1).encode(y=y, shape=marks["shape"])
    panel = alt.layer(line, interval, point).properties(width=330, height=200)
    facet = alt.Facet("panel:N", sort=in_order(rows, "panel"), title=None)
    apart = dodged(rows, "step", "curriculum")
    return finish(panel.properties(data=data(apart)).facet(facet=facet, columns=2))


def stage_by_difficulty(rows: Rows) -> Any:
    """Draw a heat map of stage and difficulty with rate and interval in each cell.

    Rows: trial, stage, difficulty, rate, low, high; stages and difficulties in order.
    """
    shown = [
        {**row, "text": f"{row['rate']:.0%}", "bounds": _bounds_text(row["low"], row["high"])}
        for row in rows
    ]
    panels = [
        _heat_map([row for row in shown if row["trial"] == trial]).properties(title=trial)
        for trial in in_order(rows, "trial")
    ]
    return finish(alt.concat(*panels, columns=2))


def _heat_map(rows: Rows) -> Any:
    base = alt.Chart(data(rows)).encode(
        x=alt.X(
            "difficulty:N",
            sort=in_order(rows, "difficulty"),
            title=None,
            axis=alt.Axis(labelAngle=0),
        ),
        y=alt.Y("stage:N", sort=in_order(rows, "stage"), title=None),
        tooltip=["stage:N", "difficulty:N", *shares("rate", "low", "high")],
    )
    scale = alt.Scale(domain=[0, 1], range=["#f4f8fc", "#08306b"])
    legend = alt.Legend(format=".0%", orient="right")
    cell = base.mark_rect(stroke="white").encode(
        color=alt.Color("rate:Q", scale=scale, title="Pass@1", legend=legend)
    )
    ink = alt.condition(f"datum.rate > {_DARK_FROM}", alt.value("white"), alt.value("#222222"))
    rate = base.mark_text(fontSize=13, dy=-7).encode(text="text:N", color=ink)
    bounds = base.mark_text(fontSize=10, dy=9).encode(text="bounds:N", color=ink)
    return alt.layer(cell, rate, bounds).properties(width=alt.Step(80), height=alt.Step(44))


def reward_components(rows: Rows) -> Any:
    """Draw each reward component over training steps, one panel a component.

    Rows: component, cell, step, mean, low, high.
    """
    panel = _curves(rows, None).properties(width=250, height=130)
    facet = alt.Facet("component:N", sort=in_order(rows, "component"), title=None)
    apart = dodged(rows, "step", "cell")
    chart = panel.properties(data=data(apart)).facet(facet=facet, columns=3)
    return finish(chart.resolve_scale(y="independent").resolve_axis(x="independent"))


def dealt_prompts(rows: Rows) -> Any:
    """Draw what adaptive stages dealt, and by which pass rates, one panel a share.

    Args:
        rows: panel, cell, step, mean, low, high.
    """
    panel = _curves(rows, percent_axis(None), domain=(0, 1)).properties(width=250, height=130)
    facet = alt.Facet("panel:N", sort=in_order(rows, "panel"), title=None)
    apart = dodged(rows, "step", "cell")
    return finish(panel.properties(data=data(apart)).facet(facet=facet, columns=3))


def think_rate(rows: Rows) -> Any:
    """Draw the share of training completions with a real think block over steps.

    Rows: cell, step, mean, low, high.
    """
    chart = _curves(rows, percent_axis("think rate"), domain=(0, 1))
    apart = dodged(rows, "step", "cell")
    return finish(chart.properties(data=data(apart), width=WIDTH, height=200))


def error_classes_by_stage(rows: Rows) -> Any:
    """Draw how the share of each error class changes over stages, one panel a class.

    Rows: error_class, trial, stage, rate, low, high; stages in order.
    """
    marks = series_channels("trial", in_order(rows, "trial"))
    x = alt.X(
        "stage:N",
        sort=in_order(rows, "stage"),
        title=None,
        axis=alt.Axis(labelAngle=-25, labelLimit=130),
    )
    y = alt.Y("rate:Q", scale=alt.Scale(zero=True), **percent_axis(None))
    base = alt.Chart().encode(
        x=x,
        xOffset=alt.XOffset("trial:N", sort=in_order(rows, "trial")),
        color=marks["color"],
        tooltip=["error_class:N", "trial:N", "stage:N", *shares("rate", "low", "high")],
    )
    interval = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q"), y2="high:Q")
    point = base.mark_point(filled=True, size=50, opacity=1).encode(y=y, shape=marks["shape"])
    panel = alt.layer(interval, point).properties(width=250, height=130)
    facet = alt.Facet("error_class:N", sort=in_order(rows, "error_class"), title=None)
    columns = num_columns(rows, "error_class")
    return finish(panel.properties(data=data(rows)).facet(facet=facet, columns=columns))


def _curves(
    rows: Rows, y_axis: dict[str, Any] | None, *, domain: tuple[float, float] | None = None
) -> Any:
    marks = series_channels("cell", in_order(rows, "cell"))
    scale = alt.Scale(domain=list(domain)) if domain else alt.Scale(zero=False)
    base = alt.Chart().encode(
        x=alt.X("step:Q", title="step"),
        color=marks["color"],
        tooltip=["cell:N", "step:Q", "mean:Q", "low:Q", "high:Q"],
    )
    y = alt.Y("mean:Q", scale=scale, **(y_axis or {"title": None}))
    interval = base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(
        y=alt.Y("low:Q", scale=scale), y2="high:Q"
    )
    line = base.mark_line().encode(y=y, strokeDash=marks["strokeDash"])
    point = base.mark_point(filled=True, size=40, opacity=1).encode(y=y, shape=marks["shape"])
    return alt.layer(interval, line, point)


def _bounds_text(low: float, high: float) -> str:
    return "" if low != low else f"{100 * low:.0f} to {100 * high:.0f}"
