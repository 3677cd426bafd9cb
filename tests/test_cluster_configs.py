"""``cluster_configs/``: what can be checked without the places that the files are for."""

import contextlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from strictune.cli import make_parser
from strictune.config import expand, load_sweep
from strictune.packing import Machine, before_peak, has_room
from strictune.planning import parse_only, select

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "cluster_configs"
PAGES = sorted(FOLDER.glob("*.md"))
SCRIPTS = sorted([*FOLDER.glob("*.sh"), *FOLDER.glob("*.sbatch")])
KUBERAY = ("kuberay_cluster.yaml", "kuberay_job.yaml")


def read_yaml(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / name).read_text()))


def pinned(package: str) -> str:
    [line] = re.findall(rf"^{package}==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return str(line)


def commands_of(text: str) -> Iterator[list[str]]:
    """Yield the words after ``strictune`` of each command line in the code blocks of a page."""
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for index, word in enumerate(words):
                is_called = index == 0 or "=" in words[index - 1] or words[index - 1] == "-m"
                if word == "strictune" and is_called:
                    yield words[index + 1 :]


def check_command(words: list[str]) -> None:
    """Assert that a command line parses, and that its sweep has trials."""
    args = make_parser().parse_args(words)
    sweep = load_sweep(ROOT / args.sweep, args.overrides)
    assert select(expand(sweep), parse_only(args.only))


def pods_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_command_lines_of_a_page_are_real(page: Path) -> None:
    commands = list(commands_of(page.read_text()))
    assert commands or page.stem == "slurm"
    for words in commands:
        check_command(words)


def test_the_first_page_shows_the_command_that_is_tested_on_a_cluster() -> None:
    pages = (ROOT / "README.md", FOLDER / "README.md")
    shown = [
        re.findall(r"export RAY_AUTH_MODE.*?/shared/runs", page.read_text(), re.DOTALL)
        for page in pages
    ]
    assert len(shown[0]) == 1
    assert shown[0] == shown[1]


def test_every_file_is_named_by_the_page_of_the_folder() -> None:
    text = (FOLDER / "README.md").read_text()
    names = {path.name for path in FOLDER.iterdir()} - {"README.md"}
    assert {name for name in names if f"]({name})" not in text} == set()


@pytest.mark.parametrize("name", ["several_gpus", "aws", "kuberay", "slurm", "tracking_server"])
def test_a_page_says_what_was_never_applied(name: str) -> None:
    assert re.search("never applied", (FOLDER / f"{name}.md").read_text(), re.IGNORECASE)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound_shell(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    shellcheck = shutil.which("shellcheck", path=ROOT / ".venv" / "bin") or shutil.which(
        "shellcheck"
    )
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (extra dev)")
    command = [shellcheck, "--severity=warning", "--shell=bash", str(script)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_the_launcher_file_is_one_of_rays() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(read_yaml("aws.yaml"))
    validate_config(config)
    gpu = config["available_node_types"]["gpu"]
    assert gpu["resources"]["GPU"] == 1
    for key in ("setup_commands", "head_setup_commands", "worker_setup_commands"):
        check_shell(config[key])
    for role in ("head", "worker"):
        commands = config[f"{role}_start_ray_commands"]
        check_shell(commands)
        assert "RAY_AUTH_MODE=token ray start" in commands[-1]
        assert "0.0.0.0" not in commands[-1]
    for local in read_yaml("aws.yaml")["file_mounts"].values():
        assert local.startswith("~") or (ROOT / local).exists()


def test_a_machine_of_the_launcher_has_room_for_a_trial_of_its_page() -> None:
    has = read_yaml("aws.yaml")["available_node_types"]["gpu"]["resources"]
    worker = Machine(cpus=has["CPU"], memory_gib=32, gpus=has["GPU"])
    for words in commands_of((FOLDER / "aws.md").read_text()):
        sweep = load_sweep(ROOT / make_parser().parse_args(words).sweep)
        assert has_room([worker], before_peak(sweep.resources))


def check_shell(commands: list[str]) -> None:
    for command in commands:
        subprocess.run(["bash", "-nc", command], check=True)


def test_an_unknown_key_of_the_launcher_file_is_seen() -> None:
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_config(prepare_config({**read_yaml("aws.yaml"), "max_worker": 1}))


@pytest.mark.parametrize("name", KUBERAY)
def test_kubernetes_objects_are_of_this_ray_with_a_token(name: str) -> None:
    document = read_yaml(name)
    assert document["apiVersion"] == "ray.io/v1"
    assert document["kind"] == ("RayJob" if "job" in name else "RayCluster")
    spec = document["spec"].get("rayClusterSpec", document["spec"])
    assert spec["rayVersion"] == pinned("ray")
    assert spec["authOptions"] == {"mode": "token"}
    for pod in pods_of(spec):
        [container] = pod["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {
            volume["name"] for volume in pod["volumes"]
        }
        assert not any("TOKEN" in variable["name"] for variable in container["env"])


def test_both_kubernetes_objects_describe_one_cluster() -> None:
    assert (
        read_yaml("kuberay_job.yaml")["spec"]["rayClusterSpec"]
        == (read_yaml("kuberay_cluster.yaml")["spec"])
    )


def test_the_job_of_kubernetes_runs_a_sweep_of_the_image() -> None:
    spec = read_yaml("kuberay_job.yaml")["spec"]
    python, *words = shlex.split(spec["entrypoint"].replace("/home/ray/strictune/", ""))
    assert (python, words[:2]) == ("python", ["-m", "strictune"])
    check_command(words[2:])
    out = words[words.index("--out") + 1]
    [mount] = pods_of(spec["rayClusterSpec"])[0]["containers"][0]["volumeMounts"]
    assert out.startswith(mount["mountPath"])
    assert yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"] == read_yaml("job.yaml")["env_vars"]


def test_images_hold_the_versions_of_the_constraints() -> None:
    dockerfile = (FOLDER / "kuberay.Dockerfile").read_text()
    assert f"FROM rayproject/ray:{pinned('ray')}-py311-gpu" in dockerfile
    compose = (FOLDER / "tracking_server.compose.yaml").read_text()
    assert f"mlflow=={pinned('mlflow')} psycopg2-binary=={pinned('psycopg2-binary')}" in compose


def test_machines_with_gpus_can_compile_kernels() -> None:
    [apt] = [line for line in read_yaml("aws.yaml")["setup_commands"] if "apt-get" in line]
    python = re.search(r"python3\.\d+", " ".join(read_yaml("aws.yaml")["setup_commands"]))
    assert python is not None
    assert {"gcc", f"{python[0]}-dev"} <= set(shlex.split(apt, comments=True))
    assert re.search(
        r"apt-get install .* gcc libc6-dev", (FOLDER / "kuberay.Dockerfile").read_text()
    )
    for page in ("README", "one_gpu", "slurm"):
        assert re.search(
            "gcc.*(headers|python3-dev)|headers.*gcc",
            (FOLDER / f"{page}.md").read_text(),
            re.DOTALL,
        )


def test_the_tracking_server_is_reachable_on_loopback_only() -> None:
    services = read_yaml("tracking_server.compose.yaml")["services"]
    assert services["mlflow"]["ports"] == ["127.0.0.1:5000:5000"]
    assert "ports" not in services["postgres"]
    assert "--host 127.0.0.1" in (FOLDER / "tracking_server.sh").read_text()
    for service in services.values():
        with contextlib.suppress(KeyError):
            assert all("PASSWORD" not in k or k.endswith("_FILE") for k in service["environment"])


def test_the_runtime_environment_is_one_of_rays() -> None:
    from ray.runtime_env import RuntimeEnv

    environment = read_yaml("job.yaml")
    assert (ROOT / environment["working_dir"]).resolve() == ROOT
    assert all((ROOT / path / "__init__.py").is_file() for path in environment["py_modules"])
    local = ("working_dir", "py_modules")
    RuntimeEnv(**{key: value for key, value in environment.items() if key not in local})
