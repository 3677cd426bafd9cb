"""Model against model where both had trained on as many completion tokens.

Models of one sweep take as many steps, and may write completions of other lengths meanwhile, so
the one that ends higher may only have seen more. What is known of a trial on the way are the ends
of its stages, on the validation split. Of two trials that differ in the model alone the latest
two ends are compared whose tokens differ by a tenth at most. Exploratory: intervals, without p.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from analysis.measured import Measured, difference
from analysis.pairs import differing_factors
from analysis.records import PlannedTrial, RunRecord, prompt_table, read_samples
from analysis.report.stage_rows import Stage, stage_samples
from analysis.speeds import tokens_at
from analysis.tables import NOT_MEASURED, Column, Row, Table, bounds, effect_in, number
from analysis.verdicts import Effect, effect, effect_text
from strictune.config.naming import short_model_name

__all__ = ["EQUAL_TOKENS", "Waypoint", "equal_token_rows", "waypoints"]

TOLERANCE = 0.1
"""How far the tokens of two trials may lie apart, as a share of the larger number."""


EQUAL_TOKENS = Table(
    "equal_tokens",
    "Models at equal tokens",
    (
        Column("models", lambda row: f"{row['level']} against {row['against']}"),
        Column("in", "within"),
        Column("after stage", "stages", lambda names: " / ".join(dict.fromkeys(names))),
        Column("tokens trained on", "tokens", lambda tokens: " / ".join(map(number, tokens))),
        Column(
            "difference, validation",
            lambda row: row["problem"] or effect_in(row),
            lambda found: (
                f"{NOT_MEASURED} ({found})" if isinstance(found, str) else effect_text(found)
            ),
        ),
    ),
)


class Waypoint(NamedTuple):
    """What a trial reached at the end of a stage, on the validation split."""

    stage: str
    tokens: float
    """Completion tokens trained on since the beginning."""
    samples: Path


def waypoints(record: RunRecord, stages: Sequence[Stage]) -> list[Waypoint]:
    """Return the measured ends of a trial's stages; none where tokens were not recorded."""
    tokens = tokens_at(record.folder, [stage.step for stage in stages])
    found = [(stage, stage_samples(record.folder, stage.name)) for stage in stages]
    return [
        Waypoint(stage.name, tokens[stage.step], samples)
        for stage, samples in found
        if samples is not None and stage.step in tokens
    ]


def equal_token_rows(
    trials: Sequence[tuple[PlannedTrial, RunRecord, Sequence[Waypoint]]], rung: str
) -> list[Row]:
    """Compare trials that differ in the model alone, in the order of the plan.

    Returns:
        One row a pair: delta_pp with bounds, the first model minus the second; NaN where there is
        a ``problem``. Without ends of equal tokens the row is about the last ends.

    Raises:
        StorageError: Samples cannot be read.
    """
    known = [trial for trial in trials if trial[2]]
    rows = []
    for (theirs, their_record, before), (ours, our_record, after) in combinations(known, 2):
        if not _differ_in_model_alone(ours, theirs):
            continue
        found = _latest_equal(after, before)
        first, second = found or (after[-1], before[-1])
        row: Row = {
            "level": short_model_name(ours.model),
            "against": short_model_name(theirs.model),
            "within": _within(ours),
            "stages": [first.stage, second.stage],
            "tokens": [first.tokens, second.tokens],
            **bounds(Effect(estimate_pp=math.nan, low_pp=math.nan, high_pp=math.nan)),
            "problem": f"never within {TOLERANCE:.0%}",
        }
        if found is not None:
            sides = _measured(our_record, first), _measured(their_record, second)
            row["problem"] = "on different prompts"
            if sides[0].table.index.equals(sides[1].table.index):
                row |= {**bounds(effect(difference(*sides, rung))), "problem": None}
        rows.append(row)
    return rows


def _within(plan: PlannedTrial) -> str:
    thinking = "think" if plan.thinking else "no-think"
    own = [plan.variant] if plan.variant is not None else []
    return ", ".join([thinking, plan.curriculum, plan.method, *own, f"seed {plan.seed}"])


def _differ_in_model_alone(ours: PlannedTrial, theirs: PlannedTrial) -> bool:
    return differing_factors(ours, theirs) == ["model"] and ours.seed == theirs.seed


def _latest_equal(
    ours: Sequence[Waypoint], theirs: Sequence[Waypoint]
) -> tuple[Waypoint, Waypoint] | None:
    pairs = (
        (first, second)
        for first in ours
        for second in theirs
        if abs(first.tokens - second.tokens) <= TOLERANCE * max(first.tokens, second.tokens)
    )
    return max(pairs, key=lambda pair: min(pair[0].tokens, pair[1].tokens), default=None)


def _measured(record: RunRecord, waypoint: Waypoint) -> Measured:
    return Measured(record, prompt_table(read_samples(waypoint.samples)))
