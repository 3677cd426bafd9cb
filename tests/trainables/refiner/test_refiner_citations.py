"""The citation reward against cases worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.tasks.refiner.answer import Answer, read_answer
from trainables.tasks.refiner.prompts import ABSTENTION
from trainables.tasks.refiner.rewards import (
    CitationScore,
    Support,
    checkable_claims,
    citation_score,
    known_ids,
)

EVIDENCE = {"A": "a", "B": "b", "C": "c"}


def read(body: str) -> Answer:
    answer = read_answer(f"<answer>{body}</answer>").answer
    assert answer is not None
    return answer


def score(body: str, *support: Support, is_answerable: bool = True) -> CitationScore:
    return citation_score(
        read(body), evidence=EVIDENCE, is_answerable=is_answerable, support=support
    )


def one(value: float, **by_id: float) -> Support:
    return Support(value, by_id)


ONE = "<snippet id=A>It is red.</snippet>"
TWO = "<snippet id=A>It is red.</snippet> <snippet id=B>It is old.</snippet>"


@pytest.mark.parametrize(
    ("body", "support", "precision", "recall", "f1"),
    [
        pytest.param(ONE, [one(1, A=1)], 1, 1, 1, id="one-right"),
        pytest.param(ONE, [one(0, A=0)], 0, 0, 0, id="one-wrong"),
        pytest.param(TWO, [one(1, A=1), one(0, B=0)], 1 / 2, 1 / 2, 1 / 2, id="half"),
        pytest.param(
            ONE + " It was built in 1901.", [one(1, A=1)], 1, 1 / 2, 2 / 3, id="one-uncited"
        ),
        pytest.param(
            ONE + " It was built in 1901. It was sold in 1950. It was moved in 1960.",
            [one(1, A=1)],
            1,
            1 / 4,
            2 / 5,
            id="filler-lowers-recall",
        ),
        pytest.param(
            "<snippet id=A,B>It is red.</snippet>",
            [one(1, A=1, B=0)],
            1 / 2,
            1,
            2 / 3,
            id="spare-id",
        ),
        pytest.param(
            "<snippet id=A,X>It is red.</snippet>", [one(1, A=1)], 1 / 2, 1, 2 / 3, id="unknown-id"
        ),
        pytest.param("<snippet id=X>It is red.</snippet>", [], 0, 0, 0, id="only-unknown"),
        pytest.param(
            "<snippet id=A,B>Both are red.</snippet>",
            [one(1, A=0.5, B=0.5)],
            1 / 2,
            1,
            2 / 3,
            id="together-only",
        ),
        pytest.param(
            "<snippet id=A>It is red.</snippet> <snippet id=X,Y>It is old.</snippet>",
            [one(1, A=1)],
            1 / 3,
            1 / 2,
            2 / 5,
            id="invented-source",
        ),
        pytest.param("It is simply red and old.", [], 0, 0, 0, id="nothing-cited"),
        pytest.param("Fine.", [], 0, 0, 0, id="nothing-said"),
        pytest.param(ONE, [one(0.25, A=0.25)], 1 / 4, 1 / 4, 1 / 4, id="partly"),
    ],
)
def test_hand_worked_cases(
    body: str, support: list[Support], precision: float, recall: float, f1: float
) -> None:
    assert score(body, *support) == pytest.approx((precision, recall, f1))


@pytest.mark.parametrize(
    ("body", "is_answerable", "f1"),
    [
        pytest.param(ABSTENTION, False, 1, id="rightly"),
        pytest.param(ABSTENTION, True, 0, id="wrongly"),
        pytest.param(f"{ABSTENTION} It is rather red and old.", False, 0, id="with-a-guess"),
    ],
)
def test_saying_that_nothing_is_known(body: str, is_answerable: bool, f1: float) -> None:
    assert score(body, is_answerable=is_answerable).f1 == f1


def test_the_judge_is_asked_only_about_claims_with_a_known_id() -> None:
    answer = read(TWO + "<snippet id=X>New.</snippet> <snippet id=X,C>Big.</snippet>")
    checked = checkable_claims(answer, EVIDENCE)
    assert [claim.text for claim in checked] == ["It is red.", "It is old.", "Big."]
    assert [known_ids(claim, EVIDENCE) for claim in checked] == [("A",), ("B",), ("C",)]


SHARES = st.integers(0, 20).map(lambda twentieths: twentieths / 20)


@given(st.lists(SHARES, min_size=1, max_size=6), st.integers(0, 4), st.integers(0, 3))
def test_f1_lies_in_range_and_falls_with_filler_and_invented_ids(
    shares: list[float], num_filler: int, num_invented: int
) -> None:
    evidence = {f"S{number}": "x" for number in range(len(shares))}
    invented = "".join(f",X{number}" for number in range(num_invented))
    body = " ".join(
        f"<snippet id=S{number}{invented}>claim {number}</snippet>" for number in range(len(shares))
    )
    clean = body.replace(invented, "") if invented else body
    filler = "".join(f" It was sold in {1900 + number}." for number in range(num_filler))
    support = [Support(share, {f"S{n}": share}) for n, share in enumerate(shares)]

    def f1(text: str) -> float:
        found = citation_score(read(text), evidence=evidence, is_answerable=True, support=support)
        assert all(0 <= value <= 1 for value in found)
        return found.f1

    assert f1(body + filler) <= f1(clean) + 1e-12
    if any(shares) and num_filler:
        assert f1(clean + filler) < f1(clean)
