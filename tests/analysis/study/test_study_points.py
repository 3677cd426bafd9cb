"""What is read of a study, how its points are counted and ranked, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from searched_sweep import COMPONENTS, RATE, TOKENS, drawn_weights, point, write_search

from analysis.study.points import (
    count_points,
    dimensions_of,
    pareto_front,
    ranked_points,
    rate_of,
)
from strictune.config import SweepSpec
from strictune.records import Study, read_studies

RATE_UP = {"metric": RATE, "mode": "max"}
TOKENS_DOWN = {"metric": TOKENS, "mode": "min"}


def written(folder: Path, points: list[dict[str, Any]], **given: Any) -> Study:
    write_search(folder / "s", points, **given)
    (study,) = read_studies(folder / "s")
    return study


def test_points_are_counted_by_how_they_stand(tmp_path: Path) -> None:
    study = written(
        tmp_path,
        [
            point(0),
            point(1, is_feasible=False),
            point(2, state="stopped early", values=None),
            point(3, state="failed", values=None),
            point(4, state="open", values=None),
            point(5, is_from_before=True),
        ],
        num_trials=8,
    )
    assert count_points(study) == {
        "finished": 2,
        "stopped early": 1,
        "failed": 1,
        "open": 1,
        "infeasible": 1,
        "not asked for": 3,
    }


def test_infeasible_and_unfinished_points_cannot_win(tmp_path: Path) -> None:
    study = written(
        tmp_path,
        [
            point(0, values=[0.3]),
            point(1, values=[0.9], is_feasible=False),
            point(2, values=None, state="stopped early", interim_values={"4": 0.99}),
            point(3, values=[0.5]),
        ],
    )
    assert [found.number for found in ranked_points(study)] == [3, 0]


def test_the_front_holds_what_nothing_beats_in_every_objective(tmp_path: Path) -> None:
    values = [[0.5, 40], [0.4, 30], [0.4, 35], [0.6, 60], [0.5, 40], [0.9, 10]]
    points = [point(number, values=value) for number, value in enumerate(values)]
    points[5]["is_feasible"] = False
    study = written(tmp_path, points, objectives=(RATE_UP, TOKENS_DOWN))
    # 2 is beaten by 1; 0 and 4 are equal, so neither beats the other; 5 may not win.
    assert {found.number for found in pareto_front(study)} == {0, 1, 3, 4}
    assert ranked_points(study)[0].number == 3


def test_ties_of_the_first_objective_are_broken_by_the_next(tmp_path: Path) -> None:
    points = [point(0, values=[0.5, 40]), point(1, values=[0.5, 30])]
    study = written(tmp_path, points, objectives=(RATE_UP, TOKENS_DOWN))
    assert [found.number for found in ranked_points(study)] == [1, 0]


def searched(
    folder: Path, points: list[dict[str, Any]], *overrides: str
) -> tuple[SweepSpec, Study]:
    sweep = write_search(folder / "s", points, overrides=overrides)
    (study,) = read_studies(folder / "s")
    return sweep, study


def test_dimensions_hold_what_acted_and_differs(tmp_path: Path) -> None:
    weights = drawn_weights(2)
    aggregation = "grpo.multi_objective_aggregation"
    table = "rewards_no_think"
    points = [
        point(0),
        point(1, weights[0], settings={table: weights[0], aggregation: "normalize_then_sum"}),
        point(2, weights[1], settings={table: weights[1], aggregation: "sum_then_normalize"}),
    ]
    found = {one.name: one for one in dimensions_of(*searched(tmp_path, points))}
    assert list(found) == [*COMPONENTS, aggregation]
    assert found["schema"].values == pytest.approx(
        {0: 0.25, 1: weights[0]["schema"], 2: weights[1]["schema"]}, abs=1e-4
    )
    # The first point names no aggregation: the cell's own acted.
    assert found[aggregation].values == {
        0: "sum_then_normalize",
        1: "normalize_then_sum",
        2: "sum_then_normalize",
    }


def test_a_setting_that_had_no_part_in_a_point_is_left_out_of_it(tmp_path: Path) -> None:
    aggregation, scale = "grpo.multi_objective_aggregation", "grpo.scale_rewards"
    condition = f"{{{aggregation}: [sum_then_normalize]}}"
    space = f"search.space.settings={{{aggregation}: {{choices: [sum_then_normalize, "
    space += f"normalize_then_sum]}}, {scale}: {{choices: [group, none], when: {condition}}}}}"
    points = [
        point(0, settings={aggregation: "sum_then_normalize", scale: "none"}),
        point(1, settings={aggregation: "normalize_then_sum"}),
        point(2, settings={aggregation: "sum_then_normalize", scale: "group"}),
    ]
    found = {one.name: one for one in dimensions_of(*searched(tmp_path, points, space))}
    assert found[scale].values == {0: "none", 2: "group"}


def test_only_a_rate_over_all_prompts_has_an_interval(tmp_path: Path) -> None:
    study = written(tmp_path, [point(0, trials=["gone"])], objectives=(TOKENS_DOWN,))
    assert rate_of(tmp_path / "s", study.points[0], study.objectives[0]) is None
    hard = study.objectives[0].model_copy(update={"metric": "eval/hard/strict/pass_at_1"})
    assert rate_of(tmp_path / "s", study.points[0], hard) is None
