"""docs/own_task.md: its code, put in place as the page says, is a task that keeps its promises."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "own_task.md"
FILE = re.compile(r"^`(?P<path>[^`\n]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
MAX_LINES = 125
"""Of the task on the page, blank lines included."""

LOADS = """
import json, sys
from strictune.config import expand, load_sweep
from strictune.errors import SpecError

path, overrides = sys.argv[1], sys.argv[2:]
try:
    trials = expand(load_sweep(path, overrides))
except SpecError as error:
    print(json.dumps({"refused": str(error)}))
else:
    print(json.dumps([[trial.task.kind, trial.curriculum, trial.model] for trial in trials]))
assert "torch" not in sys.modules
"""

EXAMPLES = """
import re
from trainables.tasks import TASKS, load_task
from trainables.tasks.task import SPLITS, Attempt, Prompt

task = load_task(TASKS["sums"]())
texts = {prompt.text for split in SPLITS for prompt in task.prompts(split)}
assert [len(task.prompts(split)) for split in SPLITS] == [3000, 600, 600]
for thinking in (False, True):
    system, *turns, last = task.messages(task.prompts("test")[0], thinking=thinking)
    assert ("</think>" in system["content"]) == thinking and last["role"] == "user"
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        assert question["content"] not in texts
        total = str(sum(map(int, re.findall("[0-9]+", question["content"]))))
        asked = Prompt(id="", text="", family="", difficulty="", columns={"sum": total})
        found = task.score(Attempt(answer["content"], asked, False, thinking), thinking=thinking)
        assert found.criteria["exact"] and set(found.rewards.values()) == {1.0}
        assert found.is_thinking == thinking and found.error_class == "ok"
"""

ONE_LINE = """
from trainables.tasks import TASKS, load_task
from trainables.tasks.task import Attempt

task = load_task(TASKS["one_line_json"]())
prompt = task.prompts("test")[0]
right = task.gold_completion(prompt, thinking=False)
for text, paid in [(right, 1.0), (right.replace(", ", ",\\n"), 0.0), (right[:-4], 0.0)]:
    found = task.score(Attempt(text, prompt, False, False), thinking=False)
    assert found.rewards["one_line"] == paid, text
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which the page was followed."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("trainables", "platform", "search_spaces"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    contract = Path("tests/trainables/test_task_contract.py")
    (folder / contract).parent.mkdir(parents=True)
    shutil.copy(ROOT / contract, folder / contract)
    for block in FILE.finditer(PAGE.read_text(encoding="utf-8")):
        path = folder / block["path"]
        assert not path.exists(), f"{path} is there already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block["text"], encoding="utf-8")
    return folder


def read_sweep(checkout: Path, *overrides: str) -> Any:
    return json.loads(run_python(checkout, "-c", LOADS, "search_spaces/sums.yaml", *overrides))


def run_python(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout,
        env={"PYTHONPATH": f"{checkout}:{checkout / 'platform'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_task_is_found_by_its_folder(checkout: Path) -> None:
    assert read_sweep(checkout) == [
        ["sums", "standard", "builtin:tiny"],
        ["sums", "easy_first", "builtin:tiny"],
    ]


def test_a_sweep_that_does_not_pay_for_the_right_number_is_refused(checkout: Path) -> None:
    found = read_sweep(checkout, "trial.rewards={tag: 0.5, value: 0, clean: 0.5}")
    assert "value" in found["refused"] and "allow_ties" in found["refused"]


def test_a_misspelt_setting_is_named_with_the_closest_one(checkout: Path) -> None:
    found = read_sweep(checkout, "task.num_eval_prompt=12")
    assert "Did you mean num_eval_prompts?" in found["refused"]


def test_the_task_keeps_the_contract_of_tasks(checkout: Path) -> None:
    contract = "tests/trainables/test_task_contract.py"
    output = run_python(checkout, "-m", "pytest", "-q", contract, "-k", "sums")
    assert re.search(r"^7 passed", output, re.MULTILINE), output


def test_the_examples_of_the_messages_have_full_marks_and_are_no_prompts(checkout: Path) -> None:
    run_python(checkout, "-c", EXAMPLES)


def test_the_task_stays_short() -> None:
    texts = {block["path"]: block["text"] for block in FILE.finditer(PAGE.read_text())}
    assert len(texts["trainables/tasks/sums/task.py"].splitlines()) <= MAX_LINES


def test_a_kind_that_adds_a_reward_to_another_keeps_the_contract(checkout: Path) -> None:
    contract = "tests/trainables/test_task_contract.py"
    output = run_python(checkout, "-m", "pytest", "-q", contract, "-k", "one_line_json")
    assert re.search(r"^7 passed", output, re.MULTILINE), output
    run_python(checkout, "-c", ONE_LINE)
