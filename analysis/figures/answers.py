"""What the models answer: which prompts changed, and how long the completions are."""

from typing import Any

import altair as alt

from analysis.figures.rows import Rows, data, in_order
from analysis.figures.theme import BASELINE, TRAINED, WIDTH, finish, side_channels

__all__ = ["completion_length", "rescued_and_regressed"]


def rescued_and_regressed(rows: Rows) -> Any:
    """Draw the share of prompts that training rescued, and of those that it lost.

    Args:
        rows: trial, change (rescued or regressed), num_prompts, rate, low, high.
    """
    signed = [
        {**row, **{name: _sign(row) * row[name] for name in ("rate", "low", "high")}}
        for row in rows
    ]
    changes = ["regressed", "rescued"]
    color = alt.Color(
        "change:N", scale=alt.Scale(domain=changes, range=["#e3b48f", "#5b93c7"]), title=None
    )
    y = alt.Y("trial:N", sort=in_order(rows, "trial"), title=None)
    base = alt.Chart(data(signed)).encode(
        y=y, tooltip=["trial:N", "change:N", "num_prompts:Q", *_shares("rate", "low", "high")]
    )
    axis = alt.Axis(labelExpr="format(abs(datum.value), '.0%')")
    x = alt.X("rate:Q", title="share of prompts: regressed | rescued", axis=axis)
    bar = base.mark_bar(height=14).encode(x=x, color=color)
    interval = base.mark_rule(strokeWidth=1.5, color="#222222").encode(x="low:Q", x2="high:Q")
    zero = alt.Chart(data([{"zero": 0}])).mark_rule(color="#222222").encode(x="zero:Q")
    return finish(alt.layer(bar, interval, zero).properties(width=WIDTH, height=alt.Step(24)))


def completion_length(rows: Rows) -> Any:
    """Draw the spread of completion lengths: 10 to 90% thin, 25 to 75% thick, median a point.

    Args:
        rows: trial, side, p10, p25, p50, p75, p90, all in tokens.
    """
    side = side_channels()
    sides = alt.YOffset("side:N", sort=[BASELINE, TRAINED])
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("trial:N", sort=in_order(rows, "trial"), title=None),
        yOffset=sides,
        color=side["color"],
        tooltip=["trial:N", "side:N", "p10:Q", "p25:Q", "p50:Q", "p75:Q", "p90:Q"],
    )
    x = alt.X("p10:Q", title="tokens of a completion", scale=alt.Scale(zero=True))
    thin = base.mark_rule(strokeWidth=1.5).encode(x=x, x2="p90:Q")
    thick = base.mark_rule(strokeWidth=6, opacity=0.45).encode(x="p25:Q", x2="p75:Q")
    point = base.mark_point(filled=True, size=60, opacity=1).encode(x="p50:Q", shape=side["shape"])
    return finish(alt.layer(thin, thick, point).properties(width=WIDTH, height=alt.Step(14)))


def _sign(row: Any) -> int:
    return -1 if row["change"] == "regressed" else 1


def _shares(*columns: str) -> list[Any]:
    return [alt.Tooltip(f"{column}:Q", format=".1%") for column in columns]
