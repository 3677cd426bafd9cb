"""Whole replays: weights as they act in a cell and in a stage, scopes, saturation."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reward_sweep import Drawn, random_draw, write_reward_sweep

from analysis.replay.matrices import SweepMatrices, read_matrices
from analysis.replay.measures import (
    AGGREGATIONS,
    ALL_CELLS,
    MEASURES,
    component_phases,
    component_steps,
    replay,
)
from analysis.replay.wording import component_rows, constant_sentences, vector_rows
from strictune.config import TrialSpec
from strictune.errors import SpecError

STANDARD = "matrix.curriculum=[standard]"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepMatrices:
    """Two cells, without and with thinking, of two trials each."""
    folder = tmp_path_factory.mktemp("replay") / "s"
    write_reward_sweep(folder, partial(random_draw, num_steps=12), [STANDARD, "matrix.seed=[0, 1]"])
    return read_matrices(folder)


def rows_of(sweep: SweepMatrices, **tables: dict[str, float]) -> list[dict[str, Any]]:
    """Return the rows under the aggregation that the cells train with."""
    return [row for row in replay(sweep, tables) if row["is_own"]]


def test_every_vector_has_a_row_for_each_cell_and_aggregation(sweep: SweepMatrices) -> None:
    found = replay(sweep, {"w": {"schema": 1.0}})
    scopes = [*(cell.name for cell in sweep.cells), ALL_CELLS]
    assert [(row["vector"], row["multi_objective_aggregation"], row["cell"]) for row in found] == [
        (vector, aggregation, scope)
        for vector in ("default", "w")
        for aggregation in AGGREGATIONS
        for scope in scopes
    ]
    assert all(0 <= row[name] <= 1 and row[f"{name}_se"] >= 0 for row in found for name in MEASURES)


def test_a_row_counts_what_its_means_are_over(sweep: SweepMatrices) -> None:
    *cells, whole = rows_of(sweep)
    assert whole["num_completions"] == 4 * 12 * 8
    assert whole["zero_spread_frac_n"] == 4 * 12 * 2
    pairs = sum(
        int((m.is_passing.sum(axis=0) * (~m.is_passing).sum(axis=0)).sum())
        for cell in sweep.cells
        for m in cell.matrices
    )
    assert (
        whole["failing_above_passing_frac_n"] == whole["failing_level_with_passing_frac_n"] == pairs
    )
    assert sum(row["failing_above_passing_frac_n"] for row in cells) == pairs


def test_a_weight_of_zero_on_what_decides_lets_wrong_answers_tie(sweep: SweepMatrices) -> None:
    *_, whole = rows_of(sweep)
    *_, only = rows_of(sweep, only={"repetition": 1.0})
    assert (whole["failing_above_passing_frac"], whole["failing_level_with_passing_frac"]) == (0, 0)
    assert only["failing_above_passing_frac"] == 0
    assert only["failing_level_with_passing_frac"] > 0.1


def test_weights_act_as_in_training(sweep: SweepMatrices) -> None:
    given = {"reasoning": 0.5, "schema": 0.3, "format": 0.2}
    plain, thinking, whole = rows_of(sweep, w=given)[3:]
    names = ("reasoning", "schema", "format", "validity")
    assert [plain["weights"][name] for name in names] == pytest.approx([0, 0.6, 0.4, 0])
    assert [thinking["weights"][name] for name in names] == pytest.approx([0.5, 0.3, 0.2, 0])
    assert whole["weights"] == given


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        pytest.param({"shema": 1.0}, "Did you mean schema", id="misspelt"),
        pytest.param({"reasoning": 1.0}, "adds up to 0 in the cells without", id="nothing-left"),
        pytest.param({"format": 0.0}, "adds up to 0", id="all-zero"),
    ],
)
def test_weights_that_cannot_be_trained_with_are_refused(
    sweep: SweepMatrices, weights: dict[str, float], message: str
) -> None:
    with pytest.raises(SpecError, match=f"--weights text: .*{message}"):
        replay(sweep, {"text": weights})


TWO_STAGES = (
    "matrix.thinking=[false]",
    "matrix.curriculum=[two]",
    "trial.grpo.max_steps=6",
    "trial.curricula={two: [{name: first, steps_frac: 0.5}, "
    "{name: last, steps_frac: 0.5, rewards: {repetition: 1.0}}]}",
    "trial.allow_ties=true",
)


def test_the_default_is_what_each_stage_trains_with(tmp_path: Path) -> None:
    """The second stage pays repetition alone, where right and wrong answers may be level."""
    write_reward_sweep(tmp_path / "s", random_draw, TWO_STAGES)
    sweep = read_matrices(tmp_path / "s")
    (cell,) = sweep.cells
    (matrix,) = cell.matrices
    own = cell.own_weights(matrix.steps)
    repetition = cell.components.index("repetition")
    assert own[repetition].tolist() == [own[repetition][0]] * 6 + [1.0] * 6
    assert own[repetition][0] < 0.5
    default, cells_weights, repetition_alone = rows_of(
        sweep, cell=cell.spec.weights, repetition={"repetition": 1.0}
    )
    assert cells_weights["failing_level_with_passing_frac"] == 0
    assert (
        0
        < default["failing_level_with_passing_frac"]
        < repetition_alone["failing_level_with_passing_frac"]
    )
    rows = component_rows(sweep, component_phases(cell))
    assert {row["component"]: row["weight"] for row in rows}["repetition"].endswith(" → 1")


def draw_flat(trial: TrialSpec) -> Drawn:
    drawn = random_draw(trial, num_steps=8)
    drawn.rewards[...] = 0.25
    drawn.rewards[4:, ::2, 0] = 1.0
    return drawn


def test_saturation_follows_the_steps(tmp_path: Path) -> None:
    overrides = [STANDARD, "matrix.thinking=[true]", "matrix.seed=[0, 1]"]
    write_reward_sweep(tmp_path / "s", draw_flat, overrides)
    sweep = read_matrices(tmp_path / "s")
    (cell,) = sweep.cells
    phases = component_phases(cell)
    first = [row for row in phases if row["component"] == "format"]
    assert [(row["first_step"], row["last_step"]) for row in first] == [
        (1, 2), (3, 4), (5, 6), (7, 8)
    ]  # fmt: skip
    assert [row["at_max_frac"] for row in first] == [0, 0, 0.5, 0.5]
    assert [row["constant_groups_frac"] for row in first] == [1, 1, 0, 0]
    assert [row["num_completions"] for row in first] == [32] * 4
    assert first[0]["std"] == 0
    assert first[3]["std"] == pytest.approx(np.std([1, 0.25] * 16, ddof=1))
    assert all(row["at_max_frac_se"] == 0 for row in phases)
    steps = [row for row in component_steps(cell) if row["component"] == "format"]
    assert [row["step"] for row in steps] == list(range(1, 9))
    assert [row["at_max_frac"] for row in steps] == [0] * 4 + [0.5] * 4
    (sentence,) = [s for s in constant_sentences(sweep, phases) if s.startswith("schema ")]
    assert cell.name in sentence
    assert not any(s.startswith("format ") for s in constant_sentences(sweep, phases))


def test_rewards_may_go_beyond_one_and_not_apply_everywhere(tmp_path: Path) -> None:
    """Reward functions of a user's own give what they like; their highest value is full marks."""

    def draw(trial: TrialSpec) -> Drawn:
        drawn = random_draw(trial)
        drawn.rewards[..., 0] *= 3
        drawn.rewards[1:, ::2, 1] = np.nan
        return drawn

    write_reward_sweep(tmp_path / "s", draw, [STANDARD, "matrix.thinking=[true]"])
    sweep = read_matrices(tmp_path / "s")
    (cell,) = sweep.cells
    assert cell.maxima.tolist() == [3.0] + [1.0] * (len(cell.components) - 1)
    at_max = [row for row in component_phases(cell) if row["component"] == cell.components[0]]
    assert all(0 < row["at_max_frac"] < 1 for row in at_max)
    assert all(np.isfinite(row["mean"]) for row in component_phases(cell))
    assert all(row["failing_above_passing_frac_n"] > 0 for row in replay(sweep, {}))


def test_groups_without_spread_are_all_counted(tmp_path: Path) -> None:
    def draw(trial: TrialSpec) -> Drawn:
        drawn = draw_flat(trial)
        return Drawn(drawn.rewards[:4], np.zeros_like(drawn.is_passing[:4]))

    write_reward_sweep(tmp_path / "s", draw, [STANDARD])
    found = replay(read_matrices(tmp_path / "s"), {"schema=1": {"schema": 1.0}})
    assert {row["zero_spread_frac"] for row in found} == {1}
    assert {row["failing_above_passing_frac_n"] for row in found} == {0}
    shown = vector_rows(found, criterion="strict")
    assert {row["not strict above strict"] for row in shown} == {"-"}
