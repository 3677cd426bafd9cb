"""``strictune score``: figures, rows, breakdowns, and what it refuses."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from command_line import HEAVY, ROOT, as_json, imported_by, printed, refusal, write_jsonl

from trainables.tasks.strict_json.criteria import CRITERIA
from trainables.tasks.strict_json.rewards import REWARDS
from trainables.tasks.strict_json.scoring import Scorer
from trainables.tasks.strict_json.settings import StrictJsonSettings
from trainables.tasks.strict_json.task import StrictJson

REFERENCE = ROOT.parent / "shared" / "reference"

SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
GOOD = '```json\n{"a": 1}\n```'
WRONG = '```json\n{"a": "x"}\n```'
CHATTY = f"Sure!\n{GOOD}"
THOUGHT = "I need one key with a whole number.\n</think>\n"


@pytest.fixture
def schemas(tmp_path: Path) -> Path:
    return write_jsonl(
        tmp_path / "schemas.jsonl",
        {"prompt": "one", "id": "p1", "schema": SCHEMA, "difficulty": "simple"},
        {"prompt": "two", "schema": {"type": "array"}, "difficulty": "hard"},
        {"id": 7, "schema": True, "difficulty": "hard"},
    )


@pytest.fixture
def completions(tmp_path: Path) -> Path:
    return write_jsonl(
        tmp_path / "completions.jsonl",
        {"prompt": "one", "completion": GOOD, "model": "x"},
        {"prompt": "one", "completion": WRONG, "model": "y"},
        {"id": "p1", "completion": CHATTY, "model": "x"},
        {
            "prompt": "one",
            "completion": THOUGHT + GOOD,
            "thinking": True,
            "think_prefilled": True,
            "model": "y",
        },
        {"prompt": "two", "completion": "", "model": "x"},
        {"id": 7, "completion": GOOD, "thinking": None, "model": "x"},
    )


def test_json_holds_counts_and_means_and_rows_what_the_scorer_says(
    capsys: pytest.CaptureFixture[str], completions: Path, schemas: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    document = as_json(capsys, "score", completions, "--schemas", schemas, "--rows", out)
    assert list(document) == ["num_completions", "criteria", "rewards", "total"]
    assert document["num_completions"] == 6
    counts = {"syntax": 5, "parsed": 5, "conformant": 4, "clean": 3, "strict": 3}
    assert document["criteria"] == counts
    assert list(document["rewards"]) == list(REWARDS)
    assert document["rewards"]["format"] == pytest.approx(5 / 6)

    rows = [json.loads(line) for line in out.read_text().splitlines()]
    found = [row["error_class"] for row in rows]
    assert found == ["ok", "wrong_type", "text_outside", "ok", "no_fence", "ok"]
    assert rows[1]["error_path"] == "/a"
    assert rows[2]["id"] == "p1"
    expected = Scorer().score(WRONG, json.dumps(SCHEMA), thinking=False, think_prefilled=False)
    assert rows[1]["criteria"] == dict(expected.criteria)
    assert rows[1]["rewards"] == dict(expected.rewards)
    assert rows[1]["reasons"] == dict(expected.reasons)
    assert document["total"] == pytest.approx(sum(row["total"] for row in rows) / 6)
    # The total weighs rewards by the mode of the row.
    for row, thinking in zip(rows, (False, False, False, True, False, False), strict=True):
        weights = StrictJsonSettings().default_weights(thinking)
        total = sum(weights[name] * value for name, value in row["rewards"].items())
        assert row["total"] == pytest.approx(total)
        assert (row["total"] == pytest.approx(1)) == row["criteria"]["strict"]


@pytest.mark.parametrize(
    ("column", "counts"),
    [
        pytest.param("model", {"x": 4, "y": 2}, id="of-the-completion"),
        pytest.param("difficulty", {"simple": 4, "hard": 2}, id="of-the-schema"),
    ],
)
def test_figures_break_down_by_a_column(
    capsys: pytest.CaptureFixture[str],
    completions: Path,
    schemas: Path,
    column: str,
    counts: dict[str, int],
) -> None:
    document = as_json(capsys, "score", completions, "--schemas", schemas, "--by", column)
    groups = document["by"][column]
    assert {name: group["num_completions"] for name, group in groups.items()} == counts
    for criterion in CRITERIA:
        assert (
            sum(group["criteria"][criterion] for group in groups.values())
            == document["criteria"][criterion]
        )


def test_tables_show_groups_and_all(
    capsys: pytest.CaptureFixture[str], completions: Path, schemas: Path
) -> None:
    out = printed(capsys, "score", completions, "--schemas", schemas, "--by", "model")
    assert "3 (50.0%)" in out
    assert "strictness" in out and "total" in out


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["tables", "json"])
def test_half_a_surrogate_pair_in_a_group_is_shown_as_its_escape(
    capsys: pytest.CaptureFixture[str], schemas: Path, tmp_path: Path, options: list[str]
) -> None:
    arms = ("a\ud83d", "\udc00", "\U0001f600", ["\ud83d"], None)
    path = write_jsonl(
        tmp_path / "arms.jsonl", *({"id": 7, "completion": GOOD, "arm": arm} for arm in arms)
    )
    out = printed(capsys, "score", path, "--schemas", schemas, "--by", "arm", *options)
    for shown in ("a\\ud83d", "\\udc00", "\U0001f600", '["\\ud83d"]', "null"):
        assert (json.dumps(shown, ensure_ascii=False) if options else shown) in out


def test_gzip_is_read_as_it_is(
    capsys: pytest.CaptureFixture[str], completions: Path, schemas: Path, tmp_path: Path
) -> None:
    plain = as_json(capsys, "score", completions, "--schemas", schemas)
    for path in (completions, schemas):
        (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    zipped = (tmp_path / "completions.jsonl.gz", "--schemas", tmp_path / "schemas.jsonl.gz")
    assert as_json(capsys, "score", *zipped) == plain


BAD_COMPLETIONS = [
    pytest.param({"prompt": "one"}, "field 'completion' is missing", id="no-completion"),
    pytest.param({"completion": ""}, "fields 'prompt' and 'id' are both missing", id="no-key"),
    pytest.param(
        {"prompt": "one", "completion": None}, "completion = null, expected text", id="null"
    ),
    pytest.param(
        {"prompt": "one", "completion": "", "thinking": "yes"},
        'thinking = "yes", expected true or false',
        id="thinking-as-text",
    ),
    pytest.param(
        {"prompt": "one", "completion": "", "thinkng": True},
        "unknown field \"thinkng\", did you mean 'thinking'?",
        id="misspelt",
    ),
    pytest.param(
        {"prompt": "three", "completion": ""}, 'prompt = "three": no such row in', id="no-schema"
    ),
    pytest.param({"id": 1.5, "completion": ""}, "id = 1.5, expected text or", id="fraction-as-id"),
    pytest.param(
        {"id": "p1", "prompt": "two", "completion": ""}, "the prompt to another", id="two-schemas"
    ),
    pytest.param(
        {"id": "p1", "prompt": "1", "completion": ""},
        'id = "p1" is another prompt in',
        id="id-of-another-prompt",
    ),
    pytest.param([1], "found [1], expected a JSON object", id="no-object"),
]


@pytest.mark.parametrize(("row", "message"), BAD_COMPLETIONS)
def test_bad_completions_are_refused_by_file_and_line(
    capsys: pytest.CaptureFixture[str], schemas: Path, tmp_path: Path, row: Any, message: str
) -> None:
    path = write_jsonl(tmp_path / "bad.jsonl", {"prompt": "one", "completion": GOOD}, row)
    rows = tmp_path / "rows.jsonl"
    error = refusal(capsys, "score", path, "--schemas", schemas, "--rows", rows)
    assert error.startswith(f"error: {path}:2: ")
    assert message in error
    assert not rows.exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param({"prompt": "b"}, "field 'schema' is missing", id="no-schema"),
        pytest.param({"prompt": "b", "schema": "{}"}, "not as text", id="schema-as-text"),
        pytest.param({"prompt": "b", "schema": {"type": "strin"}}, "strin", id="invalid-schema"),
        pytest.param(
            {"prompt": "b", "schema": {"properties": {"e": {"pattern": r"^[\w-.]+@x$"}}}},
            r"schema: '^[\\w-.]+@x$' is not a regular expression of ECMA-262: a range in a class",
            id="bad-pattern",
        ),
        pytest.param(
            {"prompt": "b", "schema": {"$ref": "a.json"}}, "'a.json' is not", id="other-document"
        ),
        pytest.param(
            {"prompt": "a", "schema": {}}, "has another schema in", id="two-schemas-for-a-prompt"
        ),
        pytest.param({"schema": {}}, "fields 'prompt' and 'id' are both missing", id="no-key"),
    ],
)
def test_bad_schemas_are_refused_by_file_and_line(
    capsys: pytest.CaptureFixture[str], completions: Path, tmp_path: Path, row: Any, message: str
) -> None:
    path = write_jsonl(tmp_path / "bad.jsonl", {"prompt": "a", "schema": SCHEMA}, row)
    error = refusal(capsys, "score", completions, "--schemas", path)
    assert error.startswith(f"error: {path}:2: ")
    assert message in error
    assert error.count("\n") == 1


def test_empty_missing_and_cut_files_are_refused(
    capsys: pytest.CaptureFixture[str], completions: Path, schemas: Path, tmp_path: Path
) -> None:
    empty, cut = write_jsonl(tmp_path / "empty.jsonl"), tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(completions.read_bytes())[:-12])
    for path, message in ((empty, "holds no row"), (tmp_path / "none", "No such"), (cut, "ended")):
        assert message in refusal(capsys, "score", path, "--schemas", schemas)
    assert "holds no row" in refusal(capsys, "score", completions, "--schemas", empty)


def test_an_unknown_column_names_the_known_ones(
    capsys: pytest.CaptureFixture[str], completions: Path, schemas: Path
) -> None:
    error = refusal(capsys, "score", completions, "--schemas", schemas, "--by", "dificulty")
    assert "field 'dificulty' is missing" in error
    assert "model" in error
    assert "difficulty." in error


def test_inputs_are_not_overwritten(
    capsys: pytest.CaptureFixture[str], completions: Path, schemas: Path
) -> None:
    error = refusal(capsys, "score", completions, "--schemas", schemas, "--rows", completions)
    assert "is read as input" in error


def test_scoring_imports_nothing_heavy(completions: Path, schemas: Path) -> None:
    found = imported_by("score", completions, "--schemas", schemas)
    assert not found & (HEAVY | {"pandas", "scipy"})


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference data are not there")
def test_recorded_completions_are_placed_as_by_an_independent_scorer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    completions, rows = REFERENCE / "completions.jsonl.gz", tmp_path / "rows.jsonl"
    schemas = REFERENCE / "task_schemas.jsonl"
    document = as_json(capsys, "score", completions, "--schemas", schemas, "--rows", rows)
    expected = {"parsed": 7303, "conformant": 3466, "clean": 3177, "strict": 1633}
    assert document["num_completions"] == 9000
    assert document["criteria"]["syntax"] == 7638
    for criterion, count in expected.items():
        assert document["criteria"][criterion] == pytest.approx(count, rel=0.005)
    differing: Counter[str] = Counter()
    with gzip.open(completions, "rt", encoding="utf-8") as recorded, rows.open() as scored:
        for theirs, ours in zip(map(json.loads, recorded), map(json.loads, scored), strict=True):
            differing["published"] += theirs["published_valid"] != ours["criteria"]["syntax"]
            for criterion in CRITERIA:
                differing[criterion] += theirs["rungs"][criterion] != ours["criteria"][criterion]
    assert differing["published"] == 0
    assert max(differing[criterion] for criterion in CRITERIA) <= 0.005 * 9000


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep of reward functions over twenty rows, two of them with the same prompt."""
    write_jsonl(
        tmp_path / "rows.jsonl",
        *({"prompt": f"{c}?", "id": c, "family": c} for c in "abcdefghijklmnopqrst"),
        {"prompt": "a?", "id": "a2", "family": "a"},
        {"prompt": [{"role": "user", "content": "chat?"}], "id": "chat", "family": "a"},
    )
    (tmp_path / "mine.py").write_text(
        "def short(completions, **rest):\n    return [1.0 / (1 + len(c)) for c in completions]\n"
        "def known(completions, **rest):\n"
        "    return [None if c == '?' else float(c == 'yes') for c in completions]\n"
    )
    task = (
        "{kind: functions, module: mine.py, rewards: [short, known], success: known >= 1, "
        "train: rows.jsonl}"
    )
    path = tmp_path / "s.yaml"
    trial = "{model: builtin:tiny, grpo: {max_steps: 1}, rewards: {short: 2, known: 10}"
    path.write_text(f"name: s\ntask: {task}\ntrial: {trial}, rewards_no_think: {{known: 3}}}}\n")
    return path


def test_completions_are_scored_by_the_functions_of_a_sweep(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sweep: Path
) -> None:
    recorded = write_jsonl(
        tmp_path / "c.jsonl",
        {"id": "a", "completion": "yes", "run": 1},
        {"prompt": "b?", "completion": "no", "run": 1},
        {"id": "c", "completion": "?", "run": 2},
    )
    document = as_json(capsys, "score", recorded, "--task", sweep, "--by", "run")
    assert (document["criteria"], document["num_missing"]) == ({"success": 1}, 1)
    assert document["rewards"]["known"] == 0.5
    assert document["by"]["run"]["2"]["rewards"] == {"short": 0.5, "known": None}
    out = printed(capsys, "score", recorded, "--task", sweep, "--by", "run")
    assert "success" in out and "1 (50.0%)" in out


def test_the_total_is_under_the_weights_of_the_sweep_in_the_mode_of_the_row(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sweep: Path
) -> None:
    recorded = write_jsonl(
        tmp_path / "c.jsonl",
        {"id": "a", "completion": "yes"},
        {"id": "a", "completion": "yes", "thinking": True},
    )
    rows = tmp_path / "scored.jsonl"
    document = as_json(capsys, "score", recorded, "--task", sweep, "--rows", rows)
    assert [json.loads(line)["total"] for line in rows.read_text().splitlines()] == [3.0, 10.5]
    assert document["total"] == 6.75


def test_a_completion_without_rewards_has_no_total(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sweep: Path
) -> None:
    sweep.write_text(
        sweep.read_text().replace("[short, known]", "[known]").replace("short: 2,", "")
    )
    recorded = write_jsonl(
        tmp_path / "c.jsonl", {"id": "a", "completion": "yes"}, {"id": "a", "completion": "?"}
    )
    assert as_json(capsys, "score", recorded, "--task", sweep)["total"] == 3.0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        pytest.param({"id": "z"}, 'id = "z": task functions has no such prompt', id="unknown"),
        pytest.param(
            {"id": "a", "prompt": "b?"},
            'id = "a" is another prompt of task functions, which begins "a?"',
            id="two-prompts",
        ),
        pytest.param({"id": "a", "prompt": "elsewhere?"}, 'which begins "a?"', id="unknown-prompt"),
        pytest.param({"prompt": "a?"}, '["a", "a2"]. Say which one', id="two-rows-of-one-prompt"),
        pytest.param({"id": "b?"}, "no such prompt", id="a-prompt-as-id"),
    ],
)
def test_a_completion_that_answers_no_single_prompt_of_the_sweep_is_refused(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    sweep: Path,
    keys: dict[str, str],
    message: str,
) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", {**keys, "completion": "yes"})
    error = refusal(capsys, "score", path, "--task", sweep)
    assert error.startswith(f"error: {path}:1: ") and error.count("\n") == 1
    assert message in error


def test_a_prompt_beside_its_own_id_may_be_text_or_messages_or_null(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sweep: Path
) -> None:
    path = write_jsonl(
        tmp_path / "d.jsonl",
        {"id": "a2", "prompt": "a?", "completion": "yes"},
        {"id": "a", "prompt": None, "completion": "yes"},
        {"id": "mine", "prompt": "b?", "completion": "yes"},
        {
            "id": "chat",
            "prompt": [{"role": "user", "content": "chat?"}],
            "completion": "yes",
        },
    )
    assert as_json(capsys, "score", path, "--task", sweep)["num_completions"] == 4


@pytest.mark.parametrize("verb", ["score", "plan"])
def test_what_a_task_raises_is_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    verb: str,
) -> None:
    def score(*_: object, **__: object) -> None:
        raise KeyError("ISO")

    monkeypatch.setattr(StrictJson, "score", score)
    sweep = tmp_path / "s.yaml"
    sizes = "num_train_prompts: 12, num_eval_prompts: 12"
    trial = "{model: builtin:tiny, grpo: {max_steps: 1}}"
    sweep.write_text(f"name: s\ntask: {{kind: strict_json, {sizes}}}\ntrial: {trial}\n")
    path = write_jsonl(tmp_path / "d.jsonl", {"id": "train-00000", "completion": "yes"})
    command = ("plan", sweep) if verb == "plan" else ("score", path, "--task", sweep)
    expected = "error: task strict_json: score raised KeyError: 'ISO' (prompt train-00000). "
    assert refusal(capsys, *command) == f"{expected}Mend the task.\n"
