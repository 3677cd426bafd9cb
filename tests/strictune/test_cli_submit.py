"""``strictune submit`` from the command line, and the plain ``ray job submit`` beside it."""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fake_job_server import FakeJobServer, serving
from two_nodes import BIN, clean_environment

from strictune.cli import main, run, submit
from strictune.launch import jobs

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = str(ROOT / "search_spaces" / "quickstart.yaml")

# Ray 2.60's client on aiohttp 3.14.
pytestmark = pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell without variables of Ray, MLflow or the hub, and a home without a token."""
    kept = clean_environment(tmp_path)
    for name in [*os.environ]:
        if name not in kept:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(jobs, "RETRY_EVERY_S", 0.01)


def submit_to(server: FakeJobServer, *options: str) -> int:
    address = ["--address", server.address, "--out", "/shared/runs"]
    return main(["submit", QUICKSTART, *address, *options])


def test_a_job_is_followed_and_gives_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    failing = {"driver_exit_code": 1, "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR"}
    with serving(FakeJobServer(statuses=["RUNNING", "FAILED"], details=failing)) as server:
        assert submit_to(server, "--only", "thinking=false") == 1
    [job] = server.jobs
    job_id = job["submission_id"]
    expected = "python -m strictune run search_spaces/quickstart.yaml --only thinking=false"
    assert job["entrypoint"] == f"{expected} --out /shared/runs"
    assert capsys.readouterr().out.splitlines() == [
        f"submitting to {server.address}: {job['entrypoint']}",
        f"job: {job_id}",
        f"to follow: ray job logs --follow --address {server.address} {job_id}",
        f"to stop: ray job stop --address {server.address} {job_id}",
        f"to resume: strictune submit {QUICKSTART} --address {server.address} --out /shared/runs "
        "--only thinking=false --resume",
        *("one", "two", "three"),
        f"{job_id} failed with exit code 1.",
    ]


def test_no_wait_returns_once_the_job_is_submitted(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeJobServer(statuses=["PENDING"])) as server:
        assert submit_to(server, "--no-wait") == 0
    assert len(server.jobs) == 1
    out = capsys.readouterr().out
    assert "to follow: " in out
    assert "one" not in out.splitlines()


def test_a_pending_job_ends_the_command_with_what_to_look_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(FakeJobServer(statuses=["PENDING"])) as server:
        assert submit_to(server, "--start-timeout", "0") == 1
    assert "is still PENDING after 0 s" in capsys.readouterr().out


def test_secrets_are_sent_but_never_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_zebra")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "giraffe")
    token = tmp_path / "token"
    token.write_text("t0ken")
    with serving(FakeJobServer(token="t0ken")) as server:
        assert submit_to(server, "--env", "HF_TOKEN", "--token-file", str(token)) == 0
    [job] = server.jobs
    assert job["runtime_env"]["env_vars"]["HF_TOKEN"] == "hf_zebra"
    assert "MLFLOW_TRACKING_PASSWORD" not in job["runtime_env"]["env_vars"]
    out, err = capsys.readouterr()
    assert not any(secret in out + err for secret in ("zebra", "giraffe", "t0ken"))
    assert out.splitlines()[:2] == [
        "note: Ray keeps HF_TOKEN in the job's record and in its logs on the cluster.",
        "note: not sent along: MLFLOW_TRACKING_PASSWORD. To send a variable: --env NAME.",
    ]
    assert f"--env HF_TOKEN --token-file {token} --resume" in out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(["--set", "trial.grpo.bta=1"], "bta", id="sweep"),
        pytest.param(["--only", "thinking=maybe"], "--only thinking=maybe", id="only"),
        pytest.param(["--out", "runs"], "--out runs: a job runs in a temporary folder", id="out"),
        pytest.param(["--env", "HF_TOKEN"], "HF_TOKEN is not set here", id="variable"),
        pytest.param(["--token-file", "/none"], "/none: the token of --address", id="token"),
    ],
)
def test_bad_input_is_refused_before_the_cluster_hears_of_it(
    options: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(FakeJobServer()) as server:
        assert submit_to(server, *options) == 2
    assert expected in capsys.readouterr().err
    assert server.headers == []


def test_ctrl_c_leaves_the_job_running(tmp_path: Path) -> None:
    with serving(FakeJobServer(statuses=["RUNNING"], log=["one\n"])) as server:
        following = subprocess.Popen(
            [
                *(sys.executable, "-m", "strictune", "submit", QUICKSTART),
                *("--address", server.address, "--out", "/shared/runs"),
            ],
            env=clean_environment(tmp_path)
            | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")])},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Whoever runs the tests in the background may have Ctrl-C ignored, and pass it on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert following.stdout is not None
        lines = iter(following.stdout.readline, "one\n")
        [job] = [line.split()[1] for line in lines if line.startswith("job:")]
        time.sleep(0.5)
        following.send_signal(signal.SIGINT)
        try:
            output, _ = following.communicate(timeout=30)
        finally:
            following.kill()
    assert following.returncode == 1
    assert f"no longer following; {job} goes on." in output
    assert f"to stop: ray job stop --address {server.address} {job}" in output
    assert "Traceback" not in output


def test_submit_takes_every_option_of_run() -> None:
    def options(configure: Any) -> set[str]:
        parser = argparse.ArgumentParser()
        configure(parser)
        return {name for action in parser._actions for name in action.option_strings}

    # A job's log is one stream, so that a document in it could not be told from progress.
    assert options(run.VERB.configure) - {"--json"} <= options(submit.VERB.configure)


@pytest.mark.parametrize("page", ["README.md", "cluster_configs/README.md"])
def test_the_plain_command_of_the_page_does_the_same(page: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    plain = [block for block in blocks if "ray job submit" in block]
    if not plain:
        pytest.skip(f"{page} does not show the plain command")
    [ours] = [block for block in blocks if "strictune submit" in block and "--token-file" in block]
    (tmp_path / "token").write_text("t0ken")

    def sent_by(block: str) -> dict[str, Any]:
        with serving(FakeJobServer(token="t0ken")) as server:
            text = block.replace("http://127.0.0.1:8265", server.address)
            text = text.replace("/path/to/token", str(tmp_path / "token"))
            done = subprocess.run(
                ["bash", "-euc", re.sub(r"^strictune", f"{BIN}/python -m strictune", text)],
                cwd=ROOT,
                env=clean_environment(tmp_path)
                | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")])},
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        [job] = server.jobs
        return {"files": server.files(), **job}

    by_ray, by_us = sent_by(plain[0]), sent_by(ours)
    by_us["runtime_env"]["env_vars"].pop("STRICTUNE_GIT_SHA")
    for key in ("entrypoint", "runtime_env", "files"):
        assert by_ray[key] == by_us[key]
