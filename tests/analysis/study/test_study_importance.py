"""Importance: what is planted is found, chance is called chance, few points are refused."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import optuna
import pytest
from searched_sweep import RATE, point

from analysis.study.importance import MIN_POINTS, ImportanceTable, importance_of
from analysis.study.points import Dimension
from strictune.records import Study

NAMES = ("format", "schema", "strictness")


def study_of(values: Sequence[float | None]) -> Study:
    return Study.model_validate(
        {
            "cell": "tiny",
            "model": "tiny",
            "thinking": False,
            "sampler": "random",
            "num_trials": len(values),
            "objectives": [{"metric": RATE, "mode": "max"}],
            "components": NAMES,
            "default_weights": {},
            "winner": None,
            "points": [
                point(number, values=None, state="stopped early")
                if value is None
                else point(number, values=[value])
                for number, value in enumerate(values)
            ],
        }
    )


def measured(
    gain: Callable[[Mapping[str, float]], float], *, num_points: int = 40, seed: int = 0
) -> ImportanceTable:
    rng = np.random.default_rng(seed)
    rows = [dict(zip(NAMES, row, strict=True)) for row in rng.dirichlet(np.ones(3), num_points)]
    values = [gain(row) + rng.normal(0, 0.03) for row in rows]
    dimensions = [
        Dimension(name, True, False, {number: row[name] for number, row in enumerate(rows)})
        for name in NAMES
    ]
    return importance_of(study_of(values), dimensions, num_resamples=20)


def test_the_weight_that_decides_has_the_largest_share_above_chance() -> None:
    table = measured(lambda row: 0.3 + 0.6 * row["schema"])
    assert table.refusal is None
    assert (table.rows[0].name, table.rows[0].is_above_chance) == ("schema", True)
    assert sum(row.share for row in table.rows) == pytest.approx(1)
    assert all(row.share_se > 0 for row in table.rows)


def test_values_that_owe_nothing_to_the_weights_are_called_chance() -> None:
    tables = [measured(lambda row: 0.3, seed=seed) for seed in range(3)]
    fooled = [table for table in tables if any(row.is_above_chance for row in table.rows)]
    # The level is 5% for all parameters of a study together: two of three would be p = 0.007.
    assert len(fooled) <= 1


def test_fewer_points_than_the_best_quarter_needs_are_refused() -> None:
    table = measured(lambda row: row["schema"], num_points=MIN_POINTS - 1)
    assert table.rows == ()
    assert table.refusal is not None
    assert f"n = {MIN_POINTS - 1} finished, {MIN_POINTS} are needed" in table.refusal
    assert "--trials +1`" in table.refusal


def test_points_stopped_early_do_not_count() -> None:
    values = [0.3 + 0.01 * number for number in range(MIN_POINTS - 1)] + [None] * 10
    dimension = Dimension("schema", True, False, {n: float(n) for n in range(len(values))})
    table = importance_of(study_of(values), [dimension], num_resamples=5)
    assert table.num_points == MIN_POINTS - 1
    assert table.refusal is not None


@pytest.mark.parametrize(
    ("values", "settings", "reason"),
    [
        pytest.param([0.5] * 20, range(20), "the same value", id="equal-values"),
        pytest.param(range(20), [1] * 20, "do not differ", id="equal-settings"),
    ],
)
def test_what_does_not_vary_is_refused(
    values: Sequence[float], settings: Sequence[int], reason: str
) -> None:
    dimension = Dimension("grpo.beta", False, False, dict(enumerate(map(float, settings))))
    table = importance_of(study_of(list(values)), [dimension], num_resamples=5)
    assert table.refusal is not None
    assert reason in table.refusal


def test_choices_and_settings_that_some_points_lack_are_measured() -> None:
    rng = np.random.default_rng(0)
    values = [0.3 + 0.2 * (number % 2) + rng.normal(0, 0.02) for number in range(40)]
    kinds = Dimension("kind", False, False, {n: ("a", "b")[n % 2] for n in range(40)})
    only_b = Dimension("rate", False, True, {n: 10.0 ** -(n % 5 + 1) for n in range(1, 40, 2)})
    table = importance_of(study_of(values), [kinds, only_b], num_resamples=20)
    found = {row.name: row for row in table.rows}
    assert found["kind"].is_above_chance
    assert set(found) == {"kind", "rate"}


def test_the_same_study_gives_the_same_numbers_and_leaves_optunas_log_alone() -> None:
    before = optuna.logging.get_verbosity()
    first, second = (measured(lambda row: row["schema"]) for _ in range(2))
    assert first == second
    assert optuna.logging.get_verbosity() == before
