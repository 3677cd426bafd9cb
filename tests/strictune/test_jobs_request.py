"""What a job is sent, what is refused before it is, and how its server is reached."""

import json
import shlex
from pathlib import Path

import pytest
from ray._private.runtime_env import constants, packaging

from strictune.errors import SpecError, StorageError
from strictune.launch.job_access import job_access
from strictune.launch.job_request import (
    JOB_VARIABLE,
    JobRequest,
    RunOptions,
    checkout,
    job_request,
    named_variables,
    names_a_secret,
    refuse_temporary_folder,
)
from strictune.launch.job_upload import path_in_upload

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "search_spaces" / "quickstart.yaml"
OUT = Path("/shared/runs")


def request(
    options: RunOptions | None = None, file: Path = QUICKSTART, **variables: str
) -> JobRequest:
    return job_request(
        "quickstart", file, options or RunOptions(out=OUT), variables=variables, root=ROOT
    )


def test_the_root_is_this_checkout() -> None:
    assert checkout() == ROOT


def test_the_job_runs_the_sweep_with_the_options_that_were_given() -> None:
    options = RunOptions(
        out=OUT,
        overrides=["trial.grpo.max_steps=2", "matrix.seed=[0, 1]"],
        only=["thinking=false"],
        is_resuming=True,
        is_retrying=True,
        num_points="+20",
        tracking_uri="http://tracking:5000",
    )
    assert shlex.split(request(options).entrypoint) == [
        *("python", "-m", "strictune", "run", "search_spaces/quickstart.yaml"),
        *("--set", "trial.grpo.max_steps=2", "--set", "matrix.seed=[0, 1]"),
        *("--only", "thinking=false", "--out", "/shared/runs"),
        *("--tracking-uri", "http://tracking:5000", "--resume", "--retry"),
        *("--trials", "+20"),
    ]


def test_two_jobs_of_one_sweep_have_names_of_their_own() -> None:
    first, second = request().job_id, request().job_id
    assert first != second
    assert first.startswith("quickstart-")


def test_the_environment_names_folders_of_the_checkout() -> None:
    environment = request(HF_HOME="/shared/hf").runtime_env
    assert environment["working_dir"] == str(ROOT)
    assert environment["py_modules"] == [str(ROOT / "platform" / "strictune")]
    assert all(isinstance(value, str) for value in environment["env_vars"].values())
    assert environment["env_vars"]["HF_HOME"] == "/shared/hf"
    assert len(environment["env_vars"]["STRICTUNE_GIT_SHA"].removesuffix("+dirty")) == 40


def test_a_sweep_file_outside_the_checkout_cannot_be_sent(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="Copy the file into search_spaces"):
        request(file=tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    "name",
    ["runs/quickstart/sweep.yaml", "tests/mine.yaml", "search_spaces/notes.log", ".venv/x.yaml"],
)
def test_a_sweep_file_that_is_not_sent_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match=r"job\.yaml, \.gitignore or \.rayignore leave it out"):
        request(file=ROOT / name)


def test_what_is_sent_is_what_ray_packs(tmp_path: Path) -> None:
    excludes = ["/runs/", "*.tmp"]
    ignored = {".gitignore": "build/\n!keep.tmp\n", "deep/.gitignore": "own.yaml\n"}
    names = ["a.yaml", "b.tmp", "keep.tmp", "runs/a.yaml", "deep/own.yaml", "deep/build/a.yaml"]
    names += ["own.yaml", "deep/runs/a.yaml"]
    for name, text in (dict.fromkeys(names, "") | ignored).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    packed: list[Path] = []
    rules = [packaging._get_excludes(tmp_path, excludes)]
    packaging._dir_travel(tmp_path, rules, packed.append, include_gitignore=True)
    assert {name for name in names if is_sent(tmp_path, name, excludes)} == (
        {name for name in names if tmp_path / name in packed}
    )
    assert {name for name in names if tmp_path / name in packed} >= {"a.yaml", "own.yaml"}


def is_sent(root: Path, name: str, excludes: list[str]) -> bool:
    try:
        return path_in_upload(root / name, root, excludes=excludes, source="x") == Path(name)
    except SpecError:
        return False


@pytest.mark.parametrize(
    ("options", "variables", "expected"),
    [
        pytest.param(
            RunOptions(out=Path("runs")), {}, "--out runs: a job runs in a temporary", id="out"
        ),
        pytest.param(
            RunOptions(out=OUT, tracking_uri="sqlite:///runs/mlflow.db"),
            {},
            "--tracking-uri: sqlite:///runs/mlflow.db is relative",
            id="relative-database",
        ),
        pytest.param(
            RunOptions(out=OUT),
            {"MLFLOW_TRACKING_URI": "runs/mlflow"},
            "--env MLFLOW_TRACKING_URI: runs/mlflow is relative",
            id="relative-variable",
        ),
        pytest.param(
            RunOptions(out=OUT, tracking_uri="http://me:secret@tracking:5000"),
            {},
            "--env MLFLOW_TRACKING_PASSWORD",
            id="password",
        ),
        pytest.param(
            RunOptions(out=OUT, tracking_uri="postgresql://me:#secret@tracking/mlflow"),
            {},
            "--env MLFLOW_TRACKING_PASSWORD",
            id="password-behind-a-hash",
        ),
    ],
)
def test_what_would_lose_results_or_secrets_is_refused(
    options: RunOptions, variables: dict[str, str], expected: str
) -> None:
    with pytest.raises(SpecError) as caught:
        request(options, **variables)
    assert expected in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    ["http://tracking:5000", "sqlite:////shared/mlflow.db", "/shared/mlruns", "databricks"],
)
def test_a_store_that_all_machines_reach_is_allowed(uri: str) -> None:
    assert uri in request(RunOptions(out=OUT, tracking_uri=uri)).entrypoint


@pytest.mark.parametrize("name", ["platform/__init__.py", "types.py"])
def test_a_module_that_hides_one_of_pythons_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(SpecError, match="would stay PENDING"):
        job_request("mine", QUICKSTART, RunOptions(out=OUT), variables={}, root=tmp_path)


def test_only_named_variables_are_sent() -> None:
    shell = {"HF_TOKEN": "hf_secret", "HF_HOME": "/home/me/hf", "OTHER": "1"}
    assert named_variables(["HF_TOKEN", "HF_HOME=/shared/hf"], shell) == {
        "HF_TOKEN": "hf_secret",
        "HF_HOME": "/shared/hf",
    }
    assert named_variables([], shell) == {}


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        pytest.param("HF_TOKEN", "HF_TOKEN is not set here", id="unset"),
        pytest.param("HF_TOKEN=hf_secret", "Export HF_TOKEN and give --env HF_TOKEN", id="secret"),
        pytest.param("JUDGE_API_KEY=secret", "other users of this machine", id="key"),
        pytest.param("URI=http://me:secret@host", "other users of this machine", id="password"),
        pytest.param("RAY_ADDRESS", "Ray sets it inside a job", id="rays"),
        pytest.param("PYTHONPATH=/x", "Ray sets it inside a job", id="pythonpath"),
        pytest.param("=secret", "expected NAME or NAME=VALUE", id="nameless"),
        pytest.param("DOLLAR", "a dollar sign, which Ray would expand", id="dollar"),
    ],
)
def test_a_variable_that_cannot_be_sent_is_refused_without_its_value(
    named: str, expected: str
) -> None:
    with pytest.raises(SpecError) as caught:
        named_variables([named], {"DOLLAR": "pa$secret", "RAY_ADDRESS": "auto"})
    assert expected in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("HF_TOKEN", True), ("MLFLOW_TRACKING_PASSWORD", True), ("TOKENIZERS_PARALLELISM", False)],
)
def test_secrets_are_known_by_their_names(name: str, expected: bool) -> None:
    assert names_a_secret(name) is expected


def test_ray_still_tells_a_job_about_itself_under_this_name() -> None:
    assert constants.RAY_JOB_CONFIG_JSON_ENV_VAR == JOB_VARIABLE


@pytest.mark.parametrize(
    ("working_dir", "out", "is_lost"),
    [
        pytest.param("gcs://_ray_pkg_1.zip", "runs", True, id="relative-in-a-copy"),
        pytest.param("https://host/code.zip", "runs", True, id="relative-in-a-download"),
        pytest.param("gcs://_ray_pkg_1.zip", "/shared/runs", False, id="absolute"),
        pytest.param("gcs://_ray_pkg_1.zip", "../runs", False, id="beside-the-copy"),
        pytest.param("local:///app", "runs", False, id="folder-of-the-machine"),
        pytest.param(None, "runs", False, id="no-copy"),
    ],
)
def test_results_never_land_in_the_temporary_copy_of_a_job(
    working_dir: str | None, out: str, is_lost: bool
) -> None:
    environment = {JOB_VARIABLE: json.dumps({"runtime_env": {"working_dir": working_dir}})}
    if is_lost:
        with pytest.raises(StorageError, match="which Ray deletes"):
            refuse_temporary_folder(Path(out), environment)
    else:
        refuse_temporary_folder(Path(out), environment)


def test_outside_a_job_results_may_be_anywhere() -> None:
    refuse_temporary_folder(Path("runs"), {})


def write_token(path: Path, text: str = "t0ken\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_nearest_token_wins(tmp_path: Path) -> None:
    home, named = tmp_path / "home", write_token(tmp_path / "named", "named")
    write_token(home / ".ray" / "auth_token", "ray's")
    shell = {"RAY_AUTH_TOKEN_PATH": str(write_token(tmp_path / "path", "path"))}
    local = "http://127.0.0.1:8265"

    def token(file: Path | None, shell: dict[str, str]) -> str | None:
        return job_access(local, token_file=file, shell=shell, home=home).token

    assert token(named, shell) == "named"
    assert token(None, {**shell, "RAY_AUTH_TOKEN": "direct"}) == "path"
    assert token(None, {"RAY_AUTH_TOKEN": "direct"}) == "direct"
    assert token(None, {}) == "ray's"
    assert job_access(local, token_file=None, shell={}, home=tmp_path).token is None


def test_a_token_that_nobody_named_stays_on_this_machine(tmp_path: Path) -> None:
    write_token(tmp_path / ".ray" / "auth_token")
    with pytest.raises(SpecError, match="is not on this machine, and no token is given"):
        job_access("http://head:8265", token_file=None, shell={}, home=tmp_path)


@pytest.mark.parametrize(
    ("address", "is_in_clear"),
    [
        ("http://head:8265", True),
        ("https://head:8265", False),
        ("http://localhost:8265", False),
        ("http://127.0.0.2:8265/", False),
        ("http://[::1]:8265", False),
    ],
)
def test_a_token_that_crosses_a_network_in_clear_is_noticed(
    address: str, is_in_clear: bool, tmp_path: Path
) -> None:
    access = job_access(address, token_file=write_token(tmp_path / "t"), shell={}, home=tmp_path)
    assert access.is_in_clear is is_in_clear
    assert access.address == address.rstrip("/")
    assert access.headers == {"Authorization": "Bearer t0ken"}
    assert "t0ken" not in repr(access)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1:8265", "ray://head:10001", "http://", "http://head:8265/api", "auto"),
        *("http://127.0.0.1:abc", "http://127.0.0.1:99999", "http://[::1:8265"),
    ],
)
def test_an_address_of_something_else_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected the cluster's job server as http://HOST:PORT"):
        job_access(address, token_file=None, shell={}, home=tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, "cannot be read"), ("", "expected the token"), ("two words", "expected the token")],
)
def test_a_file_without_a_token_is_refused(text: str | None, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SpecError, match=expected):
        job_access("http://127.0.0.1:8265", token_file=file, shell={}, home=tmp_path)


def test_the_commands_about_a_job_name_the_token_and_not_its_text(tmp_path: Path) -> None:
    file = write_token(tmp_path / "token")
    access = job_access("http://127.0.0.1:8265", token_file=file, shell={}, home=tmp_path)
    assert access.command("stop", "mine-1") == (
        f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={file} "
        "ray job stop --address http://127.0.0.1:8265 mine-1"
    )
