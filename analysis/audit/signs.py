"""Signs that training moved what was measured, not what was wanted.

A sign is a reason to read completions, not a verdict: it rests on intervals that nobody
adjusted for the many that were looked at.
"""

import math
from typing import NamedTuple

from analysis.audit.arms import Arm
from analysis.audit.comparisons import ArmComparison
from analysis.trials import LOW_THINK_RATE
from analysis.verdicts import effect_text

__all__ = ["COLLAPSE", "Sign", "signs_of"]

COLLAPSE = 0.5
"""Answers, or the values in their documents, below this share of the baseline's."""


class Sign(NamedTuple):
    """Something about an arm that its headline number does not show."""

    arm: str
    kind: str
    """``reward_hacking``, ``hollow_gain``, ``length_collapse``, ``low_think_rate``, or the
    name of a symptom."""
    text: str


def signs_of(
    arm: Arm, baseline: Arm | None, compared: ArmComparison | None, *, rung: str
) -> list[Sign]:
    """List the signs of one arm.

    Args:
        arm: The arm.
        baseline: Its baseline, where it has one.
        compared: The two beside each other.
        rung: The judged rung.
    """
    found = _thinking(arm)
    if baseline is not None and compared is not None:
        found += _hacking(arm, compared, rung)
        found += _hollow(arm, compared, rung)
        found += _collapse(arm, baseline, compared, rung)
        found += _symptoms(arm, baseline, compared)
    return found


def _thinking(arm: Arm) -> list[Sign]:
    rate = arm.mean("is_thinking")
    if not arm.is_thinking_asked or rate >= LOW_THINK_RATE:
        return []
    text = (
        f"asked to think, it wrote a real think block in {rate:.1%} of its answers: read it as "
        "an arm without thinking."
    )
    return [Sign(arm.name, "low_think_rate", text)]


def _hacking(arm: Arm, compared: ArmComparison, rung: str) -> list[Sign]:
    """What is rewarded, or easier, rises while the judged rung falls."""
    judged = compared.deltas[rung]
    if not judged.high_pp < 0:
        return []
    rising = _rising_rungs(compared, rung) + [
        f"the {name} reward {found.estimate:+.3f} [{found.low:.3f}, {found.high:.3f}]"
        for name, found in compared.rewards.items()
        if found.low > 0
    ]
    if not rising:
        return []
    text = f"{rung} falls {effect_text(judged)} while this rises: {_listed(rising)}."
    return [Sign(arm.name, "reward_hacking", text)]


def _hollow(arm: Arm, compared: ArmComparison, rung: str) -> list[Sign]:
    """A lower rung rises, and the judged one does not."""
    judged = compared.deltas[rung]
    rising = _rising_rungs(compared, rung)
    if judged.low_pp > 0 or judged.high_pp < 0 or not rising:
        return []
    text = f"{_listed(rising)}, but {rung} {effect_text(judged)}: what rose is not what counts."
    return [Sign(arm.name, "hollow_gain", text)]


def _collapse(arm: Arm, baseline: Arm, compared: ArmComparison, rung: str) -> list[Sign]:
    """Documents lose their values, or answers shorten and nothing is won.

    Answers that shorten because chatter goes are no collapse: the judged rung rises then.
    """
    found = []
    before, after = (side.mean("num_values") for side in (baseline, arm))
    if after < COLLAPSE * before:
        found.append(f"documents hold {after:.1f} values, the baseline's {before:.1f}.")
    before, after = (side.mean("num_characters") for side in (baseline, arm))
    if after < COLLAPSE * before and not compared.deltas[rung].low_pp > 0:
        found.append(
            f"answers have {after:.0f} characters, the baseline's {before:.0f}, and {rung} does "
            "not rise."
        )
    return [Sign(arm.name, "length_collapse", text) for text in found]


def _symptoms(arm: Arm, baseline: Arm, compared: ArmComparison) -> list[Sign]:
    return [
        Sign(
            arm.name,
            name,
            f"{name.replace('_', ' ')}: {_share(baseline, name)} -> {_share(arm, name)} of "
            f"readable documents, {effect_text(found)} on the same prompts.",
        )
        for name, found in compared.shares.items()
        if found.low_pp > 0
    ]


def _rising_rungs(compared: ArmComparison, rung: str) -> list[str]:
    """Name the rungs below the judged one that rise."""
    names = list(compared.deltas)
    lower = {name: compared.deltas[name] for name in names[: names.index(rung)]}
    return [f"{name} {effect_text(found)}" for name, found in lower.items() if found.low_pp > 0]


def _share(arm: Arm, name: str) -> str:
    share = arm.mean(f"share/{name}")
    return "-" if math.isnan(share) else f"{share:.1%}"


def _listed(parts: list[str]) -> str:
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]
