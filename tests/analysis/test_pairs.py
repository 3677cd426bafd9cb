"""Pairs of cells: contrasts and the report's comparisons name, measure and refuse them alike."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from synthetic_sweep import SHARED_KEY, FakeTrial, write_sweep

from analysis.records import SweepRecords
from analysis.report.comparisons import OVER_ALL, comparison_rows
from analysis.sweep import ContrastVerdict, compared_trials, judge
from analysis.tables import Row


class Found(NamedTuple):
    """What both say of the same sweep."""

    contrasts: tuple[ContrastVerdict, ...]
    rows: list[Row]
    """Over all prompts."""


def compared(folder: Path, factors: Sequence[str]) -> Found:
    sweep = SweepRecords(folder)
    runs = compared_trials(sweep)
    rows = comparison_rows(runs, "strict", contrasts=factors)
    return Found(
        judge(sweep.plan, runs).contrasts, [row for row in rows if row["difficulty"] == "all"]
    )


def seeds(name: str, *, odd_quantization: str = "none", **more: object) -> list[FakeTrial]:
    """Three seeds of a cell, the last of them in another precision."""
    return [
        FakeTrial(
            trial_id=f"{name}-{seed}",
            seed=seed,
            quantization=odd_quantization if seed == 2 else "none",
            **more,  # type: ignore[arg-type]
        )
        for seed in range(3)
    ]


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param(["tiny-think-nf4"], id="a-seed-lacks-its-baseline"),
        pytest.param([], id="seeds-have-two-baselines"),
    ],
)
def test_gains_rest_on_the_seeds_of_the_rates_or_are_not_given(
    tmp_path: Path, lost: Sequence[str]
) -> None:
    planned = [*seeds("plain"), *seeds("think", thinking=True, odd_quantization="nf4")]
    folder = write_sweep(tmp_path / "sweep", planned, contrasts=("thinking",))
    for baseline in lost:
        shutil.rmtree(folder / "baselines" / baseline)
    found = compared(folder, ("thinking",))
    [contrast], [row] = found
    assert contrast.num_seeds == (3, 3)
    assert row["num_seeds"] == [3, 3]
    assert contrast.gain_effect is None
    assert "gain_delta_pp" not in row


def test_gains_over_all_seeds_are_given_by_both(tmp_path: Path) -> None:
    planned = [*seeds("plain"), *seeds("think", thinking=True, rates=(0.9, 0.8, 0.7))]
    folder = write_sweep(tmp_path / "sweep", planned, contrasts=("thinking",))
    [contrast], [row] = compared(folder, ("thinking",))
    assert contrast.gain_effect is not None
    assert row["gain_delta_pp"] == pytest.approx(contrast.gain_effect.estimate_pp)
    assert row["gain_low_pp"] == pytest.approx(contrast.gain_effect.low_pp)


@pytest.mark.parametrize(
    ("factor", "levels", "expected"),
    [
        pytest.param("variant", ("p001", None), ("own settings", "p001"), id="no-variant"),
        pytest.param("model", ("lab/Tiny-1B-it", "lab/Big-2B"), ("big-2b", "tiny-1b"), id="short"),
        pytest.param("model", ("a/Tiny", "b/Tiny"), ("b/Tiny", "a/Tiny"), id="alike-when-short"),
    ],
)
def test_contrasts_and_comparisons_call_a_level_the_same(
    tmp_path: Path, factor: str, levels: tuple[str, str], expected: tuple[str, str]
) -> None:
    planned = [
        FakeTrial(trial_id=f"t{index}", **{factor: level})  # type: ignore[arg-type]
        for index, level in enumerate(levels)
    ]
    folder = write_sweep(tmp_path / "sweep", planned, contrasts=(factor,))
    [contrast], [row] = compared(folder, (factor,))
    assert (contrast.level, contrast.against_level) == expected
    assert (row["level"], row["against"]) == expected


@pytest.mark.parametrize(
    ("suite", "num_prompts"),
    [
        pytest.param("new", 120, id="fewer-prompts"),
        pytest.param("new", 240, id="other-prompts-of-the-same-number"),
    ],
)
def test_pairs_that_were_measured_differently_stand_beside_each_other_without_a_mean(
    tmp_path: Path, suite: str, num_prompts: int
) -> None:
    planned = [
        FakeTrial(trial_id=f"{model}-{curriculum}", model=model, curriculum=curriculum, **more)  # type: ignore[arg-type]
        for model, more in (
            ("old", {}),
            (
                "later",
                {"num_prompts": num_prompts, "evaluation_key": {**SHARED_KEY, "suite": suite}},
            ),
        )
        for curriculum in ("standard", "three_stage")
    ]
    _, rows = compared(write_sweep(tmp_path / "sweep", planned), ())
    assert {row["within"]: row["num_prompts"] for row in rows} == {
        "old, no-think": 240,
        "later, no-think": num_prompts,
    }


def test_pairs_that_were_measured_alike_have_a_mean(tmp_path: Path) -> None:
    planned = [
        FakeTrial(trial_id=f"{model}-{curriculum}", model=model, curriculum=curriculum)
        for model in ("first", "second")
        for curriculum in ("standard", "three_stage")
    ]
    _, rows = compared(write_sweep(tmp_path / "sweep", planned), ())
    assert [row["within"] for row in rows if row["factor"] == "curriculum"] == [
        OVER_ALL,
        "first, no-think",
        "second, no-think",
    ]


def test_pairs_of_several_variants_name_theirs(tmp_path: Path) -> None:
    planned = [
        FakeTrial(trial_id=f"{model}-{variant}", model=model, variant=variant, rates=rates)
        for model, variant, rates in (
            ("m1", "a", (0.9, 0.7, 0.3)),
            ("m1", "b", (0.9, 0.7, 0.6)),
            ("m2", "a", (0.9, 0.7, 0.5)),
            ("m2", "b", (0.9, 0.7, 0.5)),
        )
    ]
    _, rows = compared(write_sweep(tmp_path / "sweep", planned), ())
    labels = [(row["level"], row["against"], row["within"]) for row in rows]
    assert labels[1:3] == [
        ("b", "a", "m1, no-think, standard"),
        ("b", "a", "m2, no-think, standard"),
    ]
    assert labels[4:] == [
        ("m2", "m1", "no-think, standard, a"),
        ("m2", "m1", "no-think, standard, b"),
    ]
    assert len(set(labels)) == len(labels) == 6
