"""Comparisons of cells: the numbers of the planned contrasts, and those that nobody planned."""

from pathlib import Path

import numpy as np
import pytest
from reported_sweep import Drawing, write_reported_sweep

from analysis.report import SweepTables, gather
from analysis.report.comparisons import COMPARISONS, OVER_ALL
from analysis.tables import Row, texts
from analysis.verdicts import Effect


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepTables:
    path = tmp_path_factory.mktemp("comparisons") / "demo"
    overrides = ["contrasts=[curriculum]", "matrix.seed=[0, 1, 2]"]
    write_reported_sweep(path, Drawing(num_prompts=90), overrides=overrides)
    return gather(path)


def rows(sweep: SweepTables, **wanted: object) -> list[Row]:
    return [
        row
        for row in sweep.tables["comparisons"]
        if all(row[name] == value for name, value in wanted.items())
    ]


def test_planned_contrasts_have_the_numbers_of_their_verdicts(sweep: SweepTables) -> None:
    planned = sorted(rows(sweep, is_planned=True), key=lambda row: row["delta_pp"])
    contrasts = sweep.verdicts.contrasts
    effects = sorted((c.verdict.effect for c in contrasts if c.verdict.effect), key=_estimate)
    assert sorted(row["within"] for row in planned) == ["tiny, no-think", "tiny, think"]
    for row, effect in zip(planned, effects, strict=True):
        numbers = [row["delta_pp"], row["low_pp"], row["high_pp"]]
        assert numbers == pytest.approx([effect.estimate_pp, effect.low_pp, effect.high_pp])


def _estimate(effect: Effect) -> float:
    return effect.estimate_pp


def test_what_was_not_declared_is_exploratory(sweep: SweepTables) -> None:
    assert {row["is_planned"] for row in rows(sweep, factor="thinking")} == {False}
    assert {row["is_planned"] for row in rows(sweep, within=OVER_ALL)} == {False}
    assert {row["is_planned"] for row in rows(sweep, difficulty="hard")} == {False}


def test_over_all_is_the_mean_of_the_pairs(sweep: SweepTables) -> None:
    for name in ("delta_pp", "gain_delta_pp"):
        (over_all,) = rows(sweep, factor="thinking", within=OVER_ALL, difficulty="all")
        pairs = rows(sweep, factor="thinking", difficulty="all")[1:]
        assert len(pairs) == 2
        assert over_all[name] == pytest.approx(np.mean([pair[name] for pair in pairs]))


def test_difficulties_average_to_the_whole(sweep: SweepTables) -> None:
    whole, *parts = rows(sweep, factor="curriculum", within="tiny, think")
    assert [part["difficulty"] for part in parts] == ["simple", "medium", "hard"]
    weights = [part["num_prompts"] for part in parts]
    mean = np.average([part["delta_pp"] for part in parts], weights=weights)
    assert whole["delta_pp"] == pytest.approx(mean)


def test_the_gain_counts_each_side_from_its_own_baseline(sweep: SweepTables) -> None:
    (row,) = rows(sweep, factor="curriculum", within="tiny, think", difficulty="all")
    assert row["gain_delta_pp"] == pytest.approx(row["delta_pp"])
    assert row["num_seeds"] == [3, 3]


def test_texts_say_what_is_compared(sweep: SweepTables) -> None:
    (row,) = rows(sweep, factor="thinking", within="tiny, standard", difficulty="all")
    (shown,) = texts(COMPARISONS, [row])
    assert shown["comparison"] == "think against no-think"
    assert shown["prompts"] == "90 all"
    assert shown["kind"] == "exploratory"
    assert shown["difference"].startswith(f"{row['delta_pp']:+.1f} pp [".replace("-0.0", "+0.0"))


def test_results_measured_differently_are_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "demo"
    trials = write_reported_sweep(
        path, Drawing(num_prompts=24), overrides=["matrix.curriculum=[standard]", "contrasts=[]"]
    )
    lock = path / "trials" / trials[0].trial_id / "lock.json"
    lock.write_text(lock.read_text().replace("5u17e", "other"))
    assert gather(path).tables["comparisons"] == []


def test_variants_stand_against_the_first_one(tmp_path: Path) -> None:
    path = tmp_path / "demo"
    variants = "{default: {}, high_kl: {grpo.beta: 0.5}, low_kl: {grpo.beta: 0.1}}"
    overrides = [
        "matrix.thinking=[false]",
        "matrix.curriculum=[standard]",
        f"matrix.variant={variants}",
        "contrasts=[variant]",
    ]
    write_reported_sweep(path, Drawing(num_prompts=24), overrides=overrides)
    found = [row for row in gather(path).tables["comparisons"] if row["difficulty"] == "all"]
    assert [(row["level"], row["against"], row["is_planned"]) for row in found] == [
        ("high_kl", "default", True),
        ("low_kl", "default", True),
    ]
