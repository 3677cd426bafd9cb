"""Blocks of completions: flips first, an even sample of the rest, and nothing lost in silence."""

import base64
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from reported_sweep import Drawing, write_reported_sweep

from analysis.answers import Change, prompt_changes
from analysis.records import read_run
from analysis.report.completions import Answers, read_answers, run_block

NO_LIMIT = 10**9
ONE_CELL = ("matrix.thinking=[false]", "matrix.curriculum=[standard]", "contrasts=[]")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    folder = tmp_path_factory.mktemp("blocks") / "demo"
    drawing = Drawing(num_prompts=240, text_chars=1200, baseline_rate=0.5)
    (trial,) = write_reported_sweep(folder, drawing, overrides=ONE_CELL)
    return read_answers(read_run(folder / "trials" / trial.trial_id))


@pytest.fixture(scope="module")
def changes(answers: Answers) -> list[Change]:
    """Every fifth prompt flipped."""
    kinds = (Change.RESCUED, Change.BOTH_FAIL, Change.BOTH_PASS, Change.BOTH_FAIL, Change.BOTH_FAIL)
    return [kinds[index % 5] for index in range(len(answers.measured.table))]


def unpacked(content: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(content)))
    return document


def test_everything_is_packed_where_there_is_room(answers: Answers, changes: list[Change]) -> None:
    block = run_block(answers, changes, max_chars=NO_LIMIT, extra={"tables": {"a": [1]}})
    document = unpacked(block.content)
    assert document["tables"] == {"a": [1]}
    assert (document["num_prompts"], document["text_limit"]) == (240, None)
    row = answers.samples.iloc[7]
    assert document["answers"][row["prompt_id"]]["samples"] == [
        {
            "text": row["completion"],
            "criteria": [name for name in answers.measured.criteria if row[f"criterion/{name}"]],
            "rewards": [pytest.approx(row[f"reward/{name}"]) for name in document["components"]],
            "error": row["error_class"],
            "path": row["error_path"],
            "tokens": row["num_tokens"],
            "is_truncated": row["is_truncated"],
            "is_thinking": row["is_thinking"],
        }
    ]


@pytest.mark.parametrize("share", [0.9, 0.6, 0.35])
def test_flips_come_first_and_the_rest_is_even(
    answers: Answers, changes: list[Change], share: float
) -> None:
    whole = run_block(answers, changes, max_chars=NO_LIMIT, extra={})
    room = int(share * len(whole.content))
    block = run_block(answers, changes, max_chars=room, extra={})
    assert len(block.content) <= room
    assert len(block.content) > 0.85 * room
    found = Counter(answer["change"] for answer in unpacked(block.content)["answers"].values())
    assert found["rescued"] == 48
    assert block.num_flips_left_out == 0
    assert block.text_limit is None
    others = {"both pass": 48, "both fail": 144}
    taken = sum(found[name] for name in others) / 192
    assert all(abs(found[name] / count - taken) < 0.12 for name, count in others.items())


def test_texts_are_shortened_before_flips_are_left_out(
    answers: Answers, changes: list[Change]
) -> None:
    whole = run_block(answers, changes, max_chars=NO_LIMIT, extra={})
    room = len(whole.content) // 6
    block = run_block(answers, changes, max_chars=room, extra={})
    document = unpacked(block.content)
    assert len(block.content) <= room
    assert block.text_limit == document["text_limit"] == 800
    assert document["num_flips_left_out"] == 0
    text = next(iter(document["answers"].values()))["samples"][0]["text"]
    assert text.startswith("```json")
    assert text.endswith("}\n```")
    assert "characters left out" in text


def test_flips_that_do_not_fit_are_counted(answers: Answers, changes: list[Change]) -> None:
    block = run_block(answers, changes, max_chars=1500, extra={})
    document = unpacked(block.content)
    assert len(block.content) <= 1500
    assert 0 < len(document["answers"]) < 48
    assert block.num_flips_left_out == 48 - len(document["answers"])
    assert document["num_flips_left_out"] == block.num_flips_left_out


def test_a_baseline_keeps_its_prompts_and_shortens_them(answers: Answers) -> None:
    whole = run_block(answers, None, max_chars=NO_LIMIT, extra={})
    block = run_block(answers, None, max_chars=int(0.75 * len(whole.content)), extra={})
    assert block.num_prompts == 240
    assert block.text_limit == 800


def test_a_block_is_the_same_each_time(answers: Answers, changes: list[Change]) -> None:
    first, second = (
        run_block(answers, changes, max_chars=20_000, extra={}).content for _ in range(2)
    )
    assert first == second


def test_a_side_passes_with_half_its_samples(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    drawing = Drawing(num_prompts=40, num_samples=2)
    (trial,) = write_reported_sweep(folder, drawing, overrides=ONE_CELL)
    ours = read_answers(read_run(folder / "trials" / trial.trial_id)).measured
    theirs = read_answers(read_run(folder / "baselines" / "plain")).measured
    means = zip(ours.criterion("strict"), theirs.criterion("strict"), strict=True)
    expected = [
        {
            (True, False): "rescued",
            (False, True): "regressed",
            (True, True): "both pass",
            (False, False): "both fail",
        }[bool(after >= 0.5), bool(before >= 0.5)]
        for after, before in means
    ]
    assert [change.value for change in prompt_changes(ours, theirs, "strict")] == expected
