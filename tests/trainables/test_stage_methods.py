"""A trial of two methods on the tiny model: gold completions first, then rewards."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from strictune.config import TrialSpec, dump_yaml, expand, load_sweep
from strictune.records import read_outcome
from trainables.context import trial_context
from trainables.curriculum import plan_stages
from trainables.grpo import build_grpo_trainer
from trainables.records import TrialRecords
from trainables.trial import train_trial

ROOT = Path(__file__).resolve().parents[2]
KILLED = ROOT / "tests" / "support" / "killed_trial.py"
SETTINGS: dict[str, Any] = {
    "matrix.curriculum": "[warm_start]",
    "matrix.seed": "[0]",
    "contrasts": "[]",
    "trial.curricula.warm_start": "[{name: gold, method: sft, steps_frac: 0.5, "
    "learning_rate: 1e-3}, {name: rewards, steps_frac: 0.5}]",
    "trial.grpo.max_steps": 4,
    "trial.grpo.per_device_train_batch_size": 8,
    "trial.grpo.num_generations": 4,
    "trial.grpo.max_completion_length": 24,
    "trial.grpo.beta": 0.1,
    "trial.sft.per_device_train_batch_size": 8,
    "trial.checkpoint.save_steps": 1,
    "task.num_train_prompts": 60,
    "task.num_eval_prompts": 12,
    "evaluation.num_prompts_per_difficulty": 2,
    "evaluation.max_new_tokens": 24,
}
NOT_REPEATED = ("time/", "memory/")
"""Metrics that differ between two runs of the same."""


def planned(**changes: Any) -> TrialSpec:
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    overrides = [f"{key}={value}" for key, value in settings.items()]
    return expand(load_sweep(ROOT / "search_spaces" / "warm_start.yaml", overrides))[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trial")
    assert train_trial(planned(), folder=folder).state == "FINISHED"
    return folder


def metric_lines(folder: Path) -> list[tuple[int, dict[str, float]]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [
        (
            line["step"],
            {k: v for k, v in line["metrics"].items() if not k.startswith(NOT_REPEATED)},
        )
        for line in lines
    ]


def reward_rows(folder: Path) -> pd.DataFrame:
    return pd.concat(pd.read_parquet(part) for part in sorted(folder.glob("rewards/*.parquet")))


def test_steps_and_tokens_run_on_from_one_method_to_the_other(trained: Path) -> None:
    losses = [(step, found) for step, found in metric_lines(trained) if "train/loss" in found]
    assert [step for step, _ in losses] == [1, 2, 3, 4]
    assert ["reward/total/mean" in found for _, found in losses] == [False, False, True, True]
    assert [found["train/learning_rate"] for _, found in losses] == [1e-3, 1e-3, 2e-3, 2e-3]
    rows = reward_rows(trained)
    assert sorted(set(rows["step"])) == [3, 4]
    tokens = [found["train/completion_tokens"] for _, found in losses]
    # Golds of 24 tokens and more are cut there.
    assert tokens[:2] == [8 * 24, 16 * 24]
    assert tokens[3] == tokens[1] + rows["num_tokens"].sum()


def test_each_stage_leaves_its_adapter_and_its_evaluation(trained: Path) -> None:
    for name in ("gold", "rewards"):
        assert (trained / "adapter" / f"stage-{name}" / "adapter_model.safetensors").exists()
        assert (trained / "eval" / "stages" / name / "validation" / "samples.parquet").exists()
    steps = [step for step, found in metric_lines(trained) if "eval/strict/pass_at_1" in found]
    assert steps == [2, 4]


@pytest.mark.parametrize("reference", ["stage_start", "base"])
def test_the_kl_term_is_against_the_reference_that_the_file_names(
    reference: str, trained: Path, tmp_path: Path
) -> None:
    spec = planned(trial__grpo__kl_reference=reference)
    context = trial_context(spec, tmp_path, TrialRecords(tmp_path))
    adapter = trained / "adapter" / "stage-gold"
    rewards = plan_stages(spec)[1]
    trainer = build_grpo_trainer(context, rewards, tmp_path / "checkpoints", adapter=adapter)
    trainer.train()
    kl = [found["train/kl"] for _, found in metric_lines(tmp_path) if "train/kl" in found]
    context.records.close()
    # Before its first step the stage is where it started.
    assert (kl[0] < 1e-6) is (reference == "stage_start")
    assert kl[1] > 1e-6
    if reference == "stage_start":
        kept = load_file(tmp_path / "checkpoints/checkpoint-2/ref/adapter_model.safetensors")
        started = load_file(adapter / "adapter_model.safetensors")
        assert all(torch.equal(kept[name], started[name]) for name in started)
        assert not any(
            parameter.requires_grad
            for name, parameter in trainer.model.named_parameters()
            if ".ref." in name
        )


@pytest.mark.slow
def test_interim_evaluations_pause_both_methods_and_change_nothing(
    trained: Path, tmp_path: Path
) -> None:
    paused = planned().model_copy(update={"interim_steps": (1, 3)})
    told: list[float] = []
    outcome = train_trial(
        paused,
        folder=tmp_path,
        report=lambda step, found: told.append(step) if "interim_step" in found else None,
    )
    assert (outcome.state, told) == ("FINISHED", [1, 3])
    found = [line for line in metric_lines(tmp_path) if not any("interim" in k for k in line[1])]
    assert found == metric_lines(trained)


@pytest.mark.slow
def test_a_trial_that_is_killed_in_both_stages_and_between_them_leaves_the_same_records(
    tmp_path: Path,
) -> None:
    spec = tmp_path / "spec.yaml"
    stages = SETTINGS["trial.curricula.warm_start"]
    adaptive = stages.replace("name: rewards,", "name: rewards, mix: adaptive,")
    settings = {"trial__grpo__max_steps": 6, "trial__checkpoint__save_steps": 2}
    spec.write_text(dump_yaml(planned(**settings, trial__curricula__warm_start=adaptive)))

    def run(folder: str, place: str) -> int:
        return subprocess.run(
            [sys.executable, str(KILLED), str(spec), str(tmp_path / folder), place],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=600,
            check=False,
        ).returncode

    assert run("straight", "end") == 0
    # Three steps of each method; the one after the first checkpoint of a stage is lost.
    for place in ("step:3", "stage:1", "step:6"):
        assert run("killed", place) == -signal.SIGKILL
        assert read_outcome(tmp_path / "killed") is None
    assert run("killed", "end") == 0

    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert metric_lines(killed) == metric_lines(straight)
    assert any("train/adaptive/prompts_frac/mid" in found for _, found in metric_lines(straight))
    pd.testing.assert_frame_equal(reward_rows(killed), reward_rows(straight))
    for split in ("eval/stages/gold/validation", "eval/stages/rewards/validation", "eval/test"):
        samples = [
            pd.read_parquet(folder / split / "samples.parquet") for folder in (straight, killed)
        ]
        pd.testing.assert_frame_equal(*samples)
    finals = [
        load_file(folder / "adapter" / "final" / "adapter_model.safetensors")
        for folder in (straight, killed)
    ]
    assert all(torch.equal(tensor, finals[1][name]) for name, tensor in finals[0].items())
