"""Trials of several workers, without any: what trainers are told, and whose fault an end was."""

import importlib.util
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.train import WorkerGroupError

from strictune.config import TrialSpec
from strictune.errors import TrialError, TrialPaused
from strictune.records import Progress, read_outcome
from trainables import distributed
from trainables.distributed import ZERO3, distributed_arguments
from trainables.failures import has_lost_a_rank
from trainables.ranks import Ranks
from trainables.ray_trainable import _record_failure_of
from trainables.records import FollowedRecords, record_failure

LOST = RuntimeError(
    "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer"
)


def trial(**workers: Any) -> TrialSpec:
    return TrialSpec.model_validate(
        {
            "task": {"kind": "strict_json"},
            "model": "builtin:tiny",
            "quantization": "none",
            "grpo": {"max_steps": 4},
            "distributed": workers,
        }
    )


def pretend(monkeypatch: pytest.MonkeyPatch, *, deepspeed: bool) -> None:
    found = importlib.util.find_spec("json") if deepspeed else None
    monkeypatch.setattr(distributed, "training_device", lambda: "cuda")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)


def test_one_worker_changes_nothing() -> None:
    assert distributed_arguments(trial()) == {}


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        pytest.param("ddp", {"ddp_find_unused_parameters": False}, id="ddp"),
        pytest.param("fsdp", {"fsdp": True, "fsdp_config": {"version": 2}}, id="fsdp"),
        pytest.param("zero3", {"deepspeed": str(ZERO3)}, id="zero3"),
    ],
)
def test_trainers_are_told_the_strategy(
    strategy: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, deepspeed=True)
    assert distributed_arguments(trial(num_workers=2, strategy=strategy)) == expected


@pytest.mark.parametrize("strategy", ["fsdp", "zero3"])
def test_nothing_is_sharded_without_gpus(strategy: str) -> None:
    with pytest.raises(TrialError, match=f"strategy = {strategy}, but there is no GPU here"):
        distributed_arguments(trial(num_workers=2, strategy=strategy))


def test_zero3_says_that_deepspeed_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, deepspeed=False)
    with pytest.raises(TrialError, match="zero3, but DeepSpeed is not installed"):
        distributed_arguments(trial(num_workers=2, strategy="zero3"))


def test_deepspeed_reads_its_settings() -> None:
    settings = json.loads(ZERO3.read_text())
    assert settings["zero_optimization"]["stage"] == 3
    # Without it a checkpoint would hold no weights, and so no adapter.
    assert settings["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True
    runtime = pytest.importorskip("deepspeed.runtime.config", reason="DeepSpeed is not installed")
    numbers = {
        "train_micro_batch_size_per_gpu": 1,
        "train_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 1.0,
        "bf16": {"enabled": True},
    }
    zero = {
        key: 1 if value == "auto" else value for key, value in settings["zero_optimization"].items()
    }
    read = runtime.DeepSpeedConfig(settings | numbers | {"zero_optimization": zero})
    assert read.zero_config.stage == 3


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(LOST, True, id="gloo"),
        pytest.param(torch.distributed.DistBackendError("NCCL error in: x"), True, id="nccl"),
        pytest.param(RuntimeError("NCCL communicator was aborted"), True, id="aborted"),
        pytest.param(RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False, id="own"),
        pytest.param(TrialError("the judge's gloo server is away"), False, id="another-gloo"),
    ],
)
def test_losing_a_rank_is_told_from_failing(error: Exception, expected: bool) -> None:
    assert has_lost_a_rank(error) is expected


def test_a_rank_lost_while_handling_it_is_still_a_rank_lost() -> None:
    try:
        try:
            raise LOST
        except RuntimeError:
            {}["cleaning up fails as well"]
    except KeyError as error:
        assert has_lost_a_rank(error)


def test_a_rank_alone_waits_for_nobody() -> None:
    ranks = Ranks.of_this_process()
    ranks.wait()
    assert (ranks.is_first, ranks.from_first("x"), ranks.gather([1, 2])) == (True, "x", [1, 2])


def test_a_rank_that_follows_writes_nothing(tmp_path: Path) -> None:
    records = FollowedRecords(tmp_path, Progress(step=2, stage=1))
    records.log(3, {"loss": 1.0})
    records.count_tokens(7)
    records.add_rewards(3, [], [], [], weights={}, group_size=4)
    records.commit(step=4, stage=1, checkpoint=tmp_path / "checkpoints" / "checkpoint-4")
    assert (records.progress.step, records.progress.checkpoint) == (4, "checkpoints/checkpoint-4")
    assert list(tmp_path.iterdir()) == []


def test_a_pause_survives_the_way_to_another_process() -> None:
    paused = pickle.loads(pickle.dumps(TrialPaused("no space is left", lacks="disk")))
    assert (str(paused), paused.lacks) == ("no space is left", "disk")


def test_a_failure_in_another_rank_than_the_first_is_recorded(tmp_path: Path) -> None:
    failures = {0: LOST, 1: TrialError("out of memory: x"), 2: LOST}
    _record_failure_of(WorkerGroupError("", failures), tmp_path)
    outcome = read_outcome(tmp_path)
    assert outcome is not None
    assert (outcome.state, outcome.reason) == ("FAILED", "out of memory: x")


def test_what_the_first_rank_recorded_stays(tmp_path: Path) -> None:
    record_failure(tmp_path, "its own reason")
    _record_failure_of(WorkerGroupError("", {1: TrialError("another")}), tmp_path)
    outcome = read_outcome(tmp_path)
    assert outcome is not None
    assert outcome.reason == "its own reason"


@pytest.mark.parametrize(
    ("failures", "raised"),
    [
        pytest.param({0: LOST, 1: OSError("the actor died")}, WorkerGroupError, id="died"),
        pytest.param({0: TrialError("in use by another process")}, WorkerGroupError, id="locked"),
        pytest.param(
            {0: LOST, 1: TrialPaused("out of memory", lacks="memory")}, TrialPaused, id="paused"
        ),
    ],
)
def test_a_trial_that_can_go_on_stays_open(
    failures: dict[int, Exception], raised: type[Exception], tmp_path: Path
) -> None:
    with pytest.raises(raised):
        _record_failure_of(WorkerGroupError("", failures), tmp_path)
    assert read_outcome(tmp_path) is None
