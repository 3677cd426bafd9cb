import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_sweep import CRITERIA, SHARED_KEY, FakeTrial, write_sweep

from analysis.records import RunState
from analysis.sweep import SweepVerdicts, sweep_verdicts
from analysis.verdicts import Word
from analysis.wording import (
    contrast_sentences,
    count_sentence,
    recipe_sentence,
    summary_lines,
    trial_sentences,
    verdict_rows,
    write_verdicts,
)
from strictune.errors import StorageError


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds that learn, a think trial that does not think, and four without a result."""
    return write_sweep(
        tmp_path_factory.mktemp("runs") / "mixed",
        [
            *(FakeTrial(trial_id=f"plain-{seed}", seed=seed) for seed in range(3)),
            FakeTrial(
                trial_id="think-0",
                thinking=True,
                think_rate=0.2,
                rates=(0.6, 0.4, 0.2),
                num_samples=4,
            ),
            FakeTrial(
                trial_id="think-1", thinking=True, seed=1, state="FAILED", reason="out of memory"
            ),
            FakeTrial(trial_id="staged-0", curriculum="three_stage", state=None),
            FakeTrial(trial_id="staged-1", curriculum="three_stage", seed=1, state="RUNNING"),
            FakeTrial(
                trial_id="staged-2",
                curriculum="three_stage",
                seed=2,
                state="KILLED",
                reason="stopped by the user",
            ),
        ],
        contrasts=("thinking", "curriculum"),
        ties={"tiny think standard": ["strictness"]},
    )


@pytest.fixture(scope="module")
def verdicts(mixed: Path) -> SweepVerdicts:
    return sweep_verdicts(mixed)


def test_every_planned_trial_is_counted(verdicts: SweepVerdicts) -> None:
    assert len(verdicts.trials) == 8
    assert verdicts.states == {
        RunState.FINISHED: 4,
        RunState.FAILED: 1,
        RunState.KILLED: 1,
        RunState.RUNNING: 1,
        RunState.PENDING: 1,
    }
    assert count_sentence(verdicts) == (
        "8 trials planned: 4 finished, 1 failed, 1 stopped, 1 running, 1 pending; "
        "computed in bfloat16."
    )


def test_trials_without_a_result_stay_in_the_table_with_their_reason(
    verdicts: SweepVerdicts,
) -> None:
    by_id = {trial.plan.trial_id: trial for trial in verdicts.trials}
    assert by_id["think-1"].verdict.text == "not compared: failed (out of memory)."
    assert by_id["staged-2"].verdict.text == "not compared: stopped (stopped by the user)."
    assert by_id["staged-0"].verdict.text == "not compared: pending (not started)."
    assert all(by_id[key].result is None for key in ("think-1", "staged-0", "staged-1"))


def test_the_holm_family_keeps_the_size_of_the_plan(verdicts: SweepVerdicts) -> None:
    assert verdicts.trials[0].verdict.word is Word.BETTER
    assert "after Holm over 8 planned comparisons" in verdicts.trials[0].verdict.text


def test_the_gain_is_paired_with_the_shared_baseline(verdicts: SweepVerdicts) -> None:
    first = verdicts.trials[0]
    assert first.result is not None
    assert first.comparison is not None
    assert first.verdict.effect is not None
    assert first.comparison.baseline == "tiny-plain"
    gain = first.result.rates["strict"].estimate - first.comparison.rates["strict"].estimate
    assert first.verdict.effect.estimate_pp == pytest.approx(100 * gain)
    assert first.comparison.deltas["strict"] == first.verdict.effect
    shares = [share.effect.estimate_pp for share in first.comparison.shares]
    assert sum(shares) == pytest.approx(100 * gain)


def test_a_trial_that_was_asked_to_think_has_thinking_as_a_part(verdicts: SweepVerdicts) -> None:
    plain, think = verdicts.trials[0].comparison, verdicts.trials[3].comparison
    assert plain is not None
    assert think is not None
    assert [share.part for share in plain.shares] == ["format", "schema"]
    assert [share.part for share in think.shares] == ["format", "schema", "thinking"]


def test_a_think_trial_that_does_not_think_is_flagged(verdicts: SweepVerdicts) -> None:
    row = verdict_rows(verdicts)[3]
    assert row["think"].endswith("% (low)")
    assert any("asked to think" in line for line in summary_lines(verdicts))
    assert not row["verdict"].startswith("better")


def test_what_could_not_be_scored_is_said_with_its_worst_case(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", [FakeTrial(trial_id="t")])
    for kind, missing in (("trials", 6), ("baselines", 0)):
        (folder,) = {path.parent for path in sweep.glob(f"{kind}/*/eval/*/samples.parquet")}
        num = len(pd.read_parquet(folder / "samples.parquet"))
        document = {"num_missing": missing, "num_completions": num - missing}
        (folder / "summary.json").write_text(json.dumps(document))
    (trial,) = sweep_verdicts(sweep).trials
    assert trial.result is not None
    assert trial.result.missing_frac == 6 / num
    (sentence,) = [line for line in trial_sentences(trial) if "could not be scored" in line]
    assert f"{6 / num:.1%} of its answers and 0.0% of its baseline's" in sentence
    assert f"up to {600 / num:.1f} points higher or lower" in sentence


def test_trials_whose_weights_allow_ties_are_marked(verdicts: SweepVerdicts) -> None:
    assert verdict_rows(verdicts)[3]["trial"] == "tiny think standard seed 0 (ties)"


def test_several_samples_give_pass_at_k_and_pass_hat_k(verdicts: SweepVerdicts) -> None:
    result = verdicts.trials[3].result
    assert result is not None
    assert (result.num_prompts, result.num_completions) == (240, 960)
    at_one, *_, at_four = result.samples
    assert at_one.k == 1
    assert at_one.pass_at_k == pytest.approx(at_one.pass_hat_k)
    assert at_one.pass_at_k == pytest.approx(result.rates["strict"].estimate)
    assert at_four.pass_at_k > at_one.pass_at_k > at_four.pass_hat_k


def test_one_sample_per_prompt_describes_discordant_prompts(verdicts: SweepVerdicts) -> None:
    plain, think = verdicts.trials[0].comparison, verdicts.trials[3].comparison
    assert plain is not None
    assert think is not None
    assert plain.discordance is not None
    assert think.discordance is None


def test_tiers_hold_every_criterion_of_every_difficulty(verdicts: SweepVerdicts) -> None:
    comparison = verdicts.trials[0].comparison
    assert comparison is not None
    assert {(tier.difficulty, tier.criterion) for tier in comparison.tiers} == {
        (difficulty, criterion)
        for difficulty in ("simple", "medium", "hard")
        for criterion in CRITERIA
    }
    assert sum(tier.num_prompts for tier in comparison.tiers if tier.criterion == "strict") == 240


def test_three_seeds_judge_the_recipe_and_one_does_not(verdicts: SweepVerdicts) -> None:
    plain, think, staged = verdicts.cells
    assert plain.verdict.word is Word.BETTER
    assert "over 3 seeds (p < 0.001 after Holm over 3 planned comparisons)" in plain.verdict.text
    assert plain.seed_sd_pp is not None
    assert think.verdict.word is None
    assert "one run, recipe undecided" in think.verdict.text
    assert (think.num_planned, len(think.seed_rates)) == (2, 1)
    assert staged.verdict.text.startswith("not compared")


def test_contrasts_show_rates_and_gains(verdicts: SweepVerdicts) -> None:
    thinking, curriculum = verdicts.contrasts
    assert (thinking.level, thinking.against_level) == ("think", "no-think")
    assert thinking.num_seeds == (1, 3)
    assert "one run, recipe undecided" in thinking.verdict.text
    assert not thinking.is_same_baseline
    assert "Difference of the gains: " in contrast_sentences(verdicts)[0]
    assert curriculum.verdict.text == (
        "not compared: no run of tiny no-think three_stage finished."
    )


def test_three_seeds_on_both_sides_judge_a_contrast(tmp_path: Path) -> None:
    folder = write_sweep(
        tmp_path / "curricula",
        [
            FakeTrial(trial_id=f"{name}-{seed}", curriculum=name, seed=seed, rates=rates)
            for name, rates in (("standard", (0.9, 0.5, 0.3)), ("three_stage", (0.9, 0.8, 0.7)))
            for seed in range(3)
        ],
        contrasts=("curriculum",),
    )
    (contrast,) = sweep_verdicts(folder).contrasts
    assert contrast.verdict.word is Word.BETTER
    assert "over 3 against 3 seeds" in contrast.verdict.text
    assert contrast.is_same_baseline
    assert contrast.gain_effect is not None
    assert contrast.verdict.effect is not None
    assert contrast.gain_effect.estimate_pp == pytest.approx(contrast.verdict.effect.estimate_pp)


def test_recipes_are_counted_as_decided_only_where_their_verdict_decides(
    verdicts: SweepVerdicts,
) -> None:
    assert recipe_sentence(verdicts) == (
        "Recipes decided: 1 of 3 (fewer than 3 seeds with a result: tiny think standard; "
        "not compared: tiny no-think three_stage)."
    )
    first = verdicts.cells[0]
    unclear = dataclasses.replace(first.verdict, word=Word.UNCLEAR)
    cells = tuple(dataclasses.replace(first, verdict=unclear) for _ in range(4))
    assert recipe_sentence(dataclasses.replace(verdicts, cells=cells)) == (
        "Recipes decided: 0 of 4 (no clear difference: 4 cells)."
    )


def test_a_trial_measured_otherwise_than_its_baseline_is_refused(tmp_path: Path) -> None:
    trials = [
        FakeTrial(trial_id="first"),
        FakeTrial(trial_id="other", seed=1, evaluation_key={**SHARED_KEY, "scorer": "n3w"}),
    ]
    first, other = sweep_verdicts(write_sweep(tmp_path / "moved", trials)).trials
    assert first.verdict.word is Word.BETTER
    assert other.verdict.word is None
    assert "evaluation keys differ: scorer is 'n3w' in trials/other" in other.verdict.text
    assert other.result is not None


def test_a_trial_that_has_only_its_spec_has_not_started(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "bare", [FakeTrial(trial_id="only")])
    trial = folder / "trials" / "only"
    for path in trial.rglob("*.json"):
        path.unlink()
    (trial / "trial.yaml").write_text("model: builtin:tiny\n")
    (found,) = sweep_verdicts(folder).trials
    assert found.state is RunState.PENDING
    assert found.reason == "pending (not started)."


def test_a_missing_baseline_leaves_rates_without_a_verdict(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "bare", [FakeTrial(trial_id="only")])
    for path in (folder / "baselines" / "tiny-plain").rglob("*.json"):
        path.unlink()
    (trial,) = sweep_verdicts(folder).trials
    assert trial.result is not None
    assert trial.verdict.text == (
        "not compared: baselines/tiny-plain has no result: pending (not started)."
    )


def test_other_prompts_under_the_same_key_are_refused(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "cut", [FakeTrial(trial_id="only")])
    path = folder / "trials" / "only" / "eval" / "test" / "samples.parquet"
    pd.read_parquet(path).iloc[:-3].to_parquet(path)
    (trial,) = sweep_verdicts(folder).trials
    assert "0 only in trials/only, 3 only in baselines/tiny-plain, 237 in both" in (
        trial.verdict.text
    )


def test_samples_written_twice_are_refused(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "twice", [FakeTrial(trial_id="only")])
    path = folder / "trials" / "only" / "eval" / "test" / "samples.parquet"
    table = pd.read_parquet(path)
    pd.concat([table, table.iloc[:1]]).to_parquet(path)
    (trial,) = sweep_verdicts(folder).trials
    assert "sample 0 of prompt 'p0000' is there twice" in trial.verdict.text


@pytest.mark.parametrize(
    ("damage", "run", "reason"),
    [
        pytest.param(
            "no criterion", "trials/a", "not scored on clean, which plan.json", id="criterion"
        ),
        pytest.param("no rows", "trials/a", "holds no answers. Evaluate this run", id="empty"),
        pytest.param(
            "no criterion", "baselines/tiny-plain", "not scored on clean", id="its-baseline"
        ),
    ],
)
def test_a_run_that_cannot_be_used_leaves_the_others_their_verdicts(
    tmp_path: Path, damage: str, run: str, reason: str
) -> None:
    trials = [FakeTrial(trial_id="a"), FakeTrial(trial_id="b", thinking=True)]
    folder = write_sweep(tmp_path / "s", trials)
    path = folder / run / "eval" / "test" / "samples.parquet"
    table = pd.read_parquet(path)
    table = table.iloc[:0] if damage == "no rows" else table.drop(columns="criterion/clean")
    table.to_parquet(path, index=False)
    damaged, whole = sweep_verdicts(folder).trials
    assert f"{run}/eval/test/samples.parquet: {reason}" in damaged.verdict.text
    assert (damaged.result is None) is run.startswith("trials")
    assert whole.verdict.word is Word.BETTER


def test_nothing_started_is_a_table_of_pending_trials(tmp_path: Path) -> None:
    trials = [FakeTrial(trial_id=f"t{seed}", seed=seed, state=None) for seed in range(2)]
    verdicts = sweep_verdicts(write_sweep(tmp_path / "new", trials, contrasts=("thinking",)))
    assert [row["state"] for row in verdict_rows(verdicts)] == ["pending", "pending"]
    assert verdicts.contrasts == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(None, "there is no such file", id="missing"),
        pytest.param("{", "plan.json: the document: Invalid JSON", id="not-json"),
        pytest.param('{"sweep": "x"}', "plan.json: task: Field required", id="not-a-plan"),
    ],
)
def test_a_folder_without_a_plan_is_no_sweep(
    tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "plan.json").write_text(text)
    with pytest.raises(StorageError, match=message):
        sweep_verdicts(tmp_path)


def test_the_folder_receives_table_page_and_deltas(mixed: Path) -> None:
    stale = mixed / "trials" / "think-1" / "delta.json"
    stale.write_text("{}")
    found = write_verdicts(mixed)
    document = json.loads((mixed / "verdicts.json").read_text(), parse_constant=_no_constants)
    assert [trial["plan"]["trial_id"] for trial in document["trials"]] == [
        trial.plan.trial_id for trial in found.trials
    ]
    delta = json.loads((mixed / "trials" / "plain-0" / "delta.json").read_text())
    assert delta["verdict"] == "better"
    assert set(delta["metrics"]) == {
        "delta/strict/pass_at_1_pp",
        "delta/strict/pass_at_1_pp_lo",
        "delta/strict/pass_at_1_pp_hi",
    }
    assert not stale.exists()
    assert not list(mixed.rglob("*.part"))
    page = (mixed / "verdicts.md").read_text()
    assert page.startswith("# mixed\n\n8 trials planned: ")
    for trial in found.trials:
        assert trial.verdict.text in page


def test_a_reason_of_several_lines_breaks_no_page(tmp_path: Path) -> None:
    reason = "CUDA out of memory.\n\n  <b>Tried</b> | to allocate"
    trials = [FakeTrial(trial_id="a"), FakeTrial(trial_id="b", state="FAILED", reason=reason)]
    write_verdicts(write_sweep(tmp_path / "s", trials))
    lines = (tmp_path / "s" / "verdicts.md").read_text().splitlines()
    assert any("memory. &lt;b>Tried&lt;/b> | to allocate" in line for line in lines)
    assert any("p < 0.001" in line for line in lines)
    table = [line for line in lines if line.startswith("| ")]
    assert len({line.count("|") for line in table[:4]}) == 1


def test_a_single_family_is_written_without_nan(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "narrow", [FakeTrial(trial_id="only", num_prompts=4)])
    (trial,) = write_verdicts(folder).trials
    assert trial.verdict.effect is not None
    assert math.isnan(trial.verdict.effect.low_pp)
    json.loads((folder / "verdicts.json").read_text(), parse_constant=_no_constants)
    delta = json.loads((folder / "trials" / "only" / "delta.json").read_text())
    assert set(delta["metrics"]) == {"delta/strict/pass_at_1_pp"}


def _no_constants(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")
