"""Every table of one trial, with its baseline beside it."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from analysis.measured import Interval
from analysis.rates import wilson_rate
from analysis.report.answers import Answers, Change
from analysis.report.run_rows import RunRows, class_rates, error_class_names
from analysis.tables import Row
from analysis.trials import TrialVerdict

__all__ = [
    "ALL_DIFFICULTIES",
    "Facts",
    "change_rows",
    "error_rows",
    "side_rows",
    "trial_facts",
    "verdict_tables",
]

ALL_DIFFICULTIES = "all"

Facts = Mapping[str, str | int]
"""Which trial a row is about."""


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
    """Return the tables that the verdicts hold: ``differences``, ``rungs``, ``difficulties``."""
    facts, comparison = trial_facts(trial), trial.comparison
    tables: RunRows = {"differences": [], "rungs": [], "difficulties": []}
    if trial.result is not None:
        for rung, rate in trial.result.rates.items():
            if comparison is not None:
                tables["rungs"].append(_sided(facts, comparison.rates[rung], "baseline", rung=rung))
            tables["rungs"].append(_sided(facts, rate, "trained", rung=rung))
    if comparison is None or trial.verdict.effect is None:
        return tables
    found, word = trial.verdict.effect, trial.verdict.word
    tables["differences"].append(
        {
            **facts,
            "delta_pp": found.estimate_pp,
            "low_pp": found.low_pp,
            "high_pp": found.high_pp,
            "p_adjusted": trial.verdict.p_adjusted,
            "verdict": None if word is None else word.value,
        }
    )
    for tier in comparison.tiers:
        shared: Facts = {
            "difficulty": tier.difficulty,
            "rung": tier.rung,
            "num_prompts": tier.num_prompts,
        }
        tables["difficulties"] += [
            _sided(facts, tier.baseline, "baseline", **shared),
            _sided(facts, tier.trial, "trained", **shared),
        ]
    return tables


def side_rows(trial: TrialVerdict, ours: RunRows, theirs: RunRows | None) -> RunRows:
    """Put what a trial's run shows beside what its baseline shows."""
    facts = trial_facts(trial)
    sides = (("baseline", theirs), ("trained", ours))
    return {
        name: [
            {**facts, "side": side, **row}
            for side, tables in sides
            if tables is not None
            for row in tables[name]
        ]
        for name in ours
    }


def error_rows(trial: TrialVerdict, ours: Answers, theirs: Answers | None) -> list[Row]:
    """Return the share of completions in each error class that either side has."""
    sides = {"baseline": theirs, "trained": ours}
    present = {side: answers for side, answers in sides.items() if answers is not None}
    names = error_class_names(*(answers.samples for answers in present.values()))
    return [
        {**trial_facts(trial), "side": side, **row}
        for side, answers in present.items()
        for row in class_rates(answers.measured, answers.samples, names)
    ]


def change_rows(trial: TrialVerdict, ours: Answers, changes: Sequence[Change]) -> list[Row]:
    """Count the prompts that training rescued or lost, over all and by difficulty."""
    found = np.asarray([change.value for change in changes])
    return [
        {**trial_facts(trial), "difficulty": difficulty, **row}
        for difficulty, part in _parts(ours)
        for row in _counted(ours, found, part)
    ]


def _parts(ours: Answers) -> Iterator[tuple[str, np.ndarray]]:
    difficulties = ours.measured.table["difficulty"]
    yield ALL_DIFFICULTIES, np.ones(len(difficulties), dtype=bool)
    for name in difficulties.unique():
        yield str(name), np.asarray(difficulties == name)


def _counted(ours: Answers, found: np.ndarray, part: np.ndarray) -> Iterator[Row]:
    families = np.asarray(ours.measured.families)[part].tolist()
    indicators = np.stack([found[part] == change.value for change in Change]).astype(np.float64)
    rates = wilson_rate(indicators, families, num_completions=len(families))
    for index, change in enumerate(Change):
        yield {
            "change": change.value,
            "num_prompts": int(indicators[index].sum()),
            "rate": float(rates.estimate[index]),
            "low": float(rates.low[index]),
            "high": float(rates.high[index]),
        }


def _sided(facts: Facts, rate: Interval, side: str, **columns: str | int) -> Row:
    bounds = {"rate": rate.estimate, "low": rate.low, "high": rate.high}
    return {**facts, **columns, "side": side, **bounds}
