"""Audits of made-up completions: pairing, verdicts, signs, and what is refused."""

import math
from pathlib import Path

import pandas as pd
import pytest
from audited_table import audit_table, completions, table

from analysis import compare_runs
from analysis.audit.audit import Audit
from analysis.audit.runs import BaselineIs, write_runs
from analysis.audit.wording import audit_sentences, audit_tables
from strictune.errors import SpecError

BASELINE = BaselineIs("stage", "before")


def audit(*arms: pd.DataFrame, criterion: str = "strict") -> Audit:
    return audit_table(table(*arms), criterion=criterion, baseline=BASELINE)


def signs(*arms: pd.DataFrame) -> set[str]:
    return {sign.kind for sign in audit(*arms).signs}


def before(strict: float = 0.2, **facts: object) -> pd.DataFrame:
    return completions(strict, **facts, stage="before")  # type: ignore[arg-type]


def after(strict: float = 0.2, **facts: object) -> pd.DataFrame:
    return completions(strict, **facts, stage="after")  # type: ignore[arg-type]


def test_an_arm_is_compared_with_the_baseline_that_shares_its_other_columns() -> None:
    found = audit_table(
        table(
            completions(0.2, model="a", stage="before"),
            completions(0.8, model="b", stage="before"),
            completions(0.8, model="a", stage="after"),
            completions(0.8, model="b", stage="after"),
            completions(0.8, model="c", stage="after"),
        ),
        baseline=BASELINE,
    )
    words = {one.arm: (one.against, str(one.verdict.word)) for one in found.comparisons}
    assert words == {
        "a, after": ("a, before", "better"),
        "b, after": ("b, before", "equivalent"),
    }
    assert found.without_baseline == ("c, after",)
    assert "c, after: no baseline agrees with its other columns." in audit_sentences(found)


def test_samples_of_a_prompt_are_averaged_before_anything_else() -> None:
    often = completions(1.0, stage="x").head(1)
    found = audit_table(table(*[often] * 59, completions(0.0, stage="x").tail(1)))
    (arm,) = found.arms
    assert (arm.num_completions, arm.num_prompts) == (60, 2)
    assert arm.counts["strict"] == 59
    assert arm.rates["strict"].estimate == pytest.approx(0.5)


def test_prompts_that_one_side_lacks_are_left_out_and_counted() -> None:
    found = audit(before(), after(0.8, num_prompts=50))
    (compared,) = found.comparisons
    assert (compared.num_prompts, compared.num_unpaired) == (50, 10)
    assert any("10 prompts that one side lacks" in line for line in audit_sentences(found))


def test_the_mean_over_arms_has_an_interval_over_prompts() -> None:
    arms = [
        completions(strict, model=model, stage=stage)
        for model in ("a", "b")
        for stage, strict in (("before", 0.2), ("after", 0.6))
    ]
    gain = audit(*arms).mean_gains["strict"]
    assert (gain.baseline, gain.trained) == pytest.approx((0.2, 0.6))
    assert gain.delta is not None
    assert gain.delta.estimate_pp == pytest.approx(40.0)


def test_contrasts_pair_arms_that_differ_in_one_column() -> None:
    rows = table(
        *(
            completions(strict, model=model, think=0.0, mode=mode)
            for model, mode, strict in (
                ("a", "plain", 0.2),
                ("a", "think", 0.8),
                ("b", "plain", 0.4),
                ("b", "think", 0.4),
            )
        )
    )
    found = audit_table(rows, contrast_columns=["mode"])
    assert [(one.arm, one.against, str(one.verdict.word)) for one in found.contrasts] == [
        ("a, think", "a, plain", "better"),
        ("b, think", "b, plain", "equivalent"),
    ]
    assert "mode: 1 of 2 contrasts are significant." in audit_sentences(found)


def test_holm_counts_all_arms_of_the_file() -> None:
    pair = (before(0.0), after(0.2))
    alone = audit(*pair).comparisons[0].verdict.p_adjusted
    others = [completions(0.0, stage=f"after {number}") for number in range(9)]
    among = audit(*pair, *others).comparisons[0].verdict.p_adjusted
    assert alone is not None
    assert among == pytest.approx(10 * alone)


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        pytest.param((before(), after(0.8)), set(), id="a-plain-gain"),
        pytest.param(
            (before(0.8, reward=0.5), after(0.2, reward=0.9)),
            {"reward_hacking"},
            id="component-rises-while-strict-falls",
        ),
        pytest.param(
            (before(0.8, reward=0.5), after(0.2, reward=0.4)), set(), id="everything-falls"
        ),
        pytest.param(
            (before(0.2, syntax=0.4), after(0.2, syntax=1.0)),
            {"hollow_gain"},
            id="only-syntax-rises",
        ),
        pytest.param(
            (before(num_values=8.0), after(num_values=3.0)),
            {"length_collapse"},
            id="documents-shrink",
        ),
        pytest.param(
            (before(num_characters=900), after(num_characters=100)),
            {"length_collapse"},
            id="answers-shrink-for-nothing",
        ),
        pytest.param(
            (before(num_characters=900), after(0.8, num_characters=100)),
            set(),
            id="chatter-goes-and-strict-rises",
        ),
        pytest.param((before(), after(empty=0.4)), {"empty_document"}, id="documents-become-empty"),
        pytest.param(
            (before(), after(is_thinking_asked=True, think=0.2)),
            {"low_think_rate"},
            id="asked-to-think-and-does-not",
        ),
        pytest.param(
            (before(), after(is_thinking_asked=True, think=0.8)), set(), id="thinks-as-asked"
        ),
    ],
)
def test_signs(arms: tuple[pd.DataFrame, ...], expected: set[str]) -> None:
    assert signs(*arms) == expected


def test_a_measure_that_no_completion_has_is_not_zero() -> None:
    found = audit(before(num_values=math.nan), after(num_values=math.nan))
    assert all(math.isnan(arm.means["num_values"]) for arm in found.arms)
    assert found.signs == ()


def test_gains_are_told_apart_by_what_was_trained_on() -> None:
    arms = [before(0.2), after(0.6)]
    for rows in arms:
        rows["measure/in_training/prompt"] = [index // 12 < 3 for index in range(len(rows))]
    found = audit(*arms)
    (leak,) = found.leaks
    assert (leak.kind, leak.num_prompts, leak.num_in_training) == ("prompt", 60, 36)
    parts = found.comparisons[0].by_leak["prompt"]
    assert parts["in training"].estimate_pp == pytest.approx(100 * 2 / 3)
    assert parts["new"].estimate_pp == pytest.approx(0.0)


def test_names_show_the_column_of_values_that_say_nothing_alone() -> None:
    found = audit_table(completions(0.5, model="a", thinking="true", seed="3"))
    assert (
        audit_tables(found)["arms: Pass@1 with 95% intervals"][0]["arm"]
        == "a, thinking=true, seed=3"
    )


def test_without_columns_all_is_one_arm() -> None:
    (arm,) = audit_table(completions(0.5)).arms
    assert (arm.arm, arm.columns, arm.num_prompts) == ("all", {}, 60)


def test_one_family_decides_nothing() -> None:
    rows = table(before(), after(0.8)).assign(family="only")
    (compared,) = audit(rows).comparisons
    assert str(compared.verdict.word) == "no clear difference"
    assert compared.verdict.text.endswith("which shows nothing about others.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            {"baseline": BaselineIs("stage", "never")},
            "--baseline stage=never: no completion has this value, expected one of before, after.",
            id="no-such-value",
        ),
        pytest.param(
            {"criterion": "best"},
            "--criterion best: expected one of syntax, strict.",
            id="criterion",
        ),
    ],
)
def test_what_cannot_be_audited_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as raised:
        audit_table(table(before(), after()), **options)  # type: ignore[arg-type]
    assert message in str(raised.value)


def test_arms_without_a_common_prompt_are_refused() -> None:
    other = after()
    other["prompt_id"] = "x" + other["prompt_id"]
    with pytest.raises(SpecError, match="share no prompt"):
        audit(before(), other)


def test_arms_are_runs_that_compare_takes(tmp_path: Path) -> None:
    arms = [
        completions(strict, model=model, stage=stage)
        for model, stage, strict in (("a", "before", 0.2), ("a", "after", 0.8), ("b", "after", 0.4))
    ]
    key = {"suite": "s", "scorer": "1"}
    untrained, trained, other = write_runs(
        table(*arms), tmp_path, criterion="strict", key=key, baseline=BASELINE
    )
    folders = [arm.run.record.folder for arm in (untrained, trained, other)]
    assert [folder.parent.name for folder in folders] == ["baselines", "trials", "trials"]
    found = compare_runs(folders[1], folders[0])
    (compared,) = audit_table(table(*arms), baseline=BASELINE).comparisons
    assert (found.criterion, found.deltas) == ("strict", compared.deltas)
    with pytest.raises(SpecError, match=r"model is 'b' in .* but 'a' in"):
        compare_runs(folders[2], folders[0])
