"""One trial in this process, on the tiny model: rewards, records, resume."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from strictune.config import TrialSpec, expand, load_sweep
from strictune.records import read_outcome
from trainables.trial import train_trial

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "trial.grpo.max_steps": 4,
    "trial.grpo.per_device_train_batch_size": 8,
    "trial.grpo.num_generations": 4,
    "trial.grpo.max_completion_length": 24,
    "trial.checkpoint.save_steps": 2,
    "task.num_train_prompts": 60,
    "task.num_eval_prompts": 12,
    "evaluation.num_prompts_per_difficulty": 2,
    "evaluation.samples_per_prompt": 1,
    "evaluation.max_new_tokens": 24,
    "matrix.thinking": "[false]",
    "matrix.curriculum": "[standard]",
    "contrasts": "[]",
}


@pytest.fixture(scope="module")
def spec() -> TrialSpec:
    overrides = [f"{key}={value}" for key, value in SETTINGS.items()]
    return expand(load_sweep(ROOT / "search_spaces" / "quickstart.yaml", overrides))[0]


@pytest.fixture(scope="module")
def uninterrupted(spec: TrialSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trial")
    assert train_trial(spec, folder=folder).state == "FINISHED"
    return folder


def metrics_by_step(folder: Path) -> dict[int, dict[str, float]]:
    merged: dict[int, dict[str, float]] = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        merged.setdefault(record["step"], {}).update(record["metrics"])
    return merged


def reward_rows(folder: Path) -> pd.DataFrame:
    return pd.concat(pd.read_parquet(part) for part in sorted(folder.glob("rewards/*.parquet")))


def test_the_logged_reward_is_the_weighted_sum(spec: TrialSpec, uninterrupted: Path) -> None:
    """TRL 0.27 to 0.29.1 logged an unweighted one."""
    rows = reward_rows(uninterrupted)
    logged = metrics_by_step(uninterrupted)
    assert set(rows["step"]) == {1, 2, 3, 4}
    for step, batch in rows.groupby("step"):
        weighted = sum(batch[f"reward/{name}"] * weight for name, weight in spec.weights.items())
        assert batch["total"].tolist() == pytest.approx(weighted.tolist())
        assert logged[step]["reward/total/mean"] == pytest.approx(batch["total"].mean(), abs=1e-5)
        for name in spec.weights:
            mean = batch[f"reward/{name}"].mean()
            assert logged[step][f"reward/{name}/mean"] == pytest.approx(mean, abs=1e-5)


def test_a_group_is_the_completions_of_one_prompt(spec: TrialSpec, uninterrupted: Path) -> None:
    groups = reward_rows(uninterrupted).groupby(["step", "group"])
    assert (groups["prompt_id"].nunique() == 1).all()
    assert (groups.size() == spec.grpo.num_generations).all()


def test_the_tokens_trained_on_are_those_of_the_completions(uninterrupted: Path) -> None:
    logged = metrics_by_step(uninterrupted)
    sums = reward_rows(uninterrupted).groupby("step")["num_tokens"].sum().cumsum()
    assert {step: logged[step]["train/completion_tokens"] for step in logged} == sums.to_dict()


def test_final_metrics_cover_every_criterion_and_difficulty(uninterrupted: Path) -> None:
    last = metrics_by_step(uninterrupted)[4]
    for prefix in ("eval", "final"):
        for criterion in ("syntax", "parsed", "conformant", "clean", "strict"):
            assert 0 <= last[f"{prefix}/{criterion}/pass_at_1"] <= 1
            assert 0 <= last[f"{prefix}/hard/{criterion}/pass_at_1"] <= 1
        assert last[f"{prefix}/completion_tokens/mean"] > 0


def test_adapter_is_trained_and_stored_in_float32(uninterrupted: Path) -> None:
    weights = load_file(uninterrupted / "adapter" / "final" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert all(tensor.abs().max() > 0 for name, tensor in weights.items() if "lora_B" in name)


def test_a_resumed_trial_ends_where_an_uninterrupted_one_does(
    spec: TrialSpec, uninterrupted: Path, tmp_path: Path
) -> None:
    def die_at_three(step: int, metrics: Mapping[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_trial(spec, folder=tmp_path, report=die_at_three)
    assert read_outcome(tmp_path) is None
    assert train_trial(spec, folder=tmp_path).state == "FINISHED"

    straight, resumed = metrics_by_step(uninterrupted), metrics_by_step(tmp_path)
    assert sorted(resumed) == sorted(straight)
    for step in straight:
        for key in ("reward/total/mean", "train/loss", "train/grad_norm"):
            if key in straight[step]:
                assert resumed[step][key] == pytest.approx(straight[step][key], rel=1e-4, abs=1e-6)
    assert len(reward_rows(tmp_path)) == len(reward_rows(uninterrupted))


def test_an_ended_trial_is_not_run_again(spec: TrialSpec, uninterrupted: Path) -> None:
    before = (uninterrupted / "metrics.jsonl").read_bytes()
    assert train_trial(spec, folder=uninterrupted) == read_outcome(uninterrupted)
    assert (uninterrupted / "metrics.jsonl").read_bytes() == before


def test_unreadable_records_end_the_trial_with_their_reason(
    spec: TrialSpec, tmp_path: Path
) -> None:
    (tmp_path / "progress.json").write_text("{")
    outcome = train_trial(spec, folder=tmp_path)
    assert outcome.state == "FAILED"
    assert "progress.json: the document: Invalid JSON" in str(outcome.reason)


def test_a_model_that_is_missing_ends_the_trial_with_its_reason(
    spec: TrialSpec, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    missing = spec.model_copy(update={"model": str(tmp_path / "empty")})
    outcome = train_trial(missing, folder=tmp_path / "trial")
    assert outcome.state == "FAILED"
    assert "holds no config.json" in str(outcome.reason)
