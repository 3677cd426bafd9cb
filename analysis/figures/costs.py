"""What trials took, beside what was planned for them."""

from typing import Any

import altair as alt

from analysis.figures.rows import Rows, data, in_order
from analysis.figures.theme import finish

__all__ = ["plan_against_actual"]


def plan_against_actual(rows: Rows) -> Any:
    """Draw planned and actual cost of each cell, one panel for each measure.

    Args:
        rows: cell, measure (e.g. ``hours``), source (guessed, planned or actual), value, low, high:
            the least and the greatest of the cell's trials, absent for a plan.
    """
    found = {row["source"] for row in rows}
    sources = [source for source in ("guessed", "planned", "actual") if source in found]
    color = alt.Color(
        "source:N", scale=alt.Scale(domain=sources, range=["#8c8c8c", "#0b4f8a"]), title=None
    )
    shape = alt.Shape(
        "source:N", scale=alt.Scale(domain=sources, range=["circle", "diamond"]), title=None
    )
    base = alt.Chart().encode(
        y=alt.Y("cell:N", sort=in_order(rows, "cell"), title=None),
        yOffset=alt.YOffset("source:N", sort=sources),
        color=color,
        tooltip=["cell:N", "measure:N", "source:N", "value:Q", "low:Q", "high:Q"],
    )
    interval = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q")
    point = base.mark_point(filled=True, size=60, opacity=1).encode(
        x=alt.X("value:Q", title=None, scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5)),
        shape=shape,
    )
    panel = alt.layer(interval, point).properties(width=200, height=alt.Step(14))
    facet = alt.Column("measure:N", sort=in_order(rows, "measure"), title=None)
    chart = panel.properties(data=data(rows)).facet(column=facet)
    return finish(chart.resolve_scale(x="independent"))
