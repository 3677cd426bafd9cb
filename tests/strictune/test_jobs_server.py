"""Jobs against a server that speaks Ray's protocol: submitted, followed, refused, lost."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from fake_job_server import FakeJobServer, serving

from strictune.errors import SpecError
from strictune.launch import jobs
from strictune.launch.job_access import JobAccess
from strictune.launch.job_request import JobRequest, RunOptions, job_request
from strictune.launch.jobs import JobEnd, JobServer

# Ray 2.60's client on aiohttp 3.14.
pytestmark = pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_EVERY_S", 0.01)
    monkeypatch.setattr(jobs, "RETRY_EVERY_S", 0.01)


def access(server: FakeJobServer, token: str | None = None) -> JobAccess:
    return JobAccess(address=server.address, token=token, token_variables="")


def small_checkout(tmp_path: Path) -> Path:
    """Return a folder that looks like a checkout, with things in it that must stay at home."""
    root = tmp_path / "checkout"
    texts = {
        "cluster_configs/job.yaml": JOB_YAML,
        "platform/strictune/__init__.py": "",
        "trainables/__init__.py": "",
        "search_spaces/mine.yaml": "name: mine",
        "runs/mine/plan.json": "results",
        "tests/test_mine.py": "",
        ".venv/bin/python": "",
        ".gitignore": "ignored.txt\n",
        "ignored.txt": "",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


JOB_YAML = (Path(__file__).resolve().parents[2] / "cluster_configs" / "job.yaml").read_text()


def request_in(root: Path, **variables: str) -> JobRequest:
    options = RunOptions(out=Path("/shared/runs"))
    file = root / "search_spaces" / "mine.yaml"
    return job_request("mine", file, options, variables=variables, root=root)


def follow(server: FakeJobServer, *, start_timeout_s: float = 5) -> tuple[JobEnd, str]:
    written: list[str] = []
    with serving(server):
        end = JobServer.connect(access(server)).follow(
            "mine-1", written.append, start_timeout_s=start_timeout_s
        )
    return end, "".join(written)


def test_a_submission_sends_the_checkout_and_nothing_that_belongs_here(tmp_path: Path) -> None:
    request = request_in(small_checkout(tmp_path), HF_HOME="/shared/hf")
    with serving(FakeJobServer(token="t0ken")) as server:
        JobServer.connect(access(server, "t0ken")).submit(request)
    [job] = server.jobs
    assert job["entrypoint"] == request.entrypoint
    assert job["submission_id"] == request.job_id
    assert job["runtime_env"]["env_vars"]["HF_HOME"] == "/shared/hf"
    assert job["runtime_env"]["working_dir"].startswith("gcs://")
    assert [uri.partition(":")[0] for uri in job["runtime_env"]["py_modules"]] == ["gcs"]
    assert server.files() == {
        ".gitignore",
        "cluster_configs/job.yaml",
        "platform/strictune/__init__.py",
        "trainables/__init__.py",
        "search_spaces/mine.yaml",
        "strictune/__init__.py",
    }
    assert set(server.headers) == {"Bearer t0ken"}


@pytest.mark.parametrize("variable", ["RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"])
def test_the_address_wins_over_the_shell(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    end, _ = follow(FakeJobServer())
    assert end.exit_code == 0


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        pytest.param(None, "wants a token. Give --token-file", id="none"),
        pytest.param("other", "does not accept the token. Give --token-file", id="wrong"),
    ],
)
def test_a_refused_token_says_which_file_holds_the_right_one(
    token: str | None, expected: str
) -> None:
    with (
        serving(FakeJobServer(token="t0ken")) as server,
        pytest.raises(SpecError, match="RAY_AUTH_TOKEN_PATH") as caught,
    ):
        JobServer.connect(access(server, token))
    assert expected in str(caught.value)


def test_a_port_where_nothing_listens_is_named_at_once() -> None:
    closed = FakeJobServer()
    with serving(closed):
        pass
    with pytest.raises(SpecError, match=f"{closed.address}: nothing answers there") as caught:
        JobServer.connect(access(closed))
    assert "ssh -L" in str(caught.value)


def test_a_server_of_another_kind_is_no_job_server() -> None:
    with serving(FakeJobServer()) as server:
        elsewhere = JobAccess(address=f"{server.address}/other", token=None, token_variables="")
        with pytest.raises(SpecError, match="answers, but not as a Ray job server"):
            JobServer.connect(elsewhere)


def test_a_refused_job_says_why_without_the_values_of_variables(tmp_path: Path) -> None:
    request = request_in(small_checkout(tmp_path), HF_TOKEN="hf_very_secret")
    refusing = FakeJobServer(refusal=(500, "cannot parse env_vars HF_TOKEN=hf_very_secret"))
    with serving(refusing) as server, pytest.raises(SpecError) as caught:
        JobServer.connect(access(server)).submit(request)
    assert "did not take the job" in str(caught.value)
    assert "HF_TOKEN=***" in str(caught.value)
    assert "hf_very_secret" not in str(caught.value) + repr(request)


@pytest.mark.parametrize(
    ("status", "details", "expected"),
    [
        pytest.param("SUCCEEDED", {}, JobEnd(exit_code=0, message="mine-1 succeeded."), id="done"),
        pytest.param(
            "STOPPED", {}, JobEnd(exit_code=1, message="mine-1 was stopped."), id="stopped"
        ),
        pytest.param(
            "FAILED",
            {"driver_exit_code": 2, "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR"},
            JobEnd(exit_code=2, message="mine-1 failed with exit code 2."),
            id="bad-input",
        ),
        pytest.param(
            "FAILED",
            {"driver_exit_code": 127, "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR"},
            JobEnd(
                exit_code=127,
                message="mine-1 failed with exit code 127. `python` was not found on the head "
                "node: start Ray in an activated environment.",
            ),
            id="no-python",
        ),
        pytest.param(
            "FAILED",
            {"driver_exit_code": -9, "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR"},
            JobEnd(exit_code=1, message="mine-1 failed with exit code -9."),
            id="killed",
        ),
        pytest.param(
            "FAILED",
            {"error_type": "RUNTIME_ENV_SETUP_FAILURE", "message": "disk full"},
            JobEnd(exit_code=1, message="mine-1 failed: disk full"),
            id="set-up",
        ),
    ],
)
def test_the_log_is_followed_to_the_end_of_the_job(
    status: str, details: dict[str, Any], expected: JobEnd
) -> None:
    server = FakeJobServer(statuses=["PENDING", "RUNNING", status], details=details)
    if "message" not in details:
        server.details = {"message": "with the tail of the log", **details}
    assert follow(server) == (expected, "one\ntwo\nthree\n")


@pytest.mark.parametrize(
    ("statuses", "breaks_after"),
    [
        pytest.param(["RUNNING", "RUNNING", "RUNNING", "SUCCEEDED"], [2, 1], id="reconnects"),
        pytest.param(["RUNNING", "SUCCEEDED"], [1], id="ended-meanwhile"),
        pytest.param(["RUNNING", "RUNNING", "SUCCEEDED"], [0], id="nothing-came"),
    ],
)
def test_a_broken_connection_neither_loses_nor_repeats_lines(
    statuses: list[str], breaks_after: list[int]
) -> None:
    end, written = follow(FakeJobServer(statuses=statuses, breaks_after=breaks_after))
    assert end.exit_code == 0
    assert written == "one\ntwo\nthree\n"


def test_a_job_that_stays_pending_is_left_with_what_to_look_at() -> None:
    end, written = follow(FakeJobServer(statuses=["PENDING"]), start_timeout_s=0.05)
    assert end.exit_code == 1
    assert written == ""
    for part in (
        "mine-1 is still PENDING after 0.05 s",
        "Job has not started yet.",
        "runtime_env_agent.log",
        "to stop: ray job stop --address http://127.0.0.1:",
    ):
        assert part in end.message


def test_a_server_that_stays_away_ends_the_following_but_not_the_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "RETRIES", 3)
    with serving(FakeJobServer()) as server:
        connected = JobServer.connect(access(server))
    end = connected.follow("mine-1", str, start_timeout_s=0.05)
    assert end.exit_code == 1
    assert "mine-1 goes on if its cluster does" in end.message
    assert "to follow: ray job logs --follow --address http://127.0.0.1:" in end.message
