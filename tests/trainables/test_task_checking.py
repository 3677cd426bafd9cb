"""What of a task is refused before something trains on it, each in one line."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import pytest

from strictune.errors import SpecError
from trainables.tasks.base_settings import BaseSettings, Component
from trainables.tasks.checking import check_task
from trainables.tasks.task import (
    NO_HOOKS,
    Attempt,
    BatchScore,
    Hooks,
    Message,
    Prompt,
    Purpose,
    Score,
    Split,
    Task,
)

Change = Callable[[Any], Any]


class EchoSettings(BaseSettings):
    criteria: ClassVar = ("tagged", "exact")
    reward_table: ClassVar = {"tag": Component(0.5), "value": Component(0.5, is_decisive=True)}
    paths: ClassVar = ("train",)
    kind: Literal["echo"] = "echo"
    train: str | None = None


class Echo(Task):
    """Repeat the prompt; what a test changes of its prompts and scores is wrong."""

    settings: EchoSettings

    def __init__(
        self,
        *,
        prompt: Change = lambda prompt: prompt,
        score: Change = lambda score: score,
        train: str | None = None,
    ) -> None:
        super().__init__(EchoSettings(train=train))
        self.change_prompt, self.change_score = prompt, score
        self.scored: list[tuple[str, bool]] = []

    def build_prompts(self, split: Split) -> Sequence[Prompt]:
        made = [
            Prompt(
                id=f"{split}-{index}",
                text=f"{split} {index}",
                family=f"{split} {index // 2}",
                difficulty="default",
                gold=f"{split} {index}",
            )
            for index in range(4)
        ]
        return [self.change_prompt(prompt) for prompt in made]

    def score(self, attempt: Attempt, *, thinking: bool) -> Score:
        self.scored.append((attempt.completion, thinking))
        holds = attempt.completion == attempt.prompt.text
        score = Score(
            criteria={"tagged": bool(attempt.completion), "exact": holds},
            rewards={"tag": float(bool(attempt.completion)), "value": float(holds)},
        )
        changed = self.change_score(score)
        return changed  # type: ignore[no-any-return]


def test_a_task_that_keeps_its_promises_is_scored_once_with_its_gold_and_once_empty() -> None:
    task = Echo()
    check_task(task, modes=(True,))
    assert task.scored == [("train 0", True), ("", True)]


def raising(_: object) -> None:
    raise KeyError("ISO\nmore")


def rewards(**changed: object) -> Change:
    return lambda score: replace(score, rewards={**score.rewards, **changed})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"prompt": lambda prompt: replace(prompt, id=prompt.id[:-1])},
            'echo, train: 4 prompts have the id "train-", expected one',
            id="ids",
        ),
        pytest.param(
            {"prompt": lambda prompt: replace(prompt, family="one")},
            "prompt validation-0 of validation has the family of prompt train-0 of train",
            id="families",
        ),
        pytest.param(
            {"prompt": lambda prompt: replace(prompt, text=prompt.text[-1])},
            "prompt validation-0 of validation has the text of prompt train-0 of train",
            id="texts",
        ),
        pytest.param(
            {"prompt": lambda prompt: replace(prompt, difficulty="easy")},
            'has the difficulty "easy", expected one of default',
            id="difficulties",
        ),
        pytest.param({"prompt": raising}, "build_prompts raised KeyError: 'ISO", id="prompts"),
        pytest.param(
            {"score": raising}, "score raised KeyError: 'ISO\\nmore' (prompt train-0)", id="raises"
        ),
        pytest.param({"score": lambda score: None}, "gave NoneType, expected a Score", id="none"),
        pytest.param(
            {"score": lambda score: replace(score, criteria={"tagged": True})},
            "gave no criteria exact, expected all of tagged, exact",
            id="criterion-missing",
        ),
        pytest.param(
            {"score": lambda score: replace(score, criteria={"taged": True, "exact": True})},
            "gave the criteria taged, expected tagged, exact",
            id="criterion-misspelt",
        ),
        pytest.param(
            {"score": lambda score: replace(score, rewards={"tag": 1.0})},
            "gave no rewards value, expected all of tag, value",
            id="reward-missing",
        ),
        pytest.param({"score": rewards(more=1.0)}, "gave the rewards more", id="reward-unknown"),
        pytest.param({"score": rewards(value="1")}, "value = '1', expected a finite", id="text"),
        pytest.param({"score": rewards(value=math.nan)}, "value = nan, expected", id="nan"),
    ],
)
def test_what_breaks_a_promise_is_named_in_one_line(
    changes: dict[str, Change], message: str
) -> None:
    with pytest.raises(SpecError) as refused:
        check_task(Echo(**changes), modes=(False,))
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_what_could_not_be_measured_may_be_left_out() -> None:
    missing = Score(criteria={}, rewards={}, is_missing=True)
    check_task(Echo(score=lambda _: missing), modes=(False,))


def test_splits_that_a_user_gives_may_share_families() -> None:
    check_task(
        Echo(prompt=lambda prompt: replace(prompt, family="one"), train="rows.jsonl"), modes=()
    )


def test_a_task_that_scores_in_batches_is_asked_for_no_score() -> None:
    class Judged(Echo):
        def score_batch(
            self,
            attempts: Sequence[Attempt],
            *,
            thinking: bool,
            purpose: Purpose,
            hooks: Hooks = NO_HOOKS,
        ) -> BatchScore:
            raise AssertionError("a judge was asked")

    check_task(Judged(), modes=(False, True))


def test_texts_are_what_a_model_is_asked() -> None:
    class Framed(Echo):
        def messages(self, prompt: Prompt, *, thinking: bool) -> list[Message]:
            return [
                {"role": "user", "content": prompt.id},
                {"role": "user", "content": "Answer now."},
            ]

    check_task(Framed(), modes=())
