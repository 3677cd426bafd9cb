"""saw and dvao against the formulas of their papers, and inside TRL's trainer."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from trl import GRPOTrainer

from strictune.config import expand, load_sweep
from trainables.aggregating import AggregatingTrainer
from trainables.tasks.aggregation import STD_FLOOR, Floats, dvao_scores, saw_weights
from trainables.trial import train_trial

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = np.array([0.2, 0.5, 0.3])


def rewards(seed: int = 0) -> Floats:
    """Draw 3 components of 5 groups of 4 completions."""
    return np.random.default_rng(seed).integers(0, 5, size=(3, 4, 5)) / 4


def test_saw_weighs_by_the_coefficient_of_variation_in_the_batch() -> None:
    values = rewards()
    values[2] -= 1.0  # as low as -1
    flat = [values[0].ravel(), values[1].ravel(), values[2].ravel() + 1.0]
    variation = np.array([one.std(ddof=1) / (one.mean() + STD_FLOOR) for one in flat])
    expected = WEIGHTS * 3 * variation / variation.sum()
    np.testing.assert_allclose(saw_weights(values, WEIGHTS), expected)


def test_saw_knows_no_scale_and_takes_from_what_is_learned() -> None:
    values = rewards()
    scaled = values * np.array([1.0, 10.0, 1.0]).reshape(3, 1, 1)
    np.testing.assert_allclose(
        saw_weights(scaled, WEIGHTS), saw_weights(values, WEIGHTS), rtol=1e-3
    )
    values[1] = 1.0
    assert saw_weights(values, WEIGHTS)[1] == 0
    assert saw_weights(values, WEIGHTS)[0] > WEIGHTS[0]


def test_saw_leaves_out_what_has_no_weight_and_keeps_all_where_nothing_varies() -> None:
    without = np.array([0.5, 0.0, 0.5])
    values = rewards()
    alone = saw_weights(values[[0, 2]], without[[0, 2]])
    np.testing.assert_allclose(saw_weights(values, without), [alone[0], 0, alone[1]])
    np.testing.assert_array_equal(saw_weights(np.ones((3, 4, 5)), WEIGHTS), WEIGHTS)


def test_saw_reads_over_what_does_not_apply() -> None:
    values = rewards()
    values[0, :, 1:] = np.nan
    alone = values[0, :, 0]
    others = [alone, values[1].ravel(), values[2].ravel()]
    variation = np.array([one.std(ddof=1) / (one.mean() + STD_FLOOR) for one in others])
    np.testing.assert_allclose(
        saw_weights(values, WEIGHTS), WEIGHTS * 3 * variation / variation.sum()
    )


def test_dvao_is_the_papers_combination_of_normalized_components() -> None:
    values = rewards()
    found = dvao_scores(values, WEIGHTS)
    for group in range(values.shape[2]):
        mean, sd = values[:, :, group].mean(axis=1), values[:, :, group].std(axis=1, ddof=1)
        weights = WEIGHTS * sd / (WEIGHTS * sd).sum()
        advantages = (values[:, :, group] - mean[:, None]) / sd[:, None]
        np.testing.assert_allclose(found[:, group], weights @ advantages, rtol=2e-3)


def test_dvao_has_the_order_of_the_sum_and_never_larger_advantages() -> None:
    values = rewards()
    total = np.tensordot(WEIGHTS, values, axes=1)
    summed = (total - total.mean(axis=0)) / (total.std(axis=0, ddof=1) + STD_FLOOR)
    found = dvao_scores(values, WEIGHTS)
    assert (np.abs(found) <= np.abs(summed) + 1e-9).all()
    assert (np.sign(found) == np.sign(summed)).all()
    np.testing.assert_array_equal(dvao_scores(np.ones((3, 4, 5)), WEIGHTS), np.zeros((4, 5)))


def trainer(aggregation: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the trainer without a model; TRL's part gives fixed rewards and advantages of 0."""
    matrix = torch.from_numpy(rewards().transpose(2, 1, 0).reshape(20, 3)).float()
    monkeypatch.setattr(GRPOTrainer, "_calculate_rewards", lambda self: matrix)
    monkeypatch.setattr(
        GRPOTrainer,
        "_generate_and_score_completions",
        lambda self, inputs: {"advantages": torch.zeros(10)},
    )
    made = object.__new__(AggregatingTrainer)
    made.aggregation = aggregation
    made.num_generations = 4
    made.reward_weights = torch.tensor(WEIGHTS).float()
    made.reward_func_names = ["a", "b", "c"]
    made._metrics = {"train": {f"saw/{name}": [] for name in "abc"}}
    made.accelerator = SimpleNamespace(process_index=1)
    return made


def test_saw_sets_the_weights_that_trl_sums_with_anew_for_each_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = trainer("saw", monkeypatch)
    for _ in range(2):
        made._calculate_rewards()
        np.testing.assert_allclose(
            made.reward_weights.numpy(), saw_weights(rewards(), WEIGHTS), rtol=1e-5
        )
    assert len(made._metrics["train"]["saw/a"]) == 2
    assert (made._generate_and_score_completions({})["advantages"] == 0).all()


def test_dvao_replaces_the_advantages_of_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer("dvao", monkeypatch)
    made._calculate_rewards()
    found = made._generate_and_score_completions({})["advantages"].numpy()
    whole = dvao_scores(rewards(), WEIGHTS).T.ravel()
    np.testing.assert_allclose(found, whole[10:], rtol=1e-5)
    assert made.reward_weights.numpy() == pytest.approx(WEIGHTS)


def test_trls_own_aggregations_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer("normalize_then_sum", monkeypatch)
    made._calculate_rewards()
    assert (made._generate_and_score_completions({})["advantages"] == 0).all()
    assert made.reward_weights.numpy() == pytest.approx(WEIGHTS)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["saw", "dvao"])
def test_a_trial_trains_with_it(scheme: str, tmp_path: Path) -> None:
    settings = {
        "matrix": "{thinking: [false], curriculum: [standard], seed: [0]}",
        "contrasts": "[]",
        "trial.grpo.multi_objective_aggregation": scheme,
        "trial.grpo.max_steps": 2,
        "trial.grpo.per_device_train_batch_size": 8,
        "trial.grpo.num_generations": 4,
        "trial.grpo.max_completion_length": 48,
        "task.num_train_prompts": 60,
        "task.num_eval_prompts": 12,
        "evaluation.num_prompts_per_difficulty": 2,
        "evaluation.max_new_tokens": 16,
    }
    overrides = [f"{key}={value}" for key, value in settings.items()]
    (spec,) = expand(load_sweep(ROOT / "search_spaces" / "quickstart.yaml", overrides))
    outcome = train_trial(spec, folder=tmp_path)
    assert outcome.state == "FINISHED"
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line)["metrics"] for line in lines]
    weights = [step for step in logged if "train/saw/schema" in step]
    assert len(weights) == (2 if scheme == "saw" else 0)
