"""Reads a sweep once and lists everything that its report shows, as tables.

Completions are read but not kept: ``packing`` reads them again, one run at a time, when the
rest of the page is known and with it the room that is left for them.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from analysis.controls import control_arms
from analysis.measured import MeasuredTrial
from analysis.records import TRIALS, RunRecord, read_plan, read_run
from analysis.report.answers import Answers, prompt_changes, read_answers
from analysis.report.comparisons import comparison_rows
from analysis.report.control_rows import control_rows
from analysis.report.cost_rows import cost_rows
from analysis.report.curve_rows import curve_tables
from analysis.report.equal_tokens import equal_token_rows, waypoints
from analysis.report.judge_rows import judge_rows
from analysis.report.measure_rows import measure_rows
from analysis.report.part_rows import part_rows
from analysis.report.prompts import SweepPrompts, read_prompts
from analysis.report.run_rows import RunRows, run_rows
from analysis.report.selection import MAX_SERIES, spread
from analysis.report.stage_rows import Stage, stage_tables
from analysis.report.trial_rows import (
    change_rows,
    error_rows,
    side_rows,
    trial_facts,
    verdict_tables,
)
from analysis.study import Findings, study_findings
from analysis.study import wording as study_wording
from analysis.sweep import SweepVerdicts, sweep_verdicts
from analysis.tables import Row
from analysis.trials import TrialVerdict
from analysis.wording import HOW_TO_READ
from strictune.errors import StorageError, StrictuneError
from strictune.records import STUDIES

__all__ = ["TABLES", "OnPhase", "SweepTables", "gather", "reading_rules", "silent"]

TABLES = (
    "differences",
    "comparisons",
    "equal_tokens",
    "controls",
    "rungs",
    "difficulties",
    "constructs",
    "error_classes",
    "changes",
    "lengths",
    "measures",
    "parts",
    "judge",
    "stages",
    "stage_errors",
    "stage_differences",
    "rewards",
    "think_rates",
    "zero_std_groups",
    "costs",
)

OnPhase = Callable[[str], None]
"""Is told what is being done, e.g. ``reading trial 3 of 12``."""


_GROUPS = ("trial_id", "stage", "factor", "level", "against", "within")
"""What rows have in common that are ordered by difficulty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTables:
    """A sweep in tables."""

    folder: Path
    verdicts: SweepVerdicts
    prompts: SweepPrompts
    tables: Mapping[str, list[dict[str, object]]]
    """Each of ``TABLES``; without rows where nothing was measured."""
    search: Findings | None
    """What its studies have found; None without a search."""
    problems: tuple[str, ...]
    """What could not be read and was left out."""

    def by_trial(self) -> dict[str, RunRows]:
        """Return each trial's rows of the tables that list trials."""
        found: dict[str, RunRows] = defaultdict(lambda: defaultdict(list))
        for name, rows in self.tables.items():
            for row in rows:
                if "trial_id" in row:
                    found[str(row["trial_id"])][name].append(row)
        return found


class _Stage(BaseModel, frozen=True):
    name: str
    steps: int


class _Cell(BaseModel, frozen=True):
    name: str
    stages: tuple[_Stage, ...] = ()


class _Stages(BaseModel, frozen=True):
    """The part of ``plan.json`` that says when stages end."""

    cells: tuple[_Cell, ...] = ()


def reading_rules(sweep: SweepTables) -> tuple[str, ...]:
    """Return how to read the report, and what was left out of it."""
    of_search = () if sweep.search is None else study_wording.HOW_TO_READ
    return (*HOW_TO_READ, *of_search, *sweep.problems)


def silent(_: str) -> None:
    """Tell nobody."""


def gather(folder: Path, *, on_phase: OnPhase = silent) -> SweepTables:
    """Read the folders of a sweep, finished or not.

    Args:
        folder: The sweep's.
        on_phase: Shows progress.

    Raises:
        StorageError: ``plan.json`` is missing or cannot be understood.
    """
    on_phase("judging trials")
    verdicts = sweep_verdicts(folder)
    stages = _stages(folder)
    reader = _Reader(folder, verdicts.primary_rung)
    tables: RunRows = defaultdict(list)
    problems: list[str] = []
    for number, trial in enumerate(verdicts.trials, start=1):
        on_phase(f"reading trial {number} of {len(verdicts.trials)}")
        found = [verdict_tables(trial), reader.answer_tables(trial)]
        try:
            found.append(_stage_tables(folder, trial, stages, verdicts))
        except StorageError as error:
            problems.append(str(error))
        for part in found:
            for name, rows in part.items():
                tables[name] += rows
    on_phase("comparing cells")
    comparing: dict[str, Callable[[], list[Row]]] = {
        "comparisons": lambda: _comparison_rows(folder, reader.runs, verdicts),
        "equal_tokens": lambda: _equal_token_rows(folder, verdicts, stages),
        "controls": lambda: _control_rows(folder, reader.runs, verdicts),
    }
    for name, rows_of in comparing.items():
        try:
            tables[name] = rows_of()
        except StrictuneError as error:
            problems.append(str(error))
    tables.update(curve_tables(_curve_folders(folder, verdicts)))
    on_phase("reading costs and prompts")
    tables["costs"] = cost_rows(folder, verdicts)
    prompts = read_prompts(_any_finished(folder, verdicts))
    search = None
    if (folder / STUDIES).exists():
        on_phase("reading the search")
        try:
            search = study_findings(folder)
        except StrictuneError as error:
            problems.append(str(error))
    return SweepTables(
        folder=folder,
        verdicts=verdicts,
        prompts=prompts,
        tables={name: _easiest_first(tables[name], prompts.difficulties) for name in TABLES},
        search=search,
        problems=tuple(problems),
    )


class _Reader:
    """Reads answers, one trial after the other; baselines are shared and read once."""

    def __init__(self, folder: Path, rung: str) -> None:
        self.folder = folder
        self.rung = rung
        self.runs: list[MeasuredTrial] = []
        """What was read, without its texts."""
        self._baselines: dict[str, tuple[Answers, RunRows]] = {}

    def answer_tables(self, trial: TrialVerdict) -> RunRows:
        """Return what the answers of a finished trial show."""
        if trial.result is None:
            return {}
        record = read_run(self.folder / TRIALS / trial.plan.trial_id)
        ours = read_answers(record)
        own = run_rows(ours, self.rung)
        theirs, shared = None, None
        if trial.comparison is not None:
            theirs, shared = self._baseline(record)
        self.runs.append(
            MeasuredTrial(trial.plan, ours.measured, theirs.measured if theirs else None)
        )
        tables = side_rows(trial, own, shared)
        facts = trial_facts(trial)
        tables["error_classes"] = error_rows(trial, ours, theirs)
        tables["measures"] = measure_rows(facts, ours.measured, theirs.measured if theirs else None)
        tables["parts"] = part_rows(facts, record.folder)
        tables["judge"] = judge_rows(facts, record.folder)
        if theirs is not None:
            changes = prompt_changes(ours.measured, theirs.measured, self.rung)
            tables["changes"] = change_rows(trial, ours, changes)
        return tables

    def _baseline(self, record: RunRecord) -> tuple[Answers, RunRows]:
        name = record.locked.baseline
        if name not in self._baselines:
            answers = read_answers(read_run(record.baseline_folder))
            self._baselines[name] = answers, run_rows(answers, self.rung)
        return self._baselines[name]


def _stages(folder: Path) -> dict[str, tuple[Stage, ...]]:
    plan = _Stages.model_validate_json((folder / "plan.json").read_bytes())
    found = {}
    for cell in plan.cells:
        ends, step = [], 0
        for stage in cell.stages:
            step += stage.steps
            ends.append(Stage(stage.name, step))
        found[cell.name] = tuple(ends)
    return found


def _comparison_rows(
    folder: Path, runs: Sequence[MeasuredTrial], verdicts: SweepVerdicts
) -> list[Row]:
    contrasts = read_plan(folder).contrasts
    return comparison_rows(runs, verdicts.primary_rung, contrasts=contrasts)


def _equal_token_rows(
    folder: Path, verdicts: SweepVerdicts, stages: Mapping[str, tuple[Stage, ...]]
) -> list[Row]:
    plans = [trial.plan for trial in verdicts.trials]
    if len({plan.model for plan in plans}) < 2:
        return []
    trials = []
    for plan in plans:
        record = read_run(folder / TRIALS / plan.trial_id)
        trials.append((plan, record, waypoints(record, stages.get(plan.cell, ()))))
    return equal_token_rows(trials, verdicts.primary_rung)


def _stage_tables(
    folder: Path,
    trial: TrialVerdict,
    stages: Mapping[str, tuple[Stage, ...]],
    verdicts: SweepVerdicts,
) -> RunRows:
    planned = stages.get(trial.plan.cell, ())
    facts = {
        **trial_facts(trial),
        "curriculum": trial.plan.curriculum,
        "method": trial.plan.method,
        "thinking": "think" if trial.plan.thinking else "no-think",
    }
    record = read_run(folder / TRIALS / trial.plan.trial_id)
    return stage_tables(facts, record, planned, verdicts.primary_rung)


def _control_rows(
    folder: Path, runs: Sequence[MeasuredTrial], verdicts: SweepVerdicts
) -> list[Row]:
    cells = {cell.cell: cell.verdict for cell in verdicts.cells}
    return control_rows(control_arms(folder, runs, rung=verdicts.primary_rung, verdicts=cells))


def _curve_folders(folder: Path, verdicts: SweepVerdicts) -> dict[str, list[Path]]:
    """Return the trials of the cells whose curves are drawn: the files are long."""
    cells: dict[str, list[Path]] = defaultdict(list)
    for trial in verdicts.trials:
        path = folder / TRIALS / trial.plan.trial_id
        if (path / "metrics.jsonl").exists():
            cells[trial.plan.cell].append(path)
    return {name: cells[name] for name in spread(list(cells), MAX_SERIES)}


def _any_finished(folder: Path, verdicts: SweepVerdicts) -> Path | None:
    for trial in verdicts.trials:
        if trial.result is not None:
            return folder / TRIALS / trial.plan.trial_id
    return None


def _easiest_first(
    rows: list[dict[str, object]], difficulties: Sequence[str]
) -> list[dict[str, object]]:
    """Order rows that differ in difficulty alone, where the task says how."""
    if not rows or "difficulty" not in rows[0] or not difficulties:
        return rows
    place = {name: index for index, name in enumerate(difficulties)}
    groups: dict[object, int] = {}
    for row in rows:
        groups.setdefault(_group(row), len(groups))

    def key(row: dict[str, object]) -> tuple[int, int]:
        return groups[_group(row)], place.get(str(row["difficulty"]), -1)

    return sorted(rows, key=key)


def _group(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(row.get(name) for name in _GROUPS)
