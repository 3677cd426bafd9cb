"""The audit of the published study's completions comes to what is known about them.

The facts are those of an independent count over 18,000 completions; the file holds 9,000 of
them: for each of five models the arm without thinking and curriculum, and the arm with both.
What needs the other arms or the study's training file is not asserted here.
"""

from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from audited_table import audit_table

from analysis.audit.audit import Audit
from analysis.audit.runs import BaselineIs
from trainables.tasks.strict_json.audited import audited_rows

REFERENCE = Path(__file__).resolve().parents[4] / "shared" / "reference"
COMPLETIONS, SCHEMAS = REFERENCE / "completions.jsonl.gz", REFERENCE / "task_schemas.jsonl"

pytestmark = pytest.mark.skipif(
    not COMPLETIONS.is_file(), reason=f"the recorded completions are not at {COMPLETIONS}"
)

STAGES = ("baseline", "final", "stage_3")
SMALLEST = "HuggingFaceTB/SmolLM2-135M-Instruct"
SMALL = "HuggingFaceTB/SmolLM2-360M-Instruct"


@cache
def rows() -> pd.DataFrame:
    by = ("model", "thinking", "curriculum", "stage")
    return pd.DataFrame(audited_rows(COMPLETIONS, SCHEMAS, by=by, family="template"))


@cache
def audit(criterion: str, *, only_final: bool = True) -> Audit:
    kept = rows()[rows()["arm/stage"].isin(STAGES)] if only_final else rows()
    return audit_table(kept, criterion=criterion, baseline=BaselineIs("stage", "baseline"))


def shares(model: str, criterion: str) -> dict[tuple[str, str], float]:
    """Return the percentage of completions on a criterion, by thinking and stage."""
    return {
        (arm.columns["thinking"], arm.columns["stage"]): 100 * arm.counts[criterion] / 300
        for arm in audit("strict").arms
        if arm.columns["model"] == model
    }


def test_the_prompts_are_241_from_24_templates() -> None:
    found = audit("strict", only_final=False)
    assert (found.num_completions, found.num_prompts, found.num_families) == (9_000, 241, 24)
    assert {arm.num_completions for arm in found.arms} == {300}


def test_training_moved_syntax_far_more_than_what_it_stands_for() -> None:
    """Published: 75 -> 95% syntax, 36 -> 47% conformant, 21 -> 30% strict, over 20 arms."""
    gains = audit("strict").mean_gains
    counts = {
        criterion: [
            sum(
                arm.counts[criterion]
                for arm in audit("strict").arms
                if arm.is_baseline is is_baseline
            )
            / 3_000
            for is_baseline in (True, False)
        ]
        for criterion in gains
    }
    assert counts["syntax"] == pytest.approx([0.754, 0.954], abs=0.02)
    assert counts["conformant"] == pytest.approx([0.355, 0.469], abs=0.02)
    assert counts["strict"] == pytest.approx([0.213, 0.302], abs=0.02)
    assert gains["syntax"].delta is not None
    assert gains["conformant"].delta is not None
    assert gains["syntax"].delta.estimate_pp > gains["conformant"].delta.high_pp


@pytest.mark.parametrize(
    ("criterion", "least", "most"),
    [
        pytest.param("syntax", 48.5, 59, id="syntax"),
        pytest.param("conformant", 3, 5, id="conformant"),
        pytest.param("clean", 8, 10.5, id="clean"),
    ],
)
def test_what_the_smallest_model_gained(criterion: str, least: float, most: float) -> None:
    found = shares(SMALLEST, criterion)
    for thinking, stage in (("false", "final"), ("true", "stage_3")):
        gain = round(found[thinking, stage] - found[thinking, "baseline"], 1)
        assert least <= gain <= most


def test_the_smallest_model_ends_where_the_facts_say() -> None:
    conformant, clean = shares(SMALLEST, "conformant"), shares(SMALLEST, "clean")
    best = max(conformant[arm] for arm in (("false", "final"), ("true", "stage_3")))
    assert conformant["false", "baseline"] == pytest.approx(7.7, abs=0.05)
    assert clean["false", "baseline"] == pytest.approx(1.0, abs=0.05)
    assert (best, clean["false", "final"]) == pytest.approx((11.3, 11.3), abs=0.05)


def test_conformance_of_the_smallest_model_improved_in_no_arm_significantly() -> None:
    words = {
        str(found.verdict.word)
        for found in audit("conformant").comparisons
        if found.arm.startswith(SMALLEST)
    }
    assert words == {"no clear difference"}


def test_trained_think_arms_do_not_think() -> None:
    found = audit("strict")
    trained = [
        arm
        for arm in found.arms
        if arm.is_thinking_asked and not arm.is_baseline and "gemma" not in arm.arm
    ]
    assert len(trained) == 4
    assert all(arm.think_rate <= 0.003 for arm in trained)
    flagged = {sign.arm for sign in found.signs if sign.kind == "low_think_rate"}
    assert {arm.arm for arm in trained} <= flagged
    assert not any("gemma" in name for name in flagged)


@pytest.mark.parametrize("criterion", ["syntax", "conformant"])
def test_thinking_with_a_curriculum_makes_no_significant_difference(criterion: str) -> None:
    """The file holds one such contrast for each model; the study's others need its other arms."""
    final = rows()[rows()["arm/stage"].isin(("final", "stage_3"))]
    found = audit_table(
        final.drop(columns=["arm/stage", "arm/curriculum"]),
        criterion=criterion,
        contrast_columns=["thinking"],
    )
    words = [str(one.verdict.word) for one in found.contrasts]
    assert len(words) == 5
    assert not {"better", "worse"} & set(words)


def test_arrays_disappear_from_the_answers_of_the_360m_model() -> None:
    found = {
        arm.columns["stage"]: arm.means["share/array_left_out"]
        for arm in audit("strict").arms
        if arm.columns["model"] == SMALL and arm.columns["thinking"] == "false"
    }
    assert found["final"] > 1.5 * found["baseline"]


@pytest.mark.parametrize("kind", ["empty_document", "reward_hacking"])
def test_a_curriculum_that_was_hacked_in_the_middle_is_found(kind: str) -> None:
    """It thinks more, answers ``{}``, and loses strict answers by half."""
    found = audit("strict", only_final=False)
    gemma = "google/gemma-2-2b-it, thinking=true, curriculum=true, stage_"
    assert {sign.arm for sign in found.signs if sign.kind == kind} == {f"{gemma}1", f"{gemma}2"}
