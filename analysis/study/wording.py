"""The findings of a search in tables and sentences, part by part."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from analysis.study.earlier import agreement_sentence
from analysis.study.findings import DEFAULT, Confirmation, Retrained, RewardAudit, StudyFindings
from analysis.study.importance import ALPHA
from analysis.study.points import INFEASIBLE
from analysis.study.reward_audit import AnswerAudit
from analysis.tables import NOT_MEASURED
from strictune.records import Point

__all__ = [
    "HOW_TO_READ",
    "StudySection",
    "count_sentence",
    "crafted_sentences",
    "selection_sentences",
    "study_sections",
    "value_text",
    "winner_sentences",
]

HOW_TO_READ = (
    "Points were measured on the validation split. Their intervals are over prompts (95%, Wilson, "
    "allowing for families): training a point again would spread its value further.",
    "The best of many points owes part of its value to luck. Only the verdict on the final split, "
    "after training again with fresh seeds, says whether it is better.",
    "Importance: PED-ANOVA over the finished points, each parameter's share of how far the best "
    "quarter is spread otherwise than all; after ±, its standard deviation over bootstrap samples "
    "of the points. Weights add up to 1, so a share may belong to a weight that had to make room. "
    "Exploratory: nobody planned these comparisons.",
    f"Above chance: shuffled values give a divergence so large in fewer than {ALPHA:.0%} of cases, "
    "divided by the number of parameters. In simulated studies a weight that decides was found "
    "with 20 points in 5 of 20 cases, with 40 points in 18.",
    "Sensitivity: standard deviations that the reward moves when the component moves by one, both "
    "within groups; after ±, its standard error over steps. A component saturates where it is the "
    "same for all completions of 95% of the groups, to the end of training.",
    "Rank correlation: Spearman's, over the points of equal settings that both studies finished, "
    "with a 95% interval from a bootstrap over points. Noise in the values pulls it towards 0.",
    "Crafted answers stand in one group with the right answer to the same prompt. Their reward is "
    "a share of the right answer's, averaged over the prompts to which they are wrong.",
)
"""The rules of the page, for readers who meet it for the first time."""

_NAMES = {DEFAULT: "the cell's own settings", "first": "the study's first point"}
"""What variants are called beside the winner."""


class StudySection(NamedTuple):
    """One part of a study's findings."""

    title: str
    sentences: Sequence[str] = ()
    rows: Sequence[Mapping[str, str]] = ()
    """A table of display strings; all rows have the same keys."""


def study_sections(found: StudyFindings) -> list[StudySection]:
    """Return the parts that have something to say, in their order."""
    confirmation, audit = found.confirmation, found.audit
    recorded = (
        f"Measured on {audit.num_completions} training completions of the winner and of the cell's "
        f"own settings, searched and trained again (trials with a matrix: {audit.num_trials})."
    )
    components = component_rows(audit)
    sections = [
        StudySection(
            "The winner", (*winner_sentences(confirmation), *selection_sentences(confirmation))
        ),
        StudySection("Best points", rows=best_rows(found)),
        StudySection("The other model", [agreement_sentence(one) for one in found.agreements]),
        StudySection("What mattered", importance_sentences(found), importance_rows(found)),
        StudySection("What each component pays for", [recorded] if components else [], components),
        StudySection("Crafted answers", crafted_sentences(audit), crafted_rows(audit)),
    ]
    return [section for section in sections if section.sentences or section.rows]


def count_sentence(found: StudyFindings) -> str:
    """Return e.g. ``12 points by tpe: 7 finished, 5 stopped early.``."""
    counts = {name: count for name, count in found.counts.items() if name != INFEASIBLE}
    listed = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    parts = [f"{sum(counts.values())} points by {found.study.sampler}: {listed or 'none'}."]
    if infeasible := found.counts[INFEASIBLE]:
        parts.append(f"Finished, but infeasible, so that they cannot win: {infeasible}.")
    if before := sum(point.is_from_before for point in found.study.points):
        parts.append(f"Taken over from earlier sweeps: {before} more.")
    return " ".join(parts)


def winner_sentences(confirmation: Confirmation) -> list[str]:
    """Return the verdict on the winner after training again, or why there is none."""
    if confirmation.note is not None:
        return [f"No verdict on the winner: {confirmation.note}"]
    return [
        f"{found.level}, the winner, against {_NAMES.get(found.against_level, found.against_level)}"
        f", trained again with fresh seeds, on the final split: {found.verdict.text}"
        for found in confirmation.contrasts
    ]


def selection_sentences(confirmation: Confirmation) -> list[str]:
    """Return the value of each variant when it was selected, and after training again."""
    variants, metric = confirmation.variants, confirmation.metric
    rivals = variants[1:] if confirmation.holds_winner else ()
    leads = [_lead_sentence(variants[0], other, confirmation) for other in rivals]
    return [
        *(_retrained_sentence(one, metric) for one in variants),
        *(lead for lead in leads if lead is not None),
    ]


def best_rows(found: StudyFindings) -> list[dict[str, str]]:
    """Return the best points, best first, and the default wherever it stands."""
    default = found.study.default
    shown = list(found.best)
    if default is not None and default.number not in {point.number for point in shown}:
        shown.append(default)
    return [_point_row(point, found) for point in shown]


def importance_rows(found: StudyFindings) -> list[dict[str, str]]:
    """Return the importance of every weight and setting; empty where it was refused."""
    return [
        {
            "parameter": f"weight of {row.name}" if row.is_weight else row.name,
            "share": f"{row.share:.0%} ± {100 * row.share_se:.0f}",
            "above chance": "yes" if row.is_above_chance else "no",
        }
        for row in found.importance.rows
    ]


def importance_sentences(found: StudyFindings) -> list[str]:
    """Return the sentence on what matters for the first objective, or why it is not known."""
    table = found.importance
    if table.refusal is not None:
        return [f"Importance for {table.metric} is not estimated: {table.refusal}"]
    names = [row.name for row in table.rows if row.is_above_chance]
    over = f"over {table.num_points} finished points"
    if not names:
        return [f"For {table.metric}, no weight or setting stands out from chance {over}."]
    return [f"For {table.metric}, more than chance {over}: {', '.join(names)}."]


def component_rows(audit: RewardAudit) -> list[dict[str, str]]:
    """Return each component's weight, sensitivity and saturation."""
    return [
        {
            "component": row.component,
            **{
                f"{one.name}: weight": f"{one.weights.get(row.component, 0.0):.3f}"
                for one in audit.weightings
            },
            **{
                f"{name}: sensitivity": _with_error(pull.value, pull.standard_error)
                for name, pull in row.sensitivity.items()
            },
            "saturated from step": (
                "-" if row.saturation_step is None else str(row.saturation_step)
            ),
            "constant groups at the end": f"{row.constant_groups_frac:.0%}",
            "at its maximum at the end": f"{row.at_max_frac:.0%}",
        }
        for row in audit.components
    ]


def crafted_rows(audit: RewardAudit) -> list[dict[str, str]]:
    """Return what each crafted answer is paid under each weighting."""
    return [
        {
            "answer": row.answer,
            "weights": row.weighting,
            "wrong on": f"{row.num_wrong} of {row.num_prompts} prompts",
            "reward": NOT_MEASURED if math.isnan(row.reward) else f"{row.reward:.0%}",
            "level with the right answer": str(row.num_tied),
            "above it": str(row.num_above),
        }
        for row in audit.crafted_answers
    ]


def crafted_sentences(audit: RewardAudit) -> list[str]:
    """Return the sentences on crafted answers that are paid as much as the right answer."""
    if not audit.crafted_answers:
        return ["The task has no crafted answers, or knows no right answers to hold them against."]
    lines = []
    for weighting in audit.weightings:
        rows = [row for row in audit.crafted_answers if row.weighting == weighting.name]
        wrong = [row for row in rows if row.num_wrong]
        fooled = [row for row in wrong if row.num_above or row.num_tied]
        what = f"Under the weights of {weighting.name}"
        if not wrong:
            lines.append(
                f"{what} nothing is known of wrong answers: every crafted answer is a right one."
            )
        elif not fooled:
            best = max(wrong, key=lambda row: row.reward)
            lines.append(
                f"{what} no wrong crafted answer is paid as much as the right answer; the best "
                f"paid is {best.answer}, with {best.reward:.0%} of it."
            )
        lines += [_fooled_sentence(what, row) for row in fooled]
    return lines


def value_text(value: float, metric: str) -> str:
    """Return a value as its metric is read: rates in percent."""
    return f"{value:.1%}" if _is_rate(metric) else f"{value:.4g}"


def _change_text(change: float, metric: str) -> str:
    return f"{100 * change:+.1f} pp" if _is_rate(metric) else f"{change:+.4g}"


def _is_rate(metric: str) -> bool:
    return metric.endswith(("pass_at_1", "_rate", "_frac"))


def _fooled_sentence(what: str, row: AnswerAudit) -> str:
    paid = {"more than": row.num_above, "as much as": row.num_tied}
    counts = " and ".join(f"{how} the right answer on {n}" for how, n in paid.items() if n)
    return f"{what} a wrong {row.answer} is paid {counts} of {row.num_wrong} prompts."


def _point_row(point: Point, found: StudyFindings) -> dict[str, str]:
    study, interval = found.study, found.intervals.get(point.number)
    assert point.values is not None
    values = {
        objective.metric: value_text(value, objective.metric)
        for objective, value in zip(study.objectives, point.values, strict=True)
    }
    if interval is not None and not math.isnan(interval.low):
        first = study.objectives[0].metric
        values[first] += f" [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    roles = {
        "the winner": point.number == study.winner,
        "the default": point.is_default,
        "on the front": point.number in found.front,
        "infeasible": not point.is_feasible,
        "from an earlier sweep": point.is_from_before,
    }
    return {
        "point": point.name,
        "is": ", ".join(role for role, holds in roles.items() if holds),
        **values,
        **{one.name: _dimension_text(one.values.get(point.number)) for one in found.dimensions},
    }


def _dimension_text(value: float | str | None) -> str:
    if value is None:
        return NOT_MEASURED
    return value if isinstance(value, str) else f"{value:.3g}"


def _retrained_sentence(one: Retrained, metric: str) -> str:
    if one.mean is None:
        return f"{one.variant}: none of {one.num_planned} confirming trials has {metric} yet."
    spread = "" if one.sd is None else f" (sd {_change_text(one.sd, metric).lstrip('+')})"
    again = f"{value_text(one.mean, metric)} over {len(one.again)} fresh seeds{spread}"
    if one.selected is None:
        return f"{one.variant}: {metric} {again}."
    return (
        f"{one.variant}: {metric} {value_text(one.selected, metric)} when it was selected, "
        f"{again} on the same prompts."
    )


def _lead_sentence(winner: Retrained, other: Retrained, found: Confirmation) -> str | None:
    """Name the selection bias: the lead at selection beside the lead after training again.

    A lead is positive where the winner is better, of a metric that is minimized too.
    """
    if winner.mean is None or other.mean is None:
        return None
    what = f"the winner's lead over {_NAMES.get(other.variant, other.variant)}"
    again = _change_text(found.sign * (winner.mean - other.mean), found.metric)
    if winner.selected is None or other.selected is None:
        return f"After training again, {what} is {again} on the prompts of the search."
    selected = _change_text(found.sign * (winner.selected - other.selected), found.metric)
    return (
        f"Selection bias: {what} was {selected} when it was picked as the best of many, and is "
        f"{again} after training again, on the same prompts."
    )


def _with_error(value: float, error: float) -> str:
    if math.isnan(value):
        return NOT_MEASURED
    return f"{value:.2f}" if math.isnan(error) else f"{value:.2f} ± {error:.2f}"
