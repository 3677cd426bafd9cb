"""The made-up rows: a function of the seed, with rubrics that follow from their facts."""

from itertools import combinations

import pytest

from trainables.tasks.refiner.prompts import ABSTENTION, row_messages
from trainables.tasks.refiner.synthetic import draw_rows, split_of_source
from trainables.tasks.task import Split

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def test_rows_are_a_function_of_the_seed_and_fewer_are_a_prefix() -> None:
    rows = draw_rows("train", seed=3, num_rows=60)
    assert draw_rows("train", seed=3, num_rows=20) == rows[:20]
    assert draw_rows("train", seed=4, num_rows=60) != rows
    assert len({drawn.row.id for drawn in rows}) == 60


def test_no_source_crosses_splits() -> None:
    sources = {
        split: {drawn.row.source for drawn in draw_rows(split, seed=seed, num_rows=400)}
        for split in SPLITS
        for seed in (0, 1)
    }
    assert all(len(found) >= 30 for found in sources.values())
    for one, other in combinations(SPLITS, 2):
        assert not sources[one] & sources[other]
    assert {split_of_source(source) for source in sources["test"]} == {"test"}


def test_ids_name_the_place_and_the_property() -> None:
    rows = draw_rows("train", seed=0, num_rows=400)
    for row, _ in rows:
        for key, text in row.evidence.items():
            place, name = key.split("-")
            assert f" the {place} " in text and f"{name} of the" in text
    places = [
        list(row.evidence).index(gold.split("id=")[1].split(">")[0])
        for row, gold in rows
        if "id=" in gold
    ]
    assert set(places) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("split", SPLITS)
def test_rubrics_and_gold_follow_from_the_evidence(split: Split) -> None:
    for row, gold in draw_rows(split, seed=0, num_rows=200):
        facts = " ".join(row.evidence.values())
        wanted = [r.description.split('"')[1] for r in row.rubrics if not r.is_negative]
        unwanted = [r.description.split('"')[1] for r in row.rubrics if r.is_negative]
        assert all(text in gold for text in wanted)
        assert not any(f"is {text}." in gold for text in unwanted)
        assert all(text in facts for text in unwanted)
        if row.is_answerable:
            assert all(text in facts for text in wanted)
        else:
            assert wanted == [ABSTENTION]
    answerable = [drawn.row.is_answerable for drawn in draw_rows(split, seed=0, num_rows=200)]
    assert 0.75 < sum(answerable) / 200 < 0.95


def test_a_prompt_shows_question_reasoning_and_every_id() -> None:
    row = draw_rows("train", seed=0, num_rows=1)[0].row
    system, user = row_messages(row)
    assert ABSTENTION in system["content"]
    assert row.question in user["content"]
    assert row.reasoning in user["content"]
    for key, text in row.evidence.items():
        assert f"<snippet id={key}>{text}</snippet>" in user["content"]
