"""Splits as files, and the summary that data inspect shows."""

import json
from pathlib import Path

import pytest

from strictune.errors import StorageError
from trainables.tasks.strict_json.data import build_splits
from trainables.tasks.strict_json.export import read_splits, write_splits
from trainables.tasks.strict_json.measure import DIFFICULTIES
from trainables.tasks.summary import summarize

SPLITS = build_splits(seed=0, num_train_prompts=90, num_eval_prompts=48)


def test_files_hold_one_row_a_prompt(tmp_path: Path) -> None:
    paths = write_splits(tmp_path / "new", SPLITS)
    assert [path.name for path in paths.values()] == [
        "train.jsonl",
        "validation.jsonl",
        "test.jsonl",
    ]
    rows = [json.loads(line) for line in paths["train"].read_text().splitlines()]
    assert [row["id"] for row in rows] == [prompt.id for prompt in SPLITS["train"]]
    assert set(rows[0]) == {"id", "prompt", "schema", "difficulty", "family", "gold"}


def test_same_splits_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = write_splits(tmp_path / "1", SPLITS), write_splits(tmp_path / "2", SPLITS)
    assert all(one[split].read_bytes() == two[split].read_bytes() for split in one)


def test_files_read_back_as_they_were(tmp_path: Path) -> None:
    write_splits(tmp_path, SPLITS)
    assert read_splits(tmp_path) == SPLITS


def test_existing_files_are_kept(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text("mine")
    with pytest.raises(StorageError, match=r"test\.jsonl: exists already"):
        write_splits(tmp_path, SPLITS)
    assert [path.name for path in tmp_path.iterdir()] == ["test.jsonl"]


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_splits(tmp_path / "out", SPLITS)


def test_summary_counts_what_is_there() -> None:
    summary = summarize(
        SPLITS, num_samples=1, token_counters={"mine": lambda prompt: len(prompt.text) // 4}
    )
    test = summary.splits["test"]
    assert (test.num_prompts, test.num_families, test.num_families_of_three) == (48, 12, 12)
    assert list(test.difficulties) == list(DIFFICULTIES)
    simple, hard = test.difficulties["simple"], test.difficulties["hard"]
    assert simple.num_prompts == hard.num_prompts == 16
    assert simple.prompt_lengths["words"].median < hard.prompt_lengths["words"].median
    assert set(simple.prompt_lengths) == {"chars", "words", "tokens mine"}
    assert simple.gold_chars.median <= simple.gold_chars.p95 <= simple.gold_chars.max
    assert [sample["difficulty"] for sample in test.samples] == list(DIFFICULTIES)
    assert sum(test.constructs.values()) == sum(len(p.constructs) for p in SPLITS["test"])


def test_summary_finds_no_leak() -> None:
    summary = summarize(SPLITS)
    assert set(summary.num_shared_families.values()) == {0}
    assert set(summary.num_shared_prompts.values()) == {0}
    leaky = summarize({**SPLITS, "train": SPLITS["test"]})
    assert leaky.num_shared_prompts["train and test"] == 48
    assert leaky.num_shared_families["train and test"] == 12
