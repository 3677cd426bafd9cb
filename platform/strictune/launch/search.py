"""A sweep with a search: its studies, and then the winners again with fresh seeds."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from optuna.trial import TrialState

from strictune.config import Settings, SweepSpec, TrialSpec, resolve_point
from strictune.errors import SpecError
from strictune.launch.baselines import measure_baselines
from strictune.launch.cluster import ray_cluster
from strictune.launch.driver import driving
from strictune.launch.folder import SweepFolder, write_plan, write_trial
from strictune.launch.grants import num_at_once, with_share
from strictune.launch.progress import reporting
from strictune.launch.study.cell_study import CellStudy, open_storage
from strictune.launch.study.document import best_point, settings_of, write_studies
from strictune.launch.study.searcher import StudySearcher
from strictune.launch.study.warm_start import add_earlier_points
from strictune.launch.sweep import SweepEnd, grant_and_cost, runner_for, train_on
from strictune.launch.trials import Runner, fit, tuner_for
from strictune.launch.vllm import prepare_servers, vllm_servers
from strictune.launch.waiting import wait_for_room
from strictune.served import beside_servers

__all__ = ["confirmation_of", "run_search"]

SERVED_SIZES = ("lora.r", "grpo.max_completion_length", "grpo.max_think_length")
"""Settings that a vLLM server must be started for."""


def run_search(
    sweep: SweepSpec,
    trials: Sequence[TrialSpec],
    folder: SweepFolder,
    *,
    say: Callable[[str], None],
    every_s: float,
) -> SweepEnd:
    """Run the study of every cell to its last point, then train the winners again.

    Args:
        sweep: With a search.
        trials: The cells' own, one for each seed.
        folder: The sweep's.
        say: Takes a line for the terminal.
        every_s: Seconds between two lines about a trial.

    Raises:
        StorageError: Another process runs this sweep, or the studies cannot be opened.
        SpecError: A first point lies outside the space.
        BudgetError: A trial does not fit on the cluster.
    """
    with driving(folder) as driver:
        studies = open_studies(sweep, trials, folder)
        write_studies(folder.path, studies)
        warnings: list[str] = []
        try:
            if any(map(_num_open, studies)):
                with _connected(sweep, trials, folder, driver=driver, say=say) as runner:
                    warnings += _search(sweep, studies, runner, trials, say=say, every_s=every_s)
            confirming = _confirming(sweep, studies, folder, say=say)
            left = [trial for trial in confirming if folder.outcome(trial.trial_id) is None]
            if left:
                with _connected(sweep, left, folder, driver=driver, say=say) as runner:
                    say(f"training winners again: {len(left)} trials with fresh seeds")
                    warnings += train_on(sweep, left, runner, say=say, every_s=every_s)
        except KeyboardInterrupt:
            say("interrupted; trials keep what they have checkpointed")
    return SweepEnd(num_by_state=_count(sweep, studies, folder), warnings=warnings)


def open_studies(
    sweep: SweepSpec, trials: Sequence[TrialSpec], folder: SweepFolder
) -> list[CellStudy]:
    """Open the study of each cell, with its first points queued.

    Raises:
        StorageError: The storage cannot be opened.
        SpecError: A first point lies outside the space.
    """
    assert sweep.search is not None
    storage = open_storage(sweep, folder)
    studies = [
        CellStudy(sweep, list(members), folder, storage=storage)
        for _, members in groupby(trials, key=lambda trial: trial.cell)
    ]
    for study in studies:
        try:
            add_earlier_points(study, sweep.search.warm_start)
            study.enqueue(sweep.search.first)
        except SpecError as error:
            raise SpecError(f"{sweep.name}: search: {error}") from error
    return studies


class Confirmation(NamedTuple):
    """What a study's winner is trained as, or why it is not."""

    trials: tuple[TrialSpec, ...]
    note: str | None = None


def confirmation_of(sweep: SweepSpec, study: CellStudy) -> Confirmation:
    """Return the trials that confirm the winner of a study whose points have all ended.

    The best of many measurements is biased upward, so nothing is said of a winner before it is
    trained again with fresh seeds, beside what it is held against. These trials are an ordinary
    matrix with the axis ``variant``, and the only ones of a search that open the final split.
    """
    assert sweep.search is not None
    confirm = sweep.search.confirm
    if confirm is None:
        return Confirmation((), f"{study.name}: search.confirm is null, nothing is confirmed")
    best = best_point(study)
    if best is None:
        return Confirmation(
            (), f"{study.name}: no point of the study finished, or none is feasible"
        )
    variants: dict[str, Settings] = {}
    if "default" in confirm.against:
        variants["default"] = {}
    first = study.own_points[0]
    if "first" in confirm.against and first.number != best.number and settings_of(first):
        variants["first"] = settings_of(first)
    if not settings_of(best):
        note = f"{study.name}: the best point has the cell's own settings, nothing is to confirm"
        return Confirmation((), note)
    variants[f"p{best.number:03d}"] = settings_of(best)
    return Confirmation(
        tuple(
            resolve_point(sweep, study.cell, settings, variant=variant, seed=seed)
            for variant, settings in variants.items()
            for seed in confirm.seeds
        )
    )


def _confirming(
    sweep: SweepSpec,
    studies: Sequence[CellStudy],
    folder: SweepFolder,
    *,
    say: Callable[[str], None],
) -> list[TrialSpec]:
    """Plan the trials that confirm the winners, once every study is at its end.

    They are the trials of ``plan.json``, and so the Holm families of the sweep.
    """
    if any(map(_num_open, studies)):
        return []
    found = [confirmation_of(sweep, study) for study in studies]
    for confirmation in found:
        if confirmation.note is not None:
            say(confirmation.note)
    trials = [trial for confirmation in found for trial in confirmation.trials]
    write_plan(folder, sweep.model_copy(update={"contrasts": ("variant",)}), trials)
    return trials


@contextmanager
def _connected(
    sweep: SweepSpec,
    trials: Sequence[TrialSpec],
    folder: SweepFolder,
    *,
    driver: str,
    say: Callable[[str], None],
) -> Iterator[Runner]:
    prepare_servers(trials, folder)
    say("starting Ray")
    with ray_cluster():
        wait_for_room(sweep.resources, trials, say=say)
        yield runner_for(sweep, folder, driver=driver)


def _search(
    sweep: SweepSpec,
    studies: Sequence[CellStudy],
    runner: Runner,
    trials: Sequence[TrialSpec],
    *,
    say: Callable[[str], None],
    every_s: float,
) -> list[str]:
    """Run the studies to their last point; returns what the user should know."""
    assert sweep.search is not None
    # An untrained trial stands for each cell: its points need the same memory and baseline.
    cells = SweepFolder(runner.folder.path, trials_name="cells")
    plain = [study.trial_spec({}, "cell", study.cell.seed) for study in studies]
    for trial in plain:
        write_trial(cells, trial)
    num_each = sweep.search.num_trials * len(trials) // len(studies)
    wanted = [trial for trial in plain for _ in range(num_each)]
    granted = grant_and_cost(sweep, wanted, cells, machines=runner.machines, say=say)
    for trial in plain:
        write_trial(cells, with_share(trial, num_at_once(granted)))
    grants = {study.name: granted[trial.cell] for study, trial in zip(studies, plain, strict=True)}
    runner = replace(runner, machines=beside_servers(runner.machines, plain))
    with vllm_servers([*plain, *map(_widest, studies)], cells, grants=granted, say=say):
        warnings = measure_baselines(
            plain, cells, grants=granted, step_timeout_s=runner.step_timeout_s, say=say
        )
        say(f"searching {len(studies)} cells, {sweep.search.num_trials} points each")
        searcher = StudySearcher(
            studies, runner, grants, on_change=lambda: write_studies(runner.folder.path, studies)
        )
        criterion = sweep.task.primary_criterion
        with reporting(runner.folder, primary_criterion=criterion, say=say, every_s=every_s):
            tuner = tuner_for(runner, name="search", grants=grants.values(), searcher=searcher)
            if fit(tuner).is_interrupted:
                raise KeyboardInterrupt
            searcher.record_lost()
    left_open = list(dict.fromkeys(searcher.left_open))
    for reason in left_open:
        say(f"left open: {reason}")
    return [*warnings, *left_open]


def _widest(study: CellStudy) -> TrialSpec:
    """Return a trial of a cell at the largest sizes of its space, for its server."""
    largest = {
        key: max(dimension.choices or (dimension.high,))  # type: ignore[type-var]
        for key, dimension in study.search.space.settings.items()
        if key in SERVED_SIZES
    }
    return study.trial_spec(largest, "cell", study.cell.seed)


def _num_open(study: CellStudy) -> int:
    """Count the points that are asked for and not told, or not asked for yet."""
    running = sum(trial.state is TrialState.RUNNING for trial in study.own_points)
    return running + max(study.search.num_trials - len(study.own_points), 0)


def _count(sweep: SweepSpec, studies: Sequence[CellStudy], folder: SweepFolder) -> dict[str, int]:
    """Count points and confirming trials by how they stand; one stopped early has done its part."""
    states: Counter[str] = Counter()
    is_searched = not any(map(_num_open, studies))
    for study in studies:
        states["open"] += _num_open(study)
        for trial in study.own_points:
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                states["FINISHED"] += 1
            elif trial.state is TrialState.FAIL:
                states["FAILED"] += 1
    for study in studies if is_searched else ():
        for spec in confirmation_of(sweep, study).trials:
            outcome = folder.outcome(spec.trial_id)
            states[outcome.state if outcome else "open"] += 1
    return {state: count for state, count in states.items() if count}
