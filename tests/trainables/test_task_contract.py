"""What every task owes: prompts that never cross splits, and scores that rank right above wrong.

Tasks are found by their folders, so a new one is checked here without an edit.
"""

import json
import math
import pickle
from random import Random

import pytest
from pydantic import ValidationError

from strictune.errors import SpecError
from trainables.tasks import BROKEN, TASKS, load_task
from trainables.tasks.task import SPLITS, Attempt, Prompt, Score, Task

THOUGHT = "first the ones, then the tens"
NEEDS_FILES = {"functions", "ifstruct"}
NUM_PROMPTS = 12
NUM_GARBLED = 300
PIECES = (
    *("<answer>", "</answer>", "<think>", "</think>", "```json\n{}\n```", "```", "<|im_end|>"),
    *("", " ", "\n", "0", "-", "1e3", "[" * 3000, "\0", "\ud800", "the answer is", "9" * 5000),
)


@pytest.fixture(params=[*TASKS, *BROKEN], scope="module")
def task(request: pytest.FixtureRequest) -> Task:
    """A task of each kind that needs no setting, with few prompts."""
    kind = request.param
    if kind in NEEDS_FILES:
        pytest.skip(f"{kind} reads files that must be named")
    if kind in BROKEN:
        pytest.fail(BROKEN[kind])
    fields = TASKS[kind].model_fields
    sizes = {name: 240 for name in fields if name.startswith("num_")}
    try:
        made = load_task(TASKS[kind].model_validate({"kind": kind, **sizes}))
        made.check()
    except (ValidationError, SpecError) as error:
        pytest.fail(f"no task can be made of kind {kind} and {sizes}: {error}")
    return made


def score(task: Task, completion: str, prompt: Prompt, *, thinking: bool) -> Score:
    attempt = Attempt(completion, prompt, is_truncated=False, think_prefilled=thinking)
    [found] = task.score_batch([attempt], thinking=thinking, purpose="training").scores
    return found


def earned(task: Task, found: Score, *, thinking: bool) -> float:
    weights = task.settings.default_weights(thinking)
    return math.fsum(weights[name] * value for name, value in found.rewards.items())


def gold_of(prompt: Prompt, task: Task, *, thinking: bool) -> str:
    known = task.gold_completion(prompt, thinking=thinking)
    if known is None and prompt.gold is not None:
        known = f"{THOUGHT}</think>{prompt.gold}" if thinking else prompt.gold
    if known is None:
        pytest.skip(f"{task.kind} knows no right answers")
    return known


def test_names_are_consistent(task: Task) -> None:
    assert task.primary_criterion in task.criteria
    for thinking in (False, True):
        weights = task.settings.default_weights(thinking)
        assert tuple(weights) == task.components and sum(weights.values()) > 0
        assert task.settings.decisive_components(thinking) <= set(task.components)


def test_splits_share_no_family_and_no_text(task: Task) -> None:
    splits = [task.prompts(split) for split in SPLITS]
    for names in (
        [{prompt.family for prompt in prompts} for prompts in splits],
        [{task.messages(prompt, thinking=False)[-1]["content"] for prompt in p} for p in splits],
    ):
        assert len(set().union(*names)) == sum(map(len, names))
    for prompts in splits:
        assert len({prompt.id for prompt in prompts}) == len(prompts)
        assert {prompt.difficulty for prompt in prompts} <= set(task.difficulties)


def test_a_copy_in_another_process_is_the_same_task(task: Task) -> None:
    twin = pickle.loads(pickle.dumps(task))
    assert len(pickle.dumps(task)) < 10_000
    assert (twin.scorer_hash(), twin.data_hash()) == (task.scorer_hash(), task.data_hash())
    assert twin.prompts("validation") == task.prompts("validation")


@pytest.mark.parametrize("thinking", [False, True], ids=["no-think", "think"])
def test_right_answers_reach_the_primary_criterion(task: Task, thinking: bool) -> None:
    for prompt in task.prompts("validation")[:NUM_PROMPTS]:
        found = score(task, gold_of(prompt, task, thinking=thinking), prompt, thinking=thinking)
        assert found.error_class == "ok" and found.is_thinking == thinking
        assert tuple(found.criteria) == task.criteria and all(found.criteria.values())


@pytest.mark.parametrize("thinking", [False, True], ids=["no-think", "think"])
def test_no_wrong_answer_earns_as_much_as_the_right_one(task: Task, thinking: bool) -> None:
    prompt = task.prompts("validation")[0]
    gold = gold_of(prompt, task, thinking=thinking)
    right = earned(task, score(task, gold, prompt, thinking=thinking), thinking=thinking)
    random = Random(0)
    for _ in range(NUM_GARBLED):
        cut = random.randrange(len(gold))
        body = random.choice([gold, gold[:cut], gold[cut:], "", gold[:cut] + gold[cut + 1 :]])
        text = body + "".join(random.choices(PIECES, k=random.randrange(3)))
        found = score(task, text, prompt, thinking=thinking)
        assert set(found.criteria) == set(task.criteria), json.dumps(text)
        assert tuple(found.rewards) == task.components
        assert all(map(math.isfinite, found.rewards.values()))
        passes = found.criteria[task.primary_criterion]
        assert passes == (found.error_class == "ok")
        if not passes:
            assert earned(task, found, thinking=thinking) < right - 1e-9, json.dumps(text)
