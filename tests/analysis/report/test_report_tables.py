"""The tables of a report: what they count, against the records themselves."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from reported_sweep import CONSTRUCTS, Drawing, write_control, write_reported_sweep

from analysis.records import read_run
from analysis.report import gather, gathering
from analysis.report.catalogue import shown_trials
from analysis.report.gathering import TABLES, SweepTables
from analysis.report.training import curve_tables
from analysis.tables import spread
from strictune.errors import SpecError


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepTables:
    folder = tmp_path_factory.mktemp("tables") / "demo"
    trials = write_reported_sweep(folder, Drawing(num_samples=2), unfinished=[3])
    write_control(folder, trials[0])
    return gather(folder)


def samples(sweep: SweepTables, trial_id: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A trial's samples, and its baseline's."""
    run = sweep.folder / "trials" / trial_id
    baseline = json.loads((run / "lock.json").read_text())["baseline"]
    files = (run, sweep.folder / "baselines" / baseline)
    ours, theirs = (pd.read_parquet(path / "eval/test/samples.parquet") for path in files)
    return ours, theirs


def test_criteria_are_those_of_the_verdicts(sweep: SweepTables) -> None:
    shown = {
        (row["trial_id"], row["criterion"], row["side"]): (row["rate"], row["low"], row["high"])
        for row in sweep.tables["criteria"]
    }
    for trial in sweep.verdicts.trials[:3]:
        assert trial.result is not None
        assert trial.comparison is not None
        for criterion in sweep.verdicts.criteria:
            key = trial.plan.trial_id, criterion
            assert shown[*key, "trained"] == tuple(trial.result.rates[criterion])
            assert shown[*key, "baseline"] == tuple(trial.comparison.rates[criterion])


def test_changes_are_counted_by_prompt_with_half_the_samples(sweep: SweepTables) -> None:
    trial = sweep.verdicts.trials[0].plan.trial_id
    ours, theirs = (
        frame.groupby("prompt_id")["criterion/strict"].mean() >= 0.5
        for frame in samples(sweep, trial)
    )
    counted = {
        row["change"]: row["num_prompts"]
        for row in sweep.tables["changes"]
        if row["trial_id"] == trial and row["difficulty"] == "all"
    }
    assert counted == {
        "rescued": int((ours & ~theirs).sum()),
        "regressed": int((theirs & ~ours).sum()),
        "both pass": int((ours & theirs).sum()),
        "both fail": int((~ours & ~theirs).sum()),
    }
    assert counted["rescued"] > 0


def test_changes_of_the_difficulties_add_up(sweep: SweepTables) -> None:
    rows = pd.DataFrame(sweep.tables["changes"])
    is_all = rows["difficulty"] == "all"
    keys = ["trial_id", "change"]
    parts = rows[~is_all].groupby(keys)["num_prompts"].sum()
    assert parts.to_dict() == rows[is_all].set_index(keys)["num_prompts"].to_dict()


def test_error_classes_of_both_sides_are_listed_and_sum_to_one(sweep: SweepTables) -> None:
    rows = pd.DataFrame(sweep.tables["error_classes"])
    totals = rows.groupby(["trial_id", "side"])["rate"].sum()
    assert totals.to_list() == pytest.approx([1.0] * 6)
    classes = rows.groupby(["trial_id", "side"])["error_class"].agg(set).to_list()
    assert all(found == classes[0] for found in classes)


def test_a_class_that_a_side_lacks_has_an_interval_too(sweep: SweepTables) -> None:
    rows = [row for row in sweep.tables["error_classes"] if row["rate"] == 0]
    assert all(row["low"] == pytest.approx(0, abs=1e-9) and row["high"] > 0 for row in rows)


def test_constructs_cover_the_prompts_that_use_them(sweep: SweepTables) -> None:
    rows = [row for row in sweep.tables["constructs"] if row["side"] == "trained"]
    counts = {row["construct"]: row["num_prompts"] for row in rows}
    assert counts == dict(zip(CONSTRUCTS, (60, 45, 30, 15), strict=True))


def test_stages_of_a_running_trial_are_there(sweep: SweepTables) -> None:
    running = sweep.verdicts.trials[3].plan.trial_id
    stages = [row for row in sweep.tables["stages"] if row["trial_id"] == running]
    assert [row["difficulty"] for row in stages] == 2 * ["all", "simple", "medium", "hard"]
    assert [row["step"] for row in stages] == 4 * [6] + 4 * [13]
    assert not [row for row in sweep.tables["criteria"] if row["trial_id"] == running]


def test_a_stage_is_compared_with_the_one_before(sweep: SweepTables) -> None:
    trial = sweep.verdicts.trials[1].plan.trial_id
    before, after = (
        [row["rate"] for row in sweep.tables["stages"] if (row["trial_id"], row["step"]) == key]
        for key in ((trial, 6), (trial, 13))
    )
    changed = [row for row in sweep.tables["stage_differences"] if row["trial_id"] == trial]
    expected = [100 * (new - old) for old, new in zip(before, after, strict=True)]
    assert [row["delta_pp"] for row in changed] == pytest.approx(expected)
    assert {row["stage"] for row in changed} == {"progressive"}
    assert all(row["low_pp"] < row["delta_pp"] < row["high_pp"] for row in changed)


def test_every_table_is_there(sweep: SweepTables) -> None:
    assert tuple(sweep.tables) == TABLES
    # One model, and a task that has no measures, answers or parts and asks no judge.
    empty = {name for name in TABLES if not sweep.tables[name]}
    assert empty == {"equal_tokens", "measures", "fields", "parts", "judge"}


def test_prompts_of_another_data_set_are_not_shown(sweep: SweepTables) -> None:
    assert not sweep.prompts.by_id
    assert "builds other prompts now" in str(sweep.prompts.problem)
    assert sweep.prompts.difficulties == ("simple", "medium", "hard")


def test_curves_average_over_steps_and_seeds(tmp_path: Path) -> None:
    for seed, shift in enumerate((0.0, 0.2)):
        lines = [
            json.dumps({"step": step, "metrics": {"reward/schema/mean": step / 10 + shift}})
            for step in range(1, 6)
        ]
        (tmp_path / str(seed)).mkdir()
        (tmp_path / str(seed) / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 6, "me']))
    rows = curve_tables({"cell": [read_run(tmp_path / "0"), read_run(tmp_path / "1")]})["rewards"]
    assert [(row["component"], row["step"], row["num_steps"]) for row in rows] == [
        ("schema", 3.0, 10)
    ]
    assert rows[0]["mean"] == pytest.approx(0.4)
    assert rows[0]["low"] < 0.4 < rows[0]["high"]


def test_a_share_stays_a_share(tmp_path: Path) -> None:
    rates = (1.0, 1.0, 1.0, 0.7)
    lines = [
        json.dumps({"step": step, "metrics": {"train/think_rate": rate}})
        for step, rate in enumerate(rates)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (row,) = curve_tables({"cell": [read_run(tmp_path)]})["think_rates"]
    assert row["high"] == 1.0
    assert not math.isnan(row["low"])


def test_what_an_adaptive_stage_dealt_has_a_panel_each(tmp_path: Path) -> None:
    kinds = {"drawn_frac/hard": 0.5, "pass_rate/hard": 0.25, "prompts_frac/low": 1.0}
    metrics = {f"train/adaptive/{name}": value for name, value in kinds.items()}
    lines = [json.dumps({"step": step, "metrics": metrics}) for step in range(1, 6)]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    rows = curve_tables({"cell": [read_run(tmp_path)]})["dealt"]
    assert {row["panel"]: row["mean"] for row in rows} == {
        "drawn: hard": 0.5,
        "pass rate: hard": 0.25,
        "prompts of low pass rate": 1.0,
    }


def test_of_many_trials_both_ends_are_shown(sweep: SweepTables) -> None:
    gains = {
        trial.plan.trial_id: trial.verdict.effect.estimate_pp
        for trial in sweep.verdicts.trials
        if trial.verdict.effect is not None
    }
    shown = shown_trials(sweep.verdicts, 2)
    assert {gains[name] for name in shown} == {min(gains.values()), max(gains.values())}
    assert set(shown_trials(sweep.verdicts, 3)) == set(gains)


def test_cells_that_cannot_be_compared_are_a_problem_of_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise SpecError("trials/a and trials/b cannot be compared.")

    trials = write_reported_sweep(tmp_path / "s", Drawing(num_prompts=12))
    write_control(tmp_path / "s", trials[0], Drawing(num_prompts=12))
    monkeypatch.setattr(gathering, "comparison_rows", refuse)
    found = gather(tmp_path / "s")
    assert found.problems == ("trials/a and trials/b cannot be compared.",)
    assert found.tables["comparisons"] == []
    assert found.tables["controls"]


def test_many_cells_are_thinned_evenly() -> None:
    assert spread(list(range(8)), 4) == [0, 2, 4, 6]
    assert spread([1, 2], 4) == [1, 2]
