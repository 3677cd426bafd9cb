"""docs/own_task.md: its code, put in place as the page says, is a task that keeps its promises."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

import pytest

import trainables.tasks
from trainables.tasks.task import Attempt, Prompt, Score, Split, Task

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "own_task.md"
SHIPPED = {"refiner", "strict_json"}
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

FILE = re.compile(r"^`(?P<path>[^`\n]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
DIFF = re.compile(r"^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FRAGMENTS = (
    *("<answer>", "</answer>", "<think>", "</think>", "```json\n{}\n```", "<|im_end|>"),
    *(" ", "\n", "0", "7", "-", "1e3", "٣", "²", "\0", "\ud800", "the sum is", "9" * 5000),
)

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


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which the page was followed."""
    if own := sorted(set(trainables.tasks.TASKS) - SHIPPED):
        pytest.skip(f"the registry, which the page changes, holds tasks of your own: {own}")
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("trainables", "platform", "search_spaces"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    page = PAGE.read_text(encoding="utf-8")
    for block in FILE.finditer(page):
        path = folder / block["path"]
        assert not path.exists(), f"{path} is there already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block["text"], encoding="utf-8")
    (diff,) = DIFF.findall(page)
    subprocess.run(["git", "apply", "-"], cwd=folder, input=diff, text=True, check=True)
    return folder


@pytest.fixture
def settings_class(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The page's settings class, its task known to ``load_task`` of this process."""
    package = trainables.tasks
    monkeypatch.setattr(package, "__path__", [*package.__path__, f"{checkout}/trainables/tasks"])
    (entry,) = re.findall(r'^\+ +"sums": "(.+)",$', PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    monkeypatch.setattr(package, "TASKS", MappingProxyType({**package.TASKS, "sums": entry}))
    yield importlib.import_module("trainables.tasks.sums.settings").SumsSettings
    for name in [name for name in sys.modules if name.startswith("trainables.tasks.sums")]:
        del sys.modules[name]
    del package.sums


@pytest.fixture
def task(settings_class: Any) -> Task:
    return trainables.tasks.load_task(settings_class(kind="sums"))


def score(task: Task, completion: str, prompt: Prompt, *, thinking: bool) -> Score:
    attempt = Attempt(completion, prompt, is_truncated=False, think_prefilled=thinking)
    (marks,) = task.score_batch([attempt], thinking=thinking, purpose="evaluation").scores
    return marks


def total(marks: Score, settings_class: Any, *, thinking: bool) -> float:
    weights = settings_class.default_weights(thinking)
    assert weights.keys() == marks.rewards.keys() == marks.reasons.keys()
    return sum(weight * marks.rewards[name] for name, weight in weights.items())


def read_sweep(checkout: Path, *overrides: str) -> Any:
    output = run_python(checkout, "-c", LOADS, "search_spaces/sums.yaml", *overrides)
    return json.loads(output)


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


def test_the_sweep_file_loads_where_the_page_was_followed(checkout: Path) -> None:
    assert read_sweep(checkout) == [
        ["sums", "standard", "builtin:tiny"],
        ["sums", "easy_first", "builtin:tiny"],
    ]


def test_a_sweep_that_does_not_pay_for_the_right_number_is_refused(checkout: Path) -> None:
    found = read_sweep(checkout, "trial.rewards={tag: 0.5, value: 0, clean: 0.5}")
    assert "value" in found["refused"] and "allow_ties" in found["refused"]


def test_the_test_of_the_page_passes(checkout: Path) -> None:
    output = run_python(checkout, "-m", "pytest", "-q", "tests/trainables/test_sums_task.py")
    assert re.search(r"^\d+ passed", output, re.MULTILINE), output


def test_the_task_says_what_its_settings_say(task: Task, settings_class: Any) -> None:
    for name in ("rungs", "primary_rung", "components", "difficulties"):
        assert getattr(task, name) == getattr(settings_class, name)
    for thinking in (False, True):
        assert settings_class.decisive_components(thinking) < set(task.components)


def test_splits_share_no_family(task: Task) -> None:
    families = [{prompt.family for prompt in task.prompts(split)} for split in SPLITS]
    assert len(set().union(*families)) == sum(map(len, families)) == 1500 + 300 + 300
    for split in SPLITS:
        difficulties = [prompt.difficulty for prompt in task.prompts(split)]
        assert [difficulties.count(name) * 3 for name in task.difficulties] == [
            len(difficulties)
        ] * 3
    ids = [prompt.id for split in SPLITS for prompt in task.prompts(split)]
    assert len(set(ids)) == len(ids)


def test_data_are_a_function_of_the_settings(settings_class: Any) -> None:
    load = trainables.tasks.load_task
    first, again, other = (load(settings_class(kind="sums", data_seed=n)) for n in (0, 0, 1))
    assert first.data_hash() == again.data_hash() != other.data_hash()
    assert first.scorer_hash() == other.scorer_hash()


@pytest.mark.parametrize("thinking", [False, True])
def test_the_examples_of_the_messages_have_full_marks_and_are_no_prompts(
    task: Task, thinking: bool
) -> None:
    prompt = task.prompts("test")[0]
    system, *turns, last = task.messages(prompt, thinking=thinking)
    assert (system["role"], last) == ("system", {"role": "user", "content": prompt.text})
    assert ("</think>" in system["content"]) == thinking
    texts = {prompt.text for split in SPLITS for prompt in task.prompts(split)}
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        assert (question["role"], answer["role"]) == ("user", "assistant")
        assert question["content"] not in texts
        total = str(sum(map(int, re.findall("[0-9]+", question["content"]))))
        asked = Prompt(id="", text="", family="", difficulty="", columns={"sum": total})
        marks = score(task, answer["content"], asked, thinking=thinking)
        assert marks.rungs["exact"] and marks.is_thinking is thinking


@pytest.mark.parametrize("thinking", [False, True])
def test_gold_answers_reach_the_primary_rung_with_full_reward(
    task: Task, settings_class: Any, thinking: bool
) -> None:
    thought = "ones first, then tens</think>\n" if thinking else ""
    for split in SPLITS:
        for prompt in task.prompts(split):
            marks = score(task, f"{thought}{prompt.gold}", prompt, thinking=thinking)
            assert set(marks.rewards.values()) == {1.0} and all(marks.rungs.values())
            assert total(marks, settings_class, thinking=thinking) == pytest.approx(1)
            assert marks.is_thinking is thinking and marks.error_class == "ok"


@pytest.mark.parametrize("thinking", [False, True])
def test_garbage_is_scored_and_wrong_answers_never_earn_as_much(
    task: Task, settings_class: Any, thinking: bool
) -> None:
    decisive = settings_class.decisive_components(thinking)
    prompt = task.prompts("validation")[-1]
    random = Random(0)
    right = prompt.columns["sum"]
    near = f"<answer>{int(right) + 1}</answer>"
    pieces = (*FRAGMENTS, str(prompt.gold), right, near)
    num_exact = 0
    for _ in range(4000):
        thought = random.choice(("", "ones first</think>"))
        completion = thought + "".join(random.choices(pieces, k=random.randrange(6)))
        marks = score(task, completion, prompt, thinking=thinking)
        is_exact = marks.rungs[task.primary_rung]
        num_exact += is_exact
        assert tuple(marks.rungs) == task.rungs and tuple(marks.rewards) == task.components
        assert all(0 <= value <= 1 for value in marks.rewards.values())
        assert is_exact == all(marks.rewards[name] == 1 for name in decisive), completion
        assert is_exact == (total(marks, settings_class, thinking=thinking) > 1 - 1e-9)
        assert is_exact == (marks.error_class == "ok")
        assert marks.rungs["correct"] or marks.rewards["value"] <= 0.5
    assert num_exact >= 10
