"""IFStruct: rows as prompts, and what its checks let pass. The rows are made up, in its format."""

import json
from pathlib import Path
from typing import Any

import pytest

from strictune.cli import main
from strictune.errors import SpecError
from trainables.tasks import TASKS, load_task
from trainables.tasks.ifstruct.checks import Request, judge
from trainables.tasks.task import Attempt

ITEM = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "kind": {"type": "string", "enum": ["soup", "cake"]},
        "note": {"type": ["string", "null"]},
    },
    "required": ["name", "stars"],
}
ROW: dict[str, Any] = {
    "seed": 3,
    "entity_type": "test__recipe",
    "prompt": "Two recipes as JSON, please.",
    "json_schema": {"type": "array", "items": ITEM, "minItems": 2, "maxItems": 2},
    "top_level_count": 2,
    "top_level_key": None,
    "require_wrapper_key": False,
    "require_code_block": False,
    "require_no_commentary": False,
    "output_format": "json",
}
SOUP, CAKE = {"name": "A", "stars": 3, "kind": "soup"}, {"name": "B", "stars": 5, "note": None}
GOOD = json.dumps([SOUP, CAKE])


def fenced(text: str) -> str:
    return f"```json\n{text}\n```"


def checked(response: str, **asked: Any) -> tuple[int, str, str]:
    return tuple(judge(response, Request.model_validate(ROW | asked)))


@pytest.mark.parametrize(
    ("response", "asked"),
    [
        pytest.param(GOOD, {}, id="bare"),
        pytest.param(f"Here you are:\n{fenced(GOOD)}\nEnjoy!", {}, id="commentary-allowed"),
        pytest.param(fenced(GOOD), {"require_code_block": True}, id="fence"),
        pytest.param(f"<think>[1]</think>\n{GOOD}", {"require_no_commentary": True}, id="thinking"),
        pytest.param(GOOD, {"top_level_count": [1, 3]}, id="range"),
        pytest.param(
            json.dumps({"recipes": [SOUP, CAKE]}),
            {"require_wrapper_key": True, "top_level_key": "recipes"},
            id="wrapper-key",
        ),
    ],
)
def test_what_was_asked_for_passes(response: str, asked: dict[str, Any]) -> None:
    assert checked(response, **asked) == (4, "ok", "")


@pytest.mark.parametrize(
    ("response", "asked", "level", "error", "where"),
    [
        pytest.param("Sorry.", {}, 0, "no_json", "", id="no-json"),
        pytest.param(f"{GOOD} Enjoy!", {}, 0, "parse_error", "", id="text-behind-bare"),
        pytest.param(f"```json\n{GOOD}", {}, 0, "truncated", "", id="fence-left-open"),
        pytest.param(f"```yaml\n{GOOD}\n```", {}, 0, "other_fence", "", id="yaml-fence"),
        pytest.param(GOOD, {"require_code_block": True}, 1, "no_fence", "", id="no-fence"),
        pytest.param(
            f"{fenced(GOOD)}\nok", {"require_no_commentary": True}, 1, "text_outside", "", id="talk"
        ),
        pytest.param(
            GOOD,
            {"require_wrapper_key": True, "top_level_key": "recipes"},
            2,
            "no_wrapper_key",
            "",
            id="no-wrapper",
        ),
        pytest.param(
            json.dumps({"items": [SOUP, CAKE]}),
            {"require_wrapper_key": True, "top_level_key": "recipes"},
            2,
            "wrong_wrapper_key",
            "",
            id="another-wrapper",
        ),
        pytest.param(
            json.dumps({"items": [SOUP, CAKE]}), {}, 2, "wrapper_key", "", id="unasked-wrapper"
        ),
        pytest.param(GOOD, {"top_level_count": 3}, 2, "wrong_count", "", id="count"),
        pytest.param(GOOD, {"top_level_count": [3, 4]}, 2, "wrong_count", "", id="count-in-range"),
        pytest.param(
            json.dumps([SOUP, {**CAKE, "extra": 1}]), {}, 3, "extra_key", "/1/extra", id="extra-key"
        ),
        pytest.param(
            json.dumps([{"name": "A"}, CAKE]), {}, 3, "missing_key", "/0/stars", id="missing-key"
        ),
        pytest.param(
            json.dumps([{**SOUP, "stars": True}, CAKE]), {}, 3, "wrong_type", "/0/stars", id="true"
        ),
        pytest.param(
            json.dumps([{**SOUP, "stars": 3.0}, CAKE]), {}, 3, "wrong_type", "/0/stars", id="3.0"
        ),
        pytest.param(
            json.dumps([{**SOUP, "stars": 6}, CAKE]), {}, 3, "out_of_range", "/0/stars", id="bound"
        ),
        pytest.param(
            json.dumps([{**SOUP, "kind": "pie"}, CAKE]), {}, 3, "not_in_enum", "/0/kind", id="enum"
        ),
        pytest.param(
            json.dumps([{**SOUP, "name": None}, CAKE]), {}, 3, "wrong_type", "/0/name", id="null"
        ),
        pytest.param(json.dumps({"a": 1, "b": 2}), {}, 3, "wrong_type", "", id="no-list"),
    ],
)
def test_each_check_names_what_it_refuses(
    response: str, asked: dict[str, Any], level: int, error: str, where: str
) -> None:
    assert checked(response, **asked) == (level, error, where)


@pytest.mark.parametrize(
    "text", ["<think>" * 20_000, "[THINK]</think>" * 20_000, "[" * 20_000, "9" * 5_000, "\ud800"]
)
def test_no_text_raises(text: str) -> None:
    assert checked(text)[0] == 0 and checked(fenced(text))[0] == 0


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_that_ask_for_json_become_prompts(tmp_path: Path) -> None:
    hub = {**ROW, "doc_id": 7, "json_schema": json.dumps(ROW["json_schema"])}
    hub |= {"top_level_count": "[1, 3]", "require_code_block": True}
    yaml = {**ROW, "output_format": "yaml"}
    task = load_task(TASKS["ifstruct"]())
    first, second = task.read_suite(write(tmp_path, ROW, yaml, hub))
    assert first.id.endswith("test.jsonl:1") and second.id == "7"
    assert first.family == "test__recipe" and second.constructs == ("bare_list", "code_block")
    assert task.messages(first, thinking=False) == [{"role": "user", "content": ROW["prompt"]}]
    for prompt, text, passes in ((first, GOOD, True), (second, GOOD, False)):
        found = task.score(Attempt(text, prompt, False, False), thinking=False)
        assert found.criteria["passed"] is passes and found.rewards == {"passed": float(passes)}
    thought = Attempt(f"One soup.</think>{GOOD}", first, False, think_prefilled=True)
    found = task.score(thought, thinking=True)
    assert found.criteria["passed"] and found.is_thinking


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param({**ROW, "output_format": "xml"}, r"test\.jsonl:1: output_format", id="format"),
        pytest.param({"prompt": "x"}, r"test\.jsonl:1: json_schema: Field required", id="other"),
        pytest.param({**ROW, "json_schema": "{"}, r"json_schema: Value error", id="schema"),
        pytest.param({**ROW, "top_level_count": "two"}, "top_level_count", id="count"),
        pytest.param({**ROW, "output_format": "yaml"}, "none of its 1 rows", id="yaml-alone"),
    ],
)
def test_rows_of_another_format_are_refused(
    row: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message):
        load_task(TASKS["ifstruct"]()).read_suite(write(tmp_path, row))


def test_nothing_is_trained_on_it() -> None:
    with pytest.raises(SpecError, match="evaluate --task ifstruct --suite FILE"):
        load_task(TASKS["ifstruct"]()).check()


def test_evaluate_measures_the_pass_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = write(tmp_path, ROW, {**ROW, "entity_type": "test__tour"})
    command = f"evaluate --model builtin:tiny --task ifstruct --suite {suite} --samples 1 --json"
    out = f"--quantization none --temperature 0 --max-new-tokens 4 --out {tmp_path / 'run'}"
    assert main([*command.split(), *out.split()]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["criteria"] == dict.fromkeys(("parsed", "framed", "shaped", "passed"), 0.0)
    assert (summary["num_prompts"], summary["num_families"]) == (2, 2)
