"""The figures of a report: which function draws which table, and what to see in it.

One entry a figure. To add one, write its function in ``analysis.figures``, fill its table in
``gathering``, and name both here.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from analysis.figures import rates, training
from analysis.figures.theme import Picture, specification
from analysis.measured import ALL_DIFFICULTIES
from analysis.report.gathering import SweepTables
from analysis.report.selection import (
    MAX_PANELS,
    MAX_ROWS,
    MAX_SERIES,
    shown_trials,
    spread,
    trials_left_out,
)
from analysis.study.pictures import draw_study
from analysis.tables import Row, bounds
from strictune.config.naming import GRPO, short_model_name

__all__ = ["FIGURES", "Figure", "draw"]

MAX_CLASSES = 12
"""Error classes in a figure, the most frequent; the tables hold all."""


class Figure(NamedTuple):
    """One kind of figure."""

    draw: Callable[[Sequence[Row]], Any]
    title: str
    caption: str
    rows: Callable[[SweepTables], list[Row]]
    """Without rows the figure is left out."""
    limit: int
    """Trials that it shows at most; said in the caption where there are more."""

    @property
    def name(self) -> str:
        """What files and anchors call it."""
        return self.draw.__name__


def draw(sweep: SweepTables) -> list[Picture]:
    """Draw every figure that the sweep has data for."""
    found = []
    for figure in FIGURES:
        rows = figure.rows(sweep)
        if rows:
            caption = figure.caption + _left_out(sweep, rows, figure.limit)
            document = specification(figure.draw(rows))
            found.append(Picture(figure.name, figure.title, caption, document))
    return found + _search_figures(sweep)


def _search_figures(sweep: SweepTables) -> list[Picture]:
    if sweep.search is None:
        return []
    return [
        Picture(
            f"search-{number}-{picture.name}",
            f"{picture.title}: {study.study.cell}",
            picture.caption,
            picture.document,
        )
        for number, study in enumerate(sweep.search.studies)
        for picture in draw_study(study)
    ]


def _left_out(sweep: SweepTables, rows: Sequence[Row], limit: int) -> str:
    """Say which trials or cells a figure does not show; empty if it shows all."""
    if "trial" in rows[0]:
        return trials_left_out(sweep.verdicts, {row["trial_id"] for row in rows}, limit)
    if "within" in rows[0]:
        num_pairs = len(_whole_comparisons(sweep))
        return f" {len(rows)} of {num_pairs} comparisons are shown." * (len(rows) < num_pairs)
    shown = {row["cell"] for row in rows if "cell" in row}
    num_cells = len(sweep.verdicts.cells)
    return f" {len(shown)} of {num_cells} cells are shown." if 0 < len(shown) < num_cells else ""


def _differences(sweep: SweepTables) -> list[Row]:
    """Return the gains of trials, those of a cell below the cell's own over its seeds."""
    cells: dict[str, list[Row]] = {}
    for row in _shown(sweep, "differences", MAX_ROWS):
        cells.setdefault(row["cell"], []).append({**row, "kind": "trial"})
    rows = []
    verdicts = {cell.cell: cell for cell in sweep.verdicts.cells}
    for name, members in cells.items():
        found = verdicts[name].verdict
        num_seeds = len(verdicts[name].seed_rates)
        if found.effect is not None and num_seeds > 1:
            facts = {"trial": f"{name}: {num_seeds} seeds", "kind": "cell"}
            word = {"verdict": found.word or "undecided"}
            rows.append({**members[0], **facts, **bounds(found.effect), **word})
        rows += members
    return rows


def _whole_comparisons(sweep: SweepTables) -> list[Row]:
    return [row for row in sweep.tables["comparisons"] if row["difficulty"] == ALL_DIFFICULTIES]


def _comparisons(sweep: SweepTables) -> list[Row]:
    return [
        {
            **row,
            "name": f"{row['level']} against {row['against']}: {row['within']}",
            "kind": "planned" if row["is_planned"] else "exploratory",
        }
        for row in spread(_whole_comparisons(sweep), MAX_ROWS)
    ]


def _control_arms(sweep: SweepTables) -> list[Row]:
    rows = [
        {**row, "panel": f"{row['model']}, {row['thinking']}"} for row in sweep.tables["controls"]
    ]
    panels = list(dict.fromkeys(row["panel"] for row in rows))[:MAX_PANELS]
    return [row for row in rows if row["panel"] in panels]


def _primary(sweep: SweepTables) -> list[Row]:
    rows = _shown(sweep, "criteria", MAX_ROWS)
    return [row for row in rows if row["criterion"] == sweep.verdicts.primary_criterion]


def _difficulties(sweep: SweepTables) -> list[Row]:
    rows = _shown(sweep, "difficulties", MAX_PANELS)
    return [row for row in rows if row["criterion"] == sweep.verdicts.primary_criterion]


def _think_by_curriculum(sweep: SweepTables) -> list[Row]:
    trials = {trial.plan.trial_id: trial for trial in sweep.verdicts.trials}
    rows, seen = [], set()
    # Baselines first: the axis keeps the order of the rows.
    for row in sorted(_primary(sweep), key=lambda row: str(row["side"] != "baseline")):
        found = trials[row["trial_id"]]
        plan, baseline = found.plan, None
        if found.comparison is not None and row["side"] == "baseline":
            baseline = found.comparison.baseline
        if (baseline or plan.trial_id) not in seen:
            seen.add(baseline or plan.trial_id)
            trained = f"{plan.curriculum}{_method_text(plan.method)}"
            names = {
                "trial": f"baseline of {row['trial']}" if baseline else row["trial"],
                "arm": "think" if plan.thinking else "no-think",
                "curriculum": "baseline" if baseline else trained,
            }
            rows.append({**row, **names})
    return rows


def _error_classes(sweep: SweepTables) -> list[Row]:
    return _most_frequent(_shown(sweep, "error_classes", MAX_PANELS))


def _changes(sweep: SweepTables) -> list[Row]:
    return [
        row
        for row in _shown(sweep, "changes", MAX_ROWS)
        if row["difficulty"] == ALL_DIFFICULTIES and row["change"] in ("rescued", "regressed")
    ]


def _progression(sweep: SweepTables) -> list[Row]:
    rows = [row for row in _staged(sweep, "stages", MAX_ROWS) if row["difficulty"] == "all"]
    return [
        {
            **row,
            "panel": f"{short_model_name(str(row['model']))}, {row['thinking']}"
            f"{_method_text(str(row['method']))}",
        }
        for row in rows
    ]


def _method_text(method: str) -> str:
    """Return what names a method beside others; GRPO goes without saying."""
    return "" if method == GRPO else f", {method}"


def _stage_tiers(sweep: SweepTables) -> list[Row]:
    rows = _staged(sweep, "stages", MAX_PANELS)
    return [row for row in rows if row["difficulty"] != ALL_DIFFICULTIES]


def _stage_errors(sweep: SweepTables) -> list[Row]:
    rows = _staged(sweep, "stage_errors", MAX_SERIES)
    stages: dict[str, set[str]] = {}
    for row in rows:
        stages.setdefault(str(row["trial_id"]), set()).add(str(row["stage"]))
    return _most_frequent([row for row in rows if len(stages[str(row["trial_id"])]) > 1])


def _think_rates(sweep: SweepTables) -> list[Row]:
    thinking = {trial.plan.cell for trial in sweep.verdicts.trials if trial.plan.thinking}
    return [row for row in sweep.tables["think_rates"] if row["cell"] in thinking]


def _costs(sweep: SweepTables) -> list[Row]:
    cells = list(dict.fromkeys(row["cell"] for row in sweep.tables["costs"]))[:MAX_ROWS]
    return [row for row in sweep.tables["costs"] if row["cell"] in cells]


def _shown(sweep: SweepTables, table: str, limit: int) -> list[Row]:
    chosen = set(shown_trials(sweep.verdicts, limit))
    return [row for row in sweep.tables[table] if row["trial_id"] in chosen]


def _staged(sweep: SweepTables, table: str, limit: int) -> list[Row]:
    """Return rows of stages; those of trials that still run count too."""
    chosen = set(shown_trials(sweep.verdicts, limit))
    running = [row for row in sweep.tables[table] if row["trial_id"] not in chosen]
    if len(chosen) < limit:
        more = list(dict.fromkeys(str(row["trial_id"]) for row in running))
        chosen.update(more[: limit - len(chosen)])
    return [row for row in sweep.tables[table] if row["trial_id"] in chosen]


def _most_frequent(rows: Iterable[Row]) -> list[Row]:
    """Keep the rows of the most frequent error classes, in the order of their frequency."""
    listed = list(rows)
    totals: dict[str, float] = {}
    for row in listed:
        totals[row["error_class"]] = totals.get(row["error_class"], 0.0) + row["rate"]
    names = sorted(totals, key=lambda name: -totals[name])[:MAX_CLASSES]
    place = {name: index for index, name in enumerate(names)}
    kept = [row for row in listed if row["error_class"] in place]
    return sorted(kept, key=lambda row: place[row["error_class"]])


FIGURES: tuple[Figure, ...] = (
    Figure(
        rates.differences,
        "What training changed",
        "Trained minus baseline on the primary criterion, with 95% intervals: each trial, and in "
        "bold each cell over its seeds. The mark is the verdict, which also allows for the number "
        "of comparisons.",
        _differences,
        MAX_ROWS,
    ),
    Figure(
        rates.comparisons,
        "Cells against each other",
        "Pairs of cells that differ in one key only, and the mean over all such pairs. Intervals "
        "speak of the recipe where both sides have three seeds, else of these runs, as they do "
        "over all pairs. What was not planned is exploratory, whatever its interval says.",
        _comparisons,
        MAX_ROWS,
    ),
    Figure(
        rates.control_arms,
        "Control arms",
        "Pass@1 on the primary criterion with Wilson intervals that allow for families, over all "
        "seeds of a cell together: untrained, untrained under the grammar of the answers, trained "
        f"on gold completions, learned from rewards. At most {MAX_PANELS} models.",
        _control_arms,
        MAX_PANELS,
    ),
    Figure(
        rates.baseline_against_trained,
        "Baseline against trained, by model",
        "Pass@1 on the primary criterion with Wilson intervals that allow for families. Judge "
        "differences by the first figure: it pairs prompts, these intervals do not.",
        _primary,
        MAX_ROWS,
    ),
    Figure(
        rates.think_by_curriculum,
        "Thinking and curriculum",
        "Pass@1 on the primary criterion of each trial, and of the untrained model, where it was "
        "measured, on the left.",
        _think_by_curriculum,
        MAX_ROWS,
    ),
    Figure(
        rates.criterion_ladder,
        "The scoring ladder",
        "Pass@1 of each criterion, lowest first: where answers are lost on the way up.",
        lambda sweep: _shown(sweep, "criteria", MAX_PANELS),
        MAX_PANELS,
    ),
    Figure(
        rates.rates_by_difficulty,
        "By difficulty",
        "Pass@1 on the primary criterion. Exploratory: nobody planned these comparisons.",
        _difficulties,
        MAX_PANELS,
    ),
    Figure(
        rates.rates_by_construct,
        "By construct",
        "Pass@1 on the primary criterion over the prompts that use a construct; a prompt may use "
        "several. Exploratory.",
        lambda sweep: _shown(sweep, "constructs", MAX_PANELS),
        MAX_PANELS,
    ),
    Figure(
        rates.rescued_and_regressed,
        "Rescued and regressed prompts",
        "Share of prompts that only the trained model passes (rescued) or only the baseline "
        "(regressed); a side passes a prompt with half its samples or more.",
        _changes,
        MAX_ROWS,
    ),
    Figure(
        rates.error_classes,
        "What went wrong",
        "Share of completions by the first thing that is wrong with them; ok: nothing is.",
        _error_classes,
        MAX_PANELS,
    ),
    Figure(
        rates.completion_length,
        "Completion length",
        "Tokens of a completion: median, 25 to 75% (thick) and 10 to 90% (thin) of completions.",
        lambda sweep: _shown(sweep, "lengths", MAX_ROWS),
        MAX_ROWS,
    ),
    Figure(
        training.curriculum_progression,
        "Progress over stages",
        "Pass@1 on the validation split at the end of each stage. The baseline was not "
        "measured on this split.",
        _progression,
        MAX_ROWS,
    ),
    Figure(
        training.stage_by_difficulty,
        "Stage and difficulty",
        "Pass@1 on the validation split at the end of each stage, with the 95% interval below.",
        _stage_tiers,
        MAX_PANELS,
    ),
    Figure(
        training.error_classes_by_stage,
        "Errors over stages",
        "Share of completions on the validation split at the end of each stage, for trials "
        "with more than one.",
        _stage_errors,
        MAX_SERIES,
    ),
    Figure(
        training.reward_components,
        "Reward components over training",
        "Mean of each component over spans of steps, with the 95% interval of the steps in it. "
        "A component that rises while the primary criterion does not is a warning.",
        lambda sweep: sweep.tables["rewards"],
        MAX_SERIES,
    ),
    Figure(
        training.dealt_prompts,
        "What an adaptive stage dealt",
        "Share of the drawn prompts by difficulty, the running pass rates that they were drawn by, "
        "and the share of all training prompts whose families have a low (below 20%), middle or "
        "high (from 80% on) one. Pass rates are those of training, of prompts that were drawn.",
        lambda sweep: sweep.tables["dealt"],
        MAX_SERIES,
    ),
    Figure(
        training.think_rate,
        "Think rate over training",
        "Share of training completions with a real think block, in cells that ask for one.",
        _think_rates,
        MAX_SERIES,
    ),
    Figure(
        rates.plan_against_actual,
        "Plan and actual cost",
        "What each cell was planned to take, where trials of its shape had been measured before, "
        "and what it took; the line is the spread of its trials.",
        _costs,
        MAX_ROWS,
    ),
)
"""In the order of the report."""
