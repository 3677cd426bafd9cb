"""strict_json on files: rows with a schema and, where given, the expected answer."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from strictune.config import TrialSpec, expand, load_sweep
from strictune.errors import SpecError
from trainables.evaluation.scored_samples import score_samples
from trainables.rollouts.completion import Completion
from trainables.tasks.strict_json.settings import StrictJsonSettings
from trainables.tasks.strict_json.task import StrictJson
from trainables.tasks.task import SPLITS, Attempt
from trainables.trial import train_trial

SCHEMA = {
    "type": "object",
    "required": ["buyer", "count"],
    "properties": {"buyer": {"type": "string"}, "count": {"type": "integer"}},
    "additionalProperties": False,
}
ROWS = [
    {"text": f"{name} orders {n} pens.", "label": {"buyer": name, "count": n}}
    for n, name in enumerate((f"Mr {a}{b}" for a in "ABCDEF" for b in "uvwxyz"), start=2)
]
COLUMNS = {"prompt": "text", "answer": "label"}


def write(folder: Path, rows: Sequence[Mapping[str, Any]], schema: object = SCHEMA) -> None:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "schema.json").write_text(json.dumps(schema))


def settings_in(folder: Path, **changes: Any) -> StrictJsonSettings:
    given = {
        "kind": "strict_json",
        "train": str(folder / "rows.jsonl"),
        "schema": str(folder / "schema.json"),
        "columns": COLUMNS,
        "split": {"validation": 0.2, "test": 0.2},
        **changes,
    }
    return StrictJsonSettings.model_validate({k: v for k, v in given.items() if v is not None})


def test_rows_become_prompts_of_three_splits_with_right_answers(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    task = StrictJson(settings_in(tmp_path))
    prompts = [prompt for split in SPLITS for prompt in task.prompts(split)]
    assert sorted(prompt.text for prompt in prompts) == sorted(str(row["text"]) for row in ROWS)
    assert all(len(task.prompts(split)) >= 2 for split in SPLITS)
    assert task.primary_criterion == "correct" and task.measures[-1] == "content_f1"
    assert len(task.read_suite(tmp_path / "rows.jsonl")) == len(ROWS)
    with pytest.raises(SpecError, match="has no expected answers"):
        task.outside_suite("schemastore", "")
    for prompt in prompts[:5]:
        system, user = task.messages(prompt, thinking=False)
        assert "```json" in system["content"]
        assert user["content"].startswith(prompt.text) and '"buyer"' in user["content"]
        gold = task.gold_completion(prompt, thinking=False)
        assert task.gold_completion(prompt, thinking=True) is None
        score = task.score(Attempt(str(gold), prompt, False, False), thinking=False)
        assert score.criteria["correct"] and set(score.rewards.values()) == {1.0}


def test_samples_say_which_fields_are_right_where_answers_are_known(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    for columns, is_known in ((COLUMNS, True), ({"prompt": "text"}, False)):
        task = StrictJson(settings_in(tmp_path, columns=columns))
        prompt = task.prompts("train")[0]
        document = json.dumps({"buyer": "Nobody", "count": 0})
        made = [Completion(text, 9, False) for text in (f"```json\n{document}\n```", "none")]
        samples = score_samples(
            task, [prompt], made, thinking=False, think_prefilled=[False]
        ).samples
        assert ("fields" in samples) == is_known
        if is_known:
            wrong, missing = map(json.loads, samples["fields"])
            assert wrong == {"/buyer": [0, 1, 0, 0], "/count": [0, 1, 0, 0]}
            assert missing == {"/buyer": [0, 0, 1, 0], "/count": [0, 0, 1, 0]}


def test_chat_and_schemas_of_their_own_are_kept_as_they_are(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "Shop."}, {"role": "user", "content": "Mei, 2 pens."}]
    rows = [{"prompt": [*chat[:1], {**chat[1], "content": f"{a}, 2 pens."}]} for a in "abcdefghi"]
    own = [{**row, "schema": json.dumps(SCHEMA), "difficulty": "hard"} for row in rows]
    write(tmp_path, own)
    given = {"columns": {}, "schema": None, "show_schema": False}
    task = StrictJson(settings_in(tmp_path, **given, split={"validation": 0.3, "test": 0.3}))
    prompt = task.prompts("train")[0]
    system, user = task.messages(prompt, thinking=True)
    assert system["content"].endswith("\n\nShop.") and "<think>" in system["content"]
    assert user["content"] in {row["prompt"][1]["content"] for row in rows}
    assert (
        task.primary_criterion == "strict" and prompt.gold is None and prompt.difficulty == "hard"
    )


@pytest.mark.parametrize(
    ("rows", "schema", "changes", "message"),
    [
        pytest.param(
            [{"text": "a"}], SCHEMA, {}, r"rows.jsonl:1: column 'label' is missing", id="no-answer"
        ),
        pytest.param(
            [{"text": "a", "label": {"buyer": "b"}}],
            SCHEMA,
            {},
            r"rows.jsonl:1: label = .* does not conform to its schema",
            id="answer-against-schema",
        ),
        pytest.param(
            [{"text": "a", "label": "{"}], SCHEMA, {}, r":1: label = .* is not JSON", id="no-json"
        ),
        pytest.param(
            [{"text": "a", "label": "[NaN]"}],
            {},
            {},
            r":1: label = .* a number that JSON",
            id="nan",
        ),
        pytest.param(ROWS, {"type": "objekt"}, {}, r"schema.json: schema: .*Expected", id="schema"),
        pytest.param(ROWS, 3, {}, r"schema.json: found 3, expected a JSON Schema", id="number"),
        pytest.param(
            ROWS, SCHEMA, {"schema": None}, r"rows.jsonl:1: column 'schema' is missing", id="none"
        ),
        pytest.param(
            [{**ROWS[0], "difficulty": "odd"}],
            SCHEMA,
            {},
            r'rows.jsonl:1: difficulty = "odd", expected simple, medium, hard',
            id="difficulty",
        ),
    ],
)
def test_rows_that_cannot_be_used_are_named(
    tmp_path: Path, rows: Any, schema: object, changes: dict[str, Any], message: str
) -> None:
    write(tmp_path, rows, schema)
    with pytest.raises(SpecError, match=message) as caught:
        StrictJson(settings_in(tmp_path, **changes)).check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        pytest.param("{kind: strict_json, test: a.jsonl}", "sets test, but train names", id="test"),
        pytest.param("{kind: strict_json, schema: s}", "sets schema, but train", id="schema"),
        pytest.param(
            "{kind: strict_json, train: a, primary: correct}", "names no column of exp", id="aim"
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    tmp_path: Path, task: str, message: str
) -> None:
    sweep = f"name: s\ntask: {task}\ntrial: {{model: builtin:tiny, grpo: {{max_steps: 1}}}}\n"
    (tmp_path / "s.yaml").write_text(sweep)
    with pytest.raises(SpecError, match=message):
        load_sweep(tmp_path / "s.yaml")


def test_drawn_data_name_trials_as_before_and_files_by_their_names(tmp_path: Path) -> None:
    assert list(StrictJsonSettings().identity()) == [
        *("kind", "data_seed", "num_train_prompts", "num_eval_prompts")
    ]
    write(tmp_path, ROWS)
    (tmp_path / "s.yaml").write_text(
        "name: s\ntask: {kind: strict_json, train: rows.jsonl, schema: schema.json}\n"
        "trial: {model: builtin:tiny, grpo: {max_steps: 1}}\n"
    )
    [trial] = expand(load_sweep(tmp_path / "s.yaml"))
    assert trial.task.train == str(tmp_path / "rows.jsonl")
    identity = trial.task.identity()
    assert (identity["train"], identity["schema"]) == ("rows.jsonl", "schema.json")
    assert TrialSpec.model_validate_json(trial.model_dump_json()) == trial


def test_a_trial_on_files_is_measured_by_correct_answers(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    spec = TrialSpec.model_validate(
        {
            "model": "builtin:tiny",
            "quantization": "none",
            "dtype": "float32",
            "task": settings_in(tmp_path, show_schema=False).model_dump(),
            "grpo": {
                "max_steps": 1,
                "num_generations": 4,
                "per_device_train_batch_size": 8,
                "max_completion_length": 24,
                "optim": "adamw_torch",
                "gradient_checkpointing": False,
            },
            "evaluation": {"samples_per_prompt": 1, "max_new_tokens": 24},
        }
    )
    outcome = train_trial(spec, folder=tmp_path / "trial")
    assert outcome.state == "FINISHED", outcome.reason
    lines = (tmp_path / "trial" / "metrics.jsonl").read_text().splitlines()
    names = {name for line in lines for name in json.loads(line)["metrics"]}
    assert {"final/correct/pass_at_1", "final/content_f1/mean", "reward/content/mean"} <= names
