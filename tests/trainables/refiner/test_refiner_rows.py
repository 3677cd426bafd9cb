"""Rows of refiner data: what is read, and what a wrong one is told."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from strictune.errors import SpecError
from trainables.tasks.refiner.data import load_rows
from trainables.tasks.refiner.rows import Rubric, row_from_column, row_to_column

RUBRIC = {"title": "Right colour", "description": "Says that it is red."}
WHOLE: dict[str, Any] = {
    "id": "a",
    "question": "What colour is it?",
    "evidence": {"S1": "It is red.", "https://x.org/a?b=c": "It is old."},
    "positive_rubrics": [RUBRIC],
    "negative_rubrics": [{**RUBRIC, "title": "Wrong colour", "weight": 2}],
    "source": "colours",
    "reasoning": "I looked.",
    "is_answerable": False,
}
MESSAGES = [
    {"role": "system", "content": "Refine."},
    {"role": "user", "content": "Found: <snippet id=S1>It is red.</snippet> What colour is it?"},
]


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_row_keeps_every_field(tmp_path: Path) -> None:
    [row] = load_rows(write(tmp_path / "rows.jsonl", WHOLE))
    assert (row.id, row.question, row.source) == ("a", "What colour is it?", "colours")
    assert row.evidence == WHOLE["evidence"]
    assert row.rubrics == (
        Rubric("Right colour", "Says that it is red."),
        Rubric("Wrong colour", "Says that it is red.", 2.0, is_negative=True),
    )
    assert (row.reasoning, row.is_answerable, row.messages) == ("I looked.", False, ())


def test_a_row_survives_the_way_to_scoring(tmp_path: Path) -> None:
    rows = load_rows(
        write(tmp_path / "rows.jsonl", WHOLE, {**WHOLE, "id": "b", "messages": MESSAGES})
    )
    assert [row_from_column(row_to_column(row)) for row in rows] == list(rows)


def test_what_a_row_leaves_out_has_a_default(tmp_path: Path) -> None:
    small = {key: WHOLE[key] for key in ("id", "question", "evidence", "positive_rubrics")}
    [row] = load_rows(write(tmp_path / "rows.jsonl", small))
    assert (row.source, row.reasoning, row.is_answerable) == ("a", "", True)


def test_evidence_is_read_from_the_messages_where_no_field_gives_it(tmp_path: Path) -> None:
    bare = {key: value for key, value in WHOLE.items() if key != "evidence"}
    [row] = load_rows(write(tmp_path / "rows.jsonl", {**bare, "messages": MESSAGES}))
    assert row.evidence == {"S1": "It is red."}
    assert [message["role"] for message in row.messages] == ["system", "user"]


def test_all_formats_give_the_same_rows(tmp_path: Path) -> None:
    other = {**WHOLE, "id": "b", "evidence": {"S2": "It is blue."}}
    plain = load_rows(write(tmp_path / "rows.jsonl", WHOLE, other))
    zipped = tmp_path / "rows.jsonl.gz"
    zipped.write_bytes(gzip.compress((tmp_path / "rows.jsonl").read_bytes()))
    structs, maps = tmp_path / "structs.parquet", tmp_path / "maps.parquet"
    pq.write_table(pa.Table.from_pylist([WHOLE, other]), structs)
    columns = pa.Table.from_pylist([{**row, "evidence": None} for row in (WHOLE, other)])
    evidence = pa.array([WHOLE["evidence"], other["evidence"]], pa.map_(pa.string(), pa.string()))
    index = columns.schema.get_field_index("evidence")
    pq.write_table(columns.set_column(index, "evidence", evidence), maps)
    listed = [
        {**row, "evidence": [{"id": key, "text": text} for key, text in row["evidence"].items()]}
        for row in (WHOLE, other)
    ]
    lists = write(tmp_path / "lists.jsonl", *listed)
    for source in (str(zipped), str(structs), str(maps), lists):
        assert load_rows(source) == plain


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"id": None}, ":2: id = null, expected text", id="no-id"),
        pytest.param({"id": "a"}, ":2: id = 'a' is already used in an earlier row.", id="id-twice"),
        pytest.param({"question": " "}, ':2: question = " ", expected text', id="no-question"),
        pytest.param(
            {"evidence": "It is red."}, "expected {id: text} or a list", id="evidence-text"
        ),
        pytest.param({"evidence": {"S1": ""}}, ':2: evidence.S1 = "", expected text', id="no-text"),
        pytest.param(
            {"evidence": {"a,b": "x"}}, '"a,b", which no answer can cite', id="comma-in-id"
        ),
        pytest.param(
            {"evidence": {"a>": "x"}}, '"a>", which no answer can cite', id="bracket-in-id"
        ),
        pytest.param(
            {"evidence": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]},
            "evidence holds the id 'a' twice",
            id="id-of-evidence-twice",
        ),
        pytest.param({"evidence": None}, "field 'evidence' is missing", id="no-evidence"),
        pytest.param(
            {"positive_rubrics": [], "negative_rubrics": None}, "both empty", id="no-rubrics"
        ),
        pytest.param(
            {"negative_rubrics": [RUBRIC, {"title": "x"}]},
            ":2: negative_rubrics.1.description = null, expected text",
            id="no-description",
        ),
        pytest.param(
            {"positive_rubrics": [{**RUBRIC, "weight": 0}]},
            ":2: positive_rubrics.0.weight = 0, expected a number above 0.",
            id="weight-0",
        ),
        pytest.param(
            {"positive_rubrics": [{**RUBRIC, "weight": True}]}, "weight = true", id="weight-bool"
        ),
        pytest.param({"is_answerable": "yes"}, 'is_answerable = "yes"', id="answerable-text"),
        pytest.param(
            {"messages": [{"role": "tool", "content": "x"}]},
            ':2: messages.0.role = "tool", expected one of system, user, assistant.',
            id="role",
        ),
        pytest.param({"messages": MESSAGES[:1]}, "ends with the role system", id="last-role"),
        pytest.param({"positive_rubric": [RUBRIC]}, "unknown field", id="misspelt"),
    ],
)
def test_a_wrong_row_is_named_with_its_field(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    row = {**WHOLE, "id": "b", **change}
    if "positive_rubric" in change:
        del row["positive_rubrics"]
    with pytest.raises(SpecError) as error:
        load_rows(write(tmp_path / "rows.jsonl", WHOLE, row))
    assert message in str(error.value)
    assert "rows.jsonl:2" in str(error.value)


HALF = "half \ud83d"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"id": HALF}, "id", id="id"),
        pytest.param({"question": HALF}, "question", id="question"),
        pytest.param({"question": "x" * 90 + "\udc00"}, "question", id="second-half"),
        pytest.param({"source": HALF}, "source", id="source"),
        pytest.param({"reasoning": HALF}, "reasoning", id="reasoning"),
        pytest.param({"evidence": {"S1": HALF}}, "evidence.S1", id="evidence"),
        pytest.param(
            {"evidence": {HALF: "x"}}, r'evidence: the key "half \ud83d"', id="evidence-id"
        ),
        pytest.param(
            {"evidence": [{"id": "S1", "text": HALF}]}, "evidence.0.text", id="listed-evidence"
        ),
        pytest.param(
            {"evidence": [{"id": HALF, "text": "x"}]}, "evidence.0.id", id="listed-evidence-id"
        ),
        pytest.param(
            {"positive_rubrics": [RUBRIC, {**RUBRIC, "title": HALF}]},
            "positive_rubrics.1.title",
            id="title",
        ),
        pytest.param(
            {"negative_rubrics": [{**RUBRIC, "description": HALF}]},
            "negative_rubrics.0.description",
            id="description",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": HALF}]}, "messages.0.content", id="message"
        ),
        pytest.param({"messages": [{"role": HALF, "content": "x"}]}, "messages.0.role", id="role"),
        pytest.param(
            {
                "evidence": None,
                "messages": [{"role": "user", "content": "<snippet id=S\ud83d>x</snippet>"}],
            },
            "messages.0.content",
            id="evidence-id-in-a-message",
        ),
    ],
)
def test_half_a_character_is_refused_in_every_field(
    tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(SpecError) as error:
        load_rows(write(tmp_path / "rows.jsonl", WHOLE, {**WHOLE, "id": "b", **change}))
    where = f"rows.jsonl:2: {field} holds half of a surrogate pair, which is not valid text"
    assert where in str(error.value)
    str(error.value).encode()


def test_a_whole_emoji_and_half_of_one_in_a_column_that_is_not_read_are_fine(
    tmp_path: Path,
) -> None:
    [row] = load_rows(write(tmp_path / "rows.jsonl", {**WHOLE, "question": "😀?", "raw": HALF}))
    assert row.question == "😀?"


def test_nesting_without_end_is_refused_like_any_other_value(tmp_path: Path) -> None:
    evidence: Any = "x"
    for _ in range(400):
        evidence = {"S1": [evidence]}
    with pytest.raises(SpecError, match=r"rows\.jsonl:1: evidence\.S1 = "):
        load_rows(write(tmp_path / "rows.jsonl", {**WHOLE, "evidence": evidence}))


@pytest.mark.parametrize("column", ["question", "evidence"])
def test_bytes_in_parquet_that_are_no_text_are_named(tmp_path: Path, column: str) -> None:
    # What is left of an emoji where a program cut its UTF-16, as Arrow takes it unchecked.
    parts = (b"\x00\x00\x00\x00\x02\x00\x00\x00\x05\x00\x00\x00", b"ok\xed\xa0\xbd")
    half = pa.StringArray.from_buffers(2, *map(pa.py_buffer, parts))
    rows = pa.Table.from_pylist([WHOLE, {**WHOLE, "id": "b"}])
    values = half if column == "question" else pa.StructArray.from_arrays([half], ["S1"])
    path = tmp_path / "rows.parquet"
    pq.write_table(rows.set_column(rows.schema.get_field_index(column), column, values), path)
    with pytest.raises(SpecError, match=rf"rows\.parquet: row 2: {column} holds bytes that are no"):
        load_rows(str(path))


def test_an_error_in_parquet_names_the_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([WHOLE, {**WHOLE, "id": "b", "question": None}]), path)
    with pytest.raises(SpecError, match=r"rows\.parquet: row 2: question = null"):
        load_rows(str(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("empty.jsonl", b"", "holds no rows", id="empty"),
        pytest.param("no.parquet", b"not parquet", "cannot be read as Parquet", id="no-parquet"),
        pytest.param("no.jsonl", b"[1]\n", "expected a JSON object", id="no-object"),
    ],
)
def test_a_file_that_is_no_file_of_rows(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpecError, match=message):
        load_rows(str(tmp_path / name))


def test_a_missing_file_and_a_hub_source_without_a_split_say_so(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file or folder"):
        load_rows(str(tmp_path / "none.jsonl"))
    with pytest.raises(SpecError, match="expected hub:<data set>@<split>"):
        load_rows("hub:me/rows")


def test_a_hub_split_is_checked_like_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def load_dataset(name: str, part: None, *, split: str, revision: None) -> list[dict[str, Any]]:
        asked.append((name, part, split, revision))
        return [WHOLE, {**WHOLE, "id": "b", "evidence": 3}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(SpecError, match="me/rows@train: row 2: evidence = 3"):
        load_rows("hub:me/rows@train")
    assert asked == [("me/rows", None, "train", None)]
