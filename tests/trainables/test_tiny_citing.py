"""The tiny model that cites: what it was taught, and what its card says it can do."""

import random
import re
from pathlib import Path

import pytest

from strictune.config import expand, load_sweep
from trainables.builtin import BUILTIN_MODELS
from trainables.models import load_tokenizer, resolve_model
from trainables.prompting import render_prompt
from trainables.tasks.refiner.data import ROW_COLUMN
from trainables.tasks.refiner.rows import row_from_column
from trainables.tasks.refiner.settings import RefinerSettings
from trainables.tasks.refiner.task import Refiner
from trainables.tasks.task import Attempt, Prompt, Score
from trainables.tiny.citing.__main__ import DATA, RECIPE
from trainables.tiny.citing.examples import FLAWS, draw_citing_example

ROOT = Path(__file__).resolve().parents[2]
NAME = "builtin:tiny_citing"
FOLDER = BUILTIN_MODELS[NAME].folder
TASK = Refiner(RefinerSettings(kind="refiner", num_train_rows=80, num_eval_rows=60))
ANSWERABLE = [p for p in TASK.prompts("train") if "answerable" in p.constructs]


def score(prompt: Prompt, completion: str) -> Score:
    attempt = Attempt(completion, prompt, False, False)
    [found] = TASK.score_batch([attempt], thinking=False, purpose="training").scores
    return found


def test_gold_examples_have_full_marks() -> None:
    rng = random.Random(0)
    for prompt in TASK.prompts("train"):
        example = draw_citing_example(prompt, rng, sloppy_frac=0)
        assert score(prompt, example.completion).rewards["composite"] == pytest.approx(12)
        assert list(example.messages) == TASK.messages(prompt, thinking=False)


@pytest.mark.parametrize("flaw", FLAWS)
def test_each_flaw_is_paid_less(flaw: str) -> None:
    rng = random.Random(0)
    paid = []
    for prompt in ANSWERABLE:
        assert prompt.gold is not None
        row = row_from_column(prompt.columns[ROW_COLUMN])
        flawed = FLAWS[flaw](prompt.gold, row, rng)
        assert flawed != prompt.gold
        paid.append(score(prompt, flawed).rewards["composite"])
    assert sum(paid) / len(paid) < 11.8


def test_examples_without_a_flaw_are_what_is_asked_for() -> None:
    rng = random.Random(0)
    drawn = [draw_citing_example(p, rng, sloppy_frac=0.5).completion for p in TASK.prompts("train")]
    num_gold = sum(text == p.gold for text, p in zip(drawn, TASK.prompts("train"), strict=True))
    assert 0.35 < num_gold / len(drawn) < 0.65


def test_it_was_taught_other_rows_than_sweeps_train_on_by_default() -> None:
    assert DATA.data_seed != RefinerSettings(kind="refiner").data_seed
    assert all(0 < phase.sloppy_frac < 1 for phase in RECIPE.phases)


def test_every_prompt_and_answer_fits_the_quickstart() -> None:
    [trial] = expand(load_sweep(ROOT / "search_spaces" / "refiner_quickstart.yaml"))
    assert trial.model == NAME
    tokenizer = load_tokenizer(resolve_model(NAME))
    for prompt in (*TASK.prompts("train"), *TASK.prompts("test")):
        messages = TASK.messages(prompt, thinking=False)
        text, _ = render_prompt(tokenizer, messages, thinking=False)
        assert len(tokenizer(text)["input_ids"]) <= trial.task.max_prompt_tokens
        assert prompt.gold is not None
        assert len(tokenizer(prompt.gold)["input_ids"]) < trial.max_completion_tokens


def test_an_id_has_the_tokens_of_its_words() -> None:
    tokenizer = load_tokenizer(resolve_model(NAME))
    for prompt in TASK.prompts("train"):
        for key in row_from_column(prompt.columns[ROW_COLUMN]).evidence:
            assert len(tokenizer.tokenize(key)) <= 4


def test_its_card_says_what_it_can_do_and_there_is_something_to_learn() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for number, phase in enumerate(RECIPE.phases, start=1):
        assert f"| {number} | {phase.num_steps} |" in card
    [rates] = re.findall(r"^\| (\d+\.\d%.*) \|$", card, re.MULTILINE)
    low, high = RECIPE.allowed
    assert low <= float(rates.split(" | ")[3].rstrip("%")) / 100 <= high
    assert all(flaw in card for flaw in FLAWS)


def test_the_weights_are_small_enough_to_be_committed() -> None:
    assert 1_000_000 < (FOLDER / "model.safetensors").stat().st_size < 5_000_000
