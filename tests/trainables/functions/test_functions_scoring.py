"""Reward functions get what TRL gives them, and what they return is a score or refused in words."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import PartialState
from functions_material import MODULE, attempt, settings_in, task_in, write_rows
from transformers import TrainerState
from trl import GRPOTrainer
from trl.trainer.utils import start_event_loop_in_daemon

from strictune.errors import SpecError, TrialError
from trainables.tasks.functions.module import load_functions
from trainables.tasks.functions.task import Functions
from trainables.tasks.task import Hooks, Score

ANSWERS = ("0", "wrong", "12", "")
REWARDS = ["length_reward", "accuracy_reward", "slow_reward"]
BROKEN = """
def length_reward(completions, **kwargs):
    {body}
    return {value}

def accuracy_reward(completions, **kwargs):
    return [1.0] * len(completions)
"""


def scores_of(task: Functions, *texts: str, **options: Any) -> list[Score]:
    prompts = task.prompts("train")
    attempts = [attempt(text, prompts[n], ids=range(n)) for n, text in enumerate(texts)]
    options = {"thinking": False, "purpose": "training", **options}
    return list(task.score_batch(attempts, **options).scores)


@pytest.mark.parametrize("is_chat", [False, True], ids=["text", "chat"])
def test_rewards_are_those_of_trl_to_the_digit(tmp_path: Path, is_chat: bool) -> None:
    rows = [
        {"prompt": text, "answer": n or None, "tags": ["x", {"depth": n}]}
        for n, text in enumerate(("Say nothing, a.", "Say 12, b.", "Say 2, c.", "Say 3.5, dd."))
    ]
    if is_chat:
        rows = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in rows]
    source = str(write_rows(tmp_path / "train.jsonl", rows))
    others = [str(write_rows(tmp_path / f"{n}.jsonl", [{"prompt": f"Other {n}."}])) for n in "ab"]
    module = MODULE + (
        "\n\ndef column_reward(completions, tags, answer, trainer_state, log_extra, **kwargs):\n"
        "    log_extra('depth', [t[1]['depth'] for t in tags])\n"
        "    return [t[1]['depth'] / 3 + trainer_state.global_step for t in tags]\n"
    )
    rewards = [*REWARDS, "column_reward"]
    task = task_in(
        tmp_path, module, rewards=rewards, train=source, validation=others[0], test=others[1]
    )
    prompts, ids = task.prompts("train"), [[1, 2], [3], [], [4, 5, 6]]

    seen: dict[str, Any] = defaultdict(list)
    state = TrainerState(global_step=7)
    hooks = Hooks(
        trainer_state=state,
        log_extra=lambda name, values: seen[name].extend(values),
        log_metric=lambda name, value: seen[name].append(value),
    )
    attempts = [attempt(t, p, ids=i) for t, p, i in zip(ANSWERS, prompts, ids, strict=True)]
    ours = task.score_batch(attempts, thinking=False, purpose="training", hooks=hooks).scores
    rewards_of = [[score.rewards.get(name, torch.nan) for name in rewards] for score in ours]

    PartialState()
    completions: list[Any] = list(ANSWERS)
    if is_chat:
        completions = [[{"role": "assistant", "content": text}] for text in ANSWERS]
    with bare_trainer(load_functions(tmp_path / "my_rewards.py", rewards), state) as trainer:
        theirs = GRPOTrainer._calculate_rewards(
            trainer, rows, [row["prompt"] for row in rows], completions, ids
        )
    assert torch.equal(
        torch.tensor(rewards_of, dtype=torch.float32).nan_to_num(-1), theirs.nan_to_num(-1)
    )
    assert torch.isnan(theirs).sum() == 1
    assert seen == {**trainer._pending_metrics, **trainer._pending_extra_logs}


@contextmanager
def bare_trainer(functions: dict[str, Callable[..., Any]], state: TrainerState) -> Iterator[Any]:
    """Yield what ``GRPOTrainer._calculate_rewards`` reads of a trainer."""
    thread, loop, ready = start_event_loop_in_daemon(name="test-rewards")
    ready.wait()
    trainer = SimpleNamespace(
        accelerator=SimpleNamespace(device=torch.device("cpu"), is_main_process=False),
        reward_funcs=list(functions.values()),
        reward_processing_classes=[None] * len(functions),
        reward_func_names=list(functions),
        state=state,
        environments=None,
        async_loop=loop,
        args=SimpleNamespace(report_to=[]),
        _pending_metrics=defaultdict(list),
        _pending_extra_logs=defaultdict(list),
    )
    trainer._log_metric = lambda *given: GRPOTrainer._log_metric(trainer, *given)
    trainer._log_completion_extra = lambda *given: GRPOTrainer._log_completion_extra(
        trainer, *given
    )
    yield trainer
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_what_does_not_apply_is_no_zero(tmp_path: Path) -> None:
    module = MODULE.replace("len(text) / 10", "None if text == '?' else len(text) / 10")
    task = task_in(tmp_path, module)
    prompt = task.prompts("train")[0]
    stored = prompt.columns["row"].replace(f'"answer": {prompt.text.split()[2]}', '"answer": null')
    nothing = type(prompt)(id="n", text="", family="", difficulty="all", columns={"row": stored})
    [partly] = task.score_batch([attempt("x", nothing)], thinking=False, purpose="training").scores
    assert (dict(partly.rewards), dict(partly.criteria)) == ({"length_reward": 0.1}, {})
    assert not partly.is_missing and partly.error_class == "does_not_apply"
    [silent] = task.score_batch([attempt("?", nothing)], thinking=False, purpose="training").scores
    assert silent.is_missing and not silent.rewards
    [measured] = task.score_batch(
        [attempt("x", nothing)], thinking=False, purpose="evaluation"
    ).scores
    assert measured.is_missing


@pytest.mark.parametrize(
    ("success", "passing"),
    [
        pytest.param("accuracy_reward >= 1.0", [True, False], id="threshold"),
        pytest.param("accuracy_reward == 1 and length_reward < 0.05", [False, False], id="both"),
        pytest.param("is_right", [True, False], id="function"),
    ],
)
def test_success_is_what_the_settings_say(
    tmp_path: Path, success: str, passing: list[bool]
) -> None:
    task = task_in(tmp_path, success=success)
    right = task.prompts("train")[0].text.split()[2]
    scores = scores_of(task, right, "no")
    assert [score.criteria["success"] for score in scores] == passing
    assert [score.error_class == "ok" for score in scores] == passing
    assert set(scores[0].rewards) == {"length_reward", "accuracy_reward"}


def test_a_function_that_measures_is_no_success_without_a_threshold(tmp_path: Path) -> None:
    task = task_in(tmp_path, success="length_reward")
    with pytest.raises(TrialError, match=r"returned 0\.2 for row .* e\.g\. length_reward >= 1\.0"):
        scores_of(task, "no")


@pytest.mark.parametrize(
    ("body", "value", "message"),
    [
        pytest.param("pass", "[1.0]", r"returned 1 values for 2 completions", id="too-few"),
        pytest.param("pass", "1.0", r"returned float, expected a list", id="no-list"),
        pytest.param("pass", "{0: 1.0, 1: 1.0}", r"returned dict, expected a list", id="dict"),
        pytest.param("import sys; sys.exit(2)", "[]", r"raised SystemExit: 2 \(row", id="exits"),
        pytest.param(
            "raise ValueError('one\\ntwo')", "[]", r"raised ValueError: one \(row", id="lines"
        ),
        pytest.param("pass", "['1', '2']", r"returned '1' for row .*:1, expected a fin", id="text"),
        pytest.param("pass", "[1, float('nan')]", r"returned nan for row .*, expected", id="nan"),
        pytest.param("pass", "[1, float('inf')]", r"returned inf for row", id="infinite"),
        pytest.param(
            "assert 'b' not in completions[-1]",
            "[0.0] * len(completions)",
            r"length_reward of .*my_rewards.py raised AssertionError.*\(row \w+/rows.jsonl:\d+\)",
            id="raises",
        ),
    ],
)
def test_what_is_no_reward_is_refused_with_function_and_row(
    tmp_path: Path, body: str, value: str, message: str
) -> None:
    task = task_in(tmp_path, BROKEN.format(body=body, value=value))
    with pytest.raises(TrialError, match=message) as caught:
        scores_of(task, "a", "b")
    assert "reward function length_reward of" in str(caught.value)
    second = task.prompts("train")[1].id
    assert "AssertionError" not in str(caught.value) or second in str(caught.value)


def test_numbers_of_torch_and_numpy_are_taken_as_trl_takes_them(tmp_path: Path) -> None:
    body = "import numpy, torch; pair = torch.tensor([0.25, 0.5]); one = numpy.float32(2)"
    for value, expected in (("pair", [0.25, 0.5]), ("[one, True]", [2.0, 1.0])):
        folder = tmp_path / value[0]
        folder.mkdir()
        task = task_in(folder, BROKEN.format(body=body, value=value))
        assert [s.rewards["length_reward"] for s in scores_of(task, "a", "b")] == expected


def test_the_think_block_that_the_prompt_opened_is_put_back(tmp_path: Path) -> None:
    module = BROKEN.format(body="pass", value="[float('<think>' in c) for c in completions]")
    task = task_in(tmp_path, module)
    prompt = task.prompts("train")[0]
    given = attempt("I add them up.</think>4", prompt, think=True)
    [score] = task.score_batch([given], thinking=True, purpose="training").scores
    assert score.rewards["length_reward"] == 1.0 and score.is_thinking


def test_in_an_evaluation_metrics_are_averaged(tmp_path: Path) -> None:
    task = task_in(tmp_path, rewards=["slow_reward", "accuracy_reward"])
    given = [attempt("x", prompt) for prompt in task.prompts("test")]
    found = task.score_batch(given, thinking=False, purpose="evaluation")
    assert found.metrics == {"step_seen": 0.0}


@pytest.mark.parametrize(
    ("module", "message"),
    [
        pytest.param("def acuracy_reward(): ...", "Did you mean acuracy_reward", id="misspelt"),
        pytest.param(
            "raise OSError('one\\ntwo')", r"imported \(OSError: one\)", id="says-more-lines"
        ),
        pytest.param("import no_such_thing", "ModuleNotFoundError: No module", id="import"),
        pytest.param(
            "def accuracy_reward(completions, solution, **rest): ...",
            r"missing a required argument: 'solution'. It receives prompts, .*, answer, trainer",
            id="no-such-column",
        ),
        pytest.param(
            "async def accuracy_reward(completions, answer): ...",
            r"unexpected keyword argument 'prompts'\. .* accept \*\*kwargs",
            id="no-kwargs",
        ),
        pytest.param("def broken(:", r"cannot be read as Python", id="syntax"),
        pytest.param("raise SystemExit('training')", "if __name__ == '__main__'", id="script"),
    ],
)
def test_a_module_that_cannot_be_used_is_refused_before_training(
    tmp_path: Path, module: str, message: str
) -> None:
    task = task_in(tmp_path, module, rewards=["accuracy_reward"])
    with pytest.raises(SpecError, match=message) as caught:
        task.check()
    assert "my_rewards.py" in str(caught.value) and "\n" not in str(caught.value)


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = settings_in(tmp_path).model_copy(update={"module": str(tmp_path / "none.py")})
    for use in (Functions(settings).check, Functions(settings).scorer_hash):
        with pytest.raises(SpecError, match=r"task\.module = .*none\.py: no such file"):
            use()


def test_the_scorer_hash_follows_the_module_and_what_it_imports(tmp_path: Path) -> None:
    (tmp_path / "grading.py").write_text("LIMIT = 1\n")
    module = f"from grading import LIMIT\n{MODULE}"
    hashes = [task_in(tmp_path, module).scorer_hash()]
    (tmp_path / "grading.py").write_text("LIMIT = 2\n")
    hashes.append(task_in(tmp_path, module).scorer_hash())
    hashes.append(task_in(tmp_path, f"{module}\n").scorer_hash())
    hashes.append(task_in(tmp_path, module, success="accuracy_reward > 0").scorer_hash())
    assert len(set(hashes)) == 4
    (tmp_path / "unrelated.py").write_text("x = 1\n")
    task = task_in(tmp_path, module, success="accuracy_reward > 0")
    assert task.scorer_hash() == hashes[-1]
    task.check()


def test_what_training_pays_is_no_part_of_what_evaluations_measure(tmp_path: Path) -> None:
    paid = (["accuracy_reward"], ["accuracy_reward", "slow_reward"])
    one, other = (task_in(tmp_path, rewards=list(names)) for names in paid)
    assert one.scorer_hash() == other.scorer_hash()
    assert one.settings.measure() == other.settings.measure()
    assert one.settings.identity() != other.settings.identity()
