"""``strictune init``: a sweep file for a user's own data."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from strictune.cli import main
from strictune.config import SweepSpec, load_sweep
from trainables.tasks import load_task

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
REWARDS = """
def format_reward(completions, **kwargs): ...
async def accuracy_reward(prompts, completions, label, **kwargs): ...
def helper(text): ...
def _extract(completions, **kwargs): ...
def lengths(completions): ...
def price_reward(completions, *, price, weight=1.0, **kwargs): ...
"""
KINDS, THINGS = ("red", "old", "big", "new"), ("pens", "cups", "maps", "hats", "jars", "keys")
WORDS = [f"{kind} {what}" for kind in KINDS for what in THINGS]
ROWS = [
    {"text": f"Send {number} {word} today.", "label": {"n": number}}
    for word in WORDS
    for number in (3, 4)
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "rewards.py").write_text(REWARDS)
    monkeypatch.chdir(tmp_path)
    write(ROWS)
    return tmp_path


def write(rows: Sequence[Mapping[str, Any]]) -> None:
    Path("data/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def init(*options: str) -> int:
    return main(["init", "--data", "data/rows.jsonl", "--model", "builtin:tiny", *options])


def written(name: str = "sweep.yaml") -> SweepSpec:
    return load_sweep(name)


def test_texts_and_answers_become_a_sweep_of_strict_json(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write([*ROWS, ROWS[0]])
    assert init("--schema", "schema.json") == 0
    task = load_task(written().task)
    assert (task.kind, task.settings.primary_criterion) == ("strict_json", "correct")
    assert written().evaluation.max_new_tokens == 32
    said = capsys.readouterr().out
    assert "49 rows with text, label; prompts are in text, expected documents in label" in said
    assert "1 rows repeat the prompt of another" in said
    assert "test: 4 prompts of 2 families" in said
    assert "a trial needs about" in said


def test_reward_functions_become_a_sweep_of_functions(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init("--rewards", "rewards.py", "--out", "sweeps/mine.yaml") == 0
    task = written("sweeps/mine.yaml").task
    assert task.kind == "functions"
    assert task.rewards == ("format_reward", "accuracy_reward")
    assert task.success == "accuracy_reward >= 1.0"
    said = capsys.readouterr().out
    assert "rewards.py: lengths is not taken for a reward: it takes no **kwargs" in said
    assert "price_reward is not taken for a reward: it needs price, and the rows have no" in said
    assert "_extract" not in said
    assert Path(task.train).resolve() == folder / "data" / "rows.jsonl"


def test_limits_follow_the_longest_prompt_and_answer(folder: Path) -> None:
    long = [{"text": f"Send {'very ' * 700}{word}.", "label": {"n": 4}} for word in WORDS]
    write([*ROWS, *long])
    assert init("--schema", "schema.json") == 0
    assert written().task.max_prompt_tokens >= 700


def test_names_of_columns_can_be_given(folder: Path) -> None:
    write([{"ask": row["text"], "wanted": row["label"]} for row in ROWS])
    assert init("--schema", "schema.json", "--prompt", "ask", "--answer", "wanted") == 0
    columns = written().task.columns
    assert (columns.prompt, columns.answer) == ("ask", "wanted")


def test_names_that_yaml_would_misread_are_quoted(folder: Path) -> None:
    odd = folder / "2024: orders #1.jsonl"
    rows = [{"ask: it": row["text"], "true": row["label"]} for row in ROWS]
    odd.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--schema", "schema.json", "--prompt", "ask: it", "--answer", "true"]
    assert main(["init", "--data", odd.name, "--model", "builtin:tiny", *options]) == 0
    sweep = written()
    assert sweep.name == "2024-orders-1"
    assert Path(sweep.task.train).name == odd.name
    assert (sweep.task.columns.prompt, sweep.task.columns.answer) == ("ask: it", "true")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param((), "rows have no column schema. Give the schema", id="no-schema"),
        pytest.param(
            ("--schema", "schema.json", "--prompt", "q"),
            "--prompt q: not a column, found text, label.",
            id="no-such-prompt",
        ),
        pytest.param(
            ("--schema", "schema.json", "--answer", "a"), "--answer a: not a column", id="no-answer"
        ),
        pytest.param(("--rewards", "no.py"), "no.py: cannot be read as Python", id="no-module"),
        pytest.param(
            ("--rewards", "empty.py"),
            "no function that it defines takes completions",
            id="no-functions",
        ),
        pytest.param(
            ("--rewards", "priced.py"),
            "priced.py: reward is not taken for a reward: it needs price, and the rows have no",
            id="no-function-that-can-be-called",
        ),
        pytest.param(
            ("--schema", "schema.json", "--out", "schema.json"),
            "schema.json exists; name another file",
            id="file-exists",
        ),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_written(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    message: str,
) -> None:
    (folder / "empty.py").write_text("def reward(texts): ...\n")
    (folder / "priced.py").write_text("def reward(completions, price, **kwargs): ...\n")
    before = sorted(folder.rglob("*"))
    assert init(*options) == 2
    assert message in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def test_a_row_that_cannot_be_used_leaves_no_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write([*ROWS, {"text": "Send some pens.", "label": {"n": "some"}}])
    assert init("--schema", "schema.json") == 2
    assert "data/rows.jsonl:49" in capsys.readouterr().err
    assert not list(folder.glob("*.yaml")) + list(folder.glob(".*"))
