import numpy as np
import pytest

from analysis.differences import Difference
from analysis.verdicts import (
    Effect,
    Word,
    adapter_verdict,
    effect_text,
    p_text,
    recipe_verdict,
    undecided_verdict,
)


def difference(estimate: float, standard_error: float, df: float = 139.0) -> Difference:
    return Difference(*(np.asarray(value) for value in (estimate, standard_error, df, 0.5)))


@pytest.mark.parametrize(
    ("found", "adjusted_p", "word", "text"),
    [
        pytest.param(
            difference(0.123, 0.0213),
            0.0004,
            Word.BETTER,
            "+12.3 pp [8.1, 16.5]: this run is better than its baseline "
            "(p < 0.001 after Holm over 4 planned comparisons).",
            id="better",
        ),
        pytest.param(
            difference(-0.08, 0.02),
            0.012,
            Word.WORSE,
            "-8.0 pp [-12.0, -4.0]: this run is worse than its baseline "
            "(p = 0.012 after Holm over 4 planned comparisons).",
            id="worse",
        ),
        pytest.param(
            difference(0.002, 0.01),
            1.0,
            Word.EQUIVALENT,
            "+0.2 pp [-1.8, 2.2]: this run is equivalent to its baseline within 3 points.",
            id="equivalent",
        ),
        pytest.param(
            difference(0.01, 0.02),
            1.0,
            Word.UNCLEAR,
            "+1.0 pp [-3.0, 5.0]: no clear difference between this run and its baseline; "
            "this design detects 6.8 pp at 80% power.",
            id="unclear",
        ),
        pytest.param(
            difference(0.05, 0.02),
            0.052,
            Word.UNCLEAR,
            "+5.0 pp [1.0, 9.0]: no clear difference between this run and its baseline: the "
            "interval alone excludes 0, but p = 0.052 after Holm over 4 planned comparisons; "
            "this design detects 6.8 pp at 80% power.",
            id="lost-to-holm",
        ),
        pytest.param(
            difference(0.05, float("nan"), float("nan")),
            1.0,
            Word.UNCLEAR,
            "+5.0 pp (no interval): no clear difference between this run and its baseline; all "
            "prompts belong to one family, which shows nothing about others.",
            id="one-family",
        ),
        pytest.param(
            difference(1.0, 0.5, df=1.0),
            1.0,
            Word.UNCLEAR,
            "+100.0 pp [-100.0, 100.0]: no clear difference between this run and its baseline; too "
            "few families to detect any difference.",
            id="two-families",
        ),
        pytest.param(
            difference(-0.02, 0.3, df=5.0),
            1.0,
            Word.UNCLEAR,
            "-2.0 pp [-79.1, 75.1]: no clear difference between this run and its baseline; too "
            "few families to detect any difference.",
            id="six-families",
        ),
        pytest.param(
            difference(0.01, 0.001),
            0.001,
            Word.BETTER,
            "+1.0 pp [0.8, 1.2]: this run is better than its baseline "
            "(p = 0.001 after Holm over 4 planned comparisons).",
            id="small-but-sure",
        ),
    ],
)
def test_a_run_is_judged_in_plain_words(
    found: Difference, adjusted_p: float, word: Word, text: str
) -> None:
    verdict = adapter_verdict(found, adjusted_p=adjusted_p, num_planned=4)
    assert verdict.word is word
    assert verdict.text == text


def test_a_recipe_is_judged_over_its_seeds() -> None:
    verdict = recipe_verdict(
        difference(0.1, 0.02),
        sides=("think", "no-think"),
        num_seeds=(3, 4),
        adjusted_p=0.002,
        num_planned=1,
    )
    assert verdict.text == (
        "+10.0 pp [6.0, 14.0]: think is better than no-think over 3 against 4 seeds (p = 0.002)."
    )


@pytest.mark.parametrize(
    ("num_seeds", "words"),
    [
        pytest.param((1, 1), "one run, recipe undecided", id="one-each"),
        pytest.param((3, 1), "one run, recipe undecided", id="one-side-short"),
        pytest.param((2, None), "2 runs, recipe undecided", id="two-against-a-baseline"),
    ],
)
def test_fewer_than_three_seeds_leave_the_recipe_undecided(
    num_seeds: tuple[int, int | None], words: str
) -> None:
    verdict = undecided_verdict(difference(0.1, 0.02), num_seeds=num_seeds)
    assert verdict.word is None
    assert verdict.p_adjusted is None
    assert verdict.text.startswith(f"+10.0 pp [6.0, 14.0] between these runs; {words}")


@pytest.mark.parametrize(
    ("estimate", "text"),
    [(-0.04, "+0.0 pp [-1.0, 1.0]"), (0.06, "+0.1 pp [-1.0, 1.0]"), (-2.0, "-2.0 pp [-1.0, 1.0]")],
)
def test_zero_has_no_minus_sign(estimate: float, text: str) -> None:
    assert effect_text(Effect(estimate_pp=estimate, low_pp=-1, high_pp=1)) == text


@pytest.mark.parametrize(("p", "text"), [(0.0004, "p < 0.001"), (0.0316, "p = 0.032")])
def test_small_p_values_are_bounded(p: float, text: str) -> None:
    assert p_text(p) == text
