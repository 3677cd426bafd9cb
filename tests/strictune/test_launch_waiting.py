"""A cluster whose machines are not up: what is asked of it, and when nobody waits."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray.autoscaler._private.monitor import BASE_READONLY_CONFIG
from ray.autoscaler._private.util import format_readonly_node_type

from strictune.config import ResourcesSpec
from strictune.errors import BudgetError
from strictune.launch.waiting import CARD_FIRST_S, TIMEOUT_S, can_grow, wait_for_room
from strictune.packing import Machine

HEAD = Machine(cpus=0, memory_gib=10)
GPU = Machine(cpus=8, memory_gib=30, gpus=1)
CPU = Machine(cpus=8, memory_gib=30)
ONE = ResourcesSpec()
CARD = [{"CPU": 1.0, "GPU": 1.0}]
PLAIN = [{"CPU": 1.0}]


@dataclass
class Cluster:
    """A cluster in which a machine comes some seconds after it is asked for."""

    offers: Machine | None
    start_s: float = 240.0
    can_grow: bool = True
    machines: list[Machine] = field(default_factory=lambda: [HEAD])
    now: float = 0.0
    requests: list[list[dict[str, float]]] = field(default_factory=list)
    ready_at: float | None = None
    said: list[str] = field(default_factory=list)

    def ask(self, bundles: list[dict[str, float]]) -> None:
        self.requests.append(bundles)
        num_cards = -1 if self.offers is None else self.offers.gpus
        is_feasible = all(bundle.get("GPU", 0) <= num_cards for bundle in bundles)
        if bundles and is_feasible and self.ready_at is None:
            self.ready_at = self.now + self.start_s

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.offers is not None and self.ready_at is not None and self.now >= self.ready_at:
            self.machines = [HEAD, self.offers]

    def wait(self, spec: ResourcesSpec = ONE, num_workers: int = 1) -> None:
        wait_for_room(
            spec,
            num_workers=num_workers,
            say=self.said.append,
            find=lambda: self.machines,
            grows=lambda machines: self.can_grow,
            ask=self.ask,
            clock=lambda: self.now,
            sleep=self.sleep,
        )


def test_a_head_without_cores_asks_for_a_machine_and_waits_for_it() -> None:
    cluster = Cluster(offers=GPU)
    cluster.wait()
    assert cluster.now == 240
    assert cluster.requests == [CARD, PLAIN, []], "the last one lets idle machines go"
    assert cluster.said == [
        "no machine that is up has room for a trial (1 CPU): asked the cluster for one, waiting up "
        "to 30 minutes",
        "a machine with room came after 240 s",
    ]


def test_a_cluster_without_cards_is_asked_for_what_it_has() -> None:
    cluster = Cluster(offers=CPU)
    cluster.wait()
    assert cluster.requests == [CARD, PLAIN, []]
    assert cluster.now == CARD_FIRST_S + 240


def test_every_worker_of_a_trial_needs_its_place() -> None:
    cluster = Cluster(offers=Machine(cpus=8, memory_gib=30, gpus=4))
    cluster.wait(ResourcesSpec(cpus_per_trial=2, memory_gib_per_trial=4), num_workers=3)
    assert cluster.requests[0] == [{"CPU": 2.0, "GPU": 1.0, "memory": 4 * 2**30}] * 3
    assert "(2 CPU, 4 GiB for each of 3 workers)" in cluster.said[0]


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
    assert cluster.requests == [CARD, []]


@pytest.mark.parametrize(
    ("machines", "can_grow"),
    [
        pytest.param([CPU], True, id="room"),
        pytest.param([HEAD, GPU], True, id="room-beside-the-head"),
        pytest.param([Machine(cpus=0.5, memory_gib=1)], False, id="too-small-for-ever"),
    ],
)
def test_nothing_is_asked_where_waiting_changes_nothing(
    machines: list[Machine], can_grow: bool
) -> None:
    cluster = Cluster(offers=None, machines=machines, can_grow=can_grow)
    cluster.wait()
    assert (cluster.requests, cluster.said, cluster.now) == ([], [], 0)


def status(*types: str) -> bytes:
    return json.dumps({"autoscaler_report": {"active_nodes": dict.fromkeys(types, 1)}}).encode()


@pytest.mark.parametrize(
    ("report", "machines", "grows"),
    [
        pytest.param(status("head"), [HEAD], True, id="launcher"),
        pytest.param(status("head", "gpu"), [CPU, CPU], True, id="launcher-with-workers"),
        pytest.param(
            status(format_readonly_node_type("aa")), [CPU], False, id="complete-without-autoscaler"
        ),
        pytest.param(
            status(format_readonly_node_type("aa")), [HEAD], True, id="workers-still-to-join"
        ),
        pytest.param(None, [CPU], True, id="unknown"),
        pytest.param(b'{"load_metrics_report": {}}', [CPU], True, id="nothing-reported-yet"),
    ],
)
def test_a_cluster_grows_unless_ray_says_that_it_has_no_autoscaler(
    report: bytes | None, machines: Sequence[Machine], grows: bool
) -> None:
    assert can_grow(report, ["aa", "bb"], machines) is grows


def test_a_cluster_of_our_own_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    requests: list[object] = []
    wait_for_room(ONE, num_workers=1, say=requests.append, find=lambda: [HEAD], ask=requests.append)
    assert requests == []


def test_ray_still_reports_under_these_names() -> None:
    assert DEBUG_AUTOSCALING_STATUS == "__autoscaling_status"
    assert BASE_READONLY_CONFIG["provider"]["type"] == "readonly"
