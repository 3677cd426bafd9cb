"""Suites from outside: read as they are, refused with file, line and field."""

import json
from pathlib import Path
from typing import Any

import pytest

from strictune.errors import SpecError
from trainables.tasks.strict_json.data import build_splits
from trainables.tasks.strict_json.export import write_splits
from trainables.tasks.strict_json.scoring import Scorer
from trainables.tasks.strict_json.suites import read_suite

ROW = {"id": "a", "prompt": "Write a list.", "schema": {"type": "array"}}
DEEP: dict[str, Any] = {}
for _ in range(300):
    DEEP = {"not": {"not": DEEP}}


def _write(folder: Path, *rows: Any) -> Path:
    path = folder / "suite.jsonl"
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_rows_are_read_and_completed(tmp_path: Path) -> None:
    full = {**ROW, "id": "b", "difficulty": "hard", "family": "mine", "gold": "[]", "source": "x"}
    first, second = read_suite(_write(tmp_path, ROW, "", full))
    assert (first.id, first.text, first.difficulty) == ("a", "Write a list.", "simple")
    assert first.columns == {"schema": '{"type":"array"}'}
    assert first.constructs == ("array", "top_level_array")
    assert first.gold is None
    assert len(first.family) == 12
    assert (second.difficulty, second.family, second.gold) == ("hard", "mine", "[]")


def test_other_line_separators_do_not_end_a_row(tmp_path: Path) -> None:
    path = tmp_path / "suite.jsonl"
    row = {**ROW, "prompt": "one\u2028two"}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\r\n", encoding="utf-8")
    assert read_suite(path)[0].text == "one\u2028two"


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"n": {"type": "string", "pattern": r"^\p{L}+$"}}},
        {"pattern": r"^(?<y>\d{4})$|^\u{1F600}$|^\cA$|(?<=a+)b"},
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "exclusiveMinimum": True,
            "minimum": 0,
        },
        # What a draft does not know, it does not check.
        {"additionalItems": {"properties": 5}},
        {"additionalItems": {"required": True, "properties": {"a": {}}, "type": [{}, "a"]}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "$defs": {"a": {"required": 5}}},
    ],
    ids=["property", "patterns", "draft-04", "no-object", "no-list", "unknown-to-the-draft"],
)
def test_what_can_be_scored_is_read(tmp_path: Path, schema: dict[str, Any]) -> None:
    (prompt,) = read_suite(_write(tmp_path, {**ROW, "schema": schema}))
    text = prompt.columns["schema"]
    assert json.loads(text) == schema
    Scorer().score("", text, thinking=False, think_prefilled=False)


def test_exported_splits_read_back_as_they_were(tmp_path: Path) -> None:
    splits = build_splits(seed=0, num_train_prompts=12, num_eval_prompts=12)
    paths = write_splits(tmp_path, splits)
    assert read_suite(paths["test"]) == splits["test"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param(
            {"id": "a", "prompt": "x"},
            ":1: field 'schema' is missing, expected a JSON Schema. Add the schema that an answer "
            "must conform to, or remove the row.",
            id="no-schema",
        ),
        pytest.param(
            {"id": "a", "schema": {}}, ":1: field 'prompt' is missing, expected text.", id="no-text"
        ),
        pytest.param(
            {"prompt": "x", "schema": {}}, ":1: field 'id' is missing, expected text.", id="no-id"
        ),
        pytest.param({**ROW, "prompt": " "}, ':1: prompt = " ", expected text', id="blank-prompt"),
        pytest.param({**ROW, "id": 7}, ":1: id = 7, expected text", id="number-as-id"),
        pytest.param(
            {**ROW, "schema": '{"type": "array"}'},
            "Schemas are embedded as JSON, not as text.",
            id="schema-as-text",
        ),
        pytest.param(
            {**ROW, "schema": {"properties": {"a": {"type": "strin"}}}},
            """:1: schema: "strin" is not valid under any of the schemas listed in the 'anyOf' """
            "keyword at /properties/a/type. Expected a JSON Schema, draft 04 to 2020-12",
            id="invalid-schema",
        ),
        pytest.param(
            {**ROW, "schema": {"properties": {"a": {"$ref": "common.json#/$defs/count"}}}},
            ":1: schema: Resource 'common.json#/$defs/count' is not present in a registry",
            id="reference-to-another-file",
        ),
        pytest.param(
            {**ROW, "schema": {"$schema": "http://json-schema.org/draft-03/schema#"}},
            ":1: schema: Unknown meta-schema: 'http://json-schema.org/draft-03/schema#'",
            id="draft-03",
        ),
        pytest.param(
            {**ROW, "schema": {"pattern": "a\\Z"}},
            r":1: schema: 'a\\Z' is not a regular expression of ECMA-262: unknown escape \Z",
            id="pattern-of-another-language",
        ),
        pytest.param(
            {**ROW, "schema": {"properties": {"\ud800": {}}}},
            "surrogates not allowed",
            id="half-a-surrogate-pair-in-a-key",
        ),
        pytest.param({**ROW, "schema": DEEP}, ":1: schema: ", id="too-deep-to-be-scored"),
        pytest.param(
            {**ROW, "difficulty": "easy"},
            ':1: difficulty = "easy", expected simple, medium, hard. Leave it out',
            id="unknown-difficulty",
        ),
        pytest.param(
            {**ROW, "dificulty": "hard"},
            ":1: unknown field \"dificulty\", did you mean 'difficulty'?",
            id="misspelt-field",
        ),
        pytest.param([1], ":1: found [1], expected a JSON object.", id="not-an-object"),
        pytest.param("{oops", ":1: is not JSON (", id="not-json"),
        pytest.param("[" * 100_000, ":1: is not JSON (", id="too-deep"),
        pytest.param(
            '{"id": "a", "prompt": "\\ud800", "schema": {}}', "surrogate", id="lone-surrogate"
        ),
    ],
)
def test_bad_rows_are_refused_by_name(tmp_path: Path, row: Any, message: str) -> None:
    path = _write(tmp_path, row)
    with pytest.raises(SpecError) as caught:
        read_suite(path)
    assert str(caught.value).startswith(f"{path}:1: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_error_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"suite\.jsonl:3: field 'schema'"):
        read_suite(_write(tmp_path, ROW, "", {"id": "b", "prompt": "x"}))


def test_repeated_ids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r':2: id = "a" is already used in line 1'):
        read_suite(_write(tmp_path, ROW, ROW))


def test_empty_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="holds no row"):
        read_suite(_write(tmp_path))
    with pytest.raises(SpecError, match="cannot be read"):
        read_suite(tmp_path / "absent.jsonl")
