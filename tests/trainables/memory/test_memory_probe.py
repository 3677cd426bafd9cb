"""The probe on the tiny model: worst lengths, and every way in which it can fail."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from fake_gpu import FakeGpu

from strictune.config import TrialSpec, dump_yaml, expand, load_sweep
from strictune.errors import BudgetError, TrialError
from trainables.memory import probe as probing
from trainables.memory.measured import Probe
from trainables.memory.probe import measure_trial, probe, run_in_this_process
from trainables.models import load_tokenizer, resolve_model
from trainables.prompting import render_prompt
from trainables.tasks import load_task

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = {
    "trial.grpo.per_device_train_batch_size": 4,
    "trial.grpo.num_generations": 2,
    "trial.grpo.max_completion_length": 40,
    "trial.checkpoint.save_steps": 500,
    "trial.grpo.logging_steps": 10,
    "task.num_train_prompts": 60,
    "task.num_eval_prompts": 12,
    "evaluation.num_prompts_per_difficulty": 2,
    "evaluation.samples_per_prompt": 2,
    "evaluation.batch_size": 4,
    "evaluation.max_new_tokens": 32,
    "matrix.thinking": "[false]",
    "matrix.curriculum": "[standard]",
    "contrasts": "[]",
}


def trial(**more: object) -> TrialSpec:
    overrides = [f"{key}={value}" for key, value in (SETTINGS | more).items()]
    return expand(load_sweep(ROOT / "search_spaces" / "quickstart.yaml", overrides))[0]


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Probe]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("probe")
    result = probe(trial(), folder)
    return folder / "grpo", result


def test_two_steps_are_taken_with_completions_of_full_length(probed: tuple[Path, Probe]) -> None:
    rows = pd.concat(pd.read_parquet(part) for part in probed[0].glob("rewards/*.parquet"))
    assert sorted(set(rows["step"])) == [1, 2]
    assert len(rows) == 2 * 4
    assert set(rows["num_tokens"]) == {40}


def test_the_longest_prompts_are_trained_on(probed: tuple[Path, Probe]) -> None:
    spec = trial()
    task = load_task(spec.task)
    tokenizer = load_tokenizer(resolve_model(spec.model))
    lengths = {}
    for prompt in task.prompts("train"):
        text = render_prompt(tokenizer, task.messages(prompt, thinking=False), thinking=False).text
        lengths[prompt.id] = len(tokenizer(text)["input_ids"])
    rows = pd.concat(pd.read_parquet(part) for part in probed[0].glob("rewards/*.parquet"))
    assert {lengths[name] for name in rows["prompt_id"]} == set(sorted(lengths.values())[-4:])
    assert probed[1].prompt_tokens == max(lengths.values())


def test_the_second_step_and_a_whole_evaluation_are_timed(probed: tuple[Path, Probe]) -> None:
    folder, result = probed
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert (
        result.step_s == lines[-1]["metrics"]["time/step_s"] != lines[0]["metrics"]["time/step_s"]
    )
    assert result.evaluation_s > 0
    assert result.seconds > result.step_s + result.evaluation_s / 3


def test_the_peaks_are_this_process(probed: tuple[Path, Probe]) -> None:
    result = probed[1]
    assert (result.gpu_gib, result.gpu_size_gib) == (None, None)
    assert result.device.startswith("cpu (")
    assert 0.3 < result.memory_gib < 20
    assert result.num_threads == 1


def test_a_trial_of_a_server_is_probed_without_it(tmp_path: Path) -> None:
    result = probe(trial(**{"trial.rollouts.engine": "vllm"}), tmp_path)
    rows = pd.concat(pd.read_parquet(part) for part in tmp_path.glob("grpo/rewards/*.parquet"))
    assert set(rows["num_tokens"]) == {40}
    assert result.step_s > 0
    assert result.evaluation_s == 0


def test_only_difficulties_that_a_stage_deals_are_probed(tmp_path: Path) -> None:
    simple = "{mine: [{name: a, steps_frac: 1, mix: {simple: 1, medium: 0}}]}"
    spec = trial(**{"trial.curricula": simple, "matrix.curriculum": "[mine]"})
    assert probe(spec, tmp_path).prompt_tokens > 0
    rows = pd.concat(pd.read_parquet(part) for part in tmp_path.glob("grpo/rewards/*.parquet"))
    assert set(rows["difficulty"]) == {"simple"}


def test_a_supervised_trial_is_probed_on_its_longest_golds(tmp_path: Path) -> None:
    batch = {"trial.sft.per_device_train_batch_size": 3, "trial.sft.logging_steps": 10}
    result = probe(trial(**{"trial.method": "sft", **batch}), tmp_path)
    assert result.step_s > 0
    lines = [
        json.loads(line) for line in (tmp_path / "sft" / "metrics.jsonl").read_text().splitlines()
    ]
    tokens = [line["metrics"]["train/completion_tokens"] for line in lines]
    # Golds of 40 tokens and more are cut there.
    assert tokens == [3 * 40, 6 * 40]
    assert not list(tmp_path.glob("*/rewards/*"))


def test_a_warm_start_is_probed_by_both_methods(tmp_path: Path) -> None:
    warm = {"matrix.curriculum": "[warm_start]", "trial.grpo.max_steps": 4}
    result = probe(trial(**warm), tmp_path)
    seconds = {}
    for method in ("sft", "grpo"):
        lines = (tmp_path / method / "metrics.jsonl").read_text().splitlines()
        seconds[method] = json.loads(lines[-1])["metrics"]["time/step_s"]
    # One of its steps is supervised.
    assert result.step_s == pytest.approx((seconds["sft"] + 3 * seconds["grpo"]) / 4)


def test_a_probe_runs_in_a_process_of_its_own() -> None:
    mark = bytearray(1 << 30)
    mark[:: 1 << 12] = b"x" * len(mark[:: 1 << 12])
    result = measure_trial(trial(), num_threads=1)
    assert result.num_threads == 1
    # This process holds a GiB that the probe must not count.
    assert result.memory_gib < probing.PeakMeter().read()["memory/peak_gib"] - 0.5


def test_a_probe_that_runs_out_of_memory_says_what_to_lower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(spec: TrialSpec, folder: Path) -> Probe:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(probing, "probe", exhaust)
    status = run_in_this_process(tmp_path, trial())
    with pytest.raises(BudgetError, match=r"tiny .* needs more memory .* Lower trial\.grpo"):
        probing._result(trial(), tmp_path, status=status)


def test_a_killed_probe_counts_as_out_of_memory(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="needs more memory"):
        probing._result(trial(), tmp_path, status=-signal.SIGKILL)


def test_a_probe_that_fails_gives_its_last_line(tmp_path: Path) -> None:
    status = probing._wait(
        [sys.executable, "-c", "print('loading'); raise SystemExit('no such model')"], tmp_path, {}
    )
    with pytest.raises(TrialError, match="could not be measured: no such model"):
        probing._result(trial(), tmp_path, status=status)


def test_a_probe_that_never_ends_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "TIMEOUT_S", 0.2)
    status = probing._wait([sys.executable, "-c", "import sys; sys.stdin.read()"], tmp_path, {})
    with pytest.raises(TrialError, match=r"took more than 0\.2 s"):
        probing._result(trial(), tmp_path, status=status)


def test_the_probe_ends_when_nobody_waits_for_it(tmp_path: Path) -> None:
    (tmp_path / "trial.yaml").write_text(dump_yaml(trial()))
    # Without a parent its standard input is at its end.
    command = [sys.executable, "-m", "trainables.memory", str(tmp_path)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (ended.returncode, (tmp_path / "probe.json").exists()) == (1, False)


def test_continuous_batching_generates_to_the_limit_too(tmp_path: Path) -> None:
    probe(trial(**{"trial.rollouts.engine": "continuous_batching"}), tmp_path)
    lines = [
        json.loads(line) for line in (tmp_path / "grpo" / "metrics.jsonl").read_text().splitlines()
    ]
    shortest = [line["metrics"]["train/completions/min_length"] for line in lines]
    assert shortest == [40, 40]


def test_on_a_gpu_the_work_is_done_again_in_the_share_that_it_would_be_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeGpu(monkeypatch, free_gib=20.3)
    done = []

    class Work:
        prompt_tokens = 100

        def __init__(self, spec: TrialSpec) -> None:
            pass

        def do(self, folder: Path) -> probing._Times:
            assert not list(folder.iterdir()) or folder == tmp_path
            done.append(fake.fraction)
            if fake.fraction < 0.23:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return probing._Times(step_s=1.0 * len(done), evaluation_s=2.0)

    monkeypatch.setattr(probing, "_Work", Work)
    monkeypatch.setattr(probing, "device_name", lambda: "Gpu")
    result = probe(trial(), tmp_path)
    assert (result.gpu_gib, result.gpu_reserved_gib) == (pytest.approx(4.7), pytest.approx(5.7))
    assert (result.gpu_failed_gib, result.gpu_size_gib) == (0.25 * 24, 24.0)
    # Unlimited first, and timed then; 4.7 GiB and their margin are more than a fifth.
    assert (result.step_s, result.evaluation_s) == (1.0, 2.0)
    # The context is taken off the share.
    assert done == pytest.approx([1.0, 0.25 - 0.5 / 24, 0.3333 - 0.5 / 24])
