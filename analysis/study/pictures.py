"""The figures of a study. Importing this module takes altair with it."""

import math
from typing import Any, NamedTuple

from analysis.figures.rendering import specification
from analysis.figures.weights import (
    parallel_points,
    pareto_front,
    weight_importance,
    weight_slices,
)
from analysis.measured import Interval
from analysis.study.findings import StudyFindings
from analysis.study.points import Dimension
from analysis.study.wording import value_text
from strictune.records import Point

__all__ = ["Picture", "draw_study"]

Row = dict[str, Any]
_NOT_KNOWN = Interval(math.nan, math.nan, math.nan)


class Picture(NamedTuple):
    """A figure of one study."""

    name: str
    """Of its file, without the study's."""
    title: str
    caption: str
    document: dict[str, Any]
    """Vega-Lite, with its data."""


def draw_study(found: StudyFindings) -> list[Picture]:
    """Draw what the study has data for; two finished points are the least."""
    points = [point for point in found.study.points if point.values is not None]
    if len(points) < 2:
        return []
    metric = found.study.objectives[0].metric
    pictures = []
    if found.front:
        x, y = found.study.objectives[1].metric, metric
        caption = "Finished points; the line joins those that no other one beats in both."
        chart = pareto_front([_front_row(point, found) for point in points], x=x, y=y)
        pictures.append(_picture("pareto_front", "Pareto front", caption, chart))
    if found.importance.rows:
        caption = (
            f"Importance for {metric} among {found.importance.num_points} finished points "
            "(PED-ANOVA); lines: one standard deviation over bootstrap samples of the points."
        )
        chart = weight_importance(_importance_rows(found))
        pictures.append(_picture("importance", "What mattered", caption, chart))
    if found.dimensions:
        caption = f"Every finished point; the last axis is {metric}."
        chart = parallel_points(_parallel_rows(points, found))
        pictures.append(_picture("parallel_points", "Parallel coordinates", caption, chart))
        caption = (
            f"{metric} of every finished point over each weight and setting. Lines: 95% intervals "
            "over prompts, for the best points and the default."
        )
        chart = weight_slices(_slice_rows(points, found), value=metric)
        pictures.append(_picture("slices", "Slices", caption, chart))
    return pictures


def _picture(name: str, title: str, caption: str, chart: Any) -> Picture:
    return Picture(name, title, caption, specification(chart))


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


def _parallel_rows(points: list[Point], found: StudyFindings) -> list[Row]:
    metric = found.study.objectives[0].metric
    values = Dimension(metric, False, False, {point.number: point.value for point in points})
    rows = []
    for dimension in (*found.dimensions, values):
        places = _places(dimension, points)
        for point in points:
            value = dimension.values.get(point.number)
            if value is None:
                continue
            is_value = dimension is values
            rows.append(
                {
                    "point": point.name,
                    "role": _role(point, found),
                    "dimension": dimension.name,
                    "position": places[value],
                    "text": value_text(point.value, metric) if is_value else _text(value),
                }
            )
    return rows


def _places(dimension: Dimension, points: list[Point]) -> dict[float | str, float]:
    """Map the values that finished points have to [0, 1], from the least to the greatest."""
    tried = {dimension.values[p.number] for p in points if p.number in dimension.values}
    if not dimension.is_number:
        names = sorted(tried, key=str)
        return {name: index / max(len(names) - 1, 1) for index, name in enumerate(names)}
    is_log = dimension.is_log and min(map(float, tried)) > 0
    scaled = {value: math.log(float(value)) if is_log else float(value) for value in tried}
    low, high = min(scaled.values()), max(scaled.values())
    return {value: (place - low) / ((high - low) or 1.0) for value, place in scaled.items()}


def _slice_rows(points: list[Point], found: StudyFindings) -> list[Row]:
    rows = []
    for dimension in found.dimensions:
        for point in points:
            if point.number not in dimension.values:
                continue
            interval = found.intervals.get(point.number, _NOT_KNOWN)
            rows.append(
                {
                    "point": point.name,
                    "role": _role(point, found),
                    "dimension": dimension.name,
                    "setting": dimension.values[point.number],
                    "value": point.value,
                    "low": interval.low,
                    "high": interval.high,
                }
            )
    return rows


def _text(value: float | str) -> str:
    return "" if isinstance(value, str) else f"{value:.3g}"
