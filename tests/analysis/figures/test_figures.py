"""Every figure draws its table: without a browser or network, in marks that hold in grey."""

import math
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from analysis.figures import rates, theme, training
from analysis.figures.theme import SERIES, dodged

RATE = {"rate": 0.4, "low": 0.3, "high": 0.5}
SIDES = ("baseline", "trained")
TRIALS = ("tiny · think · seed 0", "tiny · think · seed 1")

Draw = Callable[[list[dict[str, Any]]], Any]


def sided(**columns: str) -> list[dict[str, Any]]:
    return [{"trial": name, "side": side, **columns, **RATE} for name in TRIALS for side in SIDES]


CASES: Mapping[str, tuple[Draw, list[dict[str, Any]]]] = {
    "differences": (
        rates.differences,
        [
            {
                "trial": name,
                "kind": kind,
                "model": "tiny",
                "delta_pp": 5.0,
                "low_pp": 1.0,
                "high_pp": 9.0,
                "verdict": "better",
            }
            for kind, name in (("cell", "tiny · think: 2 seeds"), *(("trial", t) for t in TRIALS))
        ],
    ),
    "comparisons": (
        rates.comparisons,
        [
            {
                "name": "think against no-think",
                "kind": "planned",
                "delta_pp": 5.0,
                "low_pp": 1.0,
                "high_pp": 9.0,
            }
        ],
    ),
    "control_arms": (
        rates.control_arms,
        [
            {"panel": "tiny, think", "name": name, "arm": name, **RATE}
            for name in ("untrained", "grammar", "sft", "grpo")
        ],
    ),
    "baseline_against_trained": (rates.baseline_against_trained, sided(model="tiny")),
    "criterion_ladder": (
        rates.criterion_ladder,
        sided(criterion="parsed") + sided(criterion="strict"),
    ),
    "rates_by_difficulty": (rates.rates_by_difficulty, sided(difficulty="hard")),
    "rates_by_construct": (rates.rates_by_construct, sided(construct="enum")),
    "error_classes": (rates.error_classes, sided(error_class="missing_key")),
    "think_by_curriculum": (
        rates.think_by_curriculum,
        [
            {"model": "tiny", "trial": "a", "arm": arm, "curriculum": "standard", **RATE}
            for arm in ("no-think", "think")
        ],
    ),
    "rescued_and_regressed": (
        rates.rescued_and_regressed,
        [
            {"trial": name, "change": change, "num_prompts": 3, **RATE}
            for name in TRIALS
            for change in ("rescued", "regressed")
        ],
    ),
    "completion_length": (
        rates.completion_length,
        [
            {"trial": name, "side": side, "p10": 1, "p25": 2, "p50": 3, "p75": 4, "p90": 5}
            for name in TRIALS
            for side in SIDES
        ],
    ),
    "curriculum_progression": (
        training.curriculum_progression,
        [
            {
                "panel": "tiny",
                "trial": name,
                "curriculum": "three_stage",
                "stage": stage,
                "step": step,
                **RATE,
            }
            for name in TRIALS
            for step, stage in ((6, "first"), (20, "last"))
        ],
    ),
    "stage_by_difficulty": (
        training.stage_by_difficulty,
        [{"trial": TRIALS[0], "stage": "first", "difficulty": "hard", **RATE}],
    ),
    "error_classes_by_stage": (
        training.error_classes_by_stage,
        [{"error_class": "ok", "trial": TRIALS[0], "stage": "first", **RATE}],
    ),
    "reward_components": (
        training.reward_components,
        [
            {"component": "schema", "cell": cell, "step": step, "mean": 0.5, "low": 0.4, "high": 1}
            for cell in ("a", "b")
            for step in (3.0, 8.0)
        ],
    ),
    "dealt_prompts": (
        training.dealt_prompts,
        [{"panel": "drawn: hard", "cell": "a", "step": 3.0, "mean": 0.5, "low": 0.4, "high": 0.6}],
    ),
    "think_rate": (
        training.think_rate,
        [{"cell": "a", "step": 3.0, "mean": 0.5, "low": 0.4, "high": 0.6}],
    ),
    "plan_against_actual": (
        rates.plan_against_actual,
        [
            {
                "cell": "a",
                "measure": "hours a trial",
                "source": source,
                "value": 1.0,
                "low": None,
                "high": None,
            }
            for source in ("planned", "actual")
        ],
    ),
}


def specification(name: str) -> dict[str, Any]:
    draw, rows = CASES[name]
    return theme.specification(draw(rows))


@pytest.mark.parametrize("name", CASES)
def test_a_figure_is_drawn_from_its_rows(name: str) -> None:
    picture = theme.to_svg(specification(name))
    assert picture.startswith("<svg")
    labels = set(re.findall(r">([^<>]+)</text>", picture))
    assert labels & {str(value) for row in CASES[name][1] for value in row.values()}


@pytest.mark.parametrize("name", CASES)
def test_uncertainty_is_drawn(name: str) -> None:
    text = str(specification(name))
    bounds = ("low", "high") if name != "completion_length" else ("p10", "p90")
    assert all(bound in text for bound in bounds)


@pytest.mark.parametrize("name", [name for name in CASES if "side" in CASES[name][1][0]])
def test_the_sides_differ_in_shape_and_lightness_too(name: str) -> None:
    text = str(specification(name))
    assert "'circle', 'diamond'" in text
    grey, blue = (
        luminance(color) for color in re.findall(r"'(#[0-9a-f]{6})', '(#[0-9a-f]{6})'", text)[0]
    )
    assert grey / blue > 2


def test_no_two_series_look_alike() -> None:
    dashes = [tuple(dash) for dash in SERIES["dash"]]
    marks = list(zip(SERIES["color"], dashes, SERIES["shape"], strict=True))
    assert len({(dash, shape) for _, dash, shape in marks}) == len(marks)


def test_what_was_not_measured_is_not_drawn() -> None:
    rows = [{**row, "low": math.nan, "high": math.nan} for row in sided(difficulty="hard")]
    document = theme.specification(rates.rates_by_difficulty(rows))
    assert "NaN" not in str(document)
    assert theme.to_svg(document).startswith("<svg")


def test_series_stand_apart_by_less_than_the_values() -> None:
    rows = [{"step": step, "cell": cell} for step in (5, 10) for cell in ("a", "b", "c")]
    moved = [row["step"] for row in dodged(rows, "step", "cell")]
    assert moved == sorted(moved)
    assert len(set(moved)) == len(rows)
    assert max(moved[:3]) < min(moved[3:])


def test_the_scripts_of_a_page_cannot_end_their_element() -> None:
    scripts = theme.page_scripts()
    assert "vegaEmbed" in scripts
    assert "</script" not in scripts.lower()


def test_figures_need_no_torch() -> None:
    code = (
        "import sys, analysis.figures, analysis.report\n"
        "assert not {'torch', 'ray', 'trl', 'mlflow', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2, of ``#rrggbb``."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
