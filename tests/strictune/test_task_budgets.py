"""What a sweep may ask of a judge, shared by the trials that run at the same time."""

import json
from pathlib import Path

import pytest
import yaml

from strictune.cli import main
from strictune.config import SweepSpec, expand, load_sweep, load_trial
from strictune.launch.folder import SweepFolder, write_trial
from strictune.launch.grants import num_at_once, with_share
from strictune.packing import Machine
from strictune.planning import shared_budgets
from strictune.records import Grant

JUDGE = {
    "kind": "openai",
    "base_url": "http://judge/v1",
    "model": "m",
    "max_concurrent_calls": 90,
    "tokens_per_minute": 3000.0,
}
SWEEP = {
    "name": "judged",
    "task": {"kind": "refiner", "judge": JUDGE},
    "trial": {"model": "builtin:tiny", "grpo": {"max_steps": 4}},
    "matrix": {"seed": [0, 1, 2]},
    "resources": {"gpus_per_trial": 1, "cpus_per_trial": 1, "max_concurrent_trials": 2},
}
KEYS = ("task.judge.max_concurrent_calls", "task.judge.tokens_per_minute")


def two_cores() -> Machine:
    return Machine(cpus=2, memory_gib=16)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(SWEEP))
    return path


@pytest.fixture
def sweep(file: Path) -> SweepSpec:
    return load_sweep(file)


def test_a_trial_is_written_with_its_share_under_the_same_name(
    sweep: SweepSpec, tmp_path: Path
) -> None:
    trial = expand(sweep)[0]
    grants = {"a": Grant(cpus=1, at_once=3), "b": Grant(cpus=2, at_once=1)}
    folder = write_trial(SweepFolder(tmp_path), with_share(trial, num_at_once(grants)))
    written = load_trial(folder / "trial.yaml")
    assert written.task.judge.max_concurrent_calls == 30
    assert written.task.judge.tokens_per_minute == 1000
    assert written.trial_id == trial.trial_id == folder.name


def test_the_processes_of_a_trial_divide_its_share_once(sweep: SweepSpec) -> None:
    trial = expand(sweep)[0]
    workers = trial.distributed.model_copy(update={"num_workers": 2})
    both = trial.model_copy(update={"distributed": workers})
    share = with_share(both, 3).task
    assert share.judge.max_concurrent_calls == 30
    each = share.shared_by(both.distributed.num_workers)  # As each process does.
    assert list(each.limits().values()) == [15, 500]
    assert [found.process for found in shared_budgets([both], at_once=3)] == [15, 500]


def test_budgets_of_variants_with_other_judges_are_listed_each(sweep: SweepSpec) -> None:
    trials = expand(sweep)
    [first, second] = shared_budgets(trials, at_once=2)
    assert (first, second) == ((KEYS[0], 90, 45), (KEYS[1], 3000, 1500))
    assert [found.process for found in shared_budgets(trials, at_once=None)] == [None, None]
    larger = {**JUDGE, "max_concurrent_calls": 8}
    other = sweep.task.model_validate({"kind": "refiner", "judge": larger})
    found = shared_budgets([*trials, trials[0].model_copy(update={"task": other})], at_once=2)
    assert [(budget.sweep, budget.process) for budget in found] == [(90, 45), (3000, 1500), (8, 4)]
    offline = sweep.task.model_validate({"kind": "refiner"})
    assert shared_budgets([trials[0].model_copy(update={"task": offline})], at_once=2) == []


def test_the_plan_says_what_each_trial_may_use(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strictune.cli.plan.this_machine", two_cores)
    assert main(["plan", str(file)]) == 0
    assert f"{KEYS[0]} = 90 is the sweep's: 45 for each process, 2 trials at the same time." in (
        capsys.readouterr().out
    )
    assert main(["plan", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["budgets"] == [
        {"key": KEYS[0], "sweep": 90, "process": 45},
        {"key": KEYS[1], "sweep": 3000, "process": 1500},
    ]
