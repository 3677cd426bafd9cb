"""A cluster whose machines are not up: what is asked of it, and when nobody waits."""

from dataclasses import dataclass, field

import pytest
from quickstart import QUICKSTART

from strictune.config import ResourcesSpec, TrialSpec, expand, load_sweep
from strictune.errors import BudgetError
from strictune.launch.waiting import GPU_FIRST_S, TIMEOUT_S, wait_for_room
from strictune.packing import Machine

HEAD = Machine(cpus=0, memory_gib=10)
GPU = Machine(cpus=8, memory_gib=30, gpus=1)
CPU = Machine(cpus=8, memory_gib=30)
ONE = ResourcesSpec()
WITH_GPU = [{"CPU": 1.0, "GPU": 1.0}]
PLAIN = [{"CPU": 1.0}]


@pytest.fixture(autouse=True)
def _joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")


def one_trial(num_workers: int) -> TrialSpec:
    batch = f"trial.grpo.per_device_train_batch_size={48 // num_workers}"
    return expand(load_sweep(QUICKSTART, [f"trial.distributed.num_workers={num_workers}", batch]))[
        0
    ]


@dataclass
class Cluster:
    """A cluster in which a machine comes some seconds after it is asked for."""

    offers: Machine | None
    start_s: float = 240.0
    machines: list[Machine] = field(default_factory=lambda: [HEAD])
    now: float = 0.0
    requests: list[list[dict[str, float]]] = field(default_factory=list)
    ready_at: float | None = None
    said: list[str] = field(default_factory=list)

    def ask(self, bundles: list[dict[str, float]]) -> None:
        if [bundles] != self.requests[-1:]:
            self.requests.append(bundles)
        num_gpus = -1 if self.offers is None else self.offers.gpus
        is_feasible = all(bundle.get("GPU", 0) <= num_gpus for bundle in bundles)
        if bundles and is_feasible and self.ready_at is None:
            self.ready_at = self.now + self.start_s

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.offers is not None and self.ready_at is not None and self.now >= self.ready_at:
            self.machines = [HEAD, self.offers]

    def wait(self, spec: ResourcesSpec = ONE, num_workers: int = 1) -> None:
        wait_for_room(
            spec,
            [one_trial(num_workers)],
            say=self.said.append,
            find=lambda: self.machines,
            ask=self.ask,
            clock=lambda: self.now,
            sleep=self.sleep,
        )


def test_a_head_without_cores_asks_for_a_machine_and_waits_for_it() -> None:
    cluster = Cluster(offers=GPU)
    cluster.wait()
    assert cluster.now == 240
    assert cluster.requests == [WITH_GPU, PLAIN, []], "the last one lets idle machines go"
    assert cluster.said == [
        "no machine that is up takes trials, and one needs 1 CPU: asked the cluster for a machine, "
        "waiting up to 30 minutes",
        "a machine with room came after 240 s",
    ]


def test_a_cluster_without_gpus_is_asked_for_what_it_has() -> None:
    cluster = Cluster(offers=CPU)
    cluster.wait()
    assert cluster.requests == [WITH_GPU, PLAIN, []]
    assert cluster.now == GPU_FIRST_S + 240


def test_every_worker_of_a_trial_needs_its_place() -> None:
    cluster = Cluster(offers=Machine(cpus=8, memory_gib=30, gpus=4))
    cluster.wait(ResourcesSpec(cpus_per_trial=2, memory_gib_per_trial=4), num_workers=3)
    assert cluster.requests[0] == [{"CPU": 2.0, "GPU": 1.0, "memory": 4 * 2**30}] * 3
    assert "2 CPU, 4 GiB for each of 3 workers" in cluster.said[0]


@pytest.mark.parametrize("offers", [None, Machine(cpus=1, memory_gib=4, gpus=1)])
def test_a_machine_that_never_comes_ends_in_a_clear_error(offers: Machine | None) -> None:
    cluster = Cluster(offers=offers)
    with pytest.raises(BudgetError, match=r"needs 2 CPU, and in 30 minutes no machine .* --resume"):
        cluster.wait(ResourcesSpec(cpus_per_trial=2))
    assert TIMEOUT_S <= cluster.now < TIMEOUT_S + 60
    assert cluster.requests[-1] == []


def test_an_interrupted_wait_takes_its_request_back() -> None:
    cluster = Cluster(offers=None)

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    cluster.sleep = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        cluster.wait()
    assert cluster.requests == [WITH_GPU, []]


@pytest.mark.parametrize(
    "machines",
    [
        pytest.param([CPU], id="room"),
        pytest.param([HEAD, GPU], id="room-beside-the-head"),
        pytest.param([Machine(cpus=0.5, memory_gib=1)], id="too-small"),
    ],
)
def test_a_cluster_that_takes_trials_is_asked_for_nothing(machines: list[Machine]) -> None:
    cluster = Cluster(offers=None, machines=machines)
    cluster.wait()
    assert (cluster.requests, cluster.said, cluster.now) == ([], [], 0)


def test_a_cluster_of_our_own_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS")
    cluster = Cluster(offers=GPU)
    cluster.wait()
    assert (cluster.requests, cluster.said, cluster.now) == ([], [], 0)
