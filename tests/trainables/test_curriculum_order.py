"""Stages in steps, and the order of their prompts."""

from collections import Counter

import pytest

from strictune.config import StageSpec
from trainables.curriculum import order_prompts
from trainables.tasks.task import Prompt

PROMPTS = [
    Prompt(id=f"{difficulty}-{number}", text="", family="f", difficulty=difficulty)
    for difficulty in ("simple", "hard")
    for number in range(10)
]


def stage(mix: dict[str, float] | None) -> StageSpec:
    return StageSpec(name="s", steps_frac=1.0, mix=mix)


def test_every_prompt_comes_once_before_any_comes_twice() -> None:
    order = order_prompts(PROMPTS, stage(None), num_prompts=40, seed=0)
    assert Counter(prompt.id for prompt in order[:20]) == Counter(prompt.id for prompt in PROMPTS)
    assert set(Counter(prompt.id for prompt in order).values()) == {2}


def test_mix_sets_the_share_of_each_difficulty() -> None:
    order = order_prompts(PROMPTS, stage({"simple": 1, "hard": 3}), num_prompts=2000, seed=0)
    shares = Counter(prompt.difficulty for prompt in order)
    assert shares["hard"] / 2000 == pytest.approx(0.75, abs=0.03)


def test_difficulty_of_weight_zero_is_never_dealt() -> None:
    order = order_prompts(PROMPTS, stage({"simple": 1, "hard": 0}), num_prompts=50, seed=0)
    assert {prompt.difficulty for prompt in order} == {"simple"}


def test_order_is_a_function_of_the_seed() -> None:
    def ids(seed: int) -> list[str]:
        return [p.id for p in order_prompts(PROMPTS, stage(None), num_prompts=20, seed=seed)]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)


def test_mix_of_an_absent_difficulty_is_refused() -> None:
    with pytest.raises(ValueError, match="'medium'"):
        order_prompts(PROMPTS, stage({"medium": 1}), num_prompts=1, seed=0)
