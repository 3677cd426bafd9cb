"""Supervised trials without answers: golds are the untrained model's own that pass every check."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from strictune.config import TrialSpec, expand, load_sweep
from strictune.records import read_metrics
from trainables import own_golds
from trainables.context import TrialContext, trial_context
from trainables.curriculum import plan_stages
from trainables.records import TrialRecords
from trainables.sft import IGNORED, sft_data, sft_trainer
from trainables.tasks.task import Attempt
from trainables.trial import train_trial

MAILS = Path(__file__).resolve().parents[2] / "search_spaces" / "extraction_quickstart.yaml"
STEPS = 2
SETTINGS = {
    "matrix.method": "[sft]",
    "contrasts": "[]",
    "task.columns": "{prompt: text}",
    "task.golds": "grammar",
    "trial.quantization": "none",
    "trial.grpo.max_steps": STEPS,
    "trial.grpo.num_generations": 4,
    "trial.grpo.per_device_train_batch_size": 8,
    "trial.sft.per_device_train_batch_size": 8,
    "evaluation.num_prompts_per_difficulty": 2,
    "evaluation.max_new_tokens": 24,
}


def planned(**changes: Any) -> TrialSpec:
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    overrides = [f"{key}={value}" for key, value in settings.items()]
    return expand(load_sweep(MAILS, overrides))[0]


def context_of(spec: TrialSpec, folder: Path) -> TrialContext:
    torch.set_num_threads(1)
    return trial_context(spec, folder, TrialRecords(folder))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The folder of a trial that drew its golds."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trial")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        outcome = train_trial(planned(), folder=folder)
    assert outcome.state == "FINISHED", outcome.reason
    return folder


def golds_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "golds.json").read_text())
    return found


def test_golds_pass_every_check_and_are_what_the_loss_reads(trained: Path, tmp_path: Path) -> None:
    context = context_of(planned(), tmp_path)
    [stage] = plan_stages(context.spec)
    data = sft_data(context, stage)
    assert dict(data.golds) == golds_in(trained)["golds"]
    for prompt in data.prompts:
        gold = data.golds[prompt.id]
        score = context.task.score(Attempt(gold, prompt, False, False), thinking=False)
        assert all(score.criteria.values())
        assert gold != prompt.gold
    trainer = sft_trainer(context, stage, tmp_path / "c", data=data, adapter=None)
    end = context.tokenizer.eos_token
    for row, prompt in zip(trainer.train_dataset, data.prompts, strict=False):
        read = [label for label in row["labels"] if label != IGNORED]
        assert context.tokenizer.decode(read) == f"{data.golds[prompt.id]}{end}"
    context.records.close()


def test_counts_and_cost_are_in_the_records(trained: Path) -> None:
    found = golds_in(trained)
    assert found["num_kept"] == len(found["golds"]) > 0
    assert found["num_kept"] + found["num_without"] == found["num_prompts"] <= 2 * STEPS
    assert found["num_prompts"] <= found["num_drawn"] <= 4 * found["num_prompts"]
    assert found["num_tokens"] > found["num_drawn"]
    [first] = [metrics for step, metrics in read_metrics(trained) if step == 0]
    counts = {f"golds/{key}": value for key, value in found.items() if key.startswith("num_")}
    assert first == counts | {"time/golds_s": found["seconds"]}


@pytest.mark.parametrize(
    ("changes", "is_drawn"),
    [
        pytest.param({"trial__sft__learning_rate": 1e-4}, False, id="another-learning-rate"),
        pytest.param({"trial__grpo__temperature": 0.9}, True, id="another-temperature"),
        pytest.param({"trial__grpo__num_generations": 2}, True, id="fewer-samples"),
        pytest.param({"trial__seed": 1}, True, id="other-prompts"),
        pytest.param({"trial__quantization": "nf4"}, True, id="another-model"),
    ],
)
@pytest.mark.usefixtures("trained")
def test_golds_are_drawn_once_for_all_that_they_depend_on(
    changes: Mapping[str, Any], is_drawn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def draw(context: TrialContext, measured: object) -> dict[str, Any]:
        drawn.append(measured)
        raise InterruptedError

    monkeypatch.setattr(own_golds, "_draw", draw)
    context = context_of(planned(**changes), tmp_path)
    [stage] = plan_stages(context.spec)
    if is_drawn:
        with pytest.raises(InterruptedError):
            sft_data(context, stage)
    else:
        assert sft_data(context, stage).golds
    assert bool(drawn) == is_drawn
    context.records.close()


def draw_with(
    monkeypatch: pytest.MonkeyPatch, passes_in: Sequence[int | None], folder: Path
) -> TrialContext:
    """Let the n-th prompt pass in a round, or never, and nothing be generated."""
    rounds: dict[str, int] = {}
    order: dict[str, int] = {}

    def evaluate(*_: Any, prompts: Sequence[Any], sampling: Any, **__: Any) -> SimpleNamespace:
        rows = []
        for prompt in prompts:
            place = order.setdefault(prompt.id, len(order) % len(passes_in))
            turn = rounds[prompt.id] = rounds.get(prompt.id, -1) + 1
            text = f"{prompt.id} {turn} {sampling.seed}"
            passed = passes_in[place] == turn
            row = {"prompt_id": prompt.id, "completion": text, "num_tokens": 10}
            rows.append(row | {"criterion/strict": passed, "criterion/syntax": True})
        return SimpleNamespace(samples=pd.DataFrame(rows))

    monkeypatch.setattr(own_golds, "evaluate_suite", evaluate)
    monkeypatch.setattr(own_golds, "evaluation_engine", lambda *_, **__: None)
    # The prompts of another seed, so that no other test's golds are in the cache.
    return context_of(planned(trial__seed=7, trial__grpo__top_p=0.5 + len(passes_in) / 9), folder)


def test_a_prompt_is_asked_again_until_it_passes_and_left_out_if_it_never_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = draw_with(monkeypatch, [0, 2, None, 3], tmp_path)
    [stage] = plan_stages(context.spec)
    data = sft_data(context, stage)
    found = golds_in(tmp_path)
    assert (found["num_prompts"], found["num_kept"], found["num_without"]) == (4, 3, 1)
    assert (found["num_drawn"], found["num_tokens"]) == (1 + 3 + 4 + 4, 120)
    assert sorted(text.split()[-2:] for text in data.golds.values()) == [
        ["0", "0"],
        ["2", "2"],
        ["3", "3"],
    ]
    assert {prompt.id for prompt in data.prompts} == set(data.golds)
    assert data.num_completions == context.spec.sft_stages[0].num_completions
    context.records.close()


def test_a_trial_without_any_gold_fails_with_counts_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = draw_with(monkeypatch, [None], tmp_path / "golds")
    outcome = train_trial(context.spec, folder=tmp_path / "trial")
    assert outcome.state == "FAILED"
    assert "none of 16 completions of 4 prompts passes every check" in str(outcome.reason)
    assert "Raise grpo.num_generations" in str(outcome.reason)
    context.records.close()
