import pytest

from strictune.config import ResourcesSpec
from strictune.errors import BudgetError
from strictune.packing import (
    GPU_SHARES,
    Gpu,
    Machine,
    Peak,
    before_peak,
    grant_trial,
    has_room,
    needs_peak,
    next_larger,
    smallest_share,
    without_measuring,
)
from strictune.records import Grant

GPU = Gpu(name="GPU", memory_gib=80.0)
LAPTOP = Machine(cpus=2, memory_gib=16.0)
SERVER = Machine(cpus=64, memory_gib=500.0, gpus=4, gpu=GPU)
AUTO = ResourcesSpec(gpus_per_trial="auto", cpus_per_trial="auto")


def grant(spec: ResourcesSpec, *machines: Machine, wanted: int = 100, **peak: float) -> Grant:
    return grant_trial(
        spec, machines, peak=Peak(**peak) if peak else None, num_wanted=wanted, cell="tiny"
    )


@pytest.mark.parametrize(
    ("gpu_gib", "share"),
    [
        pytest.param(73.0, None, id="more-than-the-GPU-with-its-margin"),
        pytest.param(72.0, 1.0, id="the-whole-GPU"),
        pytest.param(36.0, 0.5, id="half"),
        pytest.param(24.0, 0.3333, id="a-third"),
        pytest.param(10.5, 0.1666, id="a-seventh-is-no-size"),
        pytest.param(0.6, 0.0833, id="the-smallest-size"),
    ],
)
def test_the_share_is_the_smallest_that_holds_the_peak(gpu_gib: float, share: float | None) -> None:
    assert smallest_share(gpu_gib, GPU) == share


@pytest.mark.parametrize(
    ("failed_gib", "share"),
    [
        pytest.param(16.0, 0.25, id="a-fifth-was-too-small"),
        pytest.param(20.0, 0.3333, id="so-was-a-quarter"),
        pytest.param(40.0, 1.0, id="so-was-half"),
        pytest.param(3.0, 0.2, id="a-share-that-the-peak-exceeds-anyway"),
    ],
)
def test_a_share_that_a_trial_is_known_to_fail_in_is_not_granted(
    failed_gib: float, share: float
) -> None:
    assert smallest_share(14.0, GPU, failed_gib=failed_gib) == share
    assert grant(AUTO, SERVER, gpu_gib=14.0, gpu_failed_gib=failed_gib).gpus == share


@pytest.mark.parametrize("share", GPU_SHARES)
def test_as_many_shares_as_the_name_says_fit_on_a_gpu(share: float) -> None:
    count = round(1 / share)
    assert count * share <= 1 < (count + 1) * share


def test_numbers_are_granted_as_they_are_and_need_no_peak() -> None:
    spec = ResourcesSpec(gpus_per_trial=0.25, cpus_per_trial=2, memory_gib_per_trial=3)
    assert not needs_peak(spec, [SERVER], num_wanted=9)
    assert grant(spec, SERVER) == Grant(cpus=2, gpus=0.25, memory_gib=3, at_once=16)
    assert grant(spec, Machine(cpus=4, memory_gib=16)) == Grant(cpus=2, memory_gib=3, at_once=2)


@pytest.mark.parametrize(
    ("spec", "machine", "wanted", "needed"),
    [
        pytest.param({"gpus_per_trial": "auto"}, SERVER, 1, True, id="a-share-of-a-GPU"),
        pytest.param({"cpus_per_trial": "auto"}, SERVER, 9, False, id="the-share-is-given"),
        pytest.param({"gpus_per_trial": "auto"}, LAPTOP, 2, True, id="main-memory"),
        pytest.param({"cpus_per_trial": "auto"}, LAPTOP, 2, True, id="main-memory-by-cores"),
        pytest.param({"gpus_per_trial": "auto"}, LAPTOP, 1, False, id="one-trial"),
        pytest.param(
            {"gpus_per_trial": "auto", "max_concurrent_trials": 1},
            LAPTOP,
            9,
            False,
            id="one-by-one",
        ),
        pytest.param(
            {"cpus_per_trial": "auto", "memory_gib_per_trial": 4}, LAPTOP, 9, False, id="given"
        ),
    ],
)
def test_a_peak_is_needed_only_where_it_decides(
    spec: dict[str, object], machine: Machine, wanted: int, needed: bool
) -> None:
    resources = ResourcesSpec.model_validate(spec)
    assert needs_peak(resources, [machine], num_wanted=wanted) is needed


@pytest.mark.parametrize(
    ("gib", "wanted", "expected"),
    [
        pytest.param(1.0, 100, Grant(cpus=1, memory_gib=1.1, at_once=8), id="cores-decide"),
        pytest.param(9.0, 100, Grant(cpus=2, memory_gib=9.9, at_once=3), id="memory-decides"),
        pytest.param(1.0, 3, Grant(cpus=2, memory_gib=1.1, at_once=3), id="few-are-wanted"),
        pytest.param(1.0, 1, Grant(cpus=8, memory_gib=1.1, at_once=1), id="one-is-wanted"),
    ],
)
def test_cores_are_shared_out_among_the_trials_that_fit_and_are_wanted(
    gib: float, wanted: int, expected: Grant
) -> None:
    found = grant(AUTO, Machine(cpus=8, memory_gib=32), wanted=wanted, memory_gib=gib)
    assert found.memory_gib == pytest.approx(expected.memory_gib)
    assert (found.cpus, found.gpus, found.at_once) == (expected.cpus, 0, expected.at_once)


def test_trials_on_gpus_leave_machines_without_alone() -> None:
    found = grant(AUTO, LAPTOP, SERVER, gpu_gib=30.0, memory_gib=5.0)
    assert (found.gpus, found.cpus, found.at_once) == (0.5, 8.0, 8)


def test_the_smallest_gpu_of_a_cluster_decides_the_share() -> None:
    small = Machine(cpus=8, memory_gib=64, gpus=1, gpu=Gpu(name="Small", memory_gib=24.0))
    assert grant(AUTO, SERVER, small, gpu_gib=10.0).gpus == 0.5


def test_trials_that_wait_for_cores_are_not_counted() -> None:
    starved = Machine(cpus=3, memory_gib=64, gpus=1, gpu=GPU)
    assert grant(AUTO, starved, gpu_gib=7.0) == Grant(cpus=1.0, gpus=0.1, at_once=3)


def test_max_concurrent_trials_bounds_what_runs_at_once() -> None:
    spec = AUTO.model_copy(update={"max_concurrent_trials": 2})
    found = grant(spec, Machine(cpus=8, memory_gib=32), memory_gib=1.0)
    assert (found.cpus, found.at_once) == (4.0, 2)


@pytest.mark.parametrize(
    ("spec", "machine", "peak", "message"),
    [
        pytest.param(
            AUTO, SERVER, {"gpu_gib": 90.0}, r"tiny takes 90\.0 GiB .* GPU has 80\.0\. Lower ",
            id="more-than-a-GPU",
        ),
        pytest.param(
            AUTO, LAPTOP, {"memory_gib": 20.0}, r"tiny takes 22\.0 GiB .* more than 16\.0 GiB",
            id="more-than-main-memory",
        ),
        pytest.param(
            AUTO, SERVER, {}, r"could not be measured\. Give a share", id="no-peak"
        ),
        pytest.param(
            AUTO, Machine(cpus=2, memory_gib=9, gpus=1), {"gpu_gib": 1.0}, "could not be measured",
            id="no-GPU",
        ),
        pytest.param(
            ResourcesSpec(cpus_per_trial=3), LAPTOP, {}, "--set resources.cpus_per_trial=2",
            id="too-many-cores",
        ),
        pytest.param(
            ResourcesSpec(memory_gib_per_trial=17), LAPTOP, {},
            r"resources\.memory_gib_per_trial = 17, but .* 16\.0 GiB", id="too-much-asked",
        ),
        pytest.param(
            ResourcesSpec(), Machine(cpus=0, memory_gib=10), {},
            r"tiny needs 1 CPU, and no machine of the cluster has cores for trials\. Start ",
            id="no-cores",
        ),
    ],
)  # fmt: skip
def test_what_fits_nowhere_is_refused_with_the_way_out(
    spec: ResourcesSpec, machine: Machine, peak: dict[str, float], message: str
) -> None:
    with pytest.raises(BudgetError, match=message):
        grant(spec, machine, **peak)


TWENTY_GIB = Machine(cpus=8, memory_gib=20.0)


@pytest.mark.parametrize(
    ("had", "machines", "larger"),
    [
        pytest.param(
            Grant(cpus=1, gpus=0.3333, at_once=12),
            [LAPTOP, SERVER],
            Grant(cpus=1, gpus=0.5, at_once=8),
            id="next-share-of-the-gpu",
        ),
        pytest.param(
            Grant(cpus=1, gpus=0.3, at_once=3),
            [SERVER],
            Grant(cpus=1, gpus=0.3333, at_once=3),
            id="from-a-share-of-the-users-own",
        ),
        pytest.param(Grant(cpus=1, gpus=1, at_once=4), [SERVER], None, id="had-the-whole-gpu"),
        pytest.param(
            Grant(cpus=2, memory_gib=6.0, at_once=3),
            [TWENTY_GIB],
            Grant(cpus=2, memory_gib=9.0, at_once=2),
            id="more-main-memory",
        ),
        pytest.param(
            Grant(cpus=2, memory_gib=20.0, at_once=1), [TWENTY_GIB], None, id="had-all-memory"
        ),
        pytest.param(
            Grant(cpus=1, at_once=2),
            [LAPTOP],
            Grant(cpus=1, memory_gib=12.0, at_once=1),
            id="no-memory-was-set-aside",
        ),
        pytest.param(Grant(cpus=2, at_once=1), [LAPTOP], None, id="had-the-machine-alone"),
    ],
)
def test_a_trial_that_ran_out_of_memory_is_granted_the_next_size(
    had: Grant, machines: list[Machine], larger: Grant | None
) -> None:
    assert next_larger(had, machines) == larger


def test_the_request_is_in_rays_words() -> None:
    request = Grant(cpus=2, gpus=0.5, memory_gib=1.5, at_once=1).ray_resources()
    assert request == {"cpu": 2, "gpu": 0.5, "memory": 1.5 * 2**30}
    assert Grant(cpus=0.5, at_once=1).ray_resources() == {"cpu": 0.5}
    assert [Grant(cpus=cpus, at_once=1).num_threads for cpus in (0.5, 1, 2.5)] == [1, 1, 2]


def test_what_could_not_be_measured_gets_a_whole_gpu() -> None:
    spec = AUTO.model_copy(update={"max_concurrent_trials": 2})
    plain = without_measuring(spec)
    assert not needs_peak(plain, [SERVER], num_wanted=9)
    assert grant(plain, SERVER) == Grant(cpus=1, gpus=1, at_once=2)
    assert without_measuring(ResourcesSpec(gpus_per_trial=0.5)).gpus_per_trial == 0.5


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ResourcesSpec(cpus_per_trial=8), "with a GPU has more than 2 cores. Lower it with --set"),
        (ResourcesSpec(memory_gib_per_trial=17), "with a GPU and 1 cores has more than 16.0 GiB"),
    ],
)
def test_machines_without_a_gpu_are_not_those_that_are_too_small(
    spec: ResourcesSpec, message: str
) -> None:
    small = Machine(cpus=2, memory_gib=16.0, gpus=1, gpu=GPU)
    with pytest.raises(BudgetError) as caught:
        grant(spec, small, Machine(cpus=64, memory_gib=500.0))
    assert f"no machine of the cluster {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("machines", "num_workers", "fits"),
    [
        pytest.param([LAPTOP], 1, True, id="without-GPUs"),
        pytest.param([Machine(cpus=0, memory_gib=10)], 1, False, id="head-only"),
        pytest.param([], 1, False, id="nothing-up"),
        pytest.param([SERVER], 4, True, id="a-GPU-for-each-worker"),
        pytest.param([SERVER, LAPTOP], 5, False, id="fewer-GPUs-than-workers"),
    ],
)
def test_room_for_a_trial_is_known_before_its_peak(
    machines: list[Machine], num_workers: int, fits: bool
) -> None:
    assert has_room(machines, before_peak(AUTO, num_workers=num_workers)) is fits
