"""Which probes a launcher starts, what it keeps of them, and what it says when one fails."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
from cost_fakes import GPU, ON_CPU, ON_GPU, a_probe, sweep_of

from strictune.config import TrialSpec, expand
from strictune.cost_cache import HEAP_GROWTH, CostCache
from strictune.errors import BudgetError, TrialError
from strictune.launch import grants as granting
from strictune.launch.folder import SweepFolder
from strictune.launch.grants import grant_cells
from strictune.packing import Machine
from trainables.devices import PEAK_MARGIN
from trainables.memory.measured import Probe

AUTO = {"gpus_per_trial": "auto", "cpus_per_trial": "auto"}
TWO_SHAPES = {"matrix": {"thinking": [False, True], "seed": [0, 1]}, "resources": AUTO}
TWO_GPUS = Machine(cpus=8, memory_gib=64, gpus=2, gpu=GPU)

Outcome = Callable[[TrialSpec], Probe | str]


class Launch:
    """Probes without Ray: remembers which ran together, and answers as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, outcome: Outcome) -> None:
        self.batches: list[list[str]] = []
        self.said: list[str] = []
        self.cache = CostCache(folder / "costs")
        self._folder = SweepFolder(folder)

        def answer(spec: object, trials: Sequence[TrialSpec], *_: object) -> Iterator[Any]:
            self.batches.append([trial.cell for trial in trials])
            for trial in trials:
                yield trial, outcome(trial)

        monkeypatch.setattr(granting, "_probe", answer)

    def measure(self, *machines: Machine, **changes: Any) -> None:
        sweep = sweep_of(**changes)
        granting.measure_peaks(
            sweep.resources,
            expand(sweep),
            self._folder,
            machines=machines,
            cache=self.cache,
            say=self.said.append,
        )


def test_without_a_gpu_probes_follow_each_other_and_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launch = Launch(monkeypatch, tmp_path, lambda trial: a_probe(memory_gib=2.0))
    launch.measure(ON_CPU, **TWO_SHAPES)
    assert launch.batches == [["tiny · no-think · standard"], ["tiny · think · standard"]]
    assert "tiny · think · standard takes 2.0 GiB; measured in 100 s" in launch.said
    launch.measure(ON_CPU, **TWO_SHAPES)
    assert len(launch.batches) == 2
    sweep = sweep_of(**TWO_SHAPES)
    grants = grant_cells(sweep.resources, expand(sweep), [ON_CPU], cache=launch.cache)
    assert {grant.memory_gib for grant in grants.values()} == {2.0 * HEAP_GROWTH * PEAK_MARGIN}


def test_probes_share_the_gpus_and_count_for_the_smallest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launch = Launch(
        monkeypatch, tmp_path, lambda trial: a_probe(device="a larger GPU", gpu_gib=5.0)
    )
    launch.measure(TWO_GPUS, **TWO_SHAPES)
    assert [len(batch) for batch in launch.batches] == [2]
    sweep = sweep_of(**TWO_SHAPES)
    grants = grant_cells(sweep.resources, expand(sweep), [TWO_GPUS], cache=launch.cache)
    assert {grant.gpus for grant in grants.values()} == {0.25}


def test_a_share_that_was_too_small_is_said_and_not_granted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launch = Launch(
        monkeypatch, tmp_path, lambda trial: a_probe(gpu_gib=5.0, gpu_failed_gib=0.25 * 23.6)
    )
    launch.measure(ON_GPU, resources=AUTO)
    assert launch.said[-1] == (
        "tiny · no-think · standard ran out of memory in 5.9 GiB of the GPU: it is granted the "
        "next larger share"
    )
    sweep = sweep_of(resources=AUTO)
    [grant] = grant_cells(sweep.resources, expand(sweep), [ON_GPU], cache=launch.cache).values()
    assert grant.gpus == 0.3333


def test_numbers_and_gpus_that_show_nothing_are_not_probed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launch = Launch(monkeypatch, tmp_path, lambda trial: a_probe())
    launch.measure(ON_GPU, resources={"gpus_per_trial": 0.5}, matrix={"seed": [0, 1]})
    pretended = Machine(cpus=4, memory_gib=16, gpus=1)
    launch.measure(pretended, **TWO_SHAPES)
    assert launch.batches == []
    sweep = sweep_of(**TWO_SHAPES)
    with pytest.raises(BudgetError, match=r"could not be measured\. Give a share"):
        grant_cells(sweep.resources, expand(sweep), [pretended], cache=launch.cache)


def test_all_failures_are_told_and_what_was_measured_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launch = Launch(
        monkeypatch, tmp_path, lambda trial: "too large" if trial.thinking else a_probe()
    )
    with pytest.raises(BudgetError, match=r"^too large$"):
        launch.measure(ON_CPU, **TWO_SHAPES)
    first = expand(sweep_of(**TWO_SHAPES))[0]
    assert launch.cache.read(first, device=a_probe().device).probe is not None


@pytest.mark.parametrize(
    "error",
    [
        TrialError("the memory of x could not be measured: no such model"),
        BudgetError("x needs more memory"),
    ],
)
def test_what_a_probe_says_is_said_as_it_is(error: Exception) -> None:
    told = ray.exceptions.RayTaskError("measure_probe_of", "traceback", error)
    assert granting._reason(expand(sweep_of())[0], told) == str(error)


def test_a_probe_whose_process_is_lost_says_what_to_do() -> None:
    trial = expand(sweep_of())[0]
    killed = granting._reason(trial, ray.exceptions.OutOfMemoryError("low on memory"))
    assert killed.startswith("tiny · no-think · standard needs more memory at its worst lengths")
    assert "Lower trial.grpo.per_device_train_batch_size" in killed
    crashed = granting._reason(trial, ray.exceptions.WorkerCrashedError())
    assert "could not be measured: " in crashed
    assert crashed.endswith("Give numbers instead of auto under resources.")
