"""The figures of a study: Pareto front, importance, and its points in two views.

Importing this module takes altair with it.
"""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from analysis.figures.theme import WIDTH, Picture, Rows, data, finish, in_order, specification
from analysis.measured import Interval
from analysis.study.findings import StudyFindings
from analysis.study.points import Dimension
from analysis.study.wording import value_text
from strictune.records import Point

__all__ = ["draw_study", "parallel_points", "pareto_front", "weight_importance", "weight_slices"]

Row = dict[str, Any]

ROLES = ("winner", "default", "other")
_COLORS = ("#0b4f8a", "#d55e00", "#8c8c8c")
_SHAPES = ("diamond", "square", "circle")
_DASHES = ([1, 0], [6, 3], [1, 0])
_NOT_KNOWN = Interval(math.nan, math.nan, math.nan)


def draw_study(found: StudyFindings) -> list[Picture]:
    """Draw what the study has data for; two finished points are the least."""
    points = [point for point in found.study.points if point.values is not None]
    if len(points) < 2:
        return []
    metric = found.study.objectives[0].metric
    pictures: list[Picture] = []

    def add(name: str, title: str, caption: str, chart: Any) -> None:
        pictures.append(Picture(name, title, caption, specification(chart)))

    if found.front:
        caption = "Finished points; the line joins those that no other one beats in both."
        rows = [_front_row(point, found) for point in points]
        chart = pareto_front(rows, x=found.study.objectives[1].metric, y=metric)
        add("pareto_front", "Pareto front", caption, chart)
    if found.importance.rows:
        caption = (
            f"Importance for {metric} among {found.importance.num_points} finished points "
            "(PED-ANOVA); lines: one standard deviation over bootstrap samples of the points."
        )
        add("importance", "What mattered", caption, weight_importance(_importance_rows(found)))
    if found.dimensions:
        values = Dimension(metric, False, False, {point.number: point.value for point in points})
        last = [
            {**row, "text": value_text(row["setting"], metric)}
            for row in _rows(values, points, found)
        ]
        rows = [row for one in found.dimensions for row in _rows(one, points, found)]
        caption = f"Every finished point; the last axis is {metric}."
        add("parallel_points", "Parallel coordinates", caption, parallel_points([*rows, *last]))
        caption = (
            f"{metric} of every finished point over each weight and setting. Lines: 95% intervals "
            "over prompts, for the best points and the default."
        )
        add("slices", "Slices", caption, weight_slices(rows, value=metric))
    return pictures


def pareto_front(rows: Rows, *, x: str, y: str) -> Any:
    """Draw finished points over two objectives, with the front as a line.

    Rows: point, role (winner, default or other), standing (on the front, dominated or
    infeasible), and the two objectives as ``x`` and ``y``.
    """
    standings = ["on the front", "dominated", "infeasible"]
    base = alt.Chart(data(rows)).encode(
        x=alt.X("x:Q", title=x, scale=alt.Scale(zero=False, padding=12)),
        y=alt.Y("y:Q", title=y, scale=alt.Scale(zero=False, padding=12)),
    )
    front = base.transform_filter("datum.standing === 'on the front'")
    line = front.mark_line(color="#0b4f8a", strokeWidth=1.5).encode(order="x:Q")
    point = base.mark_point(filled=True, size=90, opacity=1).encode(
        color=_color(),
        shape=alt.Shape(
            "standing:N",
            scale=alt.Scale(domain=standings, range=["diamond", "circle", "cross"]),
            title=None,
        ),
        tooltip=["point:N", "role:N", "standing:N", "x:Q", "y:Q"],
    )
    label = front.mark_text(dx=8, align="left", fontSize=11).encode(text="point:N")
    return finish(alt.layer(line, point, label).properties(width=WIDTH, height=300))


def weight_importance(rows: Rows) -> Any:
    """Draw each parameter's share with one standard deviation to both sides.

    Rows: parameter, share, low, high, chance (above chance or within chance).
    """
    words = ["above chance", "within chance"]
    color = alt.Color(
        "chance:N", scale=alt.Scale(domain=words, range=["#0b4f8a", "#c4c4c4"]), title=None
    )
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("parameter:N", sort=in_order(rows, "parameter"), title=None),
        tooltip=["parameter:N", alt.Tooltip("share:Q", format=".0%"), "chance:N"],
    )
    axis = alt.Axis(format=".1~%")
    bar = base.mark_bar(height=14).encode(
        x=alt.X("share:Q", title="share of the importance", axis=axis), color=color
    )
    error = base.mark_rule(strokeWidth=1.5, color="#222222").encode(x="low:Q", x2="high:Q")
    return finish(alt.layer(bar, error).properties(width=WIDTH, height=alt.Step(24)))


def parallel_points(rows: Rows) -> Any:
    """Draw every finished point as a line over all that was searched, the objective last.

    Rows: point, role, dimension, position (in [0, 1], from the least to the greatest value
    that was tried) and text (the value itself, empty for a choice); dimensions in
    order.
    """
    dimensions = in_order(rows, "dimension")
    placed = [{**row, "index": dimensions.index(row["dimension"])} for row in rows]
    base = alt.Chart(data(placed)).encode(
        x=alt.X(
            "dimension:N",
            sort=dimensions,
            title=None,
            scale=alt.Scale(padding=0.2),
            axis=alt.Axis(labelAngle=-25, grid=True, labelLimit=180),
        ),
        y=alt.Y(
            "position:Q",
            title="least to greatest value tried",
            axis=alt.Axis(labels=False, ticks=False, grid=False),
        ),
        detail="point:N",
        tooltip=["point:N", "role:N", "dimension:N", "text:N"],
    )
    order = alt.Order("index:Q")
    others = base.transform_filter("datum.role === 'other'")
    named = base.transform_filter("datum.role !== 'other'")
    thin = others.mark_line(strokeWidth=1, opacity=0.6).encode(color=_color(), order=order)
    thick = named.mark_line(strokeWidth=2.5).encode(
        color=_color(), strokeDash=_by_role(alt.StrokeDash, _DASHES), order=order
    )
    text = named.mark_text(dx=6, align="left", fontSize=10).encode(text="text:N")
    width = max(WIDTH, 85 * len(dimensions))
    return finish(alt.layer(thin, thick, text).properties(width=width, height=260))


def weight_slices(rows: Rows, *, value: str) -> Any:
    """Draw the objective over each searched weight and setting, one panel each.

    Rows: point, role, dimension, setting (its value; a number, or the text of a choice),
    value (the objective), low and high (its interval, NaN where there is none).
    """
    panels = [
        _slice([row for row in rows if row["dimension"] == name], name, value)
        for name in in_order(rows, "dimension")
    ]
    return finish(alt.concat(*panels, columns=3))


def _slice(rows: Rows, name: str, value: str) -> Any:
    is_number = not any(isinstance(row["setting"], str) for row in rows)
    x = (
        alt.X("setting:Q", title=name, scale=alt.Scale(zero=False, padding=8))
        if is_number
        else alt.X("setting:N", title=name, axis=alt.Axis(labelAngle=-20, labelLimit=150))
    )
    scale = alt.Scale(zero=False)
    base = alt.Chart(data(rows)).encode(
        x=x, color=_color(), tooltip=["point:N", "role:N", "setting:N", "value:Q"]
    )
    interval = base.mark_rule(strokeWidth=1.2, opacity=0.5).encode(
        y=alt.Y("low:Q", scale=scale), y2="high:Q"
    )
    point = base.mark_point(filled=True, size=60, opacity=1).encode(
        y=alt.Y("value:Q", title=value, scale=scale), shape=_by_role(alt.Shape, _SHAPES)
    )
    return alt.layer(interval, point).properties(width=210, height=150)


def _color() -> Any:
    return _by_role(alt.Color, _COLORS)


def _by_role(channel: Any, values: Any) -> Any:
    scale = alt.Scale(domain=list(ROLES), range=list(values))
    return channel("role:N", scale=scale, title=None)


def _role(point: Point, found: StudyFindings) -> str:
    if point.number == found.study.winner:
        return "winner"
    return "default" if point.is_default else "other"


def _front_row(point: Point, found: StudyFindings) -> Row:
    assert point.values is not None
    standing = "on the front" if point.number in found.front else "dominated"
    return {
        "point": point.name,
        "role": _role(point, found),
        "standing": standing if point.is_feasible else "infeasible",
        "x": point.values[1],
        "y": point.values[0],
    }


def _importance_rows(found: StudyFindings) -> list[Row]:
    return [
        {
            "parameter": f"weight of {row.name}" if row.is_weight else row.name,
            "share": row.share,
            "low": max(row.share - row.share_se, 0.0),
            "high": min(row.share + row.share_se, 1.0),
            "chance": "above chance" if row.is_above_chance else "within chance",
        }
        for row in found.importance.rows
    ]


def _rows(dimension: Dimension, points: Sequence[Point], found: StudyFindings) -> list[Row]:
    """Return a row for each point that has a value in the dimension."""
    places = _places(dimension, points)
    rows = []
    for point in points:
        setting = dimension.values.get(point.number)
        if setting is not None:
            interval = found.intervals.get(point.number, _NOT_KNOWN)
            rows.append(
                {
                    "point": point.name,
                    "role": _role(point, found),
                    "dimension": dimension.name,
                    "setting": setting,
                    "position": places[setting],
                    "text": "" if isinstance(setting, str) else f"{setting:.3g}",
                    "value": point.value,
                    "low": interval.low,
                    "high": interval.high,
                }
            )
    return rows


def _places(dimension: Dimension, points: Sequence[Point]) -> dict[float | str, float]:
    """Map the values that finished points have to [0, 1], from the least to the greatest."""
    tried = {dimension.values[p.number] for p in points if p.number in dimension.values}
    if not dimension.is_number:
        names = sorted(tried, key=str)
        return {name: index / max(len(names) - 1, 1) for index, name in enumerate(names)}
    is_log = dimension.is_log and min(map(float, tried)) > 0
    scaled = {value: math.log(float(value)) if is_log else float(value) for value in tried}
    low, high = min(scaled.values()), max(scaled.values())
    return {value: (place - low) / ((high - low) or 1.0) for value, place in scaled.items()}
