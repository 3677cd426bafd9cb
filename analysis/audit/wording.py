"""An audit in rows of display strings and in plain sentences."""

import math

from analysis.audit.audit import ArmSummary, Audit
from analysis.verdicts import effect_text
from analysis.wording import NOT_MEASURED, rate_text

__all__ = [
    "HOW_TO_READ",
    "audit_sentences",
    "behaviour_rows",
    "gain_rows",
    "rate_rows",
    "reward_rows",
]

HOW_TO_READ = (
    "Rates are Pass@1 over prompts, each prompt's mean over its samples, with a Wilson interval "
    "that allows for families; a prompt that was answered more often weighs no more. Differences "
    "are paired on prompts, with 95% t intervals clustered by family.",
    "Better and worse need p < 0.05 after Holm over all comparisons of their kind in this file, "
    "on the judged rung. All other differences, and all signs, are exploratory.",
    "A verdict is about these runs. What training again would give needs three seeds a side.",
)
"""The rules, for readers who meet them for the first time."""


def rate_rows(audit: Audit) -> list[dict[str, str]]:
    """Return one row per arm with its rungs, heading -> text."""
    return [
        {
            "arm": _arm_text(arm),
            "completions": str(arm.num_completions),
            "prompts": str(arm.num_prompts),
            **{rung: rate_text(rate) for rung, rate in arm.rates.items()},
        }
        for arm in audit.arms
    ]


def behaviour_rows(audit: Audit) -> list[dict[str, str]]:
    """Return one row per arm with what the rungs do not show, heading -> text."""
    return [
        {
            "arm": _arm_text(arm),
            "think": f"{arm.think_rate:.1%}" if arm.is_thinking_asked else NOT_MEASURED,
            "characters": f"{arm.characters_mean:.0f}",
            "values": _number(arm.values_mean),
            **{name.replace("_", " "): _percent(share) for name, share in arm.shares.items()},
        }
        for arm in audit.arms
    ]


def reward_rows(audit: Audit) -> list[dict[str, str]]:
    """Return one row per arm with the means of its reward components, heading -> text."""
    return [
        {"arm": _arm_text(arm), **{name: f"{mean:.3f}" for name, mean in arm.rewards.items()}}
        for arm in audit.arms
    ]


def gain_rows(audit: Audit) -> list[dict[str, str]]:
    """Return one row per arm that has a baseline: the change of every rung and the word."""
    return [
        {
            "arm": found.arm,
            **{rung: effect_text(delta) for rung, delta in found.deltas.items()},
            f"verdict on {audit.rung}": str(found.verdict.word),
        }
        for found in audit.comparisons
    ]


def audit_sentences(audit: Audit) -> list[str]:
    """Return what the tables do not say: counts, verdicts, contrasts, leakage, signs."""
    return [
        f"{audit.num_completions} completions in {len(audit.arms)} arms, on {audit.num_prompts} "
        f"different prompts of {audit.num_families} families.",
        *_leak_sentences(audit),
        *(
            f"{found.arm}: {audit.rung} {found.verdict.text}{_unpaired(found.num_unpaired)}"
            for found in audit.comparisons
        ),
        *(f"{name}: no baseline agrees with its other columns." for name in audit.without_baseline),
        *_mean_sentences(audit),
        *_contrast_sentences(audit),
        *(f"{sign.arm}: sign of {sign.kind}: {sign.text}" for sign in audit.signs),
    ]


def _leak_sentences(audit: Audit) -> list[str]:
    lines = [
        f"in training: {leak.num_in_training} of {leak.num_prompts} prompts "
        f"({leak.num_in_training / leak.num_prompts:.0%}), by {leak.kind}."
        for leak in audit.leaks
    ]
    for found in audit.comparisons:
        for kind, parts in found.by_leak.items():
            listed = ", ".join(f"{name} {effect_text(part)}" for name, part in parts.items())
            lines.append(
                f"{found.arm}: {audit.rung} by whether the {kind} was trained on: {listed}."
            )
    return lines


def _mean_sentences(audit: Audit) -> list[str]:
    if not audit.mean_gains:
        return []
    parts = [
        f"{rung} {gain.baseline:.1%} -> {gain.trained:.1%}"
        + ("" if gain.delta is None else f" ({effect_text(gain.delta)})")
        for rung, gain in audit.mean_gains.items()
    ]
    return [f"mean over {len(audit.comparisons)} arms: {'; '.join(parts)}."]


def _contrast_sentences(audit: Audit) -> list[str]:
    lines = [
        f"{found.arm} against {found.against}: {audit.rung} "
        f"{found.verdict.text}{_unpaired(found.num_unpaired)}"
        for found in audit.contrasts
    ]
    for column in dict.fromkeys(found.column for found in audit.contrasts):
        words = [found.verdict.word for found in audit.contrasts if found.column == column]
        decided = sum(word is not None and word.value in ("better", "worse") for word in words)
        lines.append(f"{column}: {decided} of {len(words)} contrasts are significant.")
    return lines


def _arm_text(arm: ArmSummary) -> str:
    return f"{arm.arm} (baseline)" if arm.is_baseline else arm.arm


def _unpaired(count: int) -> str:
    return f" {count} prompts that one side lacks are left out." if count else ""


def _percent(share: float) -> str:
    return NOT_MEASURED if math.isnan(share) else f"{share:.1%}"


def _number(value: float) -> str:
    return NOT_MEASURED if math.isnan(value) else f"{value:.1f}"
