"""A sweep with a server of its own, which is killed in the middle; the command stands for vLLM."""

import json
import sys
from pathlib import Path

import fake_vllm
import psutil
import pytest
import ray
from cost_fakes import trials_of
from processes import wait_for, wait_until_ended
from tiny_sweep import begun_trials, durable_step, run_sweep, start_sweep, training_steps

from strictune.errors import BudgetError
from strictune.launch import vllm
from strictune.launch.cluster import ray_cluster

pytestmark = pytest.mark.ray

OPTIONS = ("--only", "curriculum=standard", "--set", "trial.rollouts.engine=vllm")


@pytest.fixture(autouse=True)
def command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRICTUNE_VLLM", f"{sys.executable} {fake_vllm.__file__}")
    monkeypatch.delenv("STRICTUNE_VLLM_API_KEY", raising=False)


@pytest.mark.slow
def test_trials_outlive_their_server(tmp_path: Path) -> None:
    sweep = start_sweep(tmp_path, *OPTIONS)
    folder = tmp_path / "runs" / "quickstart"
    try:
        wait_for(lambda: sweep.poll() is not None or any(map(durable_step, begun(tmp_path))))
        [server] = servers_of(sweep.pid)
        server.kill()
        said, _ = sweep.communicate(timeout=400)
    finally:
        sweep.kill()
        sweep.wait()
    assert sweep.returncode == 0, said
    trials = begun(tmp_path)
    assert len(trials) == 2
    for trial in trials:
        assert training_steps(trial) == [1, 2, 3, 4, 5, 6]
        assert json.loads((trial / "lock.json").read_text())["evaluation_key"]["engine"] == "vllm"
    [log] = (folder / "vllm").iterdir()
    assert log.read_text().count("serving ") == 2
    assert "ended (-9) and is started again" in (folder / "strictune.log").read_text()
    wait_until_ended(server.pid)
    assert not any("--served-model-name" in each.info["cmdline"] for each in our_processes())


def test_a_server_that_does_not_start_ends_the_sweep_before_its_trials(tmp_path: Path) -> None:
    done = run_sweep(tmp_path, *OPTIONS, "--set", "trial.rollouts.vllm.arguments=[--fail]")
    assert done.returncode == 2
    assert "the server ended (1) before it was up: ValueError: no room on this GPU" in done.stderr
    assert begun_trials(tmp_path) == []


def begun(tmp_path: Path) -> list[Path]:
    return [lock.parent for lock in begun_trials(tmp_path)]


def servers_of(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children(recursive=True)
    return [each for each in children if "--served-model-name" in each.cmdline()]


def our_processes() -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [each for each in found if fake_vllm.__file__ in (each.info["cmdline"] or [])]


def test_a_given_server_of_another_base_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with fake_vllm.serving(fake_vllm.FakeVllm(model="other")) as fake:
        given = f"trial.rollouts.vllm.base_url={fake.url}"
        done = run_sweep(tmp_path, *OPTIONS, "--set", given)
    assert done.returncode == 2
    assert "rollouts.vllm.base_url: the vLLM server at " in done.stderr
    assert "serves other, expected tiny-nf4-float32-" in done.stderr
    assert begun_trials(tmp_path) == []


def test_a_server_reserves_its_share_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    [trial] = trials_of(rollouts={"engine": "vllm"})
    with ray_cluster(num_gpus=1):
        vllm._refuse_several_machines()
        with vllm._reserved([trial], num_threads=1) as environment:
            assert environment["CUDA_VISIBLE_DEVICES"] == "0"
            wait_for(lambda: ray.available_resources().get("GPU") == pytest.approx(0.7))
        wait_for(lambda: ray.available_resources().get("GPU") == 1)
        monkeypatch.setattr(vllm, "RESERVE_TIMEOUT_S", 1.0)
        large = trials_of(
            rollouts={"engine": "vllm", "vllm": {"gpu_memory_utilization": 0.9}},
            matrix={"seed": [0, 1]},
        )
        with (
            pytest.raises(BudgetError, match=r"take 1\.8 of a GPU"),
            vllm._reserved(large, num_threads=1),
        ):
            pass
