"""The control arms as rows, as display strings and in sentences."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.controls import CONTROLS, Arm
from analysis.report.comparisons import COMPARISONS, OVER_ALL
from analysis.report.prompts import SweepPrompts
from analysis.report.trial_rows import ALL_DIFFICULTIES
from analysis.sweep import SweepVerdicts
from analysis.tables import Column, Row, Table, number, rate_in, rate_text, texts
from analysis.verdicts import effect_text
from analysis.wording import contrast_sentences
from strictune.config.naming import short_model_name
from strictune.records import STUDIES

__all__ = ["CONTROLS_TABLE", "control_note", "control_rows", "control_sentences"]

METHOD = "method"

SFT = "sft"

CONTROLS_TABLE = Table(
    "controls",
    "Control arms",
    (
        Column("model", lambda row: f"{row['model']}, {row['thinking']}"),
        Column("arm", "name"),
        Column("seeds", "num_seeds"),
        Column("Pass@1", rate_in, rate_text),
        Column("against the baseline", "difference"),
        Column("verdict", "verdict"),
        Column("against the grammar", "against_grammar"),
        Column("tokens trained on", "completion_tokens", number),
        Column("seconds of steps", "training_s", number),
        Column("tokens/s, evaluation", "tokens_per_s", number),
    ),
)


def control_rows(arms: Sequence[Arm]) -> list[Row]:
    """Return one row an arm; bounds and totals are NaN where nothing was measured."""
    return [
        {
            "model": short_model_name(arm.model),
            "thinking": "think" if arm.thinking else "no-think",
            "arm": arm.kind,
            "name": arm.name,
            "num_seeds": arm.num_seeds,
            "rate": arm.rate.estimate,
            "low": arm.rate.low,
            "high": arm.rate.high,
            **_against_baseline(arm),
            "against_grammar": arm.against_grammar and effect_text(arm.against_grammar),
            "completion_tokens": arm.completion_tokens,
            "training_s": arm.training_s,
            "tokens_per_s": arm.tokens_per_s,
        }
        for arm in arms
    ]


def control_note(folder: Path, verdicts: SweepVerdicts, prompts: SweepPrompts) -> str:
    """Say why a sweep has no table of control arms, and how to get one where none was run.

    Args:
        folder: The sweep's.
        verdicts: Its verdicts, for the supervised trials that are planned.
        prompts: What is known of its task.
    """
    states = Counter(t.state.word for t in verdicts.trials if t.plan.method == SFT)
    constrained = sum(path.is_dir() for path in (folder / CONTROLS).glob("*"))
    begun = [
        *([f"supervised trials: {_counted(states)}"] if states else []),
        *([f"measurements under a grammar: {constrained}"] if constrained else []),
    ]
    question = "Would something simpler have done it?"
    if begun:
        return f"{question} No control can be shown ({'; '.join(begun)})."
    ways = []
    # A search knows no methods: it is about rewards.
    if prompts.has_gold and not (folder / STUDIES).exists():
        ways.append(
            "matrix: {method: [sft, grpo]} in the sweep file trains on gold completions beside GRPO"
        )
    if prompts.has_grammar:
        ways.append(
            "strictune evaluate --sweep SWEEP --constrain measures the untrained models under a "
            "grammar"
        )
    return " ".join([f"{question} No control was run.", *(f"{way}." for way in ways)])


def control_sentences(verdicts: SweepVerdicts, comparisons: Sequence[Row]) -> list[str]:
    """Say what learning from rewards adds to supervised training, pair by pair.

    Where the sweep file declared the contrast its verdict is given, else the interval alone.
    """
    if any(contrast.factor == METHOD for contrast in verdicts.contrasts):
        return contrast_sentences(verdicts, factor=METHOD)
    lines = []
    for row in comparisons:
        is_whole = row["difficulty"] == ALL_DIFFICULTIES and row["within"] != OVER_ALL
        if row["factor"] == METHOD and is_whole:
            (shown,) = texts(COMPARISONS, [row])
            lines.append(
                f"{shown['comparison']} ({shown['in']}): {shown['difference']}, exploratory: "
                "contrasts: [method] in the sweep file plans the comparison."
            )
    return lines


def _against_baseline(arm: Arm) -> Mapping[str, object]:
    verdict = arm.verdict
    if verdict is None:
        return {"difference": None, "verdict": None, "text": None}
    found, word = verdict.effect, verdict.word
    unplanned = ", not planned" if arm.kind == "grammar" else ""
    return {
        "difference": None if found is None else effect_text(found),
        "verdict": "undecided" if word is None else f"{word.value}{unplanned}",
        "text": verdict.text,
    }


def _counted(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in states.items())
