"""Rows of a user's files: read whatever they are written in, split by family, refused in words."""

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from functions_material import settings_in, sums, task_in, write_rows

from strictune.config import expand, load_sweep
from strictune.errors import SpecError
from trainables.tasks.data_files import HubSource, read_source
from trainables.tasks.functions.data import stored_row
from trainables.tasks.functions.task import Functions
from trainables.tasks.splits import text_family
from trainables.tasks.task import SPLITS

SYSTEM = {"role": "system", "content": "Be short."}
ROWS = [{"prompt": "a, b", "answer": 1}, {"prompt": "c\nd", "answer": None}]


def write_csv(path: Path) -> None:
    path.write_bytes(b'\xef\xbb\xbfprompt,answer\r\n"a, b",1\r\n"c\nd",\r\n')


WRITERS: dict[str, Callable[[Path], object]] = {
    "rows.jsonl": lambda path: path.write_text("\ufeff" + "\r\n".join(map(json.dumps, ROWS))),
    "rows.jsonl.gz": lambda path: path.write_bytes(
        gzip.compress("\n".join(map(json.dumps, ROWS)).encode())
    ),
    "rows.json": lambda path: path.write_text(json.dumps(ROWS, indent=1)),
    "rows.csv": write_csv,
    "rows.parquet": lambda path: pq.write_table(pa.Table.from_pylist(ROWS), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_all_formats_give_the_same_rows(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    (tmp_path / "README.md").write_text("not data")
    for source in (tmp_path / name, tmp_path):
        rows = list(read_source(str(source)))
        assert [dict(row.values) for row in rows] == ROWS
        assert all(name in row.where for row in rows)


def test_rows_are_dealt_by_family_shares_and_seed(tmp_path: Path) -> None:
    rows = [{"prompt": f'Say "{n}{a}" {a} times.', "n": n, "a": a} for n in "xy" for a in range(9)]
    rows += sums(200)
    task = task_in(tmp_path, train=str(write_rows(tmp_path / "r.jsonl", rows)))
    splits = {split: task.prompts(split) for split in SPLITS}
    families = [{prompt.family for prompt in prompts} for prompts in splits.values()]
    assert len(set().union(*families)) == sum(map(len, families)) == 201
    assert sum(map(len, splits.values())) == len(rows)
    assert [len(names) for names in families] == [161, 20, 20]
    other = task_in(tmp_path, train=str(tmp_path / "r.jsonl"), split={"seed": 1})
    assert [p.text for p in other.prompts("test")] != [p.text for p in splits["test"]]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        pytest.param("Tom has 12 apples.", "tom has  3.5 Apples.", True, id="numbers-case-space"),
        pytest.param("Greet 'Ann' now", 'Greet "Bo" now', True, id="either-quotes"),
        pytest.param('Greet "Ann" now', "Greet \u201cBo\u201d now", True, id="quoted-names"),
        pytest.param("It's Tom's 1", "It's Ann's 1", False, id="apostrophes-quote-nothing"),
    ],
)
def test_prompts_are_one_family_if_only_what_is_filled_in_differs(
    one: str, other: str, alike: bool
) -> None:
    assert (text_family(one) == text_family(other)) is alike


def test_columns_have_the_names_that_the_settings_say(tmp_path: Path) -> None:
    rows = [
        {
            "q": [SYSTEM, {"role": "user", "content": f"{n} + 1?"}],
            "uid": n,
            "topic": f"t{n}",
            "level": "hard",
            "completion": f"c{n}",
            "answer": n,
        }
        for n in range(40)
    ]
    columns = {"prompt": "q", "id": "uid", "family": "topic", "difficulty": "level"}
    source = str(write_rows(tmp_path / "rows.jsonl", rows))
    task = task_in(tmp_path, train=source, columns=columns, difficulty=["easy", "hard"])
    prompt = task.prompts("train")[0]
    number = int(prompt.id)
    assert (prompt.family, prompt.difficulty, prompt.gold) == (f"t{number}", "hard", f"c{number}")
    chat = rows[number]["q"]
    assert task.messages(prompt, thinking=False) == chat
    assert [p.id for p in task.read_suite(tmp_path / "rows.jsonl")] == [str(n) for n in range(40)]
    stored = stored_row(prompt)
    assert stored.prompt == chat
    assert stored.columns == {"uid": number, "topic": f"t{number}", "level": "hard"} | {
        "answer": number
    }
    assert task.gold_completion(prompt, thinking=False) == f"c{number}"
    assert task.gold_completion(prompt, thinking=True) is None
    assert pickle.loads(pickle.dumps(task)).data_hash() == task.data_hash()


GOOD = sums(40)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("r.jsonl", "", "holds no rows, expected at least one", id="empty"),
        pytest.param("r.csv", "prompt,answer\n", "holds no rows", id="header-alone"),
        pytest.param(
            "r.jsonl",
            '{"prompt": "a"}\n{"question": "b"}\n',
            r"r.jsonl:2: column 'prompt' is missing.*Found question",
            id="no-prompt",
        ),
        pytest.param("r.jsonl", '{"prompt": 3}', r":1: prompt = 3, expected text or", id="number"),
        pytest.param(
            "r.jsonl",
            json.dumps({"prompt": "x" * 1_000_001}),
            r"r.jsonl:1: prompt holds 1,000,001 characters, expected at most 1,000,000",
            id="endless",
        ),
        pytest.param("r.jsonl", '{"prompt": " "}', "expected text that is not empty", id="blank"),
        pytest.param(
            "r.jsonl",
            json.dumps({"prompt": [{"role": "tool", "content": "x"}]}),
            r"prompt.0.role = \"tool\", expected one of system, user, assistant",
            id="role",
        ),
        pytest.param("r.jsonl", "[1]\n", r"r.jsonl:1: found \[1\], expected a JSON", id="array"),
        pytest.param("r.json", "[1]", r"r.json: row 1: found 1, expected an object", id="json"),
        pytest.param("r.json", "[{", r"r.json: is not JSON", id="half-json"),
        pytest.param("r.csv", "prompt,a\nx,1,2\n", r"r.csv:2: found 3 fields, exp", id="ragged"),
        pytest.param(
            "r.csv", "prompt,prompt\nx,y\n", r"r.csv:1: the header names prompt twice", id="twice"
        ),
        pytest.param("r.csv", b"prompt\nok\n\xff\n", r"r.csv:3: cannot be read", id="utf8"),
        pytest.param("r.jsonl", b'{"prompt": "\xff"}', r"r.jsonl:1: cannot be re", id="utf8-json"),
        pytest.param("r.parquet", "no", r"r.parquet: cannot be read as Parquet", id="parquet"),
        pytest.param(
            "r.jsonl",
            '{"prompt": "a", "id": 7}\n{"prompt": "b", "id": 7}\n',
            r"r.jsonl:2: id = \"7\" is already used in .*r.jsonl:1",
            id="duplicate-id",
        ),
        pytest.param(
            "r.jsonl",
            '{"prompt": "a 1"}\n{"prompt": "a 2"}\n',
            r"2 rows of 1 families leave 0 for validation, expected 2 or more",
            id="one-family",
        ),
    ],
)
def test_bad_rows_are_refused_in_one_line_with_their_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SpecError, match=message) as caught:
        task_in(tmp_path, train=str(tmp_path / name)).check()
    assert "\n" not in str(caught.value)


def test_a_prompt_in_two_splits_is_refused_with_counts(tmp_path: Path) -> None:
    leaked = [{"prompt": row["prompt"].upper() + " "} for row in GOOD[:3]]
    other = [{"prompt": f"Something else, {letter}."} for letter in "abc"]
    test = str(write_rows(tmp_path / "test.jsonl", leaked + other))
    validation = str(write_rows(tmp_path / "validation.jsonl", [{"prompt": "Something new."}]))
    message = r"3 prompts of test are in train too, e\.g\. \S+/test.jsonl:1 as \S+/rows.jsonl:1"
    with pytest.raises(SpecError, match=message):
        task_in(tmp_path, test=test, validation=validation).check()


def test_a_prompt_in_two_splits_can_be_kept_in_the_later_one(tmp_path: Path) -> None:
    leaked = [{"prompt": row["prompt"].upper() + " "} for row in GOOD[:3]]
    test = str(write_rows(tmp_path / "test.jsonl", [*leaked, {"prompt": "Something else."}]))
    new = [{"prompt": "Something new."}, leaked[0]]
    validation = str(write_rows(tmp_path / "validation.jsonl", new))
    task = task_in(tmp_path, test=test, validation=validation, split={"leaks": "drop"})
    sizes = [len(task.prompts(split)) for split in ("train", "validation", "test")]
    assert sizes == [len(GOOD) - 3, 1, 4]
    same = [str(write_rows(tmp_path / name, leaked)) for name in ("a.jsonl", "b.jsonl")]
    whole = task_in(tmp_path, validation=same[0], test=same[1], split={"leaks": "drop"})
    with pytest.raises(SpecError, match="all 3 prompts of validation are in a later split too"):
        whole.check()


def test_a_level_that_the_settings_do_not_name_is_refused(tmp_path: Path) -> None:
    source = str(write_rows(tmp_path / "r.jsonl", [{"prompt": "a", "difficulty": "easy"}]))
    with pytest.raises(SpecError, match=r"r.jsonl:1: difficulty = \"easy\", expected one of hard"):
        task_in(tmp_path, train=source, difficulty=["hard"]).check()


def test_a_data_set_that_the_hub_does_not_give_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    asked: list[Any] = []

    def load_dataset(*given: object, **options: object) -> list[dict[str, object]]:
        asked.append((given, options))
        if given[0] == "away/rows":
            raise ConnectionError("Couldn't reach 'away/rows' on the Hub\nmore lines")
        return [{"prompt": "a"}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = HubSource(dataset="me/rows", name="main", split="train[:1]", revision="r")
    [row] = read_source(source)
    assert row.where == "me/rows/main@train[:1]: row 1"
    assert asked == [(("me/rows", "main"), {"split": "train[:1]", "revision": "r"})]
    away = {"dataset": "away/rows"}
    with pytest.raises(SpecError, match=r"^away/rows@train: cannot be loaded from the hub \(Coul"):
        task_in(tmp_path, train=away).check()


SWEEP = """
name: own
task:
  kind: functions
  module: my_rewards.py
  rewards: [length_reward, accuracy_reward]
  success: accuracy_reward >= 1.0
  train: rows.jsonl
trial: {model: builtin:tiny, grpo: {max_steps: 2}}
"""


def test_files_are_found_beside_the_sweep_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sweeps"
    folder.mkdir()
    settings_in(folder)
    (folder / "s.yaml").write_text(SWEEP)
    [there] = expand(load_sweep(folder / "s.yaml"))
    assert there.task.train == str(folder / "rows.jsonl")
    monkeypatch.chdir(tmp_path)
    [here] = expand(load_sweep("sweeps/s.yaml"))
    # Relative again: a worker on another machine runs in a copy of the working directory.
    assert (here.task.module, here.task.train) == ("sweeps/my_rewards.py", "sweeps/rows.jsonl")
    assert here.trial_id == there.trial_id
    Functions(here.task).check()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("rewards: [a, a]", "lists a twice in rewards", id="twice"),
        pytest.param("success: a >", r"has success = a >, expected e\.g\.", id="half-condition"),
        pytest.param(
            "success: b >= 1", r"b is not in rewards \(length_reward, acc", id="unpaid-condition"
        ),
        pytest.param(
            "success: acuracy_reward >= 1", "Did you mean accuracy_reward", id="misspelt-condition"
        ),
        pytest.param("difficulty: [all]", "tables use that name for all prompts", id="all"),
        pytest.param("modul: x.py", "Did you mean module", id="misspelt-key"),
        pytest.param("train: {datset: x}", "dataset", id="misspelt-hub"),
        pytest.param("kind: function", "expected one of functions, .*strict_json", id="kind"),
    ],
)
def test_settings_are_refused_with_their_key(tmp_path: Path, line: str, message: str) -> None:
    key = line.partition(":")[0]
    kept = [old for old in SWEEP.splitlines() if not old.startswith(f"  {key}:")]
    kept.insert(kept.index("trial: {model: builtin:tiny, grpo: {max_steps: 2}}"), f"  {line}")
    (tmp_path / "s.yaml").write_text("\n".join(kept))
    with pytest.raises(SpecError, match=message):
        load_sweep(tmp_path / "s.yaml")
