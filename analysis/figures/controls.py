"""What trained models are held against: one row an arm, untrained to learned."""

from typing import Any

import altair as alt

from analysis.figures.rows import Rows, data, in_order
from analysis.figures.theme import WIDTH, finish, percent_axis

__all__ = ["control_arms"]

_ARMS = ("untrained", "grammar", "sft", "grpo")
_COLORS = ("#8c8c8c", "#e69f00", "#3c8d5f", "#0b4f8a")
_SHAPES = ("circle", "square", "triangle-up", "diamond")


def control_arms(rows: Rows) -> Any:
    """Draw the rate of each arm with its interval, one panel a model.

    Args:
        rows: panel, name, arm (untrained, grammar, sft or grpo), rate, low, high.
    """
    arms = [arm for arm in _ARMS if arm in in_order(rows, "arm")]
    marks = [_ARMS.index(arm) for arm in arms]
    colors = alt.Scale(domain=arms, range=[_COLORS[mark] for mark in marks])
    shapes = alt.Scale(domain=arms, range=[_SHAPES[mark] for mark in marks])
    base = alt.Chart().encode(
        y=alt.Y("name:N", sort=in_order(rows, "name"), title=None),
        color=alt.Color("arm:N", scale=colors, title=None),
        tooltip=[
            "name:N",
            *(alt.Tooltip(f"{name}:Q", format=".1%") for name in ("rate", "low", "high")),
        ],
    )
    interval = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", **percent_axis("Pass@1")), x2="high:Q"
    )
    point = base.mark_point(filled=True, size=90, opacity=1).encode(
        x="rate:Q", shape=alt.Shape("arm:N", scale=shapes, title=None)
    )
    facet = alt.Row(
        "panel:N",
        sort=in_order(rows, "panel"),
        title=None,
        header=alt.Header(labelAngle=0, labelOrient="top", labelAnchor="start"),
    )
    panel = alt.layer(interval, point).properties(width=WIDTH, height=alt.Step(24))
    chart = panel.properties(data=data(rows)).facet(row=facet).resolve_scale(y="independent")
    return finish(chart)
