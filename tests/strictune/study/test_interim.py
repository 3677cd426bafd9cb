"""Early stopping by paired tests, on answers drawn with known rates."""

from collections.abc import Sequence
from pathlib import Path

from study_fakes import write_interim

from strictune.config import ObjectiveSpec
from strictune.launch.study.interim import (
    dominating_point,
    interim_table,
)

OBJECTIVES = (
    ObjectiveSpec(metric="eval/strict/pass_at_1", mode="max"),
    ObjectiveSpec(metric="eval/completion_tokens/mean", mode="min"),
)


def answered(trial: Path, *, rate: float, tokens: float, seed: int) -> Path:
    write_interim(trial, step=4, rate=rate, tokens=tokens, seed=seed, num_families=60)
    return trial


def decide(
    ours: Path,
    others: dict[int, Path],
    alpha: float = 0.05,
    objectives: Sequence[ObjectiveSpec] = OBJECTIVES,
) -> int | None:
    tables = {number: interim_table([other], 4) for number, other in others.items()}
    return dominating_point(interim_table([ours], 4), tables, objectives, alpha=alpha)


def test_a_point_that_is_beaten_in_every_objective_stops(tmp_path: Path) -> None:
    good = answered(tmp_path / "good", rate=0.8, tokens=50, seed=0)
    bad = answered(tmp_path / "bad", rate=0.2, tokens=90, seed=1)
    assert decide(bad, {3: good}) == 3
    assert decide(good, {4: bad}) is None


def test_a_point_that_is_better_in_one_objective_goes_on(tmp_path: Path) -> None:
    right = answered(tmp_path / "right", rate=0.8, tokens=90, seed=0)
    short = answered(tmp_path / "short", rate=0.2, tokens=50, seed=1)
    assert decide(short, {0: right}) is None
    assert decide(right, {1: short}) is None


def test_equal_points_are_stopped_no_more_often_than_alpha(tmp_path: Path) -> None:
    """Both objectives must be beaten, so even at alpha = 0.5 an equal point seldom stops."""
    stopped = 0
    for seed in range(40):
        ours = answered(tmp_path / f"a{seed}", rate=0.5, tokens=70, seed=2 * seed)
        other = answered(tmp_path / f"b{seed}", rate=0.5, tokens=70, seed=2 * seed + 1)
        stopped += decide(ours, {0: other}, alpha=0.1) is not None
    assert stopped <= 4, "at 10% for each objective alone, 1% for both"


def test_the_first_point_has_nobody_to_be_beaten_by(tmp_path: Path) -> None:
    assert decide(answered(tmp_path / "a", rate=0.1, tokens=70, seed=0), {}) is None


def with_rates(folder: Path, rates: Sequence[float], *, seed: int = 0) -> dict[int, Path]:
    return {
        number: answered(folder / f"p{number}", rate=rate, tokens=70, seed=100 * seed + number)
        for number, rate in enumerate(rates)
    }


def test_with_one_objective_a_point_stops_where_the_median_point_beats_it(tmp_path: Path) -> None:
    others = with_rates(tmp_path, [0.15, 0.5, 0.9])
    low, middle = (
        answered(tmp_path / str(rate), rate=rate, tokens=70, seed=50) for rate in (0.1, 0.55)
    )
    assert decide(low, others, objectives=OBJECTIVES[:1]) == 1
    assert decide(middle, others, objectives=OBJECTIVES[:1]) is None, "behind the best is no reason"
    del others[0]
    assert decide(low, others, objectives=OBJECTIVES[:1]) is None, "two points have no middle"


def test_an_objective_to_minimize_is_ranked_the_other_way(tmp_path: Path) -> None:
    others = {
        number: answered(tmp_path / str(tokens), rate=0.5, tokens=tokens, seed=number)
        for number, tokens in enumerate((40, 60, 100))
    }
    long, short = (
        answered(tmp_path / name, rate=0.5, tokens=tokens, seed=9)
        for name, tokens in (("long", 99), ("short", 61))
    )
    assert decide(long, others, objectives=OBJECTIVES[1:]) == 1
    assert decide(short, others, objectives=OBJECTIVES[1:]) is None


def test_equal_points_are_seldom_stopped_by_their_median(tmp_path: Path) -> None:
    stopped = 0
    for seed in range(1, 41):
        ours, *others = with_rates(tmp_path / str(seed), [0.5] * 6, seed=seed).values()
        found = decide(ours, dict(enumerate(others)), objectives=OBJECTIVES[:1])
        stopped += found is not None
    assert stopped <= 5, "2 of 40 are expected, more than 5 in one of 70 tries"


def test_a_point_of_several_seeds_is_judged_by_all_of_them(tmp_path: Path) -> None:
    others = with_rates(tmp_path, [0.5, 0.5, 0.5])
    tables = {number: interim_table([other], 4) for number, other in others.items()}
    bad, good = (
        answered(tmp_path / str(rate), rate=rate, tokens=70, seed=50) for rate in (0.1, 0.95)
    )
    for trials, is_stopped in (([bad], True), ([bad, good], False)):
        found = dominating_point(interim_table(trials, 4), tables, OBJECTIVES[:1], alpha=0.05)
        assert (found is not None) is is_stopped
