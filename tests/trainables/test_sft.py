"""Supervised trials on the tiny model: what the loss reads, which prompts, records, resume."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from strictune.config import TrialSpec, expand, load_sweep
from strictune.records import read_outcome
from trainables.context import TrialContext, trial_context
from trainables.curriculum import PlannedStage, order_prompts, plan_stages
from trainables.records import TrialRecords
from trainables.sft import IGNORED, SftData, sft_data, sft_trainer
from trainables.tasks.strict_json.task import StrictJson
from trainables.tasks.task import Attempt, Prompt
from trainables.trial import train_trial

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "trial.method": "sft",
    "trial.sft.learning_rate": "1e-3",
    "trial.sft.lr_scheduler_type": "constant",
    "trial.sft.per_device_train_batch_size": 8,
    "trial.grpo.max_steps": 4,
    "trial.grpo.per_device_train_batch_size": 8,
    "trial.grpo.num_generations": 4,
    "trial.checkpoint.save_steps": 2,
    "task.num_train_prompts": 60,
    "task.num_eval_prompts": 12,
    "evaluation.num_prompts_per_difficulty": 2,
    "evaluation.max_new_tokens": 24,
    "matrix.thinking": "[false]",
    "matrix.curriculum": "[standard]",
    "contrasts": "[]",
}


def planned(**changes: Any) -> TrialSpec:
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    overrides = [f"{key}={value}" for key, value in settings.items()]
    return expand(load_sweep(ROOT / "search_spaces" / "quickstart.yaml", overrides))[0]


def context_of(spec: TrialSpec, folder: Path) -> TrialContext:
    torch.set_num_threads(1)
    return trial_context(spec, folder, TrialRecords(folder))


def only_stage(num_steps: int) -> PlannedStage:
    [stage] = plan_stages(planned())
    return replace(stage, num_steps=num_steps)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trial")
    assert train_trial(planned(), folder=folder).state == "FINISHED"
    return folder


def metrics_by_step(folder: Path) -> dict[int, dict[str, float]]:
    merged: dict[int, dict[str, float]] = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        merged.setdefault(record["step"], {}).update(record["metrics"])
    return merged


@pytest.mark.parametrize("thinking", [False, True])
def test_the_loss_reads_the_gold_and_the_end_of_the_turn_alone(
    thinking: bool, tmp_path: Path
) -> None:
    context = context_of(planned(matrix__thinking=f"[{str(thinking).lower()}]"), tmp_path)
    task = context.task
    assert isinstance(task, StrictJson)
    prompts = task.prompts("train")[:5]
    data = SftData(prompts, 5)
    trainer = sft_trainer(context, only_stage(1), tmp_path / "c", data=data, adapter=None)
    [batch] = trainer.get_train_dataloader()
    tokenizer = context.tokenizer
    for prompt, ids, labels in zip(prompts, batch["input_ids"], batch["labels"], strict=True):
        read = labels != IGNORED
        assert (labels[read] == ids[read]).all()
        gold = task.gold_completion(prompt, thinking=thinking)
        assert tokenizer.decode(ids[read]) == f"{gold}{tokenizer.eos_token}"
        first = int(read.nonzero()[0])
        assert read[first : first + int(read.sum())].all()
        assert tokenizer.decode(ids[:first]).endswith("<think>\n" if thinking else "assistant\n")
        score = task.score(Attempt(gold or "", prompt, False, thinking), thinking=thinking)
        assert score.criteria["strict"]
    context.records.close()


def test_a_gold_over_the_limit_is_cut_where_a_completion_would_be(tmp_path: Path) -> None:
    context = context_of(planned(trial__grpo__max_completion_length=6), tmp_path)
    data = SftData(context.task.prompts("train")[:3], 3)
    trainer = sft_trainer(context, only_stage(1), tmp_path / "c", data=data, adapter=None)
    for row in trainer.train_dataset:
        trained = [label for label in row["labels"] if label != IGNORED]
        assert len(trained) == 6
        assert trained[-1] != context.tokenizer.eos_token_id
    context.records.close()


@pytest.mark.parametrize(
    ("match", "num_completions"),
    [pytest.param("completions", 32, id="completions"), pytest.param("prompts", 8, id="prompts")],
)
def test_prompts_come_as_grpo_is_dealt_them(
    match: str, num_completions: int, tmp_path: Path
) -> None:
    spec = planned(trial__sft__match=match)
    context = context_of(spec, tmp_path)
    [stage] = plan_stages(spec)
    data = sft_data(context, stage)
    learned = spec.model_copy(update={"method": "grpo"})
    [stage_of_grpo] = plan_stages(learned)
    dealt = order_prompts(
        context.task.prompts("train"),
        stage_of_grpo.spec,
        num_prompts=stage_of_grpo.num_steps * spec.prompts_per_step,
        seed=spec.seed,
    )
    assert [prompt.id for prompt in data.prompts] == [prompt.id for prompt in dealt]
    assert data.num_completions == num_completions
    trainer = sft_trainer(context, stage, tmp_path / "c", data=data, adapter=None)
    rows = [tuple(row["input_ids"]) for row in trainer.train_dataset]
    assert len(rows) == num_completions
    assert rows == rows[:8] * (num_completions // 8)
    assert stage.num_steps * 8 == num_completions
    context.records.close()


def test_the_loss_falls_and_trained_tokens_add_up(uninterrupted: Path) -> None:
    logged = metrics_by_step(uninterrupted)
    assert sorted(logged) == [1, 2, 3, 4]
    # Each step has the same 8 completions again.
    losses = [logged[step]["train/loss"] for step in (1, 2, 3, 4)]
    assert losses[3] < losses[0]
    tokens = [logged[step]["train/completion_tokens"] for step in (1, 2, 3, 4)]
    assert tokens == [tokens[0] * passes for passes in (1, 2, 3, 4)]
    assert all(logged[step]["time/step_s"] > 0 for step in logged)
    assert "final/strict/pass_at_1" in logged[4]
    assert not list(uninterrupted.glob("rewards/*"))


def test_the_adapter_is_of_the_same_kind_as_one_of_grpo(uninterrupted: Path) -> None:
    weights = load_file(uninterrupted / "adapter" / "final" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert all(tensor.abs().max() > 0 for name, tensor in weights.items() if "lora_B" in name)


def test_a_resumed_trial_ends_where_an_uninterrupted_one_does(
    uninterrupted: Path, tmp_path: Path
) -> None:
    def die_at_three(step: int, metrics: Mapping[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_trial(planned(), folder=tmp_path, report=die_at_three)
    assert read_outcome(tmp_path) is None
    assert train_trial(planned(), folder=tmp_path).state == "FINISHED"

    straight, resumed = metrics_by_step(uninterrupted), metrics_by_step(tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines if "train/loss" in line]
    assert steps == [1, 2, 3, 4]
    for step in straight:
        for key in ("train/loss", "train/grad_norm", "train/completion_tokens", "train/num_tokens"):
            assert resumed[step][key] == pytest.approx(straight[step][key], rel=1e-4)


def test_a_prompt_without_gold_ends_the_trial_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(self: StrictJson, prompt: Prompt, *, thinking: bool) -> None:
        return None

    monkeypatch.setattr(StrictJson, "gold_completion", forget)
    outcome = train_trial(planned(), folder=tmp_path)
    assert outcome.state == "FAILED"
    assert "of task strict_json has no gold completion" in str(outcome.reason)
