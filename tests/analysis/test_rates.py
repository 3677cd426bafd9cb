from itertools import combinations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from analysis.rates import pass_at_k, pass_hat_k, wilson_rate


def test_families_that_do_not_matter_leave_wilson_nearly_as_it_is() -> None:
    right = (np.random.default_rng(0).random(3000) < 0.3).astype(float)
    found = wilson_rate(right, np.arange(3000), num_completions=3000)
    expected = proportion_confint(right.sum(), 3000, method="wilson")
    assert found.design_effect == pytest.approx(1.0, abs=0.01)
    assert (found.low, found.high) == pytest.approx(expected, abs=2e-4)


def test_families_that_answer_alike_count_as_one_answer_each() -> None:
    by_family = (np.arange(40) % 4 == 0).astype(float)
    found = wilson_rate(np.repeat(by_family, 10), np.repeat(np.arange(40), 10), num_completions=400)
    assert found.design_effect == pytest.approx(10.0, rel=0.06)
    assert found.high - found.low > 0.25


@pytest.mark.parametrize("sizes", [(98, 1, 1), (199, 1), (8, 1)])
def test_families_of_which_one_holds_nearly_all_prompts_bound_nothing(
    sizes: tuple[int, ...],
) -> None:
    families = np.repeat(np.arange(len(sizes)), sizes)
    right = (np.arange(len(families)) % 3 == 0).astype(float)
    found = wilson_rate(right, families, num_completions=len(families))
    assert (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_a_rate_at_the_edge_counts_prompts_not_samples(right: float) -> None:
    found = wilson_rate(np.full(100, right), np.arange(100), num_completions=400)
    low, high = proportion_confint(100 * right, 100, method="wilson")
    assert found.low == pytest.approx(low, abs=2e-3)
    assert found.high == pytest.approx(high, abs=2e-3)


def test_a_rate_of_one_family_has_no_interval() -> None:
    found = wilson_rate(np.array([1.0, 0.0]), ["a", "a"], num_completions=2)
    assert found.estimate == 0.5
    assert np.isnan([found.low, found.high, found.design_effect]).all()


@pytest.mark.parametrize(("n", "c", "k"), [(5, 2, 3), (4, 0, 2), (4, 4, 4), (6, 1, 1), (6, 5, 3)])
def test_pass_at_k_and_pass_hat_k_equal_the_count_over_all_draws(n: int, c: int, k: int) -> None:
    draws = list(combinations([True] * c + [False] * (n - c), k))
    num_correct, num_samples = np.array([c]), np.array([n])
    some = sum(any(draw) for draw in draws) / len(draws)
    every = sum(all(draw) for draw in draws) / len(draws)
    assert pass_at_k(num_correct, num_samples, k) == pytest.approx([some])
    assert pass_hat_k(num_correct, num_samples, k) == pytest.approx([every])


@pytest.mark.parametrize("k", [0, 4])
def test_k_beyond_the_samples_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=r"expected 1\.\.3"):
        pass_at_k(np.array([1, 1]), np.array([5, 3]), k)
