"""The splits: disjoint, balanced, and a function of the seed alone."""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from growth import check_growth

from trainables.tasks.strict_json import data
from trainables.tasks.strict_json.data import (
    build_split,
    build_splits,
    prompt_row,
    split_of,
)
from trainables.tasks.strict_json.measure import DIFFICULTIES, difficulty_of
from trainables.tasks.strict_json.skeleton import family_of
from trainables.tasks.task import SPLITS, Prompt, Split

ROOT = Path(__file__).resolve().parents[3]

Splits = Mapping[Split, tuple[Prompt, ...]]


@pytest.fixture(scope="module")
def splits() -> Splits:
    return build_splits(seed=0, num_train_prompts=5000, num_eval_prompts=840)


def test_default_splits_have_the_sizes_asked_for(splits: Splits) -> None:
    assert {split: len(prompts) for split, prompts in splits.items()} == {
        "train": 5000,
        "validation": 840,
        "test": 840,
    }


def test_no_family_and_no_text_is_in_two_splits(splits: Splits) -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for split, prompts in splits.items():
        for prompt in prompts:
            places[prompt.family].add(split)
            places[prompt.text].add(split)
    assert [name for name, found in places.items() if len(found) > 1] == []


def test_families_stay_in_their_split_under_every_seed(splits: Splits) -> None:
    other = build_splits(seed=1, num_train_prompts=600, num_eval_prompts=120)
    for split in SPLITS:
        assert {split_of(prompt.family) for prompt in (*splits[split], *other[split])} == {split}


def _without_literals(schema: Any) -> Any:
    """Erase a schema by other means than the package: only structure words are kept."""
    if isinstance(schema, dict):
        inner = {key: _without_literals(value) for key, value in schema.items()}
        for noise in ("$schema", "required", "enum", "const", "format", "pattern"):
            if noise in inner:
                inner[noise] = "*"
        if "properties" in inner:
            values = [json.dumps(value, sort_keys=True) for value in inner["properties"].values()]
            inner["properties"] = sorted(values)
        return inner
    if isinstance(schema, bool | str) or schema is None:
        return schema
    return sorted(schema) if isinstance(schema, list) else "*"


def test_no_evaluation_skeleton_is_in_training_by_an_independent_erasure(splits: Splits) -> None:
    erased = {
        split: {
            json.dumps(_without_literals(json.loads(prompt.columns["schema"])), sort_keys=True)
            for prompt in prompts
        }
        for split, prompts in splits.items()
    }
    assert not erased["train"] & erased["validation"]
    assert not erased["train"] & erased["test"]
    assert not erased["validation"] & erased["test"]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluation_splits_hold_enough_families_of_three(splits: Splits, split: Split) -> None:
    sizes = Counter(prompt.family for prompt in splits[split])
    assert sum(size >= 3 for size in sizes.values()) >= 180
    for difficulty in DIFFICULTIES:
        tier = {p.family for p in splits[split] if p.difficulty == difficulty}
        assert len(tier) >= 60


@pytest.mark.parametrize("split", SPLITS)
def test_difficulties_take_turns(splits: Splits, split: Split) -> None:
    found = [prompt.difficulty for prompt in splits[split]]
    assert found == [DIFFICULTIES[number % 3] for number in range(len(found))]


@pytest.mark.parametrize("split", SPLITS)
def test_family_and_difficulty_are_measured_on_the_schema(splits: Splits, split: Split) -> None:
    for prompt in splits[split][:600]:
        schema = json.loads(prompt.columns["schema"])
        assert prompt.family == family_of(schema)
        assert prompt.difficulty == difficulty_of(schema)


def test_training_covers_many_families(splits: Splits) -> None:
    assert len({prompt.family for prompt in splits["train"]}) > 3000


@pytest.mark.parametrize("split", SPLITS)
def test_texts_and_ids_are_distinct_within_a_split(splits: Splits, split: Split) -> None:
    assert len({prompt.text for prompt in splits[split]}) == len(splits[split])
    assert len({prompt.id for prompt in splits[split]}) == len(splits[split])


@pytest.mark.parametrize("split", SPLITS)
def test_prompts_and_gold_documents_are_short(splits: Splits, split: Split) -> None:
    words = sorted(len(prompt.text.split()) for prompt in splits[split])
    assert words[len(words) // 2] < 60
    assert words[-1] < 150
    assert max(len(prompt.text) for prompt in splits[split]) < 900
    assert max(len(prompt.gold or "") for prompt in splits[split]) <= 420


@pytest.mark.parametrize("split", SPLITS)
def test_fewer_prompts_are_a_prefix_of_more(splits: Splits, split: Split) -> None:
    fewer = build_split(split, seed=0, num_prompts=48)
    assert fewer == splits[split][:48]


def test_seeds_differ() -> None:
    texts = [{p.text for p in build_split("train", seed=seed, num_prompts=60)} for seed in (0, 1)]
    assert not texts[0] & texts[1]


def test_exhausted_grammar_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.tasks.strict_json.data.MAX_POINTS", -1)
    monkeypatch.setattr("trainables.tasks.strict_json.data.MAX_MISSES", 20)
    with pytest.raises(ValueError, match="no more simple prompts for test after 0"):
        build_split("test", seed=0, num_prompts=3)


def test_same_seed_gives_the_same_bytes_whatever_the_hash_seed() -> None:
    code = (
        "from trainables.tasks import TASKS, load_task;"
        "settings = TASKS['strict_json'](data_seed=3, num_train_prompts=300, num_eval_prompts=120);"
        "print(load_task(settings).data_hash())"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={
                **os.environ,
                "PYTHONHASHSEED": hash_seed,
                "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
            },
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("0", "1", "4321")
    }
    assert len(hashes) == 1


def test_rows_have_the_exported_columns(splits: Splits) -> None:
    row = prompt_row(splits["train"][0])
    assert list(row) == ["id", "prompt", "schema", "difficulty", "family", "gold"]
    assert json.loads(splits["train"][0].columns["schema"]) == row["schema"]


def test_the_time_of_a_split_grows_with_its_prompts() -> None:
    def build(num_prompts: int) -> None:
        build_split("train", seed=2, num_prompts=num_prompts)

    # Four times the prompts in four times the time; in sixteen times if it were quadratic.
    check_growth(build, 200, factor=4, below=8)


def test_a_split_is_drawn_once_and_read_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    drawn = build_split("validation", seed=5, num_prompts=24)
    calls: list[str] = []

    def counted(split: Split, **arguments: int) -> tuple[Prompt, ...]:
        calls.append(split)
        return drawn

    monkeypatch.setattr(data, "build_split", counted)
    for _ in range(2):
        data.kept_split.cache_clear()  # As in another process.
        assert data.kept_split("validation", seed=5, num_prompts=24) == drawn
    assert calls == ["validation"]
    monkeypatch.setattr(data, "code_hash", lambda folder: "0" * 64)
    data.kept_split.cache_clear()
    assert data.kept_split("validation", seed=5, num_prompts=24) == drawn
    assert calls == ["validation"] * 2  # Other code draws again.


def test_without_a_cache_prompts_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    data.kept_split.cache_clear()
    kept = data.kept_split("test", seed=5, num_prompts=12)
    assert kept == build_split("test", seed=5, num_prompts=12)
