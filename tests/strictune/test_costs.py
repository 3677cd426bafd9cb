import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cost_fakes import GPU, ON_CPU, ON_GPU, a_cost, a_probe, sweep_of

from strictune.config import SweepSpec, TrialSpec, expand
from strictune.cost_cache import HEAP_GROWTH, CostCache
from strictune.costs import SweepCosts, expected_costs, measured_peak, trials_to_probe, write_costs
from strictune.errors import BudgetError
from strictune.packing import Machine, Peak
from strictune.records import CellPlan
from trainables.devices import PEAK_MARGIN

AUTO = {"gpus_per_trial": "auto", "cpus_per_trial": "auto"}


@pytest.fixture
def cache(tmp_path: Path) -> CostCache:
    return CostCache(tmp_path)


def planned(cache: CostCache, *machines: Machine, **changes: Any) -> SweepCosts:
    sweep = sweep_of(**changes)
    return expected_costs(sweep.resources, expand(sweep), machines or [ON_CPU], cache)


def only_cell(costs: SweepCosts) -> CellPlan:
    [cell] = costs.cells.values()
    return cell


def to_probe(cache: CostCache, *machines: Machine, **changes: Any) -> list[TrialSpec]:
    sweep = sweep_of(**changes)
    return trials_to_probe(sweep.resources, expand(sweep), machines or [ON_CPU], cache)


def trial(**changes: Any) -> TrialSpec:
    return expand(sweep_of(**changes))[0]


def test_numbers_need_no_probe(cache: CostCache) -> None:
    assert to_probe(cache, resources={"gpus_per_trial": 0.5}, matrix={"seed": [0, 1]}) == []


def test_one_trial_of_each_shape_is_probed(cache: CostCache) -> None:
    matrix = {"thinking": [False, True], "curriculum": ["standard", "three_stage"], "seed": [0, 1]}
    lengths = {"grpo": {"max_think_length": 64}}
    found = to_probe(cache, matrix=matrix, resources=AUTO, **lengths)
    # Both curricula deal the same difficulties, at the same lengths.
    assert [(trial.thinking, trial.seed) for trial in found] == [(False, 0), (True, 0)]
    cache.add_probe(found[0], a_probe())
    again = to_probe(cache, matrix=matrix, resources=AUTO, **lengths)
    assert [trial.thinking for trial in again] == [True]


def test_earlier_trials_do_not_replace_the_probe(cache: CostCache) -> None:
    changes = {"matrix": {"seed": [0, 1]}, "resources": AUTO}
    cache.add_trial(trial(), a_cost())
    assert len(to_probe(cache, **changes)) == 1


def test_the_measured_peak_is_what_packs(cache: CostCache) -> None:
    assert measured_peak(trial(), [ON_GPU], cache) is None
    cache.add_probe(trial(), a_probe(device=GPU.name, gpu_gib=6.0, memory_gib=4.0))
    expected = Peak(gpu_gib=6.0, memory_gib=4.0 * HEAP_GROWTH)
    assert measured_peak(trial(), [ON_CPU, ON_GPU], cache) == expected
    assert measured_peak(trial(), [ON_CPU], cache) is None


def test_memory_is_estimated_until_it_is_measured(cache: CostCache) -> None:
    guess = only_cell(planned(cache)).memory
    assert guess.source == "estimated"
    assert guess.peak_gib is not None
    cache.add_probe(trial(), a_probe(memory_gib=2.5))
    assert only_cell(planned(cache)).memory.peak_gib == 2.5
    assert only_cell(planned(cache)).memory.source == "measured"


def test_memory_of_a_model_that_is_nowhere_is_unknown(cache: CostCache) -> None:
    cell = only_cell(planned(cache, ON_GPU, model="someone/absent", resources=AUTO))
    assert (cell.memory.peak_gib, cell.memory.source) == (None, "unknown")
    assert (cell.grant, cell.problem) == (None, None)


def test_an_estimate_packs_a_gpu_with_more_room_than_a_measurement(cache: CostCache) -> None:
    cell = only_cell(planned(cache, ON_GPU, resources=AUTO))
    assert cell.memory.peak_gib is not None
    assert cell.grant is not None
    assert cell.grant.gpus * GPU.memory_gib > cell.memory.peak_gib * PEAK_MARGIN * 1.2


def test_a_measured_trial_is_packed_by_memory_without_a_gpu(cache: CostCache) -> None:
    cache.add_trial(trial(), a_cost(memory_gib=7.0))
    grant = only_cell(planned(cache, resources=AUTO, matrix={"seed": [0, 1, 2]})).grant
    assert grant is not None
    assert (grant.cpus, grant.at_once) == (2.0, 2)


def test_a_share_that_is_too_small_is_said(cache: CostCache) -> None:
    cache.add_probe(trial(), a_probe(device=GPU.name, gpu_gib=9.0))
    tight = only_cell(planned(cache, ON_GPU, resources={"gpus_per_trial": 0.25}))
    assert tight.problem == (
        "takes 9.0 GiB (measured), but 0.25 of NVIDIA GPU is 6.0. Raise "
        "resources.gpus_per_trial, or set it to auto."
    )
    assert only_cell(planned(cache, ON_GPU, resources={"gpus_per_trial": 0.5})).problem is None


def test_main_memory_that_does_not_hold_all_trials_at_once_is_said(cache: CostCache) -> None:
    cache.add_trial(trial(), a_cost(memory_gib=7.0))
    numbers: Any = {"gpus_per_trial": 1, "cpus_per_trial": 1}
    cell = only_cell(planned(cache, resources=numbers, matrix={"seed": [0, 1, 2]}))
    assert cell.problem == (
        "takes 7.0 GiB (measured), so that 3 at once do not fit into main memory, 2 would. Set "
        "resources.gpus_per_trial to auto, which packs by memory, or "
        "resources.max_concurrent_trials to 2."
    )
    fewer = numbers | {"max_concurrent_trials": 2}
    assert only_cell(planned(cache, resources=fewer, matrix={"seed": [0, 1, 2]})).problem is None
    cache.add_trial(trial(), a_cost(memory_gib=30.0))
    assert "but no machine has more than 16.0" in str(only_cell(planned(cache)).problem)


def test_what_does_not_fit_is_a_problem_of_its_cell(cache: CostCache) -> None:
    cache.add_probe(trial(), a_probe(device=GPU.name, gpu_gib=30.0))
    cell = only_cell(planned(cache, ON_GPU, resources=AUTO))
    assert cell.grant is None
    assert "takes 30.0 GiB at its worst lengths" in str(cell.problem)


def test_hours_are_a_guess_before_anything_was_timed(cache: CostCache) -> None:
    costs = planned(cache)
    cell = only_cell(costs)
    assert (cell.step.source, costs.hours_source) == ("guess", "guess")
    assert cell.step.step_s and cell.step.evaluation_s and cell.hours
    total_s = 100 * cell.step.step_s + cell.step.evaluation_s
    assert cell.hours == costs.trial_hours == pytest.approx(total_s / 3600)
    assert costs.document()["hours_source"] == "guess"


def test_hours_of_a_model_that_is_nowhere_are_unknown(cache: CostCache) -> None:
    costs = planned(cache, model="someone/absent")
    assert only_cell(costs).step.source == "unknown"
    assert (only_cell(costs).hours, costs.trial_hours, costs.wall_hours) == (None, None, None)
    assert costs.hours_source == "unknown"


def test_the_least_sure_cell_decides_what_the_sum_is_called(cache: CostCache) -> None:
    cache.add_probe(trial(), a_probe())
    both = {"matrix": {"thinking": [False, True]}}
    assert planned(cache).hours_source == "probe, at worst lengths"
    assert planned(cache, **both).hours_source == "guess"


def test_the_step_of_a_sweep_without_its_rows_is_guessed_and_its_hours_are_not(
    cache: CostCache, tmp_path: Path
) -> None:
    rows = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "validation", "test")}
    judge = {"kind": "lexical"}
    sweep = sweep_of().model_dump(mode="json")
    sweep |= {"task": {"kind": "refiner", "judge": judge, **rows}}
    sweep["trial"] |= {"model": "builtin:tiny_citing"}
    spec = SweepSpec.model_validate(sweep)
    cell = only_cell(expected_costs(spec.resources, expand(spec), [ON_CPU], cache))
    assert (cell.step.source, cell.step.evaluation_s, cell.hours) == ("guess", None, None)
    assert cell.step.step_s


def test_a_server_takes_its_share_before_trials_are_packed(cache: CostCache) -> None:
    def at_once(machine: Machine, **vllm: Any) -> int:
        options = {"rollouts": {"engine": "vllm", "vllm": vllm or None}}
        resources = {"gpus_per_trial": 0.25, "memory_gib_per_trial": 2}
        matrix = {"seed": [*range(9)]}
        cell = only_cell(planned(cache, machine, resources=resources, matrix=matrix, **options))
        assert cell.grant is not None
        return cell.grant.at_once

    large = replace(ON_GPU, cpus=64.0, memory_gib=256.0)
    assert at_once(large) == 2  # 0.3 is the server's.
    assert at_once(large, gpu_memory_utilization=0.2) == 3
    assert at_once(replace(large, gpus=2)) == 6
    assert at_once(large, base_url="http://127.0.0.1:8000/v1") == 4
    small = replace(ON_CPU, cpus=64.0, memory_gib=10.0)
    assert at_once(small, base_url="http://127.0.0.1:8000/v1") == 5
    assert at_once(small) == 2  # Of 10 GiB 4.5 are the server's.


@pytest.mark.parametrize(
    ("machine", "options", "message"),
    [
        pytest.param(
            ON_GPU,
            {"rollouts": {"engine": "vllm", "vllm": {"gpu_memory_utilization": 0.9}}},
            r"takes 0\.25 of a GPU, and its vLLM server leaves 0\.1\. Lower",
            id="no-room-beside-it",
        ),
        pytest.param(
            replace(ON_CPU, memory_gib=3.0),
            {"rollouts": {"engine": "vllm"}},
            r"the servers \(bases: 1\) take 4\.5 GiB of main memory, and 3\.0 are left",
            id="no-memory",
        ),
        pytest.param(
            ON_GPU,
            {
                "rollouts": {"engine": "vllm", "vllm": {"gpu_memory_utilization": 0.5}},
                "matrix": {"model": ["builtin:tiny", "package:smollm2-135m"]},
            },
            r"the servers \(bases: 2\) take 1 of a GPU, which leaves nothing .* --only",
            id="two-bases",
        ),
    ],
)
def test_no_room_for_a_server_is_refused(
    cache: CostCache, machine: Machine, options: dict[str, Any], message: str
) -> None:
    machine = replace(machine, cpus=64.0)
    with pytest.raises(BudgetError, match=message):
        costs = planned(cache, machine, resources={"gpus_per_trial": 0.25}, **options)
        raise BudgetError(str([cell.problem for cell in costs.cells.values()]))


def test_a_trial_with_a_server_trains_in_less_memory_and_times_no_made_up_completions(
    cache: CostCache,
) -> None:
    vllm = {"rollouts": {"engine": "vllm"}}
    evaluation = {"batch_size": 1024}  # In which a trial alone takes most.
    served, alone = (
        only_cell(planned(cache, evaluation=evaluation, **engine)) for engine in (vllm, {})
    )
    assert served.memory.peak_gib < alone.memory.peak_gib
    cache.add_probe(trial(**vllm), a_probe())
    again = only_cell(planned(cache, **vllm))
    assert (again.memory.source, again.step.source) == ("measured", "guess")


def test_hours_after_a_probe_are_those_of_the_worst_lengths(cache: CostCache) -> None:
    cache.add_probe(trial(), a_probe(step_s=36.0, evaluation_s=360.0))
    standard = only_cell(planned(cache))
    assert standard.step.source == "probe, at worst lengths"
    # 100 steps of 36 s, one evaluation of the stage and one of the final split.
    assert standard.hours == pytest.approx(1.0 + 0.2)
    assert only_cell(planned(cache, curriculum="three_stage")).hours == pytest.approx(1.0 + 0.4)


def test_hours_after_earlier_trials_are_their_medians(cache: CostCache) -> None:
    cache.add_probe(trial(), a_probe())
    for seed, step_s in enumerate((17.0, 18.0, 40.0)):
        cache.add_trial(trial(matrix={"seed": [seed]}), a_cost(step_s=step_s))
    cell = only_cell(planned(cache))
    assert (cell.step.source, cell.step.step_s) == ("earlier trials", 18.0)
    assert cell.hours == pytest.approx((100 * 18 + 720 + 180) / 3600)


def test_trials_of_the_same_curriculum_and_then_of_the_same_grant_are_closest(
    cache: CostCache,
) -> None:
    costs = {
        0: a_cost(curriculum="three_stage", step_s=5.0),
        1: a_cost(num_threads=4, step_s=6.0),
        2: a_cost(num_threads=1, step_s=9.0),
    }
    for seed, cost in costs.items():
        cache.add_trial(trial(matrix={"seed": [seed]}), cost)

    def step_s(**changes: Any) -> float | None:
        return only_cell(planned(cache, **changes)).step.step_s

    assert step_s(curriculum="three_stage") == 5.0
    assert step_s(resources={"cpus_per_trial": 4}) == 6.0
    assert step_s(resources={"cpus_per_trial": 1}) == 9.0
    assert step_s(resources={"cpus_per_trial": 2}) == 7.5


def test_the_sum_counts_trials_gpus_and_the_clock(cache: CostCache) -> None:
    cache.add_probe(trial(), a_probe(device=GPU.name, gpu_gib=5.0, evaluation_s=0.0))
    costs = planned(cache, ON_GPU, resources=AUTO, matrix={"seed": [0, 1, 2, 3]})
    # One hour each, four at once on a quarter of the GPU each.
    assert costs.trial_hours == pytest.approx(4.0)
    assert costs.gpu_hours == pytest.approx(1.0)
    assert costs.wall_hours == pytest.approx(1.0)
    one_by_one = planned(
        cache, ON_GPU, resources={"max_concurrent_trials": 1}, matrix={"seed": [0, 1, 2]}
    )
    assert one_by_one.wall_hours == pytest.approx(3.0)


def test_the_clock_is_no_shorter_than_the_longest_trial(cache: CostCache) -> None:
    short, long = {"max_completion_length": 64}, {"max_completion_length": 64, "max_steps": 1000}
    cache.add_trial(trial(grpo=short), a_cost(step_s=36.0, evaluation_s=0.0, other_s=0.0))
    costs = planned(cache, grpo=long, resources={"max_concurrent_trials": 4})
    assert costs.wall_hours == pytest.approx(10.0)


def test_the_document_is_json_and_names_its_sources(cache: CostCache) -> None:
    cache.add_probe(trial(), a_probe(device=GPU.name, gpu_gib=5.0))
    document = json.loads(json.dumps(planned(cache, ON_GPU, resources=AUTO).document()))
    [cell] = document["cells"].values()
    assert cell["memory"] == {"peak_gib": 5.0, "source": "measured"}
    assert cell["grant"]["gpus"] == 0.25
    assert document["device"] == GPU.name
    assert document["machines"][0]["gpu"]["memory_gib"] == 24.0


def test_a_resumed_sweep_keeps_what_was_expected_at_first(cache: CostCache, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    write_costs(sweep, planned(cache))
    cache.add_probe(trial(), a_probe())
    write_costs(sweep, planned(cache, matrix={"thinking": [False, True]}))
    cells = json.loads((sweep / "costs.json").read_text())["cells"]
    assert [cell["step"]["source"] for cell in cells.values()] == ["guess", "guess"]
    assert len(cells) == 2
    assert [cell["memory"]["source"] for cell in cells.values()] == ["estimated", "estimated"]
