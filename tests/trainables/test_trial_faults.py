"""One trial in this process, broken in one way at a time: what it leaves, and how it goes on."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch

from strictune.config import TrialSpec, expand, load_sweep
from strictune.errors import TrialError, TrialPaused
from strictune.records import read_outcome
from trainables import context as context_module
from trainables.failures import failure_reason, is_out_of_memory
from trainables.pulse import STOP_FILE
from trainables.records import durable_step
from trainables.tasks import load_task
from trainables.tasks.task import Attempt, Score, Task
from trainables.trial import train_trial

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "trial.grpo.max_steps": 4,
    "trial.grpo.per_device_train_batch_size": 8,
    "trial.grpo.num_generations": 4,
    "trial.grpo.max_completion_length": 16,
    "trial.checkpoint.save_steps": 2,
    "task.num_train_prompts": 60,
    "task.num_eval_prompts": 12,
    "evaluation.num_prompts_per_difficulty": 2,
    "evaluation.samples_per_prompt": 1,
    "evaluation.max_new_tokens": 16,
    "matrix.thinking": "[false]",
    "matrix.curriculum": "[standard]",
    "contrasts": "[]",
}

Break = Callable[[Score], Score]


@pytest.fixture(scope="module")
def spec() -> TrialSpec:
    torch.set_num_threads(1)
    overrides = [f"{key}={value}" for key, value in SETTINGS.items()]
    return expand(load_sweep(ROOT / "search_spaces" / "quickstart.yaml", overrides))[0]


def break_scores(
    monkeypatch: pytest.MonkeyPatch, spec: TrialSpec, *, after: int, how: Break
) -> None:
    """Let every score from the ``after``-th on go through ``how``."""
    task = load_task(spec.task)
    whole, calls = task.score, 0

    def score(attempt: Attempt, *, thinking: bool) -> Score:
        nonlocal calls
        calls += 1
        found = whole(attempt, thinking=thinking)
        return how(found) if calls > after else found

    def load_broken(settings: object) -> Task:
        monkeypatch.setattr(task, "score", score)
        return task

    monkeypatch.setattr(context_module, "load_task", load_broken)


def raise_error(error: BaseException) -> Break:
    def fail(score: Score) -> Score:
        raise error

    return fail


def training_steps(folder: Path) -> list[int]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if "reward/total/mean" in line["metrics"]]


def test_an_exception_in_scoring_fails_the_trial_with_its_text(
    spec: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_scores(monkeypatch, spec, after=10, how=raise_error(RuntimeError("judge exploded")))
    outcome = train_trial(spec, folder=tmp_path)
    assert outcome.state == "FAILED"
    assert outcome.reason == "RuntimeError: judge exploded"
    assert read_outcome(tmp_path) == outcome


def test_a_reward_that_is_nan_fails_the_trial_and_names_component_and_prompt(
    spec: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(score: Score) -> Score:
        return dataclasses.replace(score, rewards={**score.rewards, "schema": float("nan")})

    break_scores(monkeypatch, spec, after=10, how=spoil)
    outcome = train_trial(spec, folder=tmp_path)
    assert outcome.state == "FAILED"
    assert "reward component schema is nan" in str(outcome.reason)
    assert "prompt '" in str(outcome.reason)


def test_a_learning_rate_that_destroys_the_adapter_fails_the_trial(
    spec: TrialSpec, tmp_path: Path
) -> None:
    wild = spec.model_copy(update={"grpo": spec.grpo.model_copy(update={"learning_rate": 1e30})})
    outcome = train_trial(wild, folder=tmp_path)
    assert outcome.state == "FAILED"
    assert "The training diverged: lower grpo.learning_rate" in str(outcome.reason)


def test_a_trial_stops_when_its_user_asks_and_keeps_its_checkpoint(
    spec: TrialSpec, tmp_path: Path
) -> None:
    def ask_at_three(step: int, metrics: Mapping[str, float]) -> None:
        if step == 3:
            (tmp_path / STOP_FILE).touch()

    outcome = train_trial(spec, folder=tmp_path, report=ask_at_three)
    assert (outcome.state, outcome.reason) == ("KILLED", "stopped by its user after step 2")
    assert durable_step(tmp_path) == 2
    assert not (tmp_path / "eval").exists()


@pytest.mark.parametrize(
    "too_much",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
    ids=["allocator", "context", "cublas", "host"],
)
def test_memory_can_run_out_in_many_words(too_much: Exception) -> None:
    assert is_out_of_memory(too_much)
    assert not is_out_of_memory(TrialError("scoring failed"))
    assert "Lower grpo.per_device_train_batch_size" in failure_reason(too_much, method="grpo")


def test_logits_that_a_gpu_refuses_to_sample_from_are_explained() -> None:
    error = torch.AcceleratorError("CUDA error: device-side assert triggered")
    reason = failure_reason(error, method="grpo")
    assert "The training diverged: lower grpo.learning_rate" in reason
    assert "CUDA_LAUNCH_BLOCKING=1" in reason


def test_running_out_of_memory_pauses_a_trial_that_can_grow_and_fails_the_last_size(
    spec: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_much = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
    # Two steps of 8 completions pass: the checkpoint of step 2 is there.
    break_scores(monkeypatch, spec, after=16, how=raise_error(too_much))
    with pytest.raises(TrialPaused, match="out of memory: CUDA") as paused:
        train_trial(spec, folder=tmp_path, may_grow=True)
    assert paused.value.lacks == "memory"
    assert read_outcome(tmp_path) is None
    assert durable_step(tmp_path) == 2
    outcome = train_trial(spec, folder=tmp_path, may_grow=False)
    assert outcome.state == "FAILED"
    assert "Lower grpo.per_device_train_batch_size" in str(outcome.reason)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 12 MiB; only root may."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this user cannot mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_pauses_the_trial_which_goes_on_once_there_is_room(
    spec: TrialSpec, small_disk: Path
) -> None:
    folder, ballast = small_disk / "trial", small_disk / "ballast"

    def fill_after_three(step: int, metrics: Mapping[str, float]) -> None:
        if step == 3:
            with pytest.raises(OSError, match="No space left"), ballast.open("wb") as file:
                while True:
                    file.write(bytes(1 << 16))

    with pytest.raises(TrialPaused, match="no space is left on the disk") as paused:
        train_trial(spec, folder=folder, report=fill_after_three)
    assert paused.value.lacks == "disk"
    assert read_outcome(folder) is None
    assert durable_step(folder) == 2
    ballast.unlink()
    assert train_trial(spec, folder=folder).state == "FINISHED"
    assert training_steps(folder) == [1, 2, 3, 4]


def test_a_process_that_hangs_ends_itself_and_says_where(tmp_path: Path) -> None:
    script = (
        "import time, pathlib\n"
        "from trainables.pulse import Pulse\n"
        f"with Pulse(pathlib.Path({str(tmp_path)!r}), timeout_s=2.0) as pulse:\n"
        "    for _ in range(3):\n"
        "        time.sleep(0.8)\n"
        "        pulse.beat()\n"
        "    print('alive', flush=True)\n"
        "    time.sleep(600)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout == "alive\n"
    assert done.returncode == 1
    assert 'File "<string>", line 8' in (tmp_path / "hangs.txt").read_text()
