"""Sweeps on real Ray clusters: as jobs behind a token, on two nodes, and as under Slurm."""

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient
from two_nodes import BIN, ROOT, RayCluster, clean_environment, ray_head, two_nodes

SMALL = {
    "trial.grpo.max_steps": 2,
    "trial.grpo.per_device_train_batch_size": 8,
    "trial.grpo.num_generations": 4,
    "trial.grpo.max_completion_length": 24,
    "trial.grpo.max_think_length": 8,
    "task.num_train_prompts": 60,
    "task.num_eval_prompts": 24,
    "evaluation.num_prompts_per_difficulty": 2,
    "evaluation.samples_per_prompt": 1,
    "evaluation.max_new_tokens": 24,
    "evaluation.max_think_tokens": 8,
    "matrix.curriculum": "[standard]",
    "matrix.seed": "[0]",
    "contrasts": "[]",
}
SWEEP = "search_spaces/quickstart.yaml"

pytestmark = pytest.mark.ray


def settings(**changed: Any) -> list[str]:
    values = SMALL | {key.replace("__", "."): value for key, value in changed.items()}
    return [text for key, value in values.items() for text in ("--set", f"{key}={value}")]


def outcomes(out: Path) -> list[str]:
    files = sorted(out.glob("quickstart/trials/*/outcome.json"))
    return [json.loads(file.read_text())["state"] for file in files]


def run_statuses(out: Path) -> set[str]:
    client = MlflowClient(f"sqlite:///{out / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return {run.info.status for run in client.search_runs(experiments)}


@pytest.fixture(scope="module")
def head() -> Iterator[RayCluster]:
    """A cluster with a token, started as an administrator would."""
    with ray_head(num_cpus=1) as cluster:
        yield cluster


def documented_command(head: RayCluster) -> str:
    """Return the shell commands of the page that submit a sweep, for this head and its token."""
    page = (ROOT / "cluster_configs" / "README.md").read_text()
    [block] = [
        block
        for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
        if "job submit" in block
    ]
    block = block.replace("http://127.0.0.1:8265", head.job_server)
    return block.replace("/path/to/token", str(head.token_file)).strip()


def submit(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run shell commands in a shell that knows nothing of Ray."""
    environment = clean_environment(home)
    assert not any(name.startswith("RAY_") for name in environment)
    return subprocess.run(
        ["bash", "-euc", command],
        cwd=ROOT,
        env=environment | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )


def test_the_documented_command_runs_a_sweep_behind_a_token(
    head: RayCluster, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    command = documented_command(head).replace("/shared/runs", str(out))
    command = command.replace("-- \\\n", "-- STRICTUNE_GIT_SHA=abc \\\n")
    done = submit(f"{command} --only thinking=false {shlex.join(settings())}", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(out) == ["FINISHED"]
    assert run_statuses(out) == {"FINISHED"}
    assert "no-think · standard · seed 0: FINISHED" in done.stdout
    assert head.token_file.read_text() not in done.stdout + done.stderr
    [lock] = out.glob("quickstart/trials/*/lock.json")
    assert json.loads(lock.read_text())["git_sha"] == "abc"


@pytest.mark.slow
def test_a_job_without_the_token_is_refused(head: RayCluster, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("0" * 64)
    command = documented_command(head).replace(str(head.token_file), str(tmp_path / "other"))
    assert submit(command, tmp_path).returncode != 0


@pytest.mark.slow
def test_a_job_runs_the_code_that_was_sent(head: RayCluster, tmp_path: Path) -> None:
    code = "import strictune, trainables; print(strictune.__file__, trainables.__file__, sep='\\n')"
    command = documented_command(head).partition("python -m strictune")[0]
    done = submit(f"{command} python -c {shlex.quote(code)}", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [line for line in done.stdout.splitlines() if line.endswith("/__init__.py")]
    assert [Path(line).parent.name for line in found] == ["strictune", "trainables"]
    assert all("/runtime_resources/" in line for line in found)


@pytest.mark.slow
def test_a_job_keeps_no_results_in_the_copy_that_it_runs_in(
    head: RayCluster, tmp_path: Path
) -> None:
    done = submit(documented_command(head).replace("/shared/runs", "runs"), tmp_path)
    assert done.returncode == 1
    assert "its working directory, which Ray deletes" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_two_nodes_share_a_sweep(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    with two_nodes() as cluster:
        driver = subprocess.Popen(
            [str(BIN / "python"), "-m", "strictune", "run", SWEEP, "--out", str(out), *settings()],
            cwd=ROOT,
            env=cluster.driver_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            seen = raylets_of_trials(out, driver)
            output, _ = driver.communicate(timeout=300)
        finally:
            driver.kill()
    assert driver.returncode == 0, output
    assert outcomes(out) == ["FINISHED", "FINISHED"]
    assert run_statuses(out) == {"FINISHED"}
    assert len(seen) == 2, f"one raylet ran both trials: {seen}"


def raylets_of_trials(out: Path, driver: subprocess.Popen[str]) -> set[int]:
    """Return the raylets that the trials' processes belong to, watched until both have begun."""
    raylets: dict[str, int] = {}
    deadline = time.monotonic() + 300
    while len(raylets) < 2 and driver.poll() is None and time.monotonic() < deadline:
        for lock in out.glob("quickstart/trials/*/lock.json"):
            try:
                process = psutil.Process(json.loads(lock.read_text())["pid"])
                raylets.setdefault(lock.parent.name, process.ppid())
            except (ValueError, psutil.NoSuchProcess):
                continue  # Half written, or over already.
        time.sleep(0.1)
    return set(raylets.values())


SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
[[ $1 != hostname ]] || { echo 127.0.0.1; exit; }
exec "$@"
"""
SCONTROL = "#!/usr/bin/env bash\nprintf 'one\\ntwo\\n'\n"


@pytest.mark.slow
def test_the_slurm_script_starts_runs_and_stops(tmp_path: Path) -> None:
    """On one machine, with stand-ins for srun and scontrol: two Ray nodes side by side."""
    checkout, out, home = tmp_path / "checkout", tmp_path / "runs", tmp_path / "home"
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "activate").write_text(f"PATH={BIN}:$PATH\n")
    (checkout / "search_spaces").symlink_to(ROOT / "search_spaces")
    home.mkdir()
    commands = {"srun": SRUN, "scontrol": SCONTROL}
    for name, text in commands.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = clean_environment(home) | {
        "PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]]),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "[one-two]",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_SUBMIT_DIR": str(checkout),
    }
    command: Sequence[str] = ["bash", str(ROOT / "cluster_configs" / "slurm.sbatch"), SWEEP]
    before = set(psutil.pids())
    done = subprocess.run(
        [*command, str(out), "--only", "thinking=false", *settings()],
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(out) == ["FINISHED"]
    assert list((home / ".strictune").iterdir()) == []
    time.sleep(2)
    assert not [p for p in set(psutil.pids()) - before if is_mine(p, home)]


def is_mine(pid: int, home: Path) -> bool:
    """Say whether a process still runs with this test's home."""
    try:
        return psutil.Process(pid).environ().get("HOME") == str(home)
    except psutil.Error:
        return False
