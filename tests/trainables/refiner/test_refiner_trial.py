"""Whole trials over HTTP judges that fail, with what the policy says put into its mouth.

The tiny model never learned to cite, so training scores prepared answers in place of what it
generated; everything else is a real trial.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from fake_judge_server import Request, Response, asked, honest, is_check, said, serving
from refiner_material import GOOD, ROW, WRONG

from strictune.config import SamplingSpec, TrialSpec, expand, load_sweep
from trainables import rewards
from trainables.evaluation import suite
from trainables.models import load_base_model, load_tokenizer, resolve_model
from trainables.rollouts.completion import Completion
from trainables.rollouts.transformers_engine import TransformersEngine
from trainables.tasks.refiner.settings import CRITERIA, RefinerSettings
from trainables.tasks.refiner.task import Refiner
from trainables.trial import train_trial

SWEEP = """
name: small
task:
  kind: refiner
  judge: {judge}
  holdout_judge: {{kind: lexical}}
  train: {rows}
  validation: {rows}
  test: {rows}
trial:
  model: builtin:tiny
  dtype: float32
  grpo:
    max_steps: 2
    num_generations: 8
    per_device_train_batch_size: 16
    max_completion_length: 8
    optim: adamw_torch
  checkpoint: {{save_steps: 1}}
evaluation: {{samples_per_prompt: 1, max_new_tokens: 8}}
"""
ANSWERS = (GOOD, WRONG, GOOD.replace("red", "pale red"), "I do not know.")


@pytest.fixture(autouse=True)
def prepared_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    number = 0

    def prepared(tokenizer: object, ids: Sequence[int], *, stop_ids: object) -> Completion:
        nonlocal number
        number += 1
        return Completion(ANSWERS[number % len(ANSWERS)], len(ids), False)

    monkeypatch.setattr(rewards, "decode_completion", prepared)


def trial(folder: Path, base_url: str, **judge: Any) -> TrialSpec:
    rubrics = [{"title": r.title, "description": r.description} for r in ROW.rubrics]
    row = {
        "question": ROW.question,
        "evidence": dict(ROW.evidence),
        "positive_rubrics": rubrics[:1],
        "negative_rubrics": rubrics[1:],
    }
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": f"r{n}", **row}) + "\n" for n in range(4)))
    values = {"kind": "openai", "base_url": base_url, "model": "m", "use_cache": False, **judge}
    sweep = folder / "sweep.yaml"
    sweep.write_text(SWEEP.format(judge=json.dumps(values), rows=rows))
    [spec] = expand(load_sweep(sweep))
    return spec


def metrics_of(folder: Path) -> dict[str, float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {key: value for line in lines for key, value in json.loads(line)["metrics"].items()}


def test_a_trial_goes_on_without_the_rewards_that_its_judge_owes(tmp_path: Path) -> None:
    def forgetful(request: Request, before: int) -> Response:
        return Response(said("Hm.")) if "pale red" in asked(request) else honest(request, before)

    with serving(lambda r, n: honest(r, n) if is_check(r) else forgetful(r, n)) as server:
        spec = trial(tmp_path, server.base_url, max_retries=0, max_failure_frac=0.9)
        outcome = train_trial(spec, folder=tmp_path / "trial")
    assert (outcome.state, outcome.reason) == ("FINISHED", None)
    parts = sorted((tmp_path / "trial" / "rewards").glob("*"))
    rows = pd.concat(pd.read_parquet(part) for part in parts)
    answered = rows["criterion/answered"].astype(bool)
    assert (len(rows), rows["total"].isna().sum()) == (32, 8)
    assert answered[rows["total"].isna()].all()
    assert (rows.loc[~answered, "total"] == 0).all()
    assert (rows.loc[answered & rows["total"].notna(), "total"] > 0).all()
    metrics = metrics_of(tmp_path / "trial")
    assert 0 < metrics["train/judge/failure_frac"] < 0.9
    assert metrics["train/judge/missing_reward_frac"] == 0.25
    assert {f"train/{name}/pass_at_1" for name in CRITERIA} <= metrics.keys()
    assert {f"final/{name}/pass_at_1" for name in CRITERIA} <= metrics.keys()
    assert {"train/rubric_mean/mean", "final/rubric_mean/mean"} <= metrics.keys()
    # The holdout judge does not fail, and has no calls to count.
    assert metrics["final/judge/missing_reward_frac"] == 0
    assert "final/judge/failure_frac" not in metrics


def test_a_trial_whose_judge_breaks_down_fails_with_the_reason(tmp_path: Path) -> None:
    broken = Response(b"out of memory", status=500)
    with serving(lambda r, n: honest(r, n) if is_check(r) else broken) as server:
        # A name of its own: a process has one judge, with its history, for equal settings.
        spec = trial(tmp_path, server.base_url, max_retries=0, model="broken")
        outcome = train_trial(spec, folder=tmp_path / "trial")
    assert outcome.state == "FAILED"
    assert "36 of the latest 36 calls of the judge broken failed" in str(outcome.reason)
    assert "HTTP 500: out of memory" in str(outcome.reason)


def test_a_trial_without_its_judge_fails_with_its_first_batch(tmp_path: Path) -> None:
    spec = trial(tmp_path, "http://127.0.0.1:9/v1", max_retries=0, startup_timeout_s=0)
    outcome = train_trial(spec, folder=tmp_path / "trial")
    assert outcome.state == "FAILED"
    assert "cannot be used: ClientConnectorError" in str(outcome.reason)


def test_an_evaluation_outlasts_a_steps_deadline_and_shows_that_it_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gold(self: object, texts: Sequence[str], *args: object, **kwargs: object) -> Any:
        return [Completion(str(p.gold), 1, False) for p in prompts for _ in range(2)]

    def slow(request: Request, before: int) -> Response:
        return honest(request, before)._replace(delay_s=0 if is_check(request) else 0.1)

    monkeypatch.setattr(TransformersEngine, "generate", gold)
    told: list[tuple[int, int]] = []
    source = resolve_model("builtin:tiny_citing")
    with serving(slow) as server:
        judge = {
            "kind": "openai",
            "base_url": server.base_url,
            "model": "m",
            "use_cache": False,
            "max_concurrent_calls": 2,
            "batch_deadline_s": 0.5,
        }
        task = Refiner(RefinerSettings.model_validate({"kind": "refiner", "judge": judge}))
        prompts = task.prompts("test")[:4]
        model = load_base_model(source, quantization="none", dtype="float32")
        tokenizer = load_tokenizer(source)
        result = suite.evaluate_suite(
            TransformersEngine(model, tokenizer, batch_size=8),
            tokenizer,
            task=task,
            prompts=prompts,
            split="test",
            thinking=False,
            sampling=SamplingSpec(samples_per_prompt=2, max_new_tokens=8),
            on_progress=lambda done, total: told.append((done, total)),
        )
    assert result.num_missing == 0 and result.scoring["judge/failure_frac"] == 0
    assert result.scoring["judge/batch_s"] > 2 * 0.5
    assert told and set(told) == {(8, 8)}
