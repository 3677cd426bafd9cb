"""A part of a suite: as many families as it can hold, the same part every time."""

from collections import Counter

import pytest

from trainables.tasks.selection import select_prompts
from trainables.tasks.task import Prompt

PROMPTS = tuple(
    Prompt(id=f"{number}", text="", family=f"{tier}-{number // 4}", difficulty=tier)
    for number in range(80)
    for tier in ("easy", "hard")
)


def test_a_part_holds_as_many_families_as_it_can() -> None:
    chosen = select_prompts(PROMPTS, per_difficulty=20)
    assert Counter(prompt.difficulty for prompt in chosen) == {"easy": 20, "hard": 20}
    assert len({prompt.family for prompt in chosen}) == 40


def test_a_part_is_in_order_of_difficulty_then_of_turn() -> None:
    chosen = select_prompts(PROMPTS, per_difficulty=21)
    easy = [f"{number}" for number in (*range(0, 80, 4), 1)]
    assert [prompt.id for prompt in chosen] == [*easy, *easy]
    assert [prompt.difficulty for prompt in chosen] == ["easy"] * 21 + ["hard"] * 21


def test_a_smaller_part_is_within_a_larger_one() -> None:
    parts = [set(map(id, select_prompts(PROMPTS, per_difficulty=size))) for size in (5, 30, 200)]
    assert parts[0] < parts[1] < parts[2]
    assert len(parts[2]) == len(PROMPTS)


def test_all_prompts_keep_their_order() -> None:
    assert select_prompts(PROMPTS, per_difficulty=None) == PROMPTS


def test_selecting_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="per_difficulty = 0"):
        select_prompts(PROMPTS, per_difficulty=0)
