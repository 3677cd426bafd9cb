"""Several optimizer steps on one generation, with pauses between and within generations."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
import torch
from test_trial import ROOT, SETTINGS, metrics_by_step, reward_rows

from strictune.config import TrialSpec, expand, load_sweep
from trainables.trial import train_trial

GENERATIONS = {
    **SETTINGS,
    "trial.grpo.max_steps": 5,
    "trial.grpo.max_completion_length": 8,
    "trial.checkpoint.save_steps": 1,
    "evaluation.num_prompts_per_difficulty": 1,
    "evaluation.max_new_tokens": 4,
}


@pytest.fixture(scope="module", params=["num_iterations", "steps_per_generation"])
def shared(request: pytest.FixtureRequest) -> str:
    """What lets two steps share a generation: each trains on all of it, or on half of it."""
    return str(request.param)


@pytest.fixture(scope="module")
def spec(shared: str) -> TrialSpec:
    torch.set_num_threads(1)
    settings = GENERATIONS | {f"trial.grpo.{shared}": 2}
    overrides = [f"{key}={value}" for key, value in settings.items()]
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


def counted(folder: Path) -> dict[int, int]:
    """Return the tokens that the loss had read after each step."""
    key = "train/completion_tokens"
    return {step: int(metrics[key]) for step, metrics in metrics_by_step(folder).items()}


def test_tokens_count_as_often_as_the_loss_reads_them(whole: Path, shared: str) -> None:
    rows, found = reward_rows(whole), counted(whole)
    assert set(rows["step"]) == {1, 3, 5}
    for step in (1, 3):
        read = found[step + 1] - found.get(step - 1, 0)
        assert read == tokens(rows, step) * (2 if shared == "num_iterations" else 1)
    # The stage ends after the first step on the third generation.
    last = found[5] - found[4]
    if shared == "num_iterations":
        assert last == tokens(rows, 5)
    else:
        assert 0 < last < tokens(rows, 5)


def test_no_prompt_is_dealt_twice(whole: Path) -> None:
    dealt = [prompt for prompts in batches(whole).values() for prompt in prompts]
    assert len(set(dealt)) == len(dealt)


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
    assert counted(tmp_path)[5] == counted(whole)[5]


def test_an_interim_evaluation_within_a_batch_shifts_no_later_one(
    spec: TrialSpec, whole: Path, shared: str, tmp_path: Path
) -> None:
    paused = spec.model_copy(update={"interim_steps": (1,)})
    assert train_trial(paused, folder=tmp_path).state == "FINISHED"
    found, expected = batches(tmp_path), batches(whole)
    assert found == {**expected, 2: expected[1]}
    rows, read = reward_rows(tmp_path), counted(tmp_path)
    if shared == "num_iterations":
        expected_tokens = tokens(rows, 1) + tokens(rows, 2) + 2 * tokens(rows, 3) + tokens(rows, 5)
        assert read[5] == expected_tokens
    else:
        assert 0 < read[2] - read[1] < tokens(rows, 2)
