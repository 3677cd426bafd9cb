"""A trial beside a vLLM server: what is measured by it, and what a server's end leaves."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from fake_vllm import Body, FakeVllm, Reply, serving

from strictune.config import TrialSpec
from strictune.errors import TrialPaused
from strictune.records import read_metrics, read_outcome
from trainables.evaluation.baseline import measure_baseline
from trainables.evaluation.keys import comparison_keys
from trainables.models import resolve_model
from trainables.rollouts import merged, served_base
from trainables.rollouts.served_base import ServedBase, export_base
from trainables.trial import train_trial

STEPS = 3


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVllm]:
    torch.set_num_threads(1)
    # The server serves what the trials ask for.
    base = ServedBase(resolve_model("builtin:tiny"), "nf4", "float32")
    with serving(FakeVllm(model=base.name)) as server:
        yield server


def trial(fake: FakeVllm, **vllm: Any) -> TrialSpec:
    return TrialSpec.model_validate(
        {
            "task": {"kind": "strict_json", "num_train_prompts": 60, "num_eval_prompts": 12},
            "model": "builtin:tiny",
            "dtype": "float32",
            "lora": {"r": 8},
            "grpo": {
                "max_steps": STEPS,
                "num_generations": 4,
                "per_device_train_batch_size": 8,
                "max_completion_length": 12,
                "gradient_checkpointing": False,
            },
            "checkpoint": {"save_steps": 1},
            "evaluation": {"max_new_tokens": 12, "samples_per_prompt": 1},
            "rollouts": {"engine": "vllm", "vllm": {"base_url": fake.url, **vllm}},
        }
    )


def asked(fake: FakeVllm) -> list[Body]:
    """Return the requests but those of checks, which are for one token."""
    return [request for request in fake.requests if request["max_tokens"] > 1]


def recorded_steps(folder: Path) -> Counter[int]:
    return Counter(step for step, found in read_metrics(folder) if "train/loss" in found)


def rewarded_rows(folder: Path) -> int:
    return sum(len(pd.read_parquet(path)) for path in (folder / "rewards").glob("*.parquet"))


def test_training_and_evaluations_come_from_the_server(fake: FakeVllm, tmp_path: Path) -> None:
    spec = trial(fake)
    outcome = train_trial(spec, folder=tmp_path)
    assert (outcome.state, outcome.reason) == ("FINISHED", None)
    assert recorded_steps(tmp_path) == Counter([1, 2, 3])
    by_model = Counter(request["model"].rpartition("-")[0] for request in asked(fake))
    steps = {f"{spec.trial_id}-stage-0-step-{step}": 8 for step in range(STEPS)}
    # The validation split after the stage, and the final one.
    assert by_model == steps | {"stage-standard": 2 * 12}
    lock = json.loads((tmp_path / "lock.json").read_text())
    assert lock["evaluation_key"]["engine"] == "vllm"


def test_evaluations_of_two_engines_have_two_keys(fake: FakeVllm) -> None:
    served = trial(fake)
    keys = {
        engine: comparison_keys(
            served.model_copy(update={"rollouts": type(served.rollouts)(engine=engine)}),
            dtype="float32",
        ).evaluation
        for engine in ("transformers", "continuous_batching", "vllm")
    }
    assert keys["transformers"] == keys["continuous_batching"]
    assert keys["vllm"] == {**keys["transformers"], "engine": "vllm"}


def test_a_baseline_is_measured_by_the_server_once_for_each_version(
    fake: FakeVllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for version, num_asked in (("0.32.0", 12), ("0.32.0", 12), ("0.33.0", 24)):
        fake.version = version
        measure_baseline(trial(fake), tmp_path / "baselines", dtype="float32")
        assert {request["model"] for request in asked(fake)} == {fake.model}
        assert len(asked(fake)) == num_asked


def test_a_trial_whose_server_is_gone_pauses_and_goes_on_with_no_step_twice(
    fake: FakeVllm, tmp_path: Path
) -> None:
    def gone_in_step_2(model: str, reply: Reply) -> Reply | None:
        fake.faults.append(gone_in_step_2)
        return None if "-step-1-" in model else reply

    fake.faults = [gone_in_step_2]
    with pytest.raises(TrialPaused, match="gave no answer for 1 s") as paused:
        train_trial(trial(fake, timeout_s=1), folder=tmp_path)
    assert paused.value.lacks == "server"
    assert read_outcome(tmp_path) is None
    assert recorded_steps(tmp_path) == Counter([1])
    fake.faults = []
    assert train_trial(trial(fake), folder=tmp_path).state == "FINISHED"
    assert recorded_steps(tmp_path) == Counter([1, 2, 3])
    assert rewarded_rows(tmp_path) == STEPS * 8


def test_a_trial_that_the_server_refuses_fails_before_it_trains(
    fake: FakeVllm, tmp_path: Path
) -> None:
    fake.max_rank = 4
    outcome = train_trial(trial(fake), folder=tmp_path)
    assert outcome.state == "FAILED"
    assert "LoRA rank 8 is greater than max_lora_rank 4" in str(outcome.reason)
    assert recorded_steps(tmp_path) == Counter()


def test_the_dequantized_base_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = resolve_model("builtin:tiny")
    base = ServedBase(source, "nf4", "float32")
    folder = Path(export_base(base))
    loaded = merged.load_base_model(source, quantization="nf4", dtype="float32")
    expected = merged.MergedCopy(loaded).model.state_dict()
    again = merged.load_base_model(
        resolve_model(str(folder)), quantization="none", dtype="float32"
    ).state_dict()
    assert all(torch.equal(again[name], value) for name, value in expected.items())
    assert {path.name for path in folder.parent.iterdir()} == {base.name, f"{base.name}.lock"}
    monkeypatch.setattr(served_base, "load_for_generation", None)
    assert export_base(base) == str(folder)


def test_another_precision_or_revision_is_another_base() -> None:
    source = resolve_model("builtin:tiny")
    base = ServedBase(source, "nf4", "float32")
    others = [
        base._replace(dtype="bfloat16"),
        base._replace(quantization="none"),
        base._replace(source=source._replace(revision="another")),
    ]
    assert len({base.name, *(other.name for other in others)}) == 4
    assert export_base(others[1]) == source.location
