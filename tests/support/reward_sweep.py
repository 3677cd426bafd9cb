"""Writes sweep folders with reward matrices, through the writers that real trials use."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from quickstart import CROSSED, QUICKSTART

from strictune.config import TrialSpec, dump_yaml, load_sweep
from strictune.planning import expand, plan_document
from trainables.records import TrialRecords
from trainables.rollouts.completion import Completion
from trainables.tasks.task import Prompt, Score

SMALL = (
    "contrasts=[]",
    "trial.grpo.num_generations=4",
    "trial.grpo.per_device_train_batch_size=8",
)
"""Two groups of four completions a step."""


class Drawn(NamedTuple):
    """One trial's completions, in the order in which training saw them."""

    rewards: NDArray[np.float64]
    """(steps, completions of a step, components)"""
    is_passing: NDArray[np.bool_]
    """(steps, completions of a step)"""


def write_reward_sweep(
    folder: Path, draw: Callable[[TrialSpec], Drawn | None], overrides: Sequence[str] = ()
) -> list[TrialSpec]:
    """Write the plan and each trial's matrix; None leaves a trial without a checkpoint."""
    sweep = load_sweep(QUICKSTART, [*CROSSED, *SMALL, *overrides])
    trials = list(expand(sweep))
    folder.mkdir(parents=True)
    plan = json.dumps(plan_document(sweep, trials), ensure_ascii=False)
    (folder / "plan.json").write_text(plan, encoding="utf-8")
    for trial in trials:
        trial_folder = folder / "trials" / trial.trial_id
        trial_folder.mkdir(parents=True)
        (trial_folder / "trial.yaml").write_text(dump_yaml(trial), encoding="utf-8")
        drawn = draw(trial)
        if drawn is not None:
            write_matrix(trial_folder, trial, drawn)
    return trials


def write_matrix(folder: Path, trial: TrialSpec, drawn: Drawn) -> None:
    """Write a matrix in two parts."""
    records = TrialRecords(folder)
    last = len(drawn.rewards)
    for step, (rewards, is_passing) in enumerate(zip(*drawn, strict=True), start=1):
        records.add_rewards(
            step,
            [Prompt(id=f"p{step}", text="", family="f", difficulty="simple")] * len(rewards),
            [Completion("", 10, False)] * len(rewards),
            [
                _score(trial, row, bool(passes))
                for row, passes in zip(rewards, is_passing, strict=True)
            ],
            weights=trial.weights,
            group_size=trial.grpo.num_generations,
        )
        if step in (last // 2, last):
            records.commit(step=step, stage=0, checkpoint=None)
    records.close()


def _score(trial: TrialSpec, rewards: NDArray[np.float64], passes: bool) -> Score:
    task = trial.task
    return Score(
        criteria=dict.fromkeys(task.criteria, passes),
        rewards=dict(zip(task.components, rewards.tolist(), strict=True)),
        reasons={},
        error_class="ok" if passes else "wrong",
    )


def random_draw(trial: TrialSpec, *, num_steps: int = 6, seed: int = 0) -> Drawn:
    """Draw completions that keep the two theorems: strict has full marks, others do not."""
    rng = np.random.default_rng([seed, trial.seed, trial.thinking])
    shape = (num_steps, trial.grpo.completions_per_step)
    rewards = rng.integers(-2, 5, size=(*shape, len(trial.task.components))) / 4
    is_passing = rng.random(shape) < 0.3
    if not trial.thinking:
        rewards[..., trial.task.components.index("reasoning")] = 1.0
    rewards[..., trial.task.components.index("schema")] = rng.choice([0, 0.5, 0.9], size=shape)
    rewards[is_passing] = 1.0
    return Drawn(rewards, is_passing)
