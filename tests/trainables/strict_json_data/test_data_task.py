"""The task strict_json: prompts, messages, gold answers."""

import pickle
from random import Random

import pytest

from trainables.tasks import load_task
from trainables.tasks.strict_json.measure import DIFFICULTIES
from trainables.tasks.strict_json.prompts import gold_completion, think_text
from trainables.tasks.strict_json.settings import StrictJsonSettings
from trainables.tasks.strict_json.task import StrictJson
from trainables.tasks.task import Attempt, Prompt, Task

SETTINGS = StrictJsonSettings(num_train_prompts=60, num_eval_prompts=24)


def test_settings_load_the_task() -> None:
    task: Task = load_task(SETTINGS)
    assert isinstance(task, StrictJson)
    assert task.kind == "strict_json"
    assert task.difficulties == DIFFICULTIES
    assert task.criteria[-1] == task.primary_criterion == "strict"
    assert task.max_prompt_tokens == 512


def test_splits_have_the_sizes_of_the_settings() -> None:
    task = StrictJson(SETTINGS)
    assert len(task.prompts("train")) == 60
    assert len(task.prompts("validation")) == len(task.prompts("test")) == 24
    assert task.prompts("test") is task.prompts("test")


def test_messages_are_system_and_user() -> None:
    task = StrictJson(SETTINGS)
    prompt = task.prompts("test")[0]
    for thinking in (False, True):
        system, user = task.messages(prompt, thinking=thinking)
        assert (system["role"], user["role"]) == ("system", "user")
        assert user["content"] == prompt.text
        assert ("<think>" in system["content"]) == thinking


def test_pickled_task_is_small_and_the_same() -> None:
    task = StrictJson(SETTINGS)
    prompt = task.prompts("test")[0]
    attempt = Attempt("no", prompt, False, False)
    score = task.score(attempt, thinking=False)
    data = pickle.dumps(task)
    assert len(data) < 2000
    other = pickle.loads(data)
    assert other.settings == task.settings
    assert other.prompts("test") == task.prompts("test")
    assert other.data_hash() == task.data_hash()
    assert other.score(attempt, thinking=False) == score


def test_data_hash_follows_the_settings() -> None:
    other = SETTINGS.model_copy(update={"data_seed": 1})
    assert StrictJson(other).data_hash() != StrictJson(SETTINGS).data_hash()


def test_scorer_hash_is_a_hash() -> None:
    assert len(StrictJson(SETTINGS).scorer_hash()) == 64


def _completion(prompt: Prompt, *, thinking: bool, prefilled: bool) -> str:
    thought = think_text(prompt.columns["schema"], rng=Random(prompt.id)) if thinking else ""
    return gold_completion(
        prompt.gold or "", thinking=thinking, think_text=thought, think_prefilled=prefilled
    )


@pytest.mark.parametrize(
    ("thinking", "prefilled"),
    [
        pytest.param(False, False, id="no-think"),
        pytest.param(True, False, id="think"),
        pytest.param(True, True, id="think-prefilled"),
    ],
)
def test_gold_completions_are_strict_with_every_component_at_its_maximum(
    thinking: bool, prefilled: bool
) -> None:
    task = StrictJson(StrictJsonSettings(num_train_prompts=450, num_eval_prompts=240))
    for prompt in (*task.prompts("train"), *task.prompts("validation"), *task.prompts("test")):
        completion = _completion(prompt, thinking=thinking, prefilled=prefilled)
        score = task.score(Attempt(completion, prompt, False, prefilled), thinking=thinking)
        assert all(score.criteria.values()), (completion, score)
        active = {name: score.rewards[name] for name in task.components}
        if not thinking:
            active.pop("reasoning")
        assert set(active.values()) == {1.0}, (completion, score)
        assert score.error_class == "ok"
