"""Crafted answers: no wrong one is paid like the right answer, unless the weights allow it."""

import math

import pytest
from searched_sweep import load_search

from analysis.replay.matrices import Aggregation
from analysis.replay.measures import AGGREGATIONS
from analysis.study.findings import RewardAudit
from analysis.study.reward_audit import (
    AnswerAudit,
    Scheme,
    Weighting,
    audit_crafted_answers,
    weightings_of,
)
from analysis.study.wording import crafted_sentences
from strictune.config import TrialSpec, expand
from trainables.tasks.task import GOLD

GROUP = Scheme("sum_then_normalize", "group")


@pytest.fixture(scope="module")
def cell() -> TrialSpec:
    (found,) = expand(load_search(["evaluation.num_prompts_per_difficulty=4"]))
    return found


def audited(
    cell: TrialSpec, weights: dict[str, float], scheme: Scheme = GROUP
) -> dict[str, AnswerAudit]:
    found = audit_crafted_answers(cell, [Weighting("w", weights, scheme)])
    return {audit.answer: audit for audit in found}


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_no_wrong_crafted_answer_is_paid_like_the_right_answer_by_default(
    cell: TrialSpec, aggregation: Aggregation
) -> None:
    found = audited(cell, cell.weights, Scheme(aggregation, "group"))
    assert GOLD not in found
    assert {audit.num_prompts for audit in found.values()} == {12}
    assert all(audit.num_above == audit.num_tied == 0 for audit in found.values())
    assert found["minified"].num_wrong == 0
    assert math.isnan(found["minified"].reward)
    assert found["chatty"].num_wrong == found["padded think"].num_wrong == 12
    assert 0 < found["fence only"].reward < found["chatty"].reward < 1


def test_without_weight_on_strictness_chatter_ties_with_the_right_answer(cell: TrialSpec) -> None:
    found = audited(cell, {"schema": 0.5, "validity": 0.5})
    assert found["chatty"].num_tied == 12
    assert found["chatty"].num_above == 0
    assert found["chatty"].reward == pytest.approx(1)


def test_a_crafted_answer_that_is_paid_like_the_right_answer_is_named(cell: TrialSpec) -> None:
    blind = Weighting("p007", {"schema": 0.5, "validity": 0.5}, GROUP)
    audit = RewardAudit(
        weightings=(blind,),
        num_trials=0,
        num_completions=0,
        components=(),
        crafted_answers=audit_crafted_answers(cell, [blind]),
    )
    assert (
        "Under the weights of p007 a wrong chatty is paid as much as the right answer on 12 of 12 "
        "prompts."
    ) in crafted_sentences(audit)


def test_crafted_answers_that_are_all_right_say_nothing_of_wrong_answers(cell: TrialSpec) -> None:
    own = Weighting("default", cell.weights, GROUP)
    right = AnswerAudit(
        answer="minified",
        weighting="default",
        num_prompts=12,
        num_wrong=0,
        reward=math.nan,
        num_tied=0,
        num_above=0,
    )
    audit = RewardAudit(
        weightings=(own,), num_trials=0, num_completions=0, components=(), crafted_answers=(right,)
    )
    (sentence,) = crafted_sentences(audit)
    assert sentence.endswith(
        "nothing is known of wrong answers: every crafted answer is a right one."
    )


def test_every_weighting_is_audited_in_its_turn(cell: TrialSpec) -> None:
    (own,) = weightings_of("default", cell)
    other = Weighting("p007", {"schema": 0.9, "strictness": 0.1}, GROUP)
    found = audit_crafted_answers(cell, [own, other])
    assert list(dict.fromkeys(audit.weighting for audit in found)) == ["default", "p007"]
    assert len(found) == 12
