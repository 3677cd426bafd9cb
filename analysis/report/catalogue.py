"""The figures of a report: which function draws which table, of which trials, and what to see.

One entry a figure. To add one, write its function in ``analysis.figures``, fill its table in
``gathering``, and name both here. Tables hold all trials; figures show as many as can be read.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from analysis.figures import rates, training
from analysis.figures.theme import Picture, specification
from analysis.measured import ALL_DIFFICULTIES
from analysis.report.gathering import SweepTables
from analysis.report.training import MAX_SERIES
from analysis.study.pictures import draw_study
from analysis.sweep import SweepVerdicts
from analysis.tables import Row, bounds, spread
from strictune.config.naming import GRPO, short_model_name

__all__ = ["FIGURES", "MAX_PANELS", "MAX_ROWS", "Figure", "draw", "shown_trials"]

MAX_PANELS = 12
"""Trials with a panel of their own."""
MAX_ROWS = 40
"""Trials with a row of their own."""
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
        """The name of its file and anchor."""
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
    for number, study in enumerate(sweep.search.studies if sweep.search is not None else ()):
        found += [
            picture._replace(
                name=f"search-{number}-{picture.name}", title=f"{picture.title}: {study.study.cell}"
            )
            for picture in draw_study(study)
        ]
    return found


def shown_trials(verdicts: SweepVerdicts, limit: int) -> tuple[str, ...]:
    """Return the ids of the trials that a figure shows, in the order of the plan.

    All that have a result, as long as they fit; else those that gained most and those that
    gained least, so that neither end is hidden. Trials without a baseline to gain over come last.
    """
    finished = [trial for trial in verdicts.trials if trial.result is not None]
    gains = {
        trial.plan.trial_id: trial.verdict.effect.estimate_pp
        for trial in finished
        if trial.verdict.effect is not None
    }
    ranked = sorted(gains, key=lambda name: gains[name])
    if len(ranked) > limit:
        half = limit // 2
        chosen = {*ranked[:half], *ranked[half - limit :]}
    else:
        others = [trial.plan.trial_id for trial in finished if trial.plan.trial_id not in gains]
        chosen = {*ranked, *others[: limit - len(ranked)]}
    return tuple(trial.plan.trial_id for trial in finished if trial.plan.trial_id in chosen)


def _left_out(sweep: SweepTables, rows: Sequence[Row], limit: int) -> str:
    """Return a sentence on trials or cells that a figure does not show; empty if it shows all."""
    if "within" in rows[0]:
        num_pairs = len(_whole(sweep.tables["comparisons"]))
        return f" {len(rows)} of {num_pairs} comparisons are shown." * (len(rows) < num_pairs)
    if "trial" not in rows[0]:
        shown = {row["cell"] for row in rows if "cell" in row}
        num_cells = len(sweep.verdicts.cells)
        left_out = 0 < len(shown) < num_cells
        return f" {len(shown)} of {num_cells} cells are shown." if left_out else ""
    finished = [trial for trial in sweep.verdicts.trials if trial.result is not None]
    others = [trial.plan.trial_id for trial in finished if trial.verdict.effect is None]
    if len(finished) - len(others) > limit:
        half = limit // 2
        return (
            f" Of {len(finished)} finished trials the {half} with the smallest and the "
            f"{limit - half} with the largest gain are shown; the tables hold all."
        )
    num_left_out = len(set(others) - {row["trial_id"] for row in rows})
    if not num_left_out:
        return ""
    return (
        f" Not shown: {num_left_out} of {len(finished)} finished trials, without a gain over a "
        "baseline; the tables hold all."
    )


def _shown(sweep: SweepTables, table: str, limit: int) -> list[Row]:
    chosen = set(shown_trials(sweep.verdicts, limit))
    return [row for row in sweep.tables[table] if row["trial_id"] in chosen]


def _staged(sweep: SweepTables, table: str, limit: int) -> list[Row]:
    """Return rows of stages; those of trials that still run count too."""
    chosen = set(shown_trials(sweep.verdicts, limit))
    running = dict.fromkeys(
        str(row["trial_id"]) for row in sweep.tables[table] if row["trial_id"] not in chosen
    )
    chosen.update(list(running)[: max(0, limit - len(chosen))])
    return [row for row in sweep.tables[table] if row["trial_id"] in chosen]


def _whole(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["difficulty"] == ALL_DIFFICULTIES]


def _primary(sweep: SweepTables, table: str, limit: int) -> list[Row]:
    rows = _shown(sweep, table, limit)
    return [row for row in rows if row["criterion"] == sweep.verdicts.primary_criterion]


def _first(rows: Sequence[Row], column: str, limit: int) -> list[Row]:
    """Keep the rows of the first ``limit`` values of a column."""
    names = list(dict.fromkeys(row[column] for row in rows))[:limit]
    return [row for row in rows if row[column] in names]


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


def _comparisons(sweep: SweepTables) -> list[Row]:
    return [
        {
            **row,
            "name": f"{row['level']} against {row['against']}: {row['within']}",
            "kind": "planned" if row["is_planned"] else "exploratory",
        }
        for row in spread(_whole(sweep.tables["comparisons"]), MAX_ROWS)
    ]


def _control_arms(sweep: SweepTables) -> list[Row]:
    controls = sweep.tables["controls"]
    rows = [{**row, "panel": f"{row['model']}, {row['thinking']}"} for row in controls]
    return _first(rows, "panel", MAX_PANELS)


def _think_by_curriculum(sweep: SweepTables) -> list[Row]:
    trials = {trial.plan.trial_id: trial for trial in sweep.verdicts.trials}
    rows, seen = [], set()
    # Baselines first: the axis keeps the order of the rows.
    shown = _primary(sweep, "criteria", MAX_ROWS)
    for row in sorted(shown, key=lambda row: str(row["side"] != "baseline")):
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


def _changes(sweep: SweepTables) -> list[Row]:
    rows = _whole(_shown(sweep, "changes", MAX_ROWS))
    return [row for row in rows if row["change"] in ("rescued", "regressed")]


def _progression(sweep: SweepTables) -> list[Row]:
    return [
        {
            **row,
            "panel": f"{short_model_name(str(row['model']))}, {row['thinking']}"
            f"{_method_text(str(row['method']))}",
        }
        for row in _whole(_staged(sweep, "stages", MAX_ROWS))
    ]


def _method_text(method: str) -> str:
    """Return the suffix that names a method; GRPO has none."""
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


def _most_frequent(rows: Sequence[Row]) -> list[Row]:
    """Keep the rows of the most frequent error classes, in the order of their frequency."""
    totals: dict[str, float] = {}
    for row in rows:
        totals[row["error_class"]] = totals.get(row["error_class"], 0.0) + row["rate"]
    names = sorted(totals, key=lambda name: -totals[name])[:MAX_CLASSES]
    kept = [row for row in rows if row["error_class"] in names]
    return sorted(kept, key=lambda row: names.index(row["error_class"]))


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
        lambda sweep: _primary(sweep, "criteria", MAX_ROWS),
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
        lambda sweep: _primary(sweep, "difficulties", MAX_PANELS),
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
        lambda sweep: _most_frequent(_shown(sweep, "error_classes", MAX_PANELS)),
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
        lambda sweep: _first(sweep.tables["costs"], "cell", MAX_ROWS),
        MAX_ROWS,
    ),
)
"""In the order of the report."""
