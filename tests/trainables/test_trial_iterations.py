"""Several iterations over one batch of completions, with pauses between and within them."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
import torch
from test_trial import ROOT, SETTINGS, metrics_by_step, reward_rows

from strictune.config import TrialSpec, expand, load_sweep
from trainables.trial import train_trial

ITERATIONS = {
    **SETTINGS,
    "trial.grpo.max_steps": 5,
    "trial.grpo.num_iterations": 2,
    "trial.grpo.max_completion_length": 8,
    "trial.checkpoint.save_steps": 1,
    "evaluation.num_prompts_per_difficulty": 1,
    "evaluation.max_new_tokens": 4,
}


@pytest.fixture(scope="module")
def spec() -> TrialSpec:
    torch.set_num_threads(1)
    overrides = [f"{key}={value}" for key, value in ITERATIONS.items()]
    return expand(load_sweep(ROOT / "search_spaces" / "quickstart.yaml", overrides))[0]


@pytest.fixture(scope="module")
def whole(spec: TrialSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert train_trial(spec, folder=folder).state == "FINISHED"
    return folder


def batches(folder: Path) -> dict[int, list[str]]:
    """Return the prompts of each step that generated."""
    groups = reward_rows(folder).groupby("step")["prompt_id"]
    return {int(step): sorted(set(found)) for step, found in groups}


def tokens(rows: pd.DataFrame, step: int) -> int:
    return int(rows.loc[rows["step"] == step, "num_tokens"].sum())


def test_tokens_count_as_often_as_the_loss_reads_them(whole: Path) -> None:
    rows = reward_rows(whole)
    assert set(rows["step"]) == {1, 3, 5}
    # The stage ends after the first iteration over the third batch.
    expected = 2 * tokens(rows, 1) + 2 * tokens(rows, 3) + tokens(rows, 5)
    assert metrics_by_step(whole)[5]["train/completion_tokens"] == expected


def test_a_killed_trial_goes_on_between_two_batches(
    spec: TrialSpec, whole: Path, tmp_path: Path
) -> None:
    def die_at_four(step: int, metrics: Mapping[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_trial(spec, folder=tmp_path, report=die_at_four)
    assert train_trial(spec, folder=tmp_path).state == "FINISHED"
    assert batches(tmp_path) == batches(whole)
    last = metrics_by_step(tmp_path)[5]["train/completion_tokens"]
    assert last == metrics_by_step(whole)[5]["train/completion_tokens"]


def test_an_interim_evaluation_within_a_batch_shifts_no_later_one(
    spec: TrialSpec, whole: Path, tmp_path: Path
) -> None:
    paused = spec.model_copy(update={"interim_steps": (1,)})
    assert train_trial(paused, folder=tmp_path).state == "FINISHED"
    found, expected = batches(tmp_path), batches(whole)
    assert found == {**expected, 2: expected[1]}
    rows = reward_rows(tmp_path)
    counted = tokens(rows, 1) + tokens(rows, 2) + 2 * tokens(rows, 3) + tokens(rows, 5)
    assert metrics_by_step(tmp_path)[5]["train/completion_tokens"] == counted
