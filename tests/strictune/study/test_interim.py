"""Early stopping with several objectives, on answers drawn with known rates."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from strictune.config import ObjectiveSpec
from strictune.errors import SpecError
from strictune.launch.study.interim import dominating_point, interim_folder, objective_column

OBJECTIVES = (
    ObjectiveSpec(metric="eval/strict/pass_at_1", mode="max"),
    ObjectiveSpec(metric="eval/completion_tokens/mean", mode="min"),
)
NUM_FAMILIES = 60


def answered(trial: Path, *, rate: float, tokens: float, seed: int, step: int = 4) -> Path:
    """Write an interim evaluation of one prompt of each of 60 families."""
    rng = np.random.default_rng(seed)
    folder = interim_folder(trial, step)
    folder.mkdir(parents=True)
    pd.DataFrame(
        {
            "prompt_id": [f"q{index}" for index in range(NUM_FAMILIES)],
            "family": [f"f{index}" for index in range(NUM_FAMILIES)],
            "difficulty": "simple",
            "sample": 0,
            "num_tokens": rng.normal(tokens, 10, NUM_FAMILIES),
            "is_truncated": False,
            "is_thinking": False,
            "criterion/strict": rng.random(NUM_FAMILIES) < rate,
        }
    ).to_parquet(folder / "samples.parquet")
    return trial


def decide(ours: Path, others: dict[int, Path], alpha: float = 0.05) -> int | None:
    return dominating_point(ours, others, OBJECTIVES, step=4, alpha=alpha)


def test_a_point_that_is_beaten_in_every_objective_stops(tmp_path: Path) -> None:
    good = answered(tmp_path / "good", rate=0.8, tokens=50, seed=0)
    bad = answered(tmp_path / "bad", rate=0.2, tokens=90, seed=1)
    assert decide(bad, {3: good}) == 3
    assert decide(good, {4: bad}) is None


def test_a_point_that_is_better_in_one_objective_goes_on(tmp_path: Path) -> None:
    right = answered(tmp_path / "right", rate=0.8, tokens=90, seed=0)
    short = answered(tmp_path / "short", rate=0.2, tokens=50, seed=1)
    assert decide(short, {0: right}) is None
    assert decide(right, {1: short}) is None


def test_equal_points_are_stopped_no_more_often_than_alpha(tmp_path: Path) -> None:
    """Both objectives must be beaten, so even at alpha = 0.5 an equal point seldom stops."""
    stopped = 0
    for seed in range(40):
        ours = answered(tmp_path / f"a{seed}", rate=0.5, tokens=70, seed=2 * seed)
        other = answered(tmp_path / f"b{seed}", rate=0.5, tokens=70, seed=2 * seed + 1)
        stopped += decide(ours, {0: other}, alpha=0.1) is not None
    assert stopped <= 4, "at 10% for each objective alone, 1% for both"


def test_the_first_point_has_nobody_to_be_beaten_by(tmp_path: Path) -> None:
    assert decide(answered(tmp_path / "a", rate=0.1, tokens=70, seed=0), {}) is None


def test_an_objective_that_is_no_mean_over_prompts_is_refused(tmp_path: Path) -> None:
    folder = interim_folder(answered(tmp_path / "a", rate=0.1, tokens=70, seed=0), 4)
    table = pd.read_parquet(folder / "samples.parquet")
    with pytest.raises(SpecError, match="reward/total/mean is no mean over prompts"):
        objective_column(table, "reward/total/mean")
