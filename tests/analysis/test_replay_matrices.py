"""Which matrices of a sweep are read, what is left out with its reason, what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reward_sweep import QUICKSTART, Drawn, random_draw, write_matrix, write_reward_sweep

from analysis.replay.matrices import read_matrices, read_matrix
from analysis.replay.wording import count_sentences
from strictune.config import TrialSpec, load_sweep
from strictune.errors import SpecError, StorageError
from strictune.planning import expand
from strictune.records import write_json

ONE_CELL = ("matrix.thinking=[true]", "matrix.curriculum=[standard]")


def test_matrices_are_read_as_they_were_written(tmp_path: Path) -> None:
    trials = write_reward_sweep(tmp_path / "s", random_draw, ["matrix.seed=[0, 1]"])
    found = read_matrices(tmp_path / "s")
    assert [cell.name for cell in found.cells] == list(dict.fromkeys(t.cell for t in trials))
    assert found.skipped == ()
    by_id = {trial.trial_id: trial for trial in trials}
    for cell in found.cells:
        assert len(cell.matrices) == 2
        for matrix in cell.matrices:
            drawn = random_draw(by_id[matrix.trial_id])
            rows = matrix.rewards.transpose(2, 1, 0).reshape(drawn.rewards.shape)
            np.testing.assert_array_equal(rows, drawn.rewards)
            np.testing.assert_array_equal(
                matrix.is_passing.T.reshape(drawn.is_passing.shape), drawn.is_passing
            )
            np.testing.assert_array_equal(matrix.steps, np.repeat(np.arange(1, 7), 2))
            np.testing.assert_array_equal(matrix.starts, np.arange(0, 12, 2))


def test_weights_and_aggregation_are_the_cells_in_the_plan(tmp_path: Path) -> None:
    overrides = ["trial.grpo.multi_objective_aggregation=normalize_then_sum"]
    trials = write_reward_sweep(tmp_path / "s", random_draw, overrides)
    for cell in read_matrices(tmp_path / "s").cells:
        spec = next(trial for trial in trials if trial.cell == cell.name)
        weights = cell.own_weights(np.array([1, 6]))
        assert dict(zip(cell.components, weights[:, 1], strict=True)) == spec.weights
        assert cell.aggregation == "normalize_then_sum"
        assert dict(zip(cell.components, cell.is_active, strict=True))["reasoning"] == spec.thinking


def test_what_no_checkpoint_made_durable_is_not_read(tmp_path: Path) -> None:
    (trial,) = write_reward_sweep(tmp_path / "s", random_draw, ONE_CELL)
    progress = tmp_path / "s" / "trials" / trial.trial_id / "progress.json"
    progress.write_text(json.dumps(json.loads(progress.read_text()) | {"step": 3}))
    (cell,) = read_matrices(tmp_path / "s").cells
    assert cell.matrices[0].steps.max() == 3


def test_supervised_trials_are_left_out_with_the_reason(tmp_path: Path) -> None:
    overrides = [*ONE_CELL, "matrix.method=[sft, grpo]"]
    supervised, learned = write_reward_sweep(tmp_path / "s", random_draw, overrides)
    found = read_matrices(tmp_path / "s")
    assert [cell.name for cell in found.cells] == [learned.cell]
    (skipped,) = found.skipped
    assert skipped.trial_id == supervised.trial_id
    assert skipped.reason == "it was trained by sft, without rewards."


def test_trials_that_a_search_added_to_a_cell_are_read(tmp_path: Path) -> None:
    (trial,) = write_reward_sweep(tmp_path / "s", random_draw, ONE_CELL)
    trials = tmp_path / "s" / "trials"
    shutil.copytree(trials / trial.trial_id, trials / "from-a-search")
    (cell,) = read_matrices(tmp_path / "s").cells
    assert [matrix.trial_id for matrix in cell.matrices] == [trial.trial_id, "from-a-search"]


def draw_thinking_only(trial: TrialSpec) -> Drawn | None:
    return random_draw(trial) if trial.thinking else None


def test_trials_without_a_matrix_are_left_out_with_the_reason(tmp_path: Path) -> None:
    trials = write_reward_sweep(
        tmp_path / "s", draw_thinking_only, ["matrix.curriculum=[standard]"]
    )
    found = read_matrices(tmp_path / "s")
    assert [cell.name for cell in found.cells] == [t.cell for t in trials if t.thinking]
    (skipped,) = found.skipped
    assert (skipped.trial_id, skipped.reason) == (trials[0].trial_id, "no checkpoint yet.")


def draw_infinite(trial: TrialSpec) -> Drawn:
    drawn = random_draw(trial)
    drawn.rewards[0, 0, 2] = -np.inf
    return drawn


def test_a_value_that_is_no_reward_is_named(tmp_path: Path) -> None:
    write_reward_sweep(tmp_path / "s", draw_infinite, ONE_CELL)
    with pytest.raises(StorageError, match=r"no trial has a reward matrix.*reward/schema holds"):
        read_matrices(tmp_path / "s")


def test_groups_that_are_not_scored_whole_are_left_out_and_counted(tmp_path: Path) -> None:
    def draw(trial: TrialSpec) -> Drawn:
        drawn = random_draw(trial)
        drawn.rewards[0, 0] = np.nan  # a completion without any reward
        drawn.rewards[1, 0, 2] = np.nan  # a component that does not apply to a completion
        return drawn

    write_reward_sweep(tmp_path / "s", draw, ONE_CELL)
    found = read_matrices(tmp_path / "s")
    (matrix,) = found.cells[0].matrices
    assert matrix.num_unscored == 1
    assert matrix.steps.tolist() == [1, *np.repeat(np.arange(2, 7), 2)]
    assert np.argwhere(np.isnan(matrix.rewards)).tolist() == [[2, 0, 1]]
    assert "Left out: 1 groups" in count_sentences(found)[1]


def test_a_task_with_one_component_has_nothing_to_weigh(tmp_path: Path) -> None:
    (spec,) = expand(load_sweep(QUICKSTART.with_name("refiner_quickstart.yaml")))
    with pytest.raises(StorageError, match="task refiner has one reward component"):
        read_matrix(tmp_path, spec, criterion="satisfied")


def test_groups_of_another_size_are_refused(tmp_path: Path) -> None:
    (trial,) = write_reward_sweep(tmp_path / "s", random_draw, ONE_CELL)
    part = tmp_path / "s" / "trials" / trial.trial_id / "rewards" / "part-00000003.parquet"
    pd.read_parquet(part).iloc[1:].to_parquet(part)
    message = r"group 0 of step 1 has 3 completions, expected grpo.num_generations = 4\."
    with pytest.raises(StorageError, match=message):
        read_matrices(tmp_path / "s")


def test_a_part_that_is_no_table_is_named(tmp_path: Path) -> None:
    (trial,) = write_reward_sweep(tmp_path / "s", random_draw, ONE_CELL)
    part = tmp_path / "s" / "trials" / trial.trial_id / "rewards" / "part-00000003.parquet"
    part.write_bytes(b"cut off")
    with pytest.raises(StorageError, match=r"part-00000003.parquet: cannot be read"):
        read_matrices(tmp_path / "s")


def test_a_matrix_of_a_task_that_had_fewer_components_is_named_in_one_line(tmp_path: Path) -> None:
    (trial,) = write_reward_sweep(tmp_path / "s", random_draw, ONE_CELL)
    part = tmp_path / "s" / "trials" / trial.trial_id / "rewards" / "part-00000003.parquet"
    pd.read_parquet(part).drop(columns="reward/schema").to_parquet(part)
    with pytest.raises(StorageError, match=r"was recorded without reward/schema, which") as caught:
        read_matrices(tmp_path / "s")
    assert "\n" not in str(caught.value)


def test_a_trial_of_a_cell_that_the_plan_lacks_is_left_out(tmp_path: Path) -> None:
    write_reward_sweep(tmp_path / "s", random_draw, ONE_CELL)
    others = write_reward_sweep(tmp_path / "o", random_draw, ["matrix.thinking=[false]"])
    for trial in others:
        folder = tmp_path / "s" / "trials" / trial.trial_id
        shutil.copytree(tmp_path / "o" / "trials" / trial.trial_id, folder)
    found = read_matrices(tmp_path / "s")
    assert len(found.cells) == 1
    assert {skipped.reason for skipped in found.skipped} == {
        f"its cell, {trial.cell}, is not in plan.json." for trial in others
    }


def test_without_a_plan_the_message_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Give the folder of a sweep"):
        read_matrices(tmp_path)


def test_a_resumed_trial_is_read_once(tmp_path: Path) -> None:
    (trial,) = write_reward_sweep(tmp_path / "s", random_draw, ONE_CELL)
    folder = tmp_path / "s" / "trials" / trial.trial_id
    before = read_matrices(tmp_path / "s").cells[0].matrices[0]
    (folder / "progress.json").unlink()
    write_matrix(folder, trial, random_draw(trial))
    after = read_matrices(tmp_path / "s").cells[0].matrices[0]
    np.testing.assert_array_equal(before.rewards, after.rewards)


def write_study(folder: Path, cell: TrialSpec, **given: object) -> None:
    """Write the study of a cell in place of its plan."""
    study = {
        "cell": cell.cell,
        "model": cell.model,
        "thinking": cell.thinking,
        "sampler": "tpe",
        "num_trials": 1,
        "objectives": [{"metric": "eval/strict/pass_at_1", "mode": "max"}],
        "components": [],
        "default_weights": cell.weights,
        "config": cell.model_dump(mode="json", exclude={"seed"}),
        "winner": None,
        "points": [],
    }
    write_json(folder / "studies.json", {"studies": [study | given]})
    plan = json.loads((folder / "plan.json").read_text())
    write_json(folder / "plan.json", plan | {"cells": [], "trials": []})


def test_points_of_a_search_are_read_in_the_cell_that_they_were_drawn_in(tmp_path: Path) -> None:
    (trial,) = write_reward_sweep(tmp_path / "s", random_draw, ONE_CELL)
    write_study(tmp_path / "s", trial)
    (cell,) = read_matrices(tmp_path / "s").cells
    assert (cell.name, cell.spec.weights) == (trial.cell, trial.weights)
    assert [matrix.trial_id for matrix in cell.matrices] == [trial.trial_id]


def test_settings_of_a_cell_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (trial,) = write_reward_sweep(tmp_path / "s", random_draw, ONE_CELL)
    config = trial.model_dump(mode="json", exclude={"seed"})
    write_study(tmp_path / "s", trial, config=config | {"looks": 1, "grpo": {}})
    with pytest.raises(SpecError) as caught:
        read_matrices(tmp_path / "s")
    missing, unknown = str(caught.value).splitlines()
    assert f"studies.json: {trial.cell}: looks is not a known key, expected one of " in unknown
    assert f"studies.json: {trial.cell}: grpo.max_steps is missing" in missing
