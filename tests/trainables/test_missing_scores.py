"""A completion that could not be scored: no reward in training, no row in evaluation."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from strictune.errors import TrialError
from trainables.evaluation.scored_samples import score_samples
from trainables.evaluation.suite import SuiteResult, read_result, write_result
from trainables.models import load_base_model, load_tokenizer, resolve_model
from trainables.records import TrialRecords
from trainables.rewards import BatchScorer
from trainables.rollouts.completion import Completion
from trainables.tasks.task import NO_HOOKS, Attempt, BatchScore, Hooks, Prompt, Purpose, Score

PROMPTS = [Prompt(id=name, text=name, family=name, difficulty="one") for name in "ab"]


class HalfTask:
    """Scores a completion by its length; one that says ``?`` cannot be scored."""

    criteria = ("short", "tiny")
    components = ("first", "second")
    measures = ("chars", "never")

    def __init__(self) -> None:
        self.asked: list[tuple[Sequence[Attempt], bool, Purpose]] = []

    def score_batch(
        self,
        attempts: Sequence[Attempt],
        *,
        thinking: bool,
        purpose: Purpose,
        hooks: Hooks = NO_HOOKS,
    ) -> BatchScore:
        self.asked.append((attempts, thinking, purpose))
        return BatchScore([self._score(a.completion) for a in attempts], {"judge/calls": 3.0})

    def _score(self, text: str) -> Score:
        if "?" in text:
            return Score(
                criteria={"short": True},
                rewards={},
                reasons={},
                error_class="lost",
                is_missing=True,
            )
        length = float(len(text))
        return Score(
            criteria={"short": True, "tiny": length < 2},
            rewards={"first": length, "second": 1.0},
            reasons={},
            error_class="ok",
            measures={"chars": length},
        )


def made(*texts: str) -> list[Completion]:
    return [Completion(text, len(text), False) for text in texts]


def evaluate(*texts: str) -> tuple[HalfTask, SuiteResult]:
    task: Any = HalfTask()
    scored = score_samples(
        task, PROMPTS, made(*texts), thinking=True, think_prefilled=[True, False]
    )
    result = SuiteResult(
        split="test",
        samples=scored.samples,
        criteria=task.criteria,
        seconds=1.0,
        num_missing=scored.num_missing,
        scoring=scored.metrics,
    )
    return task, result


def test_an_evaluation_leaves_out_what_is_missing_and_counts_it(tmp_path: Path) -> None:
    task, result = evaluate("x", "?", "xxx", "x")
    assert list(result.samples["prompt_id"]) == ["a", "b", "b"]
    assert list(result.samples["sample"]) == [0, 0, 1]
    assert list(result.samples["measure/never"].isna()) == [True] * 3
    summary = result.summary()
    assert (summary["num_missing"], summary["num_completions"]) == (1, 3)
    assert summary["criteria"] == {"short": 1.0, "tiny": 0.75}
    assert summary["measures"] == {"chars": 1.5}
    metrics = result.metrics("final")
    assert (metrics["final/chars/mean"], metrics["final/judge/calls"]) == (1.5, 3.0)
    write_result(result, tmp_path)
    assert read_result(tmp_path, split="test", criteria=task.criteria).metrics("final") == metrics


def test_a_task_is_told_everything_of_an_evaluation_at_once() -> None:
    task, _ = evaluate("x", "x", "x", "x")
    [(attempts, thinking, purpose)] = task.asked
    assert [(a.prompt.id, a.think_prefilled) for a in attempts] == [
        ("a", True),
        ("a", True),
        ("b", False),
        ("b", False),
    ]
    assert (thinking, purpose) == (True, "evaluation")


def test_a_task_that_scores_slowly_is_given_the_trials_sign_of_life() -> None:
    class SlowTask(HalfTask):
        def score_batch(
            self,
            attempts: Sequence[Attempt],
            *,
            thinking: bool,
            purpose: Purpose,
            hooks: Hooks = NO_HOOKS,
        ) -> BatchScore:
            for _ in attempts:
                if hooks.on_progress is not None:
                    hooks.on_progress()
            return super().score_batch(attempts, thinking=thinking, purpose=purpose)

    beats: list[str] = []
    task: Any = SlowTask()
    completions = made("x", "?", "xx", "x")
    scored = score_samples(
        task,
        PROMPTS,
        completions,
        thinking=False,
        think_prefilled=[False, False],
        on_progress=lambda: beats.append("beat"),
    )
    assert len(beats) == 4
    unattended = score_samples(
        task, PROMPTS, completions, thinking=False, think_prefilled=[False, False]
    )
    assert scored.samples.equals(unattended.samples) and len(beats) == 4


def test_a_prompt_without_any_score_ends_the_evaluation() -> None:
    with pytest.raises(TrialError, match=r"none of the 2 completions of 1 of 2 prompts .* 'b'"):
        evaluate("x", "x", "?", "?")


def test_records_keep_a_row_without_a_reward(tmp_path: Path) -> None:
    task = HalfTask()
    records = TrialRecords(tmp_path)
    scores = [task._score(text) for text in ("x", "?", "xx", "x")]
    records.add_rewards(
        1,
        [PROMPTS[0]] * 4,
        made("x", "?", "xx", "x"),
        scores,
        weights={"first": 1.0, "second": 0.5},
        group_size=4,
    )
    records.commit(step=1, stage=0, checkpoint=None)
    records.close()
    rows = pd.concat(pd.read_parquet(part) for part in tmp_path.glob("rewards/*"))
    assert list(rows["total"].isna()) == [False, True, False, False]
    assert list(rows["total"].dropna()) == [1.5, 2.5, 1.5]
    assert list(rows["criterion/tiny"].isna()) == [False, True, False, False]
    assert list(rows["measure/chars"].isna()) == [False, True, False, False]


def rewards_of(*texts: str) -> tuple[list[list[float | None]], dict[str, float]]:
    """Return each component's rewards as TRL gets them, and what was logged."""
    task: Any = HalfTask()
    tokenizer = load_tokenizer(resolve_model("builtin:tiny"))
    scorer = BatchScorer(
        task,
        tokenizer,
        thinking=False,
        think_prefilled=False,
        stop_ids={int(tokenizer.eos_token_id)},
        sink=lambda *args: None,
    )
    logged: dict[str, float] = {}
    batch = {
        "completion_ids": [
            [*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts
        ],
        "prompt_id": ["a"] * len(texts),
        "family": ["a"] * len(texts),
        "difficulty": ["one"] * len(texts),
        "columns": [{}] * len(texts),
        "trainer_state": SimpleNamespace(global_step=0),
        "log_metric": logged.__setitem__,
    }
    completions = list(texts)
    return [reward(completions, **batch) for reward in scorer.reward_functions()], logged


def test_a_missing_score_is_none_for_every_component() -> None:
    rewards, logged = rewards_of("x", "?", "xxx")
    assert rewards == [[1.0, None, 3.0], [1.0, None, 1.0]]
    assert logged["tiny/pass_at_1"] == 0.5
    assert logged["chars/mean"] == 2.0
    assert logged["judge/calls"] == 3.0


def test_trl_gives_a_missing_score_no_advantage_and_no_say_in_its_group(tmp_path: Path) -> None:
    values = [2.0, None, 4.0, 3.0, None, None, None, None]
    source = resolve_model("builtin:tiny")
    made_by: list[torch.Tensor] = []

    class Watched(GRPOTrainer):  # type: ignore[misc]
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            outputs = super()._generate_and_score_completions(inputs)
            made_by.append(outputs["advantages"])
            return outputs

    def reward(completions: list[str], **batch: Any) -> list[float | None]:
        return values

    trainer = Watched(
        model=load_base_model(source, quantization="none", dtype="float32"),
        reward_funcs=[reward],
        args=GRPOConfig(
            output_dir=str(tmp_path),
            max_steps=1,
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=4,
            use_cpu=True,
            bf16=False,
            report_to="none",
            disable_tqdm=True,
            log_level="error",
            save_strategy="no",
            gradient_checkpointing=False,
            dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_list([{"prompt": "a"}, {"prompt": "b"}]),
        processing_class=load_tokenizer(source),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    scored = torch.tensor([2.0, 4.0, 3.0])
    expected = (scored - scored.mean()) / (scored.std() + 1e-4)
    [advantages] = made_by
    assert advantages[[0, 2, 3]].tolist() == pytest.approx(expected.tolist())
    assert [advantages[1].item(), *advantages[4:].tolist()] == [0] * 5
    assert trainer.state.log_history[0]["reward"] == pytest.approx(3.0)
