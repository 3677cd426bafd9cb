"""Reads a sweep once and lists everything that its report shows, as tables.

Completions are not kept: ``completions`` reads them, one run at a time, when the rest of the page
is known and with it the room that is left for them.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from analysis import fields
from analysis.costs import compare_costs, cost_rows
from analysis.measured import level_text
from analysis.records import RunRecord, RunState, SweepRecords
from analysis.report.answers import RunRows, answer_tables, trial_facts, verdict_tables
from analysis.report.comparisons import comparison_rows, equal_token_rows
from analysis.report.controls import control_rows
from analysis.report.training import (
    FAILING_ABOVE_PASSING,
    FLAT_GROUPS,
    MAX_SERIES,
    curve_tables,
    judge_rows,
    part_rows,
    planned_stages,
    shares_at_end,
    stage_tables,
)
from analysis.study import Findings, study_findings
from analysis.study import wording as study_wording
from analysis.sweep import SweepVerdicts, compared_trials, judge
from analysis.tables import Row, spread
from analysis.trials import Comparison
from analysis.wording import HOW_TO_READ
from strictune.config import load_trial
from strictune.errors import StorageError, StrictuneError
from strictune.records import METRICS, STUDIES, read_lock
from trainables.tasks import load_task
from trainables.tasks.task import Prompt

__all__ = [
    "TABLES",
    "OnPhase",
    "SweepPrompts",
    "SweepTables",
    "gather",
    "read_prompts",
    "reading_rules",
    "silent",
]

TABLES = (
    "differences",
    "comparisons",
    "equal_tokens",
    "controls",
    "criteria",
    "difficulties",
    "constructs",
    "error_classes",
    "changes",
    "lengths",
    "measures",
    "fields",
    "parts",
    "judge",
    "stages",
    "stage_errors",
    "stage_differences",
    "rewards",
    "think_rates",
    "zero_std_groups",
    "dealt",
    "costs",
)

OnPhase = Callable[[str], None]
"""Is told what is being done, e.g. ``reading trial 3 of 12``."""


_GROUPS = ("trial_id", "stage", "factor", "level", "against", "within")
"""What rows have in common that are ordered by difficulty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPrompts:
    """The prompts of a sweep, and their task."""

    by_id: Mapping[str, Prompt] = field(default_factory=dict)
    difficulties: Sequence[str] = ()
    """Easiest first; empty if the task is not known."""
    has_gold: bool = False
    """The task knows right answers to train on."""
    has_grammar: bool = False
    """The task can hold answers to a grammar."""
    problem: str | None = None
    """Why there are no prompts, where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTables:
    """A sweep in tables."""

    folder: Path
    verdicts: SweepVerdicts
    prompts: SweepPrompts
    tables: Mapping[str, list[dict[str, object]]]
    """Each of ``TABLES``; without rows where nothing was measured."""
    flat_groups: Mapping[str, float]
    """Each cell's share of groups without any spread, at the end of training."""
    failing_above: Mapping[str, float]
    """Each cell's share of pairs of a group in which a failing completion earned more than a
    passing one, at the end of training."""
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


def reading_rules(sweep: SweepTables) -> tuple[str, ...]:
    """Return how to read the report, and what was left out of it."""
    of_fields = fields.HOW_TO_READ if sweep.tables["fields"] else ()
    of_search = () if sweep.search is None else study_wording.HOW_TO_READ
    return (*HOW_TO_READ, *of_fields, *of_search, *sweep.problems)


def silent(_: str) -> None:
    """Ignore progress."""


def gather(folder: Path, *, on_phase: OnPhase = silent) -> SweepTables:
    """Read the folders of a sweep, finished or not; ``on_phase`` is told of progress.

    Raises:
        StorageError: ``plan.json`` is missing or cannot be understood.
    """
    on_phase("judging trials")
    sweep = SweepRecords(folder)
    compared = compared_trials(sweep)
    verdicts = judge(sweep.plan, compared)
    problems: list[str] = []
    tables = _trial_tables(sweep, compared, verdicts, problems, on_phase)
    on_phase("comparing cells")
    criterion, contrasts = sweep.plan.primary_criterion, sweep.plan.contrasts
    cells = {cell.cell: cell.verdict for cell in verdicts.cells}
    comparing: dict[str, Callable[[], list[Row]]] = {
        "comparisons": lambda: comparison_rows(compared, criterion, contrasts=contrasts),
        "equal_tokens": lambda: equal_token_rows(sweep),
        "controls": lambda: control_rows(sweep, compared, cells=cells),
    }
    for name, rows_of in comparing.items():
        try:
            tables[name] = rows_of()
        except StrictuneError as error:
            problems.append(str(error))
    runs = _runs_by_cell(compared)
    # The files are long, so those of the cells that are drawn.
    tables.update(curve_tables({name: runs[name] for name in spread(list(runs), MAX_SERIES)}))
    on_phase("reading costs and prompts")
    tables["costs"] = cost_rows(compare_costs(sweep))
    measured = (one.record.folder for one in compared if one.trial is not None)
    prompts = read_prompts(next(measured, None))
    search = None
    if (folder / STUDIES).exists():
        on_phase("reading the search")
        try:
            search = study_findings(folder)
        except StrictuneError as error:
            problems.append(str(error))
    finished = {
        name: [run for run in members if run.state is RunState.FINISHED]
        for name, members in runs.items()
    }
    return SweepTables(
        folder=folder,
        verdicts=verdicts,
        prompts=prompts,
        tables={name: _easiest_first(tables[name], prompts.difficulties) for name in TABLES},
        flat_groups=shares_at_end(FLAT_GROUPS, finished),
        failing_above=shares_at_end(FAILING_ABOVE_PASSING, finished),
        search=search,
        problems=tuple(problems),
    )


def _trial_tables(
    sweep: SweepRecords,
    compared: Sequence[Comparison],
    verdicts: SweepVerdicts,
    problems: list[str],
    on_phase: OnPhase,
) -> RunRows:
    """Return the tables that list trials; what cannot be read of a stage is a problem."""
    tables: RunRows = defaultdict(list)
    stages = planned_stages(sweep)
    trials = list(zip(verdicts.trials, compared, strict=True))
    for number, (trial, one) in enumerate(trials, start=1):
        on_phase(f"reading trial {number} of {len(trials)}")
        facts = trial_facts(trial)
        found = [verdict_tables(trial), answer_tables(facts, one, sweep.plan.primary_criterion)]
        if trial.result is not None:
            found.append(
                {"parts": part_rows(facts, one.record), "judge": judge_rows(facts, one.record)}
            )
        staged = {
            **facts,
            "curriculum": trial.plan.curriculum,
            "method": trial.plan.method,
            "thinking": level_text(trial.plan, "thinking"),
        }
        planned = stages.get(trial.plan.cell, ())
        try:
            found.append(stage_tables(staged, one.record, planned, sweep.plan.primary_criterion))
        except StorageError as error:
            problems.append(str(error))
        for part in found:
            for name, rows in part.items():
                tables[name] += rows
    return tables


def _runs_by_cell(compared: Sequence[Comparison]) -> dict[str, list[RunRecord]]:
    """Return the trials of each cell that have recorded metrics."""
    cells: dict[str, list[RunRecord]] = defaultdict(list)
    for one in compared:
        if (one.record.folder / METRICS).exists():
            cells[one.plan.cell].append(one.record)
    return cells


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


def read_prompts(folder: Path | None) -> SweepPrompts:
    """Build the prompts of a finished trial's final split; all runs of a sweep share them."""
    if folder is None:
        return SweepPrompts(problem="no trial has finished yet.")
    try:
        spec = load_trial(folder / "trial.yaml")
        task = load_task(spec.task)
        shared = SweepPrompts(
            difficulties=task.difficulties,
            has_gold=task.has_gold(thinking=spec.thinking),
            has_grammar=task.has_grammar,
        )
        found = {prompt.id: prompt for prompt in task.prompts(spec.evaluation.final_split)}
        is_the_same = task.data_hash() == _recorded_hash(folder)
    except (StrictuneError, OSError) as error:
        return SweepPrompts(problem=str(error))
    if not is_the_same:
        problem = f"the task {task.kind} builds other prompts now than when the sweep ran."
        return replace(shared, problem=problem)
    return replace(shared, by_id=found)


def _recorded_hash(folder: Path) -> str | None:
    try:
        lock = read_lock(folder)
    except StorageError:
        return None
    return None if lock is None else lock.data_hash
