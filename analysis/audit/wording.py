"""An audit in tables and sentences."""

import math

from analysis.audit.audit import ArmSummary, Audit
from analysis.tables import NOT_MEASURED, rate_text
from analysis.verdicts import effect_text

__all__ = ["HOW_TO_READ", "audit_sentences", "audit_tables"]

HOW_TO_READ = (
    "Rates are Pass@1 over prompts, each prompt's mean over its samples, with a Wilson interval "
    "that allows for families; a prompt that was answered more often weighs no more. Differences "
    "are paired on prompts, with 95% t intervals clustered by family.",
    "Better and worse need p < 0.05 after Holm over all comparisons of their kind in this file, "
    "on the judged criterion; equivalent means within 3 points. All other differences, and all "
    "signs, are exploratory.",
    "A verdict is about these runs. What training again would give needs three seeds a side.",
)
"""The rules, for readers who meet them for the first time."""

Rows = list[dict[str, str]]


def audit_tables(audit: Audit) -> dict[str, Rows]:
    """Return the tables that have rows, by title; each row heading -> text."""
    rates, behaviour, rewards = [], [], []
    for arm in audit.arms:
        name = {"arm": f"{arm.arm} (baseline)" if arm.is_baseline else arm.arm}
        counts = {"completions": str(arm.num_completions), "prompts": str(arm.num_prompts)}
        rates.append(
            name | counts | {criterion: rate_text(rate) for criterion, rate in arm.rates.items()}
        )
        think = f"{arm.think_rate:.1%}" if arm.is_thinking_asked else NOT_MEASURED
        lengths = _means(arm, "num_", ".1f")
        behaviour.append({**name, "think": think, **lengths, **_means(arm, "share/", ".1%")})
        rewards.append(name | _means(arm, "reward/", ".3f"))
    gains = [
        {
            "arm": found.arm,
            **{criterion: effect_text(delta) for criterion, delta in found.deltas.items()},
            f"verdict on {audit.criterion}": str(found.verdict.word),
        }
        for found in audit.comparisons
    ]
    tables = {
        "arms: Pass@1 with 95% intervals": rates,
        "arms: behaviour, means": behaviour,
        "arms: rewards, means": rewards,
        "gains over baselines": gains,
    }
    return {title: rows for title, rows in tables.items() if rows}


def audit_sentences(audit: Audit) -> list[str]:
    """Return what the tables do not say: counts, verdicts, contrasts, leakage, signs."""
    lines = [
        f"{audit.num_completions} completions in {len(audit.arms)} arms, on {audit.num_prompts} "
        f"different prompts of {audit.num_families} families.",
        *(
            f"in training: {leak.num_in_training} of {leak.num_prompts} prompts "
            f"({leak.num_in_training / leak.num_prompts:.0%}), by {leak.kind}."
            for leak in audit.leaks
        ),
    ]
    for found in (*audit.comparisons, *audit.contrasts):
        against = f" against {found.against}" if found.column else ""
        unpaired = found.num_unpaired
        left_out = f" {unpaired} prompts that one side lacks are left out." if unpaired else ""
        lines.append(f"{found.arm}{against}: {audit.criterion} {found.verdict.text}{left_out}")
    for found in audit.comparisons:
        for kind, parts in found.by_leak.items():
            listed = ", ".join(f"{name} {effect_text(part)}" for name, part in parts.items())
            lines.append(
                f"{found.arm}: {audit.criterion} by whether the {kind} was trained on: {listed}."
            )
    lines += [
        f"{name}: no baseline agrees with its other columns." for name in audit.without_baseline
    ]
    if audit.mean_gains:
        gains = "; ".join(
            f"{criterion} {gain.baseline:.1%} -> {gain.trained:.1%}"
            + ("" if gain.delta is None else f" ({effect_text(gain.delta)})")
            for criterion, gain in audit.mean_gains.items()
        )
        lines.append(f"mean over {len(audit.comparisons)} arms: {gains}.")
    for column in dict.fromkeys(found.column for found in audit.contrasts):
        words = [str(found.verdict.word) for found in audit.contrasts if found.column == column]
        decided = sum(word in ("better", "worse") for word in words)
        lines.append(f"{column}: {decided} of {len(words)} contrasts are significant.")
    return lines + [f"{sign.arm}: sign of {sign.kind}: {sign.text}" for sign in audit.signs]


def _means(arm: ArmSummary, prefix: str, form: str) -> dict[str, str]:
    """Return the means of some measures as text, by what tables call them."""
    return {
        name.removeprefix(prefix).replace("_", " "): (
            NOT_MEASURED if math.isnan(mean) else f"{mean:{form}}"
        )
        for name, mean in arm.means.items()
        if name.startswith(prefix)
    }
