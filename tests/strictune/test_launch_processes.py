"""The processes that Ray runs beside the driver: when they end, what they may use, how they fail.

One Ray with a pretended GPU serves all tests that need one.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import torch
from processes import wait_until_ended
from transformers.integrations import is_mlflow_available

from strictune.config import ResourcesSpec, TrialSpec, expand, load_sweep
from strictune.errors import StorageError
from strictune.launch import baselines, cluster, grants, trials
from strictune.launch.cluster import STOP_SIGNALS, cluster_machines, ray_cluster
from strictune.launch.folder import SweepFolder, open_sweep_folder
from strictune.launch.trials import GrantedTrial, Runner, run_trials
from strictune.packing import Machine
from strictune.records import Grant, read_outcome
from trainables.devices import PRETENDED_GPUS
from trainables.pulse import Pulse

QUICKSTART = Path(__file__).resolve().parents[2] / "search_spaces" / "quickstart.yaml"
ONE_GPU = Grant(cpus=1, gpus=1, at_once=1)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Take back the handlers that a sweep sets, and begin without those of ``nohup``."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *STOP_SIGNALS)}
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def one_pretended_gpu() -> Iterator[None]:
    before = os.environ.pop(PRETENDED_GPUS, None)
    with ray_cluster(num_gpus=1):
        yield
    if before is not None:
        os.environ[PRETENDED_GPUS] = before


@pytest.fixture
def opened(tmp_path: Path) -> tuple[SweepFolder, list[TrialSpec]]:
    settings = ["matrix.thinking=[false]", "matrix.curriculum=[standard]", "contrasts=[]"]
    sweep = load_sweep(QUICKSTART, [*settings, "matrix.seed=[0]"])
    trials = expand(sweep)
    folder, _ = open_sweep_folder(tmp_path / "sweep", sweep, trials, is_resuming=False)
    return folder, list(trials)


@pytest.mark.ray
@pytest.mark.usefixtures("one_pretended_gpu")
@pytest.mark.parametrize("gpus", [1, 0.25, 0], ids=["whole-GPU", "share", "cpu"])
def test_the_process_of_a_baseline_is_gone_after_its_result(
    opened: tuple[SweepFolder, list[TrialSpec]], monkeypatch: pytest.MonkeyPatch, gpus: float
) -> None:
    def measure(trial: Path, folder: Path, step_timeout_s: float | None) -> str:
        (trial / "pid").write_text(str(os.getpid()))
        return "measured"

    monkeypatch.setattr(baselines, "measure_baseline_of", measure)
    folder, [trial] = opened
    grants = {trial.cell: Grant(cpus=1, gpus=gpus, at_once=1)}
    said: list[str] = []
    assert not baselines.measure_baselines(
        [trial], folder, grants=grants, step_timeout_s=None, say=said.append
    )
    assert said == [
        "baselines to measure: 1; one that is cached takes seconds",
        f"measured the baseline of {trial.cell}",
    ]
    wait_until_ended(int((folder.trial(trial.trial_id) / "pid").read_text()))


@pytest.mark.ray
@pytest.mark.usefixtures("one_pretended_gpu")
def test_a_baseline_that_hangs_ends_and_says_where(
    opened: tuple[SweepFolder, list[TrialSpec]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(trial: Path, folder: Path, step_timeout_s: float | None) -> None:
        folder.mkdir(exist_ok=True)
        with Pulse(folder, timeout_s=step_timeout_s):
            time.sleep(600)

    monkeypatch.setattr(baselines, "measure_baseline_of", hang)
    folder, [trial] = opened
    grants = {trial.cell: Grant(cpus=1, gpus=0, at_once=1)}
    said: list[str] = []
    [problem] = baselines.measure_baselines(
        [trial], folder, grants=grants, step_timeout_s=1.0, say=said.append
    )
    assert said[-1] == problem
    assert "no sign of life for 1 s, twice" in problem
    hangs = folder.baselines / "hangs.txt"
    assert f"where it hung is in {hangs}" in problem
    assert hangs.read_text().count("in hang") == 2


@pytest.mark.ray
@pytest.mark.usefixtures("one_pretended_gpu")
def test_the_process_of_a_probe_is_gone_after_its_result(
    opened: tuple[SweepFolder, list[TrialSpec]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grants, "measure_probe_of", lambda trial: os.getpid())
    folder, [trial] = opened
    machine = Machine(cpus=2, memory_gib=8, gpus=1)
    [(_, pid)] = grants._probe(ResourcesSpec(gpus_per_trial=1), [trial], folder, [machine])
    wait_until_ended(int(str(pid)))


@pytest.mark.ray
@pytest.mark.usefixtures("one_pretended_gpu")
@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use the GPU of this machine")
def test_what_was_granted_a_gpu_that_torch_cannot_use_fails_and_says_why(
    opened: tuple[SweepFolder, list[TrialSpec]],
) -> None:
    folder, [trial] = opened
    runner = Runner(
        folder=folder,
        driver="test",
        machines=[Machine(cpus=2, memory_gib=8, gpus=1)],
        step_timeout_s=None,
        max_concurrent=None,
    )
    assert run_trials([GrantedTrial(trial.trial_id, ONE_GPU)], runner) == []
    outcome = read_outcome(folder.trial(trial.trial_id))
    assert outcome is not None
    assert outcome.state == "FAILED"
    assert "granted a GPU" in str(outcome.reason)
    assert len((folder.trial(trial.trial_id) / "attempts.jsonl").read_text().splitlines()) == 1
    [problem] = baselines.measure_baselines(
        [trial], folder, grants={trial.cell: ONE_GPU}, step_timeout_s=None, say=lambda line: None
    )
    assert "granted a GPU" in problem
    resources = ResourcesSpec(gpus_per_trial=1)
    [(_, found)] = grants._probe(resources, [trial], folder, runner.machines)
    assert "granted a GPU" in str(found)


@pytest.mark.ray
@pytest.mark.usefixtures("one_pretended_gpu")
def test_processes_of_ray_do_not_hear_what_ends_a_sweep() -> None:
    deaf = set(STOP_SIGNALS) | {signal.SIGINT}
    processes = psutil.Process().children(recursive=True)
    assert {"raylet", "gcs_server"} <= {process.name() for process in processes}
    for process in processes:
        status = Path(f"/proc/{process.pid}/status").read_text()
        blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
        assert all(blocked >> (number - 1) & 1 for number in deaf), process.name()


def run_one_at_a_time(
    tmp_path: Path, trainable: Callable[[Mapping[str, Any]], None], *, num_trials: int
) -> tuple[list[str], list[Path]]:
    """Run trials that take the whole machine; returns why some are open, and all folders."""
    settings = ["matrix.thinking=[false]", "contrasts=[]"]
    sweep = load_sweep(QUICKSTART, [*settings, f"matrix.seed={list(range(num_trials))}"])
    specs = expand(sweep)
    folder, _ = open_sweep_folder(tmp_path / "sweep", sweep, specs, is_resuming=False)
    machines = cluster_machines()
    whole = Grant(cpus=machines[0].cpus, at_once=1)
    runner = Runner(
        folder=folder,
        driver="test",
        machines=machines,
        step_timeout_s=None,
        max_concurrent=None,
        trainable=trainable,
    )
    left_open = run_trials([GrantedTrial(spec.trial_id, whole) for spec in specs], runner)
    return left_open, [folder.trial(spec.trial_id) for spec in specs]


@pytest.mark.ray
@pytest.mark.usefixtures("one_pretended_gpu")
def test_a_trial_whose_process_never_answers_is_recorded_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(config: Mapping[str, Any]) -> None:
        os._exit(1)

    monkeypatch.setattr(trials, "MAX_RESTARTS", 1)
    left_open, [folder] = run_one_at_a_time(tmp_path, die, num_trials=1)
    assert left_open == []
    outcome = read_outcome(folder)
    assert outcome is not None
    assert outcome.state == "FAILED"
    assert str(outcome.reason).startswith("its process died 2 times: ")


@pytest.mark.ray
@pytest.mark.usefixtures("one_pretended_gpu")
def test_trials_that_waited_when_the_user_interrupts_are_left_open(tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def wait(config: Mapping[str, Any]) -> None:
        begun.touch()
        time.sleep(60)

    def interrupt() -> None:
        while not begun.exists():
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_one_at_a_time(tmp_path, wait, num_trials=2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    folders = list((tmp_path / "sweep" / "trials").iterdir())
    assert [read_outcome(folder) for folder in folders] == [None] * 2


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        pytest.param(
            "local",
            OSError("validate_socket_filename failed: AF_UNIX path length cannot exceed 107"),
            r"^/scratch/of/a/job: .* Set RAY_TMPDIR to a short",
            id="long-folder",
        ),
        pytest.param(
            "local",
            Exception("The current node timed out during startup.\nThis could happen because"),
            r"^Ray did not start: The current node timed out during startup\. .*"
            r"/scratch/of/a/job/ray/session_latest/logs",
            id="raylet",
        ),
        pytest.param(
            "auto",
            ConnectionError("Could not find any running Ray instance."),
            "^RAY_ADDRESS = auto, but that cluster could not be joined: Could not find any ",
            id="joined",
        ),
    ],
)
def test_a_ray_that_does_not_start_says_why(
    monkeypatch: pytest.MonkeyPatch, address: str, error: Exception, message: str
) -> None:
    def refuse(**_: object) -> None:
        raise error

    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setenv("RAY_TMPDIR", "/scratch/of/a/job")
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(StorageError, match=message):
        ray_cluster().__enter__()


@pytest.mark.parametrize("sent", STOP_SIGNALS)
def test_what_schedulers_send_interrupts_a_sweep_once(sent: signal.Signals) -> None:
    cluster._interrupt_on_termination()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(sent)
    # ``timeout`` sends to the process, and again to its group.
    signal.raise_signal(sent)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    cluster._interrupt_on_termination()
    signal.raise_signal(signal.SIGHUP)


def test_trials_do_not_import_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISABLE_MLFLOW_INTEGRATION")
    assert is_mlflow_available()
    for name, value in cluster.WORKER_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    assert not is_mlflow_available()  # what TRL asks before it imports it
