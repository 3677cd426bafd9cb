"""Reads a sweep once, into the tables of its report.

Completions are not kept: ``completions`` reads them, one run at a time, when the rest of the page
is known and with it the room that is left for them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from analysis.answers import HOW_TO_READ_FIELDS, RunRows, answer_tables, trial_facts, verdict_tables
from analysis.costs import compare_costs, cost_rows
from analysis.measured import level_text
from analysis.records import RunRecord, RunState, SweepRecords
from analysis.report.comparisons import comparison_rows, equal_token_rows
from analysis.report.controls import control_rows
from analysis.report.training import (
    FAILING_ABOVE_PASSING,
    FLAT_GROUPS,
    MAX_SERIES,
    Stage,
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
from analysis.trials import Comparison, TrialVerdict
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
    tables: Mapping[str, list[Row]]
    """Each of ``TABLES``; without rows where nothing was measured."""
    flat_groups: Mapping[str, float]
    """Each cell's share of groups without any spread, at the end of training."""
    failing_above: Mapping[str, float]
    """Each cell's share of pairs of a group in which a failing completion earned more than a
    passing one, at the end of training."""
    search: Findings | None
    """The findings of its studies; None without a search."""
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
    of_fields = HOW_TO_READ_FIELDS if sweep.tables["fields"] else ()
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
    criterion, contrasts = sweep.plan.primary_criterion, sweep.plan.contrasts
    problems: list[str] = []
    tables: RunRows = defaultdict(list)
    stages = planned_stages(sweep)
    trials = list(zip(verdicts.trials, compared, strict=True))
    for number, (trial, one) in enumerate(trials, start=1):
        on_phase(f"reading trial {number} of {len(trials)}")
        planned = stages.get(trial.plan.cell, ())
        for found in _trial_tables(trial, one, criterion, stages=planned, problems=problems):
            for name, rows in found.items():
                tables[name] += rows
    on_phase("comparing cells")
    cells = {cell.cell: cell.verdict for cell in verdicts.cells}
    with _noting(problems):
        tables["comparisons"] = comparison_rows(compared, criterion, contrasts=contrasts)
    with _noting(problems):
        tables["equal_tokens"] = equal_token_rows(sweep)
    with _noting(problems):
        tables["controls"] = control_rows(sweep, compared, cells=cells)
    runs: dict[str, list[RunRecord]] = defaultdict(list)
    for one in compared:
        if (one.record.folder / METRICS).exists():
            runs[one.plan.cell].append(one.record)
    # The files are long, so those of the cells that are drawn.
    tables.update(curve_tables({name: runs[name] for name in spread(list(runs), MAX_SERIES)}))
    on_phase("reading costs and prompts")
    tables["costs"] = cost_rows(compare_costs(sweep))
    prompts = read_prompts(next((one.record.folder for one in compared if one.trial), None))
    search = None
    if (folder / STUDIES).exists():
        on_phase("reading the search")
        with _noting(problems):
            search = study_findings(folder)
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


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    """Note what cannot be read or compared, and go on without it."""
    try:
        yield
    except StrictuneError as error:
        problems.append(str(error))


def _trial_tables(
    trial: TrialVerdict,
    one: Comparison,
    criterion: str,
    *,
    stages: Sequence[Stage],
    problems: list[str],
) -> Iterator[RunRows]:
    facts = trial_facts(trial)
    yield verdict_tables(trial)
    yield answer_tables(facts, one, criterion)
    if trial.result is not None:
        yield {"parts": part_rows(facts, one.record), "judge": judge_rows(facts, one.record)}
    staged = {
        **facts,
        "curriculum": trial.plan.curriculum,
        "method": trial.plan.method,
        "thinking": level_text(trial.plan, "thinking"),
    }
    with _noting(problems):
        yield stage_tables(staged, one.record, stages, criterion)


def _easiest_first(rows: list[Row], difficulties: Sequence[str]) -> list[Row]:
    """Order rows that differ in difficulty alone, where the task has an order."""
    if not rows or "difficulty" not in rows[0] or not difficulties:
        return rows
    place = {name: index for index, name in enumerate(difficulties)}

    def group(row: Row) -> tuple[object, ...]:
        return tuple(row.get(name) for name in _GROUPS)

    groups: dict[object, int] = {}
    for row in rows:
        groups.setdefault(group(row), len(groups))
    return sorted(rows, key=lambda row: (groups[group(row)], place.get(str(row["difficulty"]), -1)))


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
