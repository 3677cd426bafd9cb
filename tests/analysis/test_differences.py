import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.differences import (
    detectable_difference,
    discordance,
    holm,
    interval,
    is_equivalent,
    paired_difference,
    recipe_difference,
)
from analysis.families import effective_families, jackknife_se, leave_one_family_out


def answers(*shape: int, rate: float = 0.5, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) < rate).astype(float)


def test_families_of_equal_size_give_the_clustered_errors_of_statsmodels() -> None:
    ours, theirs = answers(60, rate=0.7), answers(60, rate=0.4, seed=1)
    families = np.repeat(np.arange(12), 5)
    fit = sm.OLS(ours - theirs, np.ones(60)).fit(
        cov_type="cluster", cov_kwds={"groups": families}, use_t=True
    )
    found = paired_difference(ours, theirs, families)
    assert found.estimate == pytest.approx(fit.params[0])
    assert found.standard_error == pytest.approx(fit.bse[0])
    assert found.p == pytest.approx(fit.pvalues[0])
    low, high = interval(found)
    assert (low, high) == pytest.approx(tuple(fit.conf_int()[0]))


def test_families_of_one_prompt_give_the_paired_t_test() -> None:
    ours, theirs = answers(40, rate=0.7), answers(40, rate=0.4, seed=1)
    found = paired_difference(ours, theirs, np.arange(40))
    expected = stats.ttest_rel(ours, theirs)
    assert found.p == pytest.approx(expected.pvalue)
    assert interval(found) == pytest.approx(tuple(expected.confidence_interval()))


def test_unequal_families_give_larger_errors_than_the_factor_alone() -> None:
    values = answers(100, rate=0.5)
    values[:40] = 1.0
    families = np.concatenate((np.zeros(40, dtype=int), np.repeat(np.arange(1, 16), 4)))
    fit = sm.OLS(values, np.ones(100)).fit(cov_type="cluster", cov_kwds={"groups": families})
    found = paired_difference(values, np.zeros(100), families)
    assert found.standard_error > fit.bse[0]


def test_the_jackknife_worked_by_hand() -> None:
    values = np.array([1.0, 0.0, 1.0, 1.0])
    left = leave_one_family_out(values, ["a", "a", "b", "c"])
    assert left == pytest.approx([1.0, 2 / 3, 2 / 3])
    # (2 / 3) * ((1/4)^2 + 2 * (1/12)^2) = 0.0509...
    assert jackknife_se(left, np.asarray(0.75)) == pytest.approx(np.sqrt(2 / 3 * (9 + 2) / 144))
    assert effective_families(["a", "a", "b", "c"]) == pytest.approx(16 / 6)


def test_many_tables_at_once_give_what_each_gives_alone() -> None:
    ours, theirs = answers(5, 30, rate=0.7), answers(5, 30, rate=0.4, seed=1)
    families = np.random.default_rng(2).integers(0, 6, size=30)
    together = paired_difference(ours, theirs, families)
    alone = [paired_difference(a, b, families) for a, b in zip(ours, theirs, strict=True)]
    assert together.standard_error == pytest.approx([float(x.standard_error) for x in alone])
    assert together.p == pytest.approx([float(found.p) for found in alone])


@pytest.mark.parametrize(
    ("ours", "theirs", "p"),
    [
        pytest.param(0.0, 0.0, 1.0, id="nobody-right"),
        pytest.param(1.0, 1.0, 1.0, id="all-right"),
        pytest.param(1.0, 0.0, 0.0, id="all-gained"),
    ],
)
def test_equal_differences_everywhere_leave_the_width_of_one_prompt(
    ours: float, theirs: float, p: float
) -> None:
    found = paired_difference(np.full(50, ours), np.full(50, theirs), np.arange(50) // 5)
    assert found.standard_error == pytest.approx(1 / 50)
    assert found.p == pytest.approx(p, abs=1e-6)


def test_a_single_family_gives_no_interval() -> None:
    found = paired_difference(answers(9), answers(9, seed=1), ["only"] * 9)
    assert np.isnan(found.standard_error)
    assert np.isnan(found.p)
    assert np.isnan(interval(found)).all()
    assert not is_equivalent(found)


def test_labels_must_match_prompts() -> None:
    with pytest.raises(ValueError, match="9 prompts but 8 family labels"):
        paired_difference(answers(9), answers(9), ["a"] * 8)


def test_recipe_variance_worked_by_hand() -> None:
    # Seeds shift whole runs and explain everything: e^2 = 0, V_family at its floor 1 / P.
    families = np.arange(8) // 2
    ours = np.array([[0.6], [0.5], [0.4]]) * np.ones(8)
    theirs = np.array([[0.3], [0.1], [0.2]]) * np.ones(8)
    found = recipe_difference(ours, theirs, families)
    of_seeds, of_families = 0.01 / 3, 1 / 64
    variance = 2 * of_seeds + of_families
    assert found.estimate == pytest.approx(0.3)
    assert found.standard_error == pytest.approx(np.sqrt(variance))
    assert found.df == pytest.approx(variance**2 / (2 * of_seeds**2 / 2 + of_families**2 / 3))


def test_recipe_against_a_baseline_worked_by_hand() -> None:
    families = np.arange(8) // 2
    ours = np.array([[0.6], [0.5], [0.4]]) * np.ones(8)
    found = recipe_difference(ours, np.full(8, 0.2), families, is_theirs_baseline=True)
    of_seeds, of_families = 0.01 / 3, 1 / 64
    variance = of_seeds + of_families
    assert found.standard_error == pytest.approx(np.sqrt(variance))
    assert found.df == pytest.approx(variance / (of_seeds / 2 + of_families / 3))


def test_sampling_noise_between_seeds_is_not_counted_twice() -> None:
    # Seeds that differ by chance alone add nothing on average.
    ours, theirs = answers(200, 3, 60), answers(200, 3, 60, seed=1)
    families = np.arange(60)
    recipe = recipe_difference(ours, theirs, families)
    averaged = paired_difference(ours.mean(axis=1), theirs.mean(axis=1), families)
    ratio = np.mean(recipe.standard_error**2) / np.mean(averaged.standard_error**2)
    assert 1.0 <= ratio < 1.5


@pytest.mark.parametrize(("ours", "theirs"), [(2, 3), (3, 2), (1, 1)])
def test_a_recipe_needs_three_seeds_on_each_side(ours: int, theirs: int) -> None:
    with pytest.raises(ValueError, match="expected 3 or more"):
        recipe_difference(answers(ours, 9), answers(theirs, 9), np.arange(9))


def test_a_recipe_on_a_single_family_gives_no_interval() -> None:
    found = recipe_difference(answers(3, 9), answers(3, 9), ["only"] * 9)
    assert np.isnan(found.p)


@pytest.mark.parametrize("df", [1.5, 2.0, 23.0, 500.0])
def test_the_detectable_difference_is_found_with_the_stated_power(df: float) -> None:
    found = detectable_difference(0.02, df, alpha=0.01)
    critical = stats.t.ppf(0.995, df)
    draws = np.random.default_rng(0).normal(found / 0.02, size=40_000)
    scale = np.sqrt(np.random.default_rng(1).chisquare(df, size=40_000) / df)
    assert np.mean(np.abs(draws / scale) > critical) == pytest.approx(0.80, abs=0.01)


def test_nothing_is_detectable_without_an_interval() -> None:
    assert np.isnan(detectable_difference(float("nan"), float("nan")))


def test_a_planned_comparison_without_a_result_keeps_its_place() -> None:
    assert holm([0.01, 0.02], num_planned=2) == pytest.approx([0.02, 0.02])
    assert holm([0.01, 0.02], num_planned=4) == pytest.approx([0.04, 0.06])
    assert holm([0.01, float("nan")], num_planned=2) == pytest.approx([0.02, 1.0])
    assert holm([], num_planned=4).size == 0


def test_holm_is_that_of_statsmodels() -> None:
    values = np.random.default_rng(0).random(40) ** 4
    values[::5] = values[0]
    expected = multipletests(values, method="holm")[1]
    assert holm(list(values), num_planned=40) == pytest.approx(expected)


def test_more_p_values_than_planned_are_refused() -> None:
    with pytest.raises(ValueError, match="3 p values in a family planned for 2"):
        holm([0.1, 0.2, 0.3], num_planned=2)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        pytest.param(0.0, True, id="no-difference"),
        pytest.param(0.02, True, id="interval-within-the-margin"),
        pytest.param(0.029, False, id="interval-crosses-the-margin"),
        pytest.param(-0.05, False, id="outside"),
    ],
)
def test_equivalence_needs_the_whole_interval_within_the_margin(
    shift: float, expected: bool
) -> None:
    found = paired_difference(np.full(1000, shift), np.zeros(1000), np.arange(1000))
    assert bool(is_equivalent(found)) is expected


def test_discordant_prompts_are_counted() -> None:
    ours = np.array([True] * 9 + [False] * 3 + [True] * 4)
    theirs = np.array([False] * 9 + [True] * 3 + [True] * 4)
    found = discordance(ours, theirs)
    assert (found.num_only_ours, found.num_only_theirs) == (9, 3)
    assert found.mcnemar_p == pytest.approx(stats.binomtest(3, 12).pvalue)
