"""Crafted answers of the refiner: only the gold answer is paid in full, whatever the weights."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.study.reward_audit import Scheme, Weighting, audit_crafted_answers
from strictune.config import expand, load_sweep
from trainables.tasks.refiner.data import read_prompts
from trainables.tasks.refiner.settings import RefinerSettings
from trainables.tasks.refiner.task import Refiner
from trainables.tasks.task import GOLD, Attempt, Score

TASK = Refiner(RefinerSettings(kind="refiner", num_eval_rows=36))
REWARDS = [
    pytest.param({"citation_weight": 0.0}, id="no-citations"),
    pytest.param({"citation_weight": 2.0}, id="citations-above-all"),
    pytest.param({"instance_rubrics_only": True}, id="instance-rubrics-only"),
    pytest.param({"gate_by_format": True}, id="gated"),
]


@cache
def scores_of(task: Refiner, *, thinking: bool = False) -> list[dict[str, Score]]:
    found = []
    for prompt in task.prompts("validation"):
        crafted = task.crafted_answers(prompt, thinking=thinking)
        attempts = [Attempt(text, prompt, False, False) for text in crafted.values()]
        scores = task.score_batch(attempts, thinking=thinking, purpose="training").scores
        found.append(dict(zip(crafted, scores, strict=True)))
    return found


@pytest.mark.parametrize("reward", REWARDS)
def test_no_wrong_crafted_answer_is_paid_more_than_the_gold_answer(reward: dict[str, Any]) -> None:
    settings = {"kind": "refiner", "num_eval_rows": 36, "reward": reward}
    for scores in scores_of(Refiner(RefinerSettings.model_validate(settings))):
        gold = scores[GOLD].rewards["composite"]
        assert scores[GOLD].criteria["satisfied"]
        wrong = [s.rewards["composite"] for s in scores.values() if not s.criteria["satisfied"]]
        assert max(wrong) <= gold


def test_under_the_default_reward_every_wrong_crafted_answer_is_paid_less() -> None:
    for thinking in (False, True):
        for scores in scores_of(TASK, thinking=thinking):
            gold = scores[GOLD].rewards["composite"]
            assert scores[GOLD].criteria["satisfied"] and scores[GOLD].is_thinking == thinking
            assert all(
                score.rewards["composite"] < gold
                for score in scores.values()
                if not score.criteria["satisfied"]
            )


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("empty answer", "empty_answer"),
        ("nothing known", "abstained"),
        ("no citations", "nothing_cited"),
        ("invented ids", "unknown_id"),
        ("copied evidence", "rubrics_unmet"),
        ("padding", "unsupported"),
        ("instructions to the judge", "unsupported"),
    ],
)
def test_each_crafted_answer_is_caught_for_what_it_is(name: str, error: str) -> None:
    prompts = TASK.prompts("validation")
    answerable = [
        scores[name].error_class
        for prompt, scores in zip(prompts, scores_of(TASK), strict=True)
        if "answerable" in prompt.constructs
    ]
    assert set(answerable) == {error}


def test_rows_without_a_gold_answer_have_no_crafted_answers(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        '{"id": "a", "question": "What?", "evidence": {"S1": "x"}, '
        '"positive_rubrics": [{"title": "t", "description": "d"}], "negative_rubrics": []}\n'
    )
    [prompt] = read_prompts(file)
    assert TASK.crafted_answers(prompt, thinking=False) == {}


def test_the_audit_of_a_reward_knows_them(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    task = {"kind": "refiner", "num_eval_rows": 60}
    trial = {"model": "builtin:tiny", "grpo": {"max_steps": 4}}
    file.write_text(yaml.safe_dump({"name": "s", "task": task, "trial": trial}))
    [spec] = expand(load_sweep(file))
    weighting = Weighting("own", {"composite": 1.0}, Scheme("sum_then_normalize", "group"))
    audits = audit_crafted_answers(spec, [weighting])
    by_name = {audit.answer: audit for audit in audits}
    assert len(by_name) == 8 and not any(a.num_tied or a.num_above for a in audits)
    # Citing everything is what this judge is fooled by most.
    assert max(by_name.values(), key=lambda a: a.reward).answer == "all ids everywhere"
