"""What the workers of a trial are granted, and how many such trials run at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from strictune.config import ResourcesSpec, expand, load_sweep
from strictune.cost_cache import CostCache
from strictune.costs import SweepCosts, expected_costs, trials_to_probe
from strictune.errors import BudgetError
from strictune.packing import Gpu, Machine, grant_trial, needs_peak, next_larger
from strictune.records import CellPlan, Grant, MemoryPlan, StepPlan

QUICKSTART = Path(__file__).resolve().parents[2] / "search_spaces" / "quickstart.yaml"
GPU = Gpu(name="Pretended", memory_gib=80.0)
SERVER = Machine(cpus=32, memory_gib=256, gpus=4, gpu=GPU)
LAPTOP = Machine(cpus=4, memory_gib=16)
AUTO = ResourcesSpec(gpus_per_trial="auto", cpus_per_trial="auto")


def grant(spec: ResourcesSpec, *machines: Machine, workers: int, wanted: int = 100) -> Grant:
    return grant_trial(
        spec, machines, peak=None, num_wanted=wanted, cell="cell", num_workers=workers
    )


@pytest.mark.parametrize(
    ("machines", "workers", "wanted", "expected"),
    [
        pytest.param(
            [SERVER], 2, 100, Grant(cpus=8, gpus=1, at_once=2, num_workers=2), id="a-GPU-each"
        ),
        pytest.param(
            [SERVER], 3, 100, Grant(cpus=8, gpus=1, at_once=1, num_workers=3), id="one-GPU-idle"
        ),
        pytest.param(
            [SERVER], 2, 1, Grant(cpus=16, gpus=1, at_once=1, num_workers=2), id="one-is-wanted"
        ),
        pytest.param(
            [SERVER, SERVER],
            8,
            100,
            Grant(cpus=8, gpus=1, at_once=1, num_workers=8),
            id="two-machines",
        ),
        pytest.param([LAPTOP], 2, 100, Grant(cpus=1, at_once=2, num_workers=2), id="cores-each"),
        pytest.param([LAPTOP], 2, 1, Grant(cpus=2, at_once=1, num_workers=2), id="more-cores"),
    ],
)
def test_workers_take_whole_gpus_or_cores(
    machines: list[Machine], workers: int, wanted: int, expected: Grant
) -> None:
    assert not needs_peak(AUTO, machines, num_wanted=wanted, num_workers=workers)
    assert grant(AUTO, *machines, workers=workers, wanted=wanted) == expected


@pytest.mark.parametrize(
    ("spec", "ask", "message"),
    [
        pytest.param(
            ResourcesSpec(gpus_per_trial=0.5),
            lambda spec: grant(spec, SERVER, workers=2),
            "resources.gpus_per_trial = 0.5, but each of the 2 workers of cell takes a whole GPU. "
            "Set it to 1 or auto.",
            id="share",
        ),
        pytest.param(
            ResourcesSpec(),
            lambda spec: grant(spec, SERVER, workers=5),
            "cell has 5 workers with 1 CPU and a GPU each, and the cluster holds 4 of them. "
            "Lower trial.distributed.num_workers, or run it on a larger cluster.",
            id="gpus",
        ),
        pytest.param(
            ResourcesSpec(memory_gib_per_trial=7),
            lambda spec: grant(spec, LAPTOP, workers=3),
            "cell has 3 workers with 1 CPU, 7.0 GiB each, and the cluster holds 2 of them.",
            id="memory",
        ),
    ],
)
def test_workers_that_do_not_fit_are_refused(
    spec: ResourcesSpec, ask: Callable[[ResourcesSpec], Grant], message: str
) -> None:
    with pytest.raises(BudgetError) as caught:
        ask(spec)
    assert message in str(caught.value)


def test_a_larger_grant_is_larger_for_every_worker() -> None:
    granted = Grant(cpus=1, memory_gib=2.0, at_once=2, num_workers=2)
    assert next_larger(granted, [LAPTOP]) == Grant(cpus=1, memory_gib=3.0, at_once=2, num_workers=2)
    assert next_larger(Grant(cpus=1, gpus=1, at_once=2, num_workers=2), [SERVER]) is None


def test_a_plan_counts_every_worker_and_probes_none(tmp_path: Path) -> None:
    sweep = load_sweep(
        QUICKSTART, ["trial.distributed.num_workers=2", "resources.gpus_per_trial=auto"]
    )
    trials, cache = expand(sweep), CostCache(tmp_path)
    assert trials_to_probe(sweep.resources, trials, [SERVER], cache) == []
    [grants] = {
        cell.grant
        for cell in expected_costs(sweep.resources, trials, [SERVER], cache).cells.values()
    }
    assert grants == Grant(cpus=1, gpus=1, at_once=2, num_workers=2)


def test_gpu_hours_count_the_gpu_of_every_worker() -> None:
    cell = CellPlan(
        num_trials=3,
        num_steps=10,
        dtype="bfloat16",
        memory=MemoryPlan(peak_gib=None, source="unknown"),
        grant=Grant(cpus=1, gpus=1, at_once=2, num_workers=4),
        problem=None,
        step=StepPlan(step_s=None, evaluation_s=None, source="unknown"),
        hours=0.5,
    )
    costs = SweepCosts(device=GPU.name, machines=[SERVER], cells={"cell": cell})
    assert costs.gpu_hours == 6.0


def test_costs_of_one_worker_say_nothing_of_two(tmp_path: Path) -> None:
    from trainables.memory.measured import shape_digest

    [one, *_] = expand(load_sweep(QUICKSTART))
    [two, *_] = expand(load_sweep(QUICKSTART, ["trial.distributed.num_workers=2"]))
    assert shape_digest(one) != shape_digest(two)
