"""Results of trials and cells: rates with intervals, differences, prompts that changed, costs.

Tables of sides have the columns side (baseline or trained), rate, low and high, and one or two
that say of what.
"""

from typing import Any

import altair as alt

from analysis.figures.theme import (
    BASELINE,
    LABEL_WIDTH,
    TRAINED,
    WIDTH,
    Rows,
    data,
    difference_from_zero,
    finish,
    in_order,
    interval_marks,
    named_channels,
    num_columns,
    percent_axis,
    points,
    shares,
    side_channels,
    verdict_channels,
)

__all__ = [
    "baseline_against_trained",
    "comparisons",
    "completion_length",
    "control_arms",
    "criterion_ladder",
    "differences",
    "error_classes",
    "plan_against_actual",
    "rates_by_construct",
    "rates_by_difficulty",
    "rescued_and_regressed",
    "think_by_curriculum",
]

_BOUNDS = ("low", "high")
_BOUNDS_PP = ("low_pp", "high_pp")
_RATES = shares("rate", *_BOUNDS)
_GREY, _BLUE = "#8c8c8c", "#0b4f8a"
_ARMS = {
    "untrained": (_GREY, "circle"),
    "grammar": ("#e69f00", "square"),
    "sft": ("#3c8d5f", "triangle-up"),
    "sft and grpo": ("#8e5a9e", "cross"),
    "grpo": (_BLUE, "diamond"),
}


def differences(rows: Rows) -> Any:
    """Draw the gain of every trial and of every cell with its interval, marked by verdict.

    Rows: trial (or what a cell is called), kind (trial or cell), model, delta_pp, low_pp,
    high_pp (percentage points) and verdict.
    """
    kinds = ["trial", "cell"]
    tooltip = ["trial:N", "model:N", "verdict:N", *points("delta_pp", *_BOUNDS_PP)]
    base = alt.Chart(data(rows)).encode(y=_listed(rows, "trial"), tooltip=tooltip)
    marks = verdict_channels()
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
    return difference_from_zero(interval, point)


def comparisons(rows: Rows) -> Any:
    """Draw the differences between pairs of cells, and over all pairs.

    Rows: name, delta_pp, low_pp, high_pp and kind (planned or exploratory).
    """
    kinds = ("planned", "exploratory")
    marks = named_channels("kind", kinds, (_BLUE, _GREY), ("diamond", "circle"))
    base = alt.Chart(data(rows)).encode(
        y=_listed(rows, "name", axis=alt.Axis(labelLimit=2 * LABEL_WIDTH)),
        color=marks["color"],
        tooltip=["name:N", "kind:N", *points("delta_pp", *_BOUNDS_PP)],
    )
    title = "difference of the final rates, percentage points"
    shape = marks["shape"]
    layer = interval_marks(base, "x", "delta_pp", _BOUNDS_PP, shape=shape, size=80, title=title)
    return difference_from_zero(layer, width=440)


def control_arms(rows: Rows) -> Any:
    """Draw what trained models are held against, one row an arm and one panel a model.

    Rows: panel, name, arm (untrained, grammar, sft, grpo or both), rate, low, high.
    """
    arms = [arm for arm in _ARMS if arm in in_order(rows, "arm")]
    marks = named_channels("arm", arms, *zip(*(_ARMS[arm] for arm in arms), strict=True))
    base = alt.Chart().encode(
        y=_listed(rows, "name"), color=marks["color"], tooltip=["name:N", *_RATES]
    )
    shape = marks["shape"]
    axis = percent_axis("Pass@1")
    panel = interval_marks(base, "x", "rate", _BOUNDS, shape=shape, size=90, **axis)
    return _by_row(panel.properties(width=WIDTH, height=alt.Step(24)), rows, "panel")


def baseline_against_trained(rows: Rows) -> Any:
    """Draw the rate of each trial beside its baseline's, one panel a model.

    Rows: trial, model, side, rate, low, high.
    """
    panel = _sides_of_rows(rows, "trial").properties(width=WIDTH, height=alt.Step(14))
    return _by_row(panel, rows, "model")


def criterion_ladder(rows: Rows) -> Any:
    """Draw the criteria of the ladder, lowest first, one panel a trial.

    Rows: trial, criterion, side, rate, low, high; criteria in ladder order.
    """
    return _panels(rows, "criterion")


def rates_by_difficulty(rows: Rows) -> Any:
    """Draw the primary criterion by difficulty, one panel a trial.

    Rows: trial, difficulty, side, rate, low, high; difficulties easiest first.
    """
    return _panels(rows, "difficulty")


def rates_by_construct(rows: Rows) -> Any:
    """Draw the primary criterion by what the prompt asks for, one panel a trial.

    Rows: trial, construct, side, rate, low, high.
    """
    return _listed_panels(rows, "construct")


def error_classes(rows: Rows) -> Any:
    """Draw the share of completions in each error class, one panel a trial.

    Rows: trial, error_class, side, rate, low, high; the most frequent class first.
    """
    return _listed_panels(rows, "error_class")


def think_by_curriculum(rows: Rows) -> Any:
    """Draw thinking against curriculum, one panel a model; the baseline stands first.

    Rows: model, trial, arm (think or no-think), curriculum (or ``baseline``), rate, low,
    high.
    """
    arms, curricula = in_order(rows, "arm"), in_order(rows, "curriculum")
    colors, shapes = (_GREY, _BLUE)[-len(arms) :], ("circle", "diamond")[-len(arms) :]
    marks = named_channels("arm", arms, colors, shapes)
    labels = alt.Axis(labelAngle=0, labelLimit=110)
    base = alt.Chart().encode(
        x=alt.X("curriculum:N", sort=curricula, title=None, axis=labels),
        xOffset=alt.XOffset("arm:N", sort=arms),
        color=marks["color"],
        detail="trial:N",
        tooltip=["trial:N", "arm:N", "curriculum:N", *_RATES],
    )
    panel = interval_marks(
        base,
        "y",
        "rate",
        _BOUNDS,
        shape=marks["shape"],
        size=80,
        scale=alt.Scale(zero=True),
        **percent_axis("Pass@1"),
    )
    sized = panel.properties(width=90 * max(2, len(curricula)), height=220)
    return finish(_wrapped(sized, rows, "model"))


def rescued_and_regressed(rows: Rows) -> Any:
    """Draw the share of prompts that training rescued, and of those that it lost.

    Rows: trial, change (rescued or regressed), num_prompts, rate, low, high.
    """
    signs = {"regressed": -1, "rescued": 1}
    signed = [
        {**row, **{name: signs[row["change"]] * row[name] for name in ("rate", *_BOUNDS)}}
        for row in rows
    ]
    scale = alt.Scale(domain=list(signs), range=["#e3b48f", "#5b93c7"])
    base = alt.Chart(data(signed)).encode(
        y=_listed(rows, "trial"), tooltip=["trial:N", "change:N", "num_prompts:Q", *_RATES]
    )
    axis = alt.Axis(labelExpr="format(abs(datum.value), '.0%')")
    x = alt.X("rate:Q", title="share of prompts: regressed | rescued", axis=axis)
    bar = base.mark_bar(height=14).encode(x=x, color=alt.Color("change:N", scale=scale, title=None))
    interval = base.mark_rule(strokeWidth=1.5, color="#222222").encode(x="low:Q", x2="high:Q")
    return difference_from_zero(bar, interval)


def completion_length(rows: Rows) -> Any:
    """Draw the spread of completion lengths: 10 to 90% thin, 25 to 75% thick, median a point.

    Rows: trial, side, p10, p25, p50, p75, p90, all in tokens.
    """
    side = side_channels()
    base = alt.Chart(data(rows)).encode(
        y=_listed(rows, "trial"),
        yOffset=alt.YOffset("side:N", sort=[BASELINE, TRAINED]),
        color=side["color"],
        tooltip=["trial:N", "side:N", "p10:Q", "p25:Q", "p50:Q", "p75:Q", "p90:Q"],
    )
    x = alt.X("p10:Q", title="tokens of a completion", scale=alt.Scale(zero=True))
    thin = base.mark_rule(strokeWidth=1.5).encode(x=x, x2="p90:Q")
    thick = base.mark_rule(strokeWidth=6, opacity=0.45).encode(x="p25:Q", x2="p75:Q")
    point = base.mark_point(filled=True, size=60, opacity=1).encode(x="p50:Q", shape=side["shape"])
    return finish(alt.layer(thin, thick, point).properties(width=WIDTH, height=alt.Step(14)))


def plan_against_actual(rows: Rows) -> Any:
    """Draw planned and actual cost of each cell, one panel for each measure.

    Rows: cell, measure (e.g. ``hours a trial``), source (planned or actual), value, low, high:
    the least and the greatest of the cell's trials, absent for a plan.
    """
    sources = [name for name in ("planned", "actual") if name in in_order(rows, "source")]
    marks = named_channels("source", sources, (_GREY, _BLUE), ("circle", "diamond"))
    base = alt.Chart().encode(
        y=_listed(rows, "cell"),
        yOffset=alt.YOffset("source:N", sort=sources),
        color=marks["color"],
        tooltip=["cell:N", "measure:N", "source:N", "value:Q", "low:Q", "high:Q"],
    )
    panel = interval_marks(
        base,
        "x",
        "value",
        _BOUNDS,
        shape=marks["shape"],
        title=None,
        scale=alt.Scale(zero=True),
        axis=alt.Axis(tickCount=5),
    ).properties(width=200, height=alt.Step(14))
    facet = alt.Column("measure:N", sort=in_order(rows, "measure"), title=None)
    chart = panel.properties(data=data(rows)).facet(column=facet)
    return finish(chart.resolve_scale(x="independent"))


def _panels(rows: Rows, column: str) -> Any:
    """Draw a rate on y against the few values of a column, a panel for each trial."""
    values = in_order(rows, column)
    angle = 0 if sum(len(str(value)) for value in values) < 30 else -30
    x = alt.X(f"{column}:N", sort=values, title=None, axis=alt.Axis(labelAngle=angle))
    side = side_channels()
    base = alt.Chart().encode(
        x=x, xOffset="side:N", color=side["color"], tooltip=[f"{column}:N", "side:N", *_RATES]
    )
    y = {"scale": alt.Scale(domain=[0, 1]), **percent_axis(None)}
    panel = interval_marks(base, "y", "rate", _BOUNDS, shape=side["shape"], **y)
    return _by_trial(panel.properties(width=245, height=150), rows)


def _listed_panels(rows: Rows, column: str) -> Any:
    """Draw a rate on x against the many values of a column, a panel for each trial."""
    return _by_trial(_sides_of_rows(rows, column).properties(width=200, height=alt.Step(9)), rows)


def _sides_of_rows(rows: Rows, column: str) -> Any:
    side = side_channels()
    base = alt.Chart().encode(
        y=_listed(rows, column),
        yOffset=alt.YOffset("side:N"),
        color=side["color"],
        tooltip=[f"{column}:N", "side:N", *_RATES],
    )
    return interval_marks(base, "x", "rate", _BOUNDS, shape=side["shape"], **percent_axis(None))


def _listed(rows: Rows, column: str, **axis: Any) -> Any:
    """Return the axis that lists a column's values from top to bottom."""
    return alt.Y(f"{column}:N", sort=in_order(rows, column), title=None, **axis)


def _by_trial(panel: Any, rows: Rows) -> Any:
    return finish(_wrapped(panel, rows, "trial").resolve_axis(x="independent"))


def _wrapped(panel: Any, rows: Rows, column: str) -> Any:
    """Draw a panel for each value of a column, some in a row."""
    facet = alt.Facet(f"{column}:N", sort=in_order(rows, column), title=None)
    return panel.properties(data=data(rows)).facet(facet=facet, columns=num_columns(rows, column))


def _by_row(panel: Any, rows: Rows, column: str) -> Any:
    """Draw a panel for each value of a column, below each other."""
    header = alt.Header(labelAngle=0, labelOrient="top", labelAnchor="start")
    facet = alt.Row(f"{column}:N", sort=in_order(rows, column), title=None, header=header)
    chart = panel.properties(data=data(rows)).facet(row=facet)
    return finish(chart.resolve_scale(y="independent"))
