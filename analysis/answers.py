"""Rows on the final answers of a trial, and of its baseline where it has one.

A field is a path in the expected document, ``*`` for any position of an array. Everything here but
the gain on the primary criterion is exploratory.

Shapes: F = fields, P = prompts.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain

import numpy as np
import pandas as pd

from analysis.differences import paired_difference
from analysis.families import Floats
from analysis.measured import Interval, Measured, mean_interval, parts, rate_intervals
from analysis.tables import Column, Row, Table, bounds, effect_in, rate_cells, rate_column, rate_row
from analysis.trials import Comparison, TrialVerdict
from analysis.verdicts import effect, effect_text

__all__ = [
    "FIELDS",
    "HOW_TO_READ_FIELDS",
    "MEASURES",
    "Change",
    "Facts",
    "RunRows",
    "answer_tables",
    "class_rates",
    "error_class_names",
    "field_rows",
    "measure_rows",
    "prompt_changes",
    "trial_facts",
    "verdict_tables",
]

RunRows = dict[str, list[Row]]
"""Name of the table -> its rows."""
Facts = Mapping[str, str | int]
"""Which trial a row is about."""

QUANTILES = {"p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9}


class Change(StrEnum):
    """The change of one prompt by training, on the primary criterion."""

    RESCUED = "rescued"
    REGRESSED = "regressed"
    BOTH_PASS = "both pass"
    BOTH_FAIL = "both fail"

    @property
    def is_flip(self) -> bool:
        """Whether the two sides disagree."""
        return self in (Change.RESCUED, Change.REGRESSED)


def _bounded(key: str, sign: str = "") -> Column:
    def text(row: Row) -> str:
        value, low, high = (float(row[name]) for name in (key, f"{key}_low", f"{key}_high"))
        limits = "no interval" if np.isnan(low) else f"{low:{sign}.3g}, {high:{sign}.3g}"
        return f"{value:{sign}.3g} [{limits}]"

    heading = "difference" if key == "delta" else key
    return Column(heading, lambda row: row if key in row else None, text)


MEASURES = Table(
    "measures",
    "Measures, with 95% intervals; exploratory",
    (
        Column("measure", "measure", lambda name: name.replace("_", " ")),
        Column("prompts", "num_prompts"),
        _bounded("baseline"),
        _bounded("trained"),
        _bounded("delta", "+"),
    ),
)
"""In their own units."""


OUTCOMES = ("right", "wrong", "missing", "extra")
"""In the order of ``Score.fields``."""
MAX_FIELDS = 60
"""Those with the most expected values; the others are counted together."""
OTHERS = "(other fields)"

HOW_TO_READ_FIELDS = (
    "Of a field, right, wrong and missing are shares of its expected values, and a completion "
    "without a document misses all; extra is the share of completions with a value there that "
    "nobody expected.",
)


FIELDS = Table(
    "fields",
    "Fields of the answer, with 95% intervals; exploratory",
    (
        Column("field", "field"),
        Column("side", "side"),
        Column("expected values", "num_values"),
        *map(rate_column, OUTCOMES),
        Column("right, difference", effect_in, effect_text),
    ),
)


def trial_facts(trial: TrialVerdict) -> Facts:
    """Return the columns that every row of a trial starts with."""
    plan = trial.plan
    return {
        "trial": plan.name,
        "trial_id": plan.trial_id,
        "cell": plan.cell,
        "model": plan.model,
        "seed": plan.seed,
    }


def verdict_tables(trial: TrialVerdict) -> RunRows:
    """Return the tables that the verdicts hold: ``differences``, ``criteria``, ``difficulties``."""
    facts, comparison = trial_facts(trial), trial.comparison
    tables: RunRows = {"differences": [], "criteria": [], "difficulties": []}
    if trial.result is not None:
        for criterion, rate in trial.result.rates.items():
            before = None if comparison is None else comparison.rates[criterion]
            tables["criteria"] += _sided({**facts, "criterion": criterion}, before, rate)
    found, word = trial.verdict.effect, trial.verdict.word
    if comparison is not None and found is not None:
        judged = {
            "p_adjusted": trial.verdict.p_adjusted,
            "verdict": None if word is None else word.value,
        }
        tables["differences"].append({**facts, **bounds(found), **judged})
        for tier in comparison.tiers:
            row = {"difficulty": tier.difficulty, "criterion": tier.criterion}
            shared = {**facts, **row, "num_prompts": tier.num_prompts}
            tables["difficulties"] += _sided(shared, tier.baseline, tier.trial)
    return tables


def answer_tables(facts: Facts, compared: Comparison, criterion: str) -> RunRows:
    """Return what the answers of a finished trial show.

    Returns:
        ``constructs`` and ``lengths``; ``error_classes``, also those that only one side has;
        ``measures`` and ``fields``; and with a baseline ``changes``, over all prompts and by
        difficulty.
    """
    ours = compared.trial
    if ours is None:
        return {}
    theirs = compared.gain.baseline if compared.gain is not None else None
    sides = {side: run for side, run in (("baseline", theirs), ("trained", ours)) if run}
    classes = error_class_names(*(run.record.samples for run in sides.values()))
    tables: RunRows = defaultdict(list)
    for side, run in sides.items():
        shared = {**facts, "side": side}
        found = {
            "constructs": _construct_rows(run, criterion),
            "lengths": [_length_row(run.record.samples)],
            "error_classes": class_rates(run, run.record.samples, classes),
        }
        for name, rows in found.items():
            tables[name] += [{**shared, **row} for row in rows]
    tables["measures"] = measure_rows(facts, ours, theirs)
    tables["fields"] = [{**facts, **row} for row in field_rows(sides)]
    if theirs is not None:
        tables["changes"] = [{**facts, **row} for row in _change_rows(ours, theirs, criterion)]
    return tables


def prompt_changes(ours: Measured, theirs: Measured, criterion: str) -> Sequence[Change]:
    """Return the change of each prompt from a baseline to a trial, on the same prompts.

    A side passes with half its samples or more.
    """
    after, before = ours.criterion(criterion) >= 0.5, theirs.criterion(criterion) >= 0.5
    names = np.select(
        [after & ~before, before & ~after, after & before],
        [Change.RESCUED.value, Change.REGRESSED.value, Change.BOTH_PASS.value],
        default=Change.BOTH_FAIL.value,
    )
    return [Change(name) for name in names]


def error_class_names(*samples: pd.DataFrame) -> list[str]:
    """Return the error classes of some samples, the most frequent first."""
    found = [part["error_class"] for part in samples if "error_class" in part]
    return [str(name) for name in pd.concat(found).value_counts().index] if found else []


def class_rates(measured: Measured, samples: pd.DataFrame, names: Sequence[str]) -> list[Row]:
    """Return the share of completions in each of ``names``, also where it is 0."""
    if not names or "error_class" not in samples:
        return []
    is_class = pd.DataFrame({name: samples["error_class"] == name for name in names})
    means = is_class.groupby(samples["prompt_id"], sort=True).mean().to_numpy(dtype=np.float64).T
    rates = rate_intervals(means, measured.families, num_completions=measured.num_completions)
    return [
        {"error_class": name, "num_completions": int(count), **rate_row(rate)}
        for name, count, rate in zip(names, is_class.sum(), rates, strict=True)
    ]


def measure_rows(facts: Facts, ours: Measured, theirs: Measured | None) -> list[Row]:
    """Return one row for each measure that is known of a prompt.

    Returns:
        ``trained``, ``baseline`` and ``delta`` with ``_low`` and ``_high``, and ``num_prompts``.
        A side is the mean over the prompts where it is known, the difference over those where
        both sides are; bounds are NaN where a single family gives none.
    """
    rows = []
    for name in ours.measures:
        after = ours.measure(name)
        if np.isnan(after).all():
            continue
        row: Row = {**facts, "measure": name, **_mean("trained", after, ours)}
        if theirs is not None and name in theirs.measures:
            before = theirs.measure(name)
            row |= _mean("baseline", before, theirs) | _mean("delta", after - before, ours)
        rows.append({**row, "num_prompts": int((~np.isnan(after)).sum())})
    return rows


def _mean(key: str, values: Floats, measured: Measured) -> Row:
    found = mean_interval(values, measured.families)
    return {} if found is None else rate_cells(key, found)


def _construct_rows(run: Measured, criterion: str) -> list[Row]:
    if "constructs" not in run.record.samples:
        return []
    first = run.record.samples.drop_duplicates("prompt_id").set_index("prompt_id")["constructs"]
    exploded = first.explode().dropna()
    rows = []
    for name in sorted(set(map(str, exploded))):
        part = Measured(run.record, run.table.loc[exploded.index[exploded == name]])
        rate = part.rate(criterion)
        rows.append({"construct": name, "num_prompts": len(part.table), **rate_row(rate)})
    return rows


def _length_row(samples: pd.DataFrame) -> Row:
    tokens = samples["num_tokens"]
    return {
        **{name: float(tokens.quantile(share)) for name, share in QUANTILES.items()},
        "mean": float(tokens.mean()),
        "truncated": float(samples["is_truncated"].mean()),
    }


def _change_rows(ours: Measured, theirs: Measured, criterion: str) -> Iterator[Row]:
    """Count the prompts of each change, over all and by difficulty."""
    found = np.asarray([change.value for change in prompt_changes(ours, theirs, criterion)])
    for difficulty, part in parts(ours):
        families = np.asarray(ours.families)[part].tolist()
        is_change = np.stack([found[part] == change.value for change in Change])
        rates = rate_intervals(
            is_change.astype(np.float64), families, num_completions=len(families)
        )
        for change, count, rate in zip(Change, is_change.sum(axis=1), rates, strict=True):
            facts = {"difficulty": difficulty, "change": change.value, "num_prompts": int(count)}
            yield {**facts, **rate_row(rate)}


def _sided(facts: Row, before: Interval | None, after: Interval) -> list[Row]:
    return [
        {**facts, "side": side, **rate_row(rate)}
        for side, rate in (("baseline", before), ("trained", after))
        if rate is not None
    ]


def field_rows(sides: Mapping[str, Measured]) -> list[Row]:
    """Return one row for each field and side; none where answers are not known.

    Args:
        sides: Runs on the same prompts; the last one is compared with the first.

    Returns:
        ``num_values`` expected in ``num_prompts`` prompts; ``right``, ``wrong`` and ``missing``
        (means over these prompts of each one's share) and ``extra`` (over all prompts), with
        ``_low`` and ``_high``; on the last of several sides the paired difference of ``right``.
        Fields stand in the order of the answers.
    """
    runs = list(sides.values())
    if any("fields" not in run.record.samples for run in runs):
        return []
    parsed = [[json.loads(text) for text in run.record.samples["fields"]] for run in runs]
    names = _field_names(chain.from_iterable(parsed))
    counts = [_field_counts(run, found, names) for run, found in zip(runs, parsed, strict=True)]
    rows: list[Row] = []
    for index, name in enumerate(names):
        for side, run, count in zip(sides, runs, counts, strict=True):
            rows.append(
                {"field": name or "(document)", "side": side, **_field_rates(count[index], run)}
            )
        is_expected = _expected(counts[0][index]) > 0
        if len(runs) > 1 and is_expected.any():
            before, after = (
                (count[index] / _expected(count[index]))[0, is_expected]
                for count in (counts[0], counts[-1])
            )
            families = runs[0].table["family"][is_expected].to_list()
            rows[-1] |= bounds(effect(paired_difference(after, before, families)))
    return rows


def _field_names(completions: Iterable[Mapping[str, Sequence[int]]]) -> list[str]:
    """Return the fields that are shown, in the order of the answers; ``OTHERS`` last."""
    expected: Counter[str] = Counter()
    for fields in completions:
        for name, counts in fields.items():
            expected[name] += sum(counts[:3])
    most = {name for name, _ in expected.most_common(MAX_FIELDS)}
    names = [name for name in expected if name in most]
    return names if len(names) == len(expected) else [*names, OTHERS]


def _field_counts(
    run: Measured, completions: Sequence[Mapping[str, Sequence[int]]], names: Sequence[str]
) -> Floats:
    """Add up by field and prompt: (F, 4, P) in the order of ``OUTCOMES``, extra by completion."""
    rows = {name: index for index, name in enumerate(names)}
    places = {prompt: index for index, prompt in enumerate(run.table.index)}
    found = np.zeros((len(names), len(OUTCOMES), len(places)))
    for prompt, fields in zip(run.record.samples["prompt_id"], completions, strict=True):
        place, extra = places[prompt], set()
        for name, counts in fields.items():
            row = rows.get(name, len(names) - 1)
            found[row, :3, place] += counts[:3]
            if counts[3]:
                extra.add(row)
        found[list(extra), 3, place] += 1
    return found


def _expected(counts: Floats) -> Floats:
    """Return how many values of a field each prompt expects, NaN for none: (P,)."""
    expected = counts[:3].sum(axis=0)
    return np.where(expected > 0, expected, np.nan)


def _field_rates(counts: Floats, run: Measured) -> Row:
    expected = _expected(counts)
    is_expected = expected > 0
    shares = counts[:3, is_expected] / expected[is_expected]
    extra = counts[3:] / np.asarray(run.table["num_samples"])
    found = [*_field_intervals(shares, run.table[is_expected]), *_field_intervals(extra, run.table)]
    row: Row = {"num_prompts": len(shares[0]), "num_values": int(np.nansum(expected))}
    for outcome, rate in zip(OUTCOMES, found, strict=True):
        row |= rate_cells(outcome, rate)
    return row


def _field_intervals(shares: Floats, table: pd.DataFrame) -> list[Interval]:
    """Return the rate of each row of shares over the prompts of a table."""
    if table.empty:
        return [Interval(np.nan, np.nan, np.nan)] * len(shares)
    num_completions = int(table["num_samples"].sum())
    return rate_intervals(shares, table["family"].to_list(), num_completions=num_completions)
