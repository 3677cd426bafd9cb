"""The judge that counts words: it ranks made-up answers as their facts do."""

import pickle

import pytest
from refiner_material import GOOD, ROW, WRONG

from trainables.tasks.refiner.answer import read_answer
from trainables.tasks.refiner.judge import RubricQuestion, SupportQuestion
from trainables.tasks.refiner.lexical import LexicalJudge
from trainables.tasks.refiner.prompts import ABSTENTION
from trainables.tasks.refiner.rewards import STATIC_RUBRICS, active_rubrics, rubric_mean
from trainables.tasks.refiner.rows import RefinerRow, Rubric
from trainables.tasks.refiner.synthetic import draw_rows


def ask(completion: str, row: RefinerRow, *rubrics: Rubric) -> tuple[float, ...]:
    answer = read_answer(completion).answer
    assert answer is not None
    question = RubricQuestion(
        question=row.question,
        answer=answer.body,
        evidence=tuple((c, row.evidence[c]) for c in answer.cited_ids if c in row.evidence),
        allowed_ids=tuple(row.evidence),
        rubrics=rubrics,
    )
    [scores] = LexicalJudge().judge([question]).answers
    assert scores is not None
    return scores


@pytest.mark.parametrize(
    ("claim", "texts", "scores"),
    [
        pytest.param("The bridge is red.", ["The bridge is red."], (1,), id="same"),
        pytest.param("The bridge is red.", ["The bridge is blue."], (1 / 2,), id="half"),
        pytest.param("The bridge is red.", ["A ferry."], (0,), id="nothing"),
        pytest.param("the", ["the"], (0,), id="no-meaning"),
        pytest.param("red bridge", ["It is red.", "A bridge."], (1, 1 / 2, 1 / 2), id="together"),
    ],
)
def test_a_claim_is_supported_by_the_words_it_shares(
    claim: str, texts: list[str], scores: tuple[float, ...]
) -> None:
    evidence = tuple((f"S{number}", text) for number, text in enumerate(texts))
    question = SupportQuestion(claim=claim, evidence=evidence)
    assert LexicalJudge().judge([question]).answers == [scores]
    assert question.num_scores == len(scores)


def test_quoted_words_count_as_a_phrase_of_whole_words() -> None:
    red = Rubric("x", 'Says "the colour" and "red".')
    assert ask("<answer>The colour is red.</answer>", ROW, red) == (1,)
    assert ask("<answer>The colour is redder.</answer>", ROW, red) == (0.5,)
    assert ask("<answer><snippet id=red>A colour.</snippet></answer>", ROW, red) == (0,)


def test_without_quotes_the_words_that_carry_meaning_count() -> None:
    assert ask("<answer>A red one.</answer>", ROW, Rubric("x", "Says that it is red.")) == (1,)


@pytest.mark.parametrize(
    ("completion", "discipline", "padding", "wrong_entity"),
    [
        pytest.param(GOOD, 1, 0, 0, id="good"),
        pytest.param("<answer>The colour of the Marel bridge is red.</answer>", 0, 0, 0, id="bare"),
        pytest.param(GOOD.replace("S1", "S9"), 0, 0, 0, id="unknown-id"),
        pytest.param(
            GOOD.replace("</answer>", " Many people like boats and trains.</answer>"),
            1 / 2,
            1 / 2,
            1 / 2,
            id="padded",
        ),
        pytest.param(
            "<answer><snippet id=S1>The colour of the Varo bridge is red.</snippet></answer>",
            3 / 4,
            0,
            1,
            id="other-place",
        ),
        pytest.param(f"<answer>{ABSTENTION}</answer>", 1, 0, 0, id="abstains"),
    ],
)
def test_static_rubrics(
    completion: str, discipline: float, padding: float, wrong_entity: float
) -> None:
    scores = ask(completion, ROW, *STATIC_RUBRICS)
    assert scores == pytest.approx((discipline, padding, wrong_entity))


def test_gold_answers_have_full_marks_and_worse_ones_less() -> None:
    for row, gold in draw_rows("train", seed=0, num_rows=60):
        rubrics = active_rubrics(row, instance_rubrics_only=False)
        best = rubric_mean(rubrics, ask(gold, row, *rubrics))
        assert best == pytest.approx(1)
        whole = " ".join(f"<snippet id={k}>{t}</snippet>" for k, t in row.evidence.items())
        dumped = rubric_mean(rubrics, ask(f"<answer>{whole}</answer>", row, *rubrics))
        assert dumped < best - 0.1
    assert ask(GOOD, ROW, *ROW.rubrics) == (1, 0)
    assert ask(WRONG, ROW, *ROW.rubrics) == (0, 1)


def test_it_is_the_same_after_pickling() -> None:
    judge = pickle.loads(pickle.dumps(LexicalJudge()))
    question = SupportQuestion(claim="red", evidence=(("S1", "red"),))
    assert judge.judge([question]) == LexicalJudge().judge([question])


@pytest.mark.parametrize("text", ["", '"""', "<<<", "\x00", "😀 " * 2000])
def test_no_text_breaks_it(text: str) -> None:
    question = RubricQuestion(
        question=text, answer=text, evidence=(("S1", text),), allowed_ids=(), rubrics=STATIC_RUBRICS
    )
    [scores] = LexicalJudge().judge([question]).answers
    assert scores is not None and all(0 <= score <= 1 for score in scores)
