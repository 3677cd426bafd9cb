"""The verdicts of a sweep in tables, sentences and files: verdicts.json, verdicts.md, delta.json.

The command line, the Markdown file and the tracking store show the same words.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from analysis.aa import FalseCalls
from analysis.differences import MIN_SEEDS
from analysis.measured import Interval
from analysis.sweep import CellVerdict, SweepVerdicts, sweep_verdicts
from analysis.tables import (
    Column,
    Table,
    inline_text,
    item_lines,
    percent,
    plain,
    rate_text,
    table_lines,
    texts,
)
from analysis.trials import LOW_THINK_RATE, TrialResult, TrialVerdict
from analysis.verdicts import DECIDED, effect_text
from strictune.records import TRIALS, write_json, write_text

__all__ = [
    "HOW_TO_READ",
    "NAMED",
    "cell_sentences",
    "contrast_sentences",
    "count_sentence",
    "recipe_sentence",
    "summary_lines",
    "trial_sentences",
    "verdict_rows",
    "verdict_table",
    "write_verdicts",
]

NAMED = 3
"""Names that a sentence holds; of more it says how many."""

HOW_TO_READ = (
    "Differences are paired on prompts; intervals are 95% t intervals with errors clustered by "
    "family, before any adjustment.",
    "Better and worse need p < 0.05 after Holm over the planned comparisons; trials that failed "
    "or are missing keep their place in it.",
    "Rates are Pass@1 with a Wilson interval that allows for families. Tiers, other criteria and "
    "shares of a gain were not planned as comparisons: they have intervals and no p.",
    "A trial's verdict is about that run. What training again would give needs three seeds.",
    "A/A: how often the test, at 5%, calls two trainings of one recipe different that differ in "
    "their seeds alone; simulated from the spread between the seeds of the cell.",
)
"""The rules of the table, for readers who meet it for the first time."""


TIERS = Table(
    "tiers",
    "By difficulty",
    (
        Column("difficulty", lambda tier: tier.difficulty),
        Column("prompts", lambda tier: tier.num_prompts),
        Column("criterion", lambda tier: tier.criterion),
        Column("baseline", lambda tier: tier.baseline, rate_text),
        Column("trial", lambda tier: tier.trial, rate_text),
        Column("delta", lambda tier: tier.delta, effect_text),
    ),
)
"""Every criterion of every difficulty, before and after."""


def verdict_table(primary: str, criteria: Sequence[str]) -> Table:
    """Declare the sweep's table, one row a planned trial (``TrialVerdict``).

    Verdicts are about the primary criterion; the others are shown without interval.
    """

    def filters(**chosen: str) -> Callable[[TrialVerdict], dict[str, str] | None]:
        return lambda trial: (
            {"trial": trial.plan.trial_id, **chosen} if trial.result is not None else None
        )

    columns = (
        Column("trial", lambda trial: f"{trial.plan.name}{' (ties)' if trial.ties else ''}"),
        Column("state", lambda trial: trial.state.word),
        Column(f"{primary} Pass@1", _rate_of(primary), rate_text, filters(criterion=primary)),
        Column(
            "baseline",
            lambda trial: trial.comparison and trial.comparison.rates[primary],
            rate_text,
            filters(criterion=primary, side="baseline"),
        ),
        Column("delta", lambda trial: trial.verdict.effect, effect_text, filters(change="flips")),
        Column(
            "verdict",
            lambda trial: trial.verdict.word or "not compared",
            filters=filters(change="flips"),
        ),
        *(
            Column(
                criterion,
                _rate_of(criterion),
                lambda rate: percent(rate.estimate),
                filters(criterion=f"-{criterion}"),
            )
            for criterion in criteria
            if criterion != primary
        ),
        Column("think", lambda trial: trial.result, _think_text),
        Column(
            "tokens",
            lambda trial: trial.result and trial.result.completion_tokens_mean,
            "{:.0f}".format,
        ),
        Column("seconds", lambda trial: trial.seconds, "{:.0f}".format),
    )
    return Table("verdicts", "Verdicts", columns, filters())


def verdict_rows(verdicts: SweepVerdicts) -> list[dict[str, str]]:
    """Return the sweep's table: one row per planned trial, heading -> text."""
    return texts(verdict_table(verdicts.primary_criterion, verdicts.criteria), verdicts.trials)


def summary_lines(verdicts: SweepVerdicts) -> list[str]:
    """Return the sentences below the table: counts, trials, cells, contrasts."""
    trials = [line for trial in verdicts.trials for line in trial_sentences(trial)]
    return [
        count_sentence(verdicts),
        *trials,
        *cell_sentences(verdicts),
        *contrast_sentences(verdicts),
    ]


def count_sentence(verdicts: SweepVerdicts) -> str:
    """Return e.g. ``4 trials planned: 2 finished, 1 failed, 1 pending; computed in float32.``."""
    counts = ", ".join(f"{count} {state.word}" for state, count in verdicts.states.items() if count)
    dtypes = sorted({trial.result.dtype for trial in verdicts.trials if trial.result is not None})
    computed = f"; computed in {' and '.join(dtypes)}" if dtypes else ""
    return f"{len(verdicts.trials)} trials planned: {counts or 'none'}{computed}."


def trial_sentences(trial: TrialVerdict) -> list[str]:
    """Return the sentences on a trial: its verdict, the parts of its gain, warnings."""
    name = trial.plan.name
    lines = [f"{name}: {trial.verdict.text}"]
    shares = trial.comparison.shares if trial.comparison else ()
    if shares and trial.verdict.effect is not None:
        listed = ", ".join(f"{share.part} {effect_text(share.effect)}" for share in shares)
        total = effect_text(trial.verdict.effect).partition(" pp")[0]
        lines.append(f"{name}: where the {total} pp come from: {listed}.")
    if trial.result is not None and trial.result.is_think_rate_low:
        lines.append(
            f"{name}: asked to think, it wrote a real think block in "
            f"{percent(trial.result.think_rate, 0)} of its answers, fewer than "
            f"{percent(LOW_THINK_RATE, 0)}: read it as a trial without thinking."
        )
    lines += [f"{name}: {text}" for text in _missing_texts(trial)]
    if trial.ties:
        lines.append(
            f"{name}: no weight on {', '.join(trial.ties)}, so training could not tell some wrong "
            "answers from right ones."
        )
    return lines


def _missing_texts(trial: TrialVerdict) -> Iterator[str]:
    """Yield the sentence on how far answers that could not be scored might move a gain."""
    if trial.result is None or trial.comparison is None:
        return
    ours, theirs = trial.result.missing_frac, trial.comparison.missing_frac
    if ours or theirs:
        yield (
            f"{ours:.1%} of its answers and {theirs:.1%} of its baseline's could not be scored "
            "and count in no rate: with all of them scored, the difference might be up to "
            f"{100 * (ours + theirs):.1f} points higher or lower."
        )


def cell_sentences(verdicts: SweepVerdicts) -> list[str]:
    """Return the sentences on the cells."""
    lines = []
    for cell in verdicts.cells:
        spread = (
            "" if cell.seed_sd_pp is None else f" Seeds differ by {cell.seed_sd_pp:.1f} pp (sd)."
        )
        done = f"{len(cell.seed_rates)} of {cell.num_planned} seeds"
        lines.append(f"{cell.cell} ({done}): {cell.verdict.text}{spread}{_aa_text(cell.aa)}")
    return lines


def _aa_text(aa: FalseCalls | None) -> str:
    if aa is None:
        return ""
    cells = "" if aa.recipes_frac is None else f", of two such cells {percent(aa.recipes_frac, 0)}"
    return (
        f" A/A: of two runs of this cell {percent(aa.runs_frac, 0)} are called different{cells} "
        f"(simulated; of the pairs at hand {aa.num_called} of {aa.num_pairs})."
    )


def recipe_sentence(verdicts: SweepVerdicts) -> str:
    """Return how many cells are decided, and why the others are not."""
    decided = sum(cell.verdict.word in DECIDED for cell in verdicts.cells)
    whys: dict[str, list[str]] = {}
    for cell in verdicts.cells:
        if cell.verdict.word not in DECIDED:
            whys.setdefault(_why_open(cell), []).append(cell.cell)
    listed = "; ".join(
        f"{why}: {', '.join(cells) if len(cells) <= NAMED else f'{len(cells)} cells'}"
        for why, cells in whys.items()
    )
    counted = f"Recipes decided: {decided} of {len(verdicts.cells)}"
    return f"{counted} ({listed})." if listed else f"{counted}."


def contrast_sentences(verdicts: SweepVerdicts, *, factor: str | None = None) -> list[str]:
    """Return the sentences on the contrasts, with the difference of gains where it differs.

    Only those of one key where ``factor`` names it.
    """
    lines = []
    for contrast in verdicts.contrasts:
        if factor not in (None, contrast.factor):
            continue
        title = f"{contrast.level} against {contrast.against_level} ({contrast.cell})"
        gains = ""
        if contrast.gain_effect is not None and not contrast.is_same_baseline:
            gains = f" Difference of the gains: {effect_text(contrast.gain_effect)}."
        lines.append(f"{title}: {contrast.verdict.text}{gains}")
    return lines


def _why_open(cell: CellVerdict) -> str:
    if cell.verdict.word is not None:
        return cell.verdict.word.value
    if cell.verdict.effect is None:
        return "not compared"
    return f"fewer than {MIN_SEEDS} seeds with a result"


def _rate_of(criterion: str) -> Callable[[TrialVerdict], Interval | None]:
    return lambda trial: trial.result.rates[criterion] if trial.result else None


def _think_text(result: TrialResult) -> str:
    mark = " (low)" if result.is_think_rate_low else ""
    return f"{percent(result.think_rate, 0)}{mark}"


def write_verdicts(sweep_dir: Path) -> SweepVerdicts:
    """Judge a sweep and write the result into its folder; what was there is replaced.

    A trial without a difference has no ``delta.json``; one from an earlier look is removed.

    Raises:
        StorageError: ``plan.json`` is missing or cannot be understood.
    """
    verdicts = sweep_verdicts(sweep_dir)
    write_json(sweep_dir / "verdicts.json", plain(verdicts))
    write_text(sweep_dir / "verdicts.md", _verdicts_markdown(verdicts))
    for trial in verdicts.trials:
        path = sweep_dir / TRIALS / trial.plan.trial_id / "delta.json"
        delta = _delta_document(trial, primary_criterion=verdicts.primary_criterion)
        if delta is None:
            path.unlink(missing_ok=True)
        else:
            write_json(path, delta)
    return verdicts


def _delta_document(trial: TrialVerdict, *, primary_criterion: str) -> dict[str, Any] | None:
    """Return the content of ``delta.json``; None where there is no difference."""
    found, word = trial.verdict.effect, trial.verdict.word
    if found is None:
        return None
    key = f"delta/{primary_criterion}/pass_at_1_pp"
    metrics = {key: found.estimate_pp, f"{key}_lo": found.low_pp, f"{key}_hi": found.high_pp}
    return {
        "metrics": {name: value for name, value in metrics.items() if not math.isnan(value)},
        "verdict": None if word is None else word.value,
        "text": trial.verdict.text,
    }


def _verdicts_markdown(verdicts: SweepVerdicts) -> str:
    """Return the sweep's page: table, sentences, tiers, and how to read them."""
    tiers: list[str] = []
    for trial in verdicts.trials:
        if rows := texts(TIERS, trial.comparison.tiers if trial.comparison else ()):
            title = f"### {inline_text(trial.plan.name)}"
            tiers += [*([""] if tiers else []), title, "", *table_lines(rows)]
    sections = [
        (
            f"# {inline_text(verdicts.sweep)}",
            [count_sentence(verdicts), "", *table_lines(verdict_rows(verdicts))],
        ),
        ("## Trials", item_lines(line for t in verdicts.trials for line in trial_sentences(t))),
        ("## Cells", item_lines(cell_sentences(verdicts))),
        ("## Contrasts", item_lines(contrast_sentences(verdicts))),
        ("## By difficulty", tiers),
        ("## How to read this", item_lines(HOW_TO_READ)),
    ]
    lines = [line for title, body in sections if body for line in (title, "", *body, "")]
    return "\n".join(lines).rstrip() + "\n"
