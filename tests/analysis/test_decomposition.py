import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.decomposition import Link, decompose_gain, gain_chain, shapley_shares

rates = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(
    lambda factors: np.cumprod(np.asarray(factors))
)


def test_two_factors_split_by_the_formula() -> None:
    shares = shapley_shares(np.array([0.5, 0.2]), np.array([0.8, 0.6]))
    before, after = 0.2 / 0.5, 0.6 / 0.8
    assert shares == pytest.approx([0.3 * (before + after) / 2, (after - before) * 1.3 / 2])


@given(rates, rates)
def test_shares_add_up_to_the_gain(before: np.ndarray, after: np.ndarray) -> None:
    assert shapley_shares(before, after).sum() == pytest.approx(after[-1] - before[-1], abs=1e-9)


@given(rates, rates)
def test_shares_change_sign_with_the_direction(before: np.ndarray, after: np.ndarray) -> None:
    assert shapley_shares(before, after) == pytest.approx(-shapley_shares(after, before), abs=1e-9)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param([0.4, 0.2], [0.4, 0.2], [0, 0], id="nothing-changed"),
        pytest.param([0.4, 0.2], [0.8, 0.4], [0.2, 0], id="only-the-first-factor"),
        pytest.param([0.4, 0.2], [0.4, 0.4], [0, 0.2], id="only-the-second-factor"),
        pytest.param([0.0, 0.0], [0.8, 0.4], [0.4, 0], id="never-reached-before"),
        pytest.param([0.0, 0.0], [0.0, 0.0], [0, 0], id="never-reached-at-all"),
        pytest.param([0.8, 0.4], [0.0, 0.0], [-0.4, 0], id="lost"),
    ],
)
def test_shares_of_special_cases(
    before: list[float], after: list[float], expected: list[float]
) -> None:
    assert shapley_shares(np.array(before), np.array(after)) == pytest.approx(expected)


def test_a_fence_and_tidiness_learned_is_format_and_a_schema_learned_is_schema() -> None:
    # Ten prompts: fenced 4 -> 8, of those conformant one half -> all, of those strict all.
    def table(fenced: int, conformant: int, strict: int) -> dict[str, np.ndarray]:
        ranks = np.arange(10)
        counts = {"parsed": fenced, "conformant": conformant, "strict": strict}
        return {criterion: (ranks < count).astype(float) for criterion, count in counts.items()}

    chain = gain_chain("strict_json", thinking=False)
    shares = decompose_gain(table(4, 2, 2), table(8, 8, 8), list("aabbccddee"), chain=chain)
    found = {share.part: share.estimate for share in shares}
    assert found == pytest.approx({"format": 0.3, "schema": 0.3})
    assert all(share.standard_error > 0 for share in shares)


def test_think_blocks_alone_are_a_part_of_their_own() -> None:
    document = (np.arange(10) % 2).astype(float)
    before = dict.fromkeys(("parsed", "conformant", "clean"), document)
    chain = gain_chain("strict_json", thinking=True)
    shares = decompose_gain(
        {**before, "strict": np.zeros(10)},
        {**before, "strict": document},
        list("aabbccddee"),
        chain=chain,
    )
    found = {share.part: share.estimate for share in shares}
    assert found == pytest.approx({"format": 0.0, "schema": 0.0, "thinking": 0.5})
    # Every family shows the same, which is no knowledge of others: not below one prompt.
    assert [share.standard_error for share in shares] == [pytest.approx(0.1)] * 3


def test_a_task_that_names_no_chain_has_none() -> None:
    assert gain_chain("refiner", thinking=False) == gain_chain("sums", thinking=True) == ()


def test_the_chain_of_the_two_named_criteria() -> None:
    before = {"conformant": np.array([1.0, 0, 0, 0]), "strict": np.zeros(4)}
    after = {"conformant": np.array([1.0, 1, 0, 0]), "strict": np.array([1.0, 0, 0, 0])}
    chain = (Link("conformant", "schema"), Link("strict", "format"))
    shares = decompose_gain(before, after, list("aabb"), chain=chain)
    assert [share.part for share in shares] == ["schema", "format"]
    assert sum(share.estimate for share in shares) == pytest.approx(0.25)


def test_shares_of_a_single_family_have_no_error() -> None:
    before = {"conformant": np.zeros(2), "strict": np.zeros(2)}
    after = {"conformant": np.ones(2), "strict": np.ones(2)}
    chain = (Link("conformant", "schema"), Link("strict", "format"))
    shares = decompose_gain(before, after, ["a", "a"], chain=chain)
    assert [share.estimate for share in shares] == [1.0, 0.0]
    assert all(np.isnan(share.standard_error) for share in shares)


def test_criteria_that_are_not_nested_are_refused() -> None:
    side = {"conformant": np.zeros(2), "strict": np.ones(2)}
    chain = (Link("conformant", "schema"), Link("strict", "format"))
    with pytest.raises(ValueError, match="conformant, strict are not nested in the table before"):
        decompose_gain(side, side, ["a", "b"], chain=chain)
