"""Prompts drawn where groups can split: what is drawn, what is remembered, what a trial repeats."""

import json
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from strictune.config import TrialSpec, expand, load_sweep
from trainables.adaptive import FLOOR, AdaptivePool, mixed_probability
from trainables.tasks.task import Prompt
from trainables.trial import train_trial

ROOT = Path(__file__).resolve().parents[2]
GROUP = 8
PER_STEP = 8
DIFFICULTIES = ("simple", "medium", "hard")


def prompts_of(num_families: int, *, each: int = 2) -> list[Prompt]:
    """Return families that share their prompts out evenly among the difficulties, in order."""
    return [
        Prompt(
            id=f"{family}-{number}",
            text="",
            family=str(family),
            difficulty=DIFFICULTIES[family * len(DIFFICULTIES) // num_families],
        )
        for family in range(num_families)
        for number in range(each)
    ]


def pool_of(prompts: Sequence[Prompt], *, seed: str = "0", steps: int = 100) -> AdaptivePool:
    num_completions = steps * PER_STEP * GROUP
    return AdaptivePool(prompts, group_size=GROUP, num_completions=num_completions, seed=seed)


def observe(pool: AdaptivePool, prompt: Prompt, *passed: bool | None) -> None:
    pool.observe([prompt] * len(passed), passed)


class Learner:
    """A simulated model: families grow harder by their number, and mixed groups teach it."""

    def __init__(self, num_families: int, *, rate: float) -> None:
        self.skill, self.rate, self.num_families = 0.0, rate, num_families
        self.generator = random.Random(7)

    def pass_rate(self, prompt: Prompt) -> float:
        distance = self.skill - 10 * int(prompt.family) / self.num_families
        return 1 / (1 + math.exp(-2 * distance))

    def answer(self, prompts: Sequence[Prompt]) -> tuple[list[Prompt], list[bool]]:
        asked = [prompt for prompt in prompts for _ in range(GROUP)]
        passed = [self.generator.random() < self.pass_rate(prompt) for prompt in asked]
        for first in range(0, len(passed), GROUP):
            self.skill += self.rate * (0 < sum(passed[first : first + GROUP]) < GROUP)
        return asked, passed


def learned(prompts: Sequence[Prompt], *, is_adaptive: bool, steps: int = 100) -> Any:
    """Train a simulated model; return its skill, and which prompts of each step could split."""
    learner = Learner(len({prompt.family for prompt in prompts}), rate=0.01)
    pool = pool_of(prompts, steps=steps)
    generator = random.Random(1)
    could_split = []
    for _ in range(steps):
        places = pool.draw(PER_STEP) if is_adaptive else generator.choices(range(len(prompts)), k=8)
        drawn = [prompts[place] for place in places]
        could_split.append([0.1 < learner.pass_rate(prompt) < 0.9 for prompt in drawn])
        pool.observe(*learner.answer(drawn))
    return learner.skill, could_split


@pytest.mark.parametrize(
    ("passed", "failed", "expected"),
    [
        pytest.param(1.0, 1.0, 1 - 2 / (GROUP + 1), id="uniform"),
        pytest.param(1e7, 1e7, 1 - 2 * 0.5**GROUP, id="half-for-sure"),
        pytest.param(1e9, 1.0, 0.0, id="always"),
        pytest.param(1.0, 1e9, 0.0, id="never"),
    ],
)
def test_the_rate_of_a_group_is_integrated_out(
    passed: float, failed: float, expected: float
) -> None:
    found = mixed_probability(np.array([passed]), np.array([failed]), group_size=GROUP)
    assert found[0] == pytest.approx(expected, abs=1e-4)


def test_until_something_is_known_prompts_come_as_the_data_has_them() -> None:
    prompts = [*prompts_of(3, each=1), *prompts_of(3, each=3)]
    assert pool_of(prompts).shares().tolist() == pytest.approx([1 / 3] * 3)
    uneven = [*prompts_of(1, each=3), Prompt(id="x", text="", family="x", difficulty="hard")]
    assert pool_of(uneven).shares().tolist() == pytest.approx([0.75, 0.25])


def test_draws_move_to_what_a_learning_model_passes_at_times() -> None:
    prompts = prompts_of(60)
    adaptive_skill, adaptive = learned(prompts, is_adaptive=True)
    plain_skill, plain = learned(prompts, is_adaptive=False)
    late, base = (np.mean(np.array(found[20:])) for found in (adaptive, plain))
    assert base < 0.3
    assert late > 2 * base
    assert adaptive_skill > 1.5 * plain_skill


def test_no_family_starves() -> None:
    prompts = prompts_of(10)
    pool = pool_of(prompts)
    for _ in range(50):
        for prompt in prompts:
            observe(pool, prompt, *[int(prompt.family) == 5 and k < 4 for k in range(GROUP)])
    shares = pool.shares()
    assert shares.sum() == pytest.approx(1)
    assert shares[5] > 0.5
    assert min(shares) >= FLOOR / 10
    assert set(pool.draw(2000)) == set(range(len(prompts)))


def test_a_family_that_was_never_seen_has_the_rate_of_its_difficulty() -> None:
    prompts = prompts_of(9)
    pool = pool_of(prompts)
    for prompt in prompts[:4]:  # Of the three simple families two.
        observe(pool, prompt, *[True] * GROUP)
    shares = pool.shares()
    assert shares[2] < 0.7 * shares[8]
    assert shares[0] < shares[2]
    rates = pool.metrics([0, 17])
    assert rates["pass_rate/simple"] > 0.9
    assert rates["pass_rate/hard"] == 0.5
    assert (rates["drawn_frac/simple"], rates["drawn_frac/hard"]) == (0.5, 0.5)
    assert [rates[f"prompts_frac/{name}"] for name in ("low", "mid", "high")] == pytest.approx(
        [0, 6 / 9, 3 / 9]
    )


def test_what_was_long_ago_is_forgotten() -> None:
    prompts = prompts_of(3)
    pool = pool_of(prompts, steps=10)
    observe(pool, prompts[0], *[True] * GROUP)
    before = pool.shares()[0]
    for _ in range(160):
        observe(pool, prompts[-1], *[None] * GROUP)
    assert before < 0.25
    assert pool.shares()[0] == pytest.approx(1 / 3, abs=0.01)


def test_what_could_not_be_scored_counts_neither_way() -> None:
    prompts = prompts_of(3)
    pool = pool_of(prompts)
    observe(pool, prompts[0], *[None] * GROUP)
    assert pool.counts[:2].tolist() == np.zeros((2, 3)).tolist()
    assert pool.counts[2].tolist() == [1, 0, 0]


def test_the_prompts_of_a_family_come_in_turn() -> None:
    prompts = prompts_of(1, each=5)
    pool = pool_of(prompts)
    counted: Counter[int] = Counter()
    for _ in range(4):
        places = pool.draw(5)
        counted.update(places)
        pool.observe([prompts[place] for place in places for _ in range(GROUP)], [True] * 40)
    assert set(counted.values()) == {4}


def test_draws_follow_from_the_seed_and_the_counts() -> None:
    prompts, learner = prompts_of(30), Learner(30, rate=0.1)
    pool, other = pool_of(prompts), pool_of(prompts, seed="1")
    assert pool.draw(20) == pool.draw(20) == pool_of(prompts).draw(20) != other.draw(20)
    for _ in range(5):
        pool.observe(*learner.answer([prompts[place] for place in pool.draw(PER_STEP)]))
    resumed = pool_of(prompts)
    resumed.counts = np.array(json.loads(json.dumps(pool.counts.tolist())))
    assert resumed.draw(20) == pool.draw(20)
    assert resumed.shares().tolist() == pool.shares().tolist()
    assert pool.draw(20) != pool_of(prompts).draw(20)


def planned(**changes: Any) -> TrialSpec:
    settings = {
        "matrix.seed": "[0]",
        "matrix.thinking": "[false]",
        "contrasts": "[]",
        "trial.curriculum": "adaptive",
        "trial.grpo.max_steps": 3,
        "trial.grpo.per_device_train_batch_size": 8,
        "trial.grpo.num_generations": 2,
        "trial.grpo.max_completion_length": 64,
        "trial.checkpoint.save_steps": 1,
        "task.num_train_prompts": 60,
        "task.num_eval_prompts": 12,
        "evaluation.num_prompts_per_difficulty": 1,
        "evaluation.max_new_tokens": 8,
    } | {key.replace("__", "."): value for key, value in changes.items()}
    overrides = [f"{key}={value}" for key, value in settings.items()]
    return expand(load_sweep(ROOT / "search_spaces" / "quickstart.yaml", overrides))[0]


def records_of(folder: Path) -> tuple[pd.DataFrame, dict[int, dict[str, float]]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = {
        line["step"]: {
            name: value
            for name, value in line["metrics"].items()
            if not name.startswith(("time/", "memory/"))
        }
        for line in lines
        if "train/loss" in line["metrics"]
    }
    rows = pd.concat(pd.read_parquet(part) for part in sorted(folder.glob("rewards/*.parquet")))
    return rows, steps


def interrupted(spec: TrialSpec, folder: Path, *, at: int) -> None:
    def die(step: int, metrics: Mapping[str, float]) -> None:
        if step == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_trial(spec, folder=folder, report=die)
    assert train_trial(spec, folder=folder).state == "FINISHED"


def test_a_resumed_trial_draws_the_same_and_records_what_it_dealt(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    # Prompts that take the place of flat groups come from the pool too.
    spec = planned(trial__grpo__flat_groups="resample")
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    assert train_trial(spec, folder=straight).state == "FINISHED"
    interrupted(spec, resumed, at=2)
    rows, steps = records_of(straight)
    again, steps_again = records_of(resumed)
    pd.testing.assert_frame_equal(again, rows)
    assert steps_again == steps
    for step, metrics in steps.items():
        dealt = rows[rows["step"] == step].groupby("group")["difficulty"].first()[:4]
        for name in DIFFICULTIES:
            assert metrics[f"train/adaptive/drawn_frac/{name}"] == (dealt == name).mean()
    checkpoint = straight / "checkpoints" / "stage-0" / "checkpoint-3" / "adaptive_pool.json"
    counts = json.loads(checkpoint.read_text())["counts"]
    assert sum(counts[2]) == len(rows) / 2
    assert sum(counts[0]) > 0 < rows["criterion/strict"].sum()
    assert any(metrics["train/resampled_groups"] for metrics in steps.values())
