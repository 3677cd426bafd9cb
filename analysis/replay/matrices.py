"""Reads the reward matrices of a sweep's trials, cell by cell.

Only what a checkpoint made durable is read, so a sweep may still be running. A trial whose matrix
is missing or cannot be used is left out with its reason; a sweep without any matrix is an error.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.families import Floats
from strictune.config import TrialSpec, cell_trial, load_trial
from strictune.errors import StorageError, StrictuneError
from strictune.records import (
    PLAN,
    REWARDS,
    STUDIES,
    TRIALS,
    read_plan,
    read_reward_parts,
    read_studies,
)

__all__ = [
    "FULL_MARKS",
    "Aggregation",
    "Cell",
    "RewardMatrix",
    "SkippedTrial",
    "SweepMatrices",
    "read_cells",
    "read_matrices",
    "read_matrix",
]

Aggregation: TypeAlias = Literal["sum_then_normalize", "normalize_then_sum", "saw", "dvao"]

FULL_MARKS = 1.0
"""The most that a reward component gives in the tasks that ship."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardMatrix:
    """The training completions of one trial. N completions a group, G groups, C components."""

    trial_id: str
    rewards: Floats
    """(C, N, G) raw components, NaN where one does not apply; groups in the order of training."""
    is_passing: NDArray[np.bool_]
    """(N, G) the completion reaches the primary criterion."""
    steps: NDArray[np.int64]
    """(G,) the optimizer step that a group trained."""
    num_unscored: int = 0
    """Groups that are left out, as one of their completions has no reward or no known criterion."""

    @property
    def starts(self) -> NDArray[np.int64]:
        """(B,) the first group of each step."""
        return np.flatnonzero(np.diff(self.steps, prepend=-1))

    @property
    def num_completions(self) -> int:
        """Rows of the matrix."""
        return int(self.is_passing.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The matrices of one cell, and its own settings."""

    name: str
    spec: TrialSpec
    """A trial of the cell with the cell's own settings."""
    matrices: tuple[RewardMatrix, ...]

    @property
    def components(self) -> tuple[str, ...]:
        """The reward components, in report order."""
        return tuple(self.spec.task.components)

    @property
    def aggregation(self) -> Aggregation:
        """How the cell puts components together."""
        return self.spec.grpo.multi_objective_aggregation

    @property
    def is_active(self) -> NDArray[np.bool_]:
        """(C,) the component can be earned in this cell; one that needs thinking may not."""
        own = self.spec.task.default_weights(self.spec.thinking)
        return np.array([bool(own.get(name)) for name in self.components])

    @property
    def maxima(self) -> Floats:
        """(C,) full marks of each component: 1, or the highest value that was recorded."""
        highest = [np.nan_to_num(matrix.rewards).max(axis=(1, 2)) for matrix in self.matrices]
        found: Floats = np.maximum(np.max(highest, axis=0), FULL_MARKS)
        return found

    def own_weights(self, steps: NDArray[np.int64]) -> Floats:
        """Return the weights that training uses at each step: (G,) -> (C, G).

        A stage of the curriculum may have weights of its own.
        """
        tables = [self.spec.stage_weights(stage) for stage in self.spec.stages]
        by_stage = np.array([[table[name] for table in tables] for name in self.components])
        last_steps = np.cumsum(self.spec.stage_steps)[:-1]
        found: Floats = by_stage[:, np.searchsorted(last_steps, steps)]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedTrial:
    """A trial that is not in the replay."""

    trial_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepMatrices:
    """The matrices of a sweep."""

    sweep: str
    primary_criterion: str
    cells: tuple[Cell, ...]
    """Those with a matrix, in the order of the plan."""
    skipped: tuple[SkippedTrial, ...]

    @property
    def components(self) -> tuple[str, ...]:
        """The reward components, in report order; one task, so all cells have the same."""
        return self.cells[0].components


def read_matrices(sweep_dir: Path) -> SweepMatrices:
    """Read every trial's matrix, planned or added by a search.

    Raises:
        StorageError: ``plan.json`` cannot be used, or no trial has a matrix.
        SpecError: The settings of a cell cannot be used.
    """
    plan = read_plan(sweep_dir)
    specs = read_cells(sweep_dir)
    planned = [trial.trial_id for trial in plan.trials]
    found = sorted(path.name for path in (sweep_dir / TRIALS).glob("*") if path.is_dir())
    members: dict[str, list[RewardMatrix]] = {cell: [] for cell in specs}
    skipped = []
    for trial_id in dict.fromkeys((*planned, *found)):
        folder = sweep_dir / TRIALS / trial_id
        try:
            spec = load_trial(folder / "trial.yaml")
            cell = spec.cell
            if trial_id not in planned and spec.variant is not None:
                # A point of a search: its completions are those of the cell it was drawn in.
                cell = spec.model_copy(update={"variant": None}).cell
            if spec.method != "grpo":
                raise StorageError(f"it was trained by {spec.method}, without rewards.")
            if cell not in members:
                raise StorageError(f"its cell, {cell}, is not in plan.json.")
            members[cell].append(read_matrix(folder, spec, criterion=plan.primary_criterion))
        except StrictuneError as error:
            skipped.append(SkippedTrial(trial_id=trial_id, reason=str(error)))
    cells = tuple(
        Cell(name=cell, spec=specs[cell], matrices=tuple(matrices))
        for cell, matrices in members.items()
        if matrices
    )
    if not cells:
        first = "".join(f" {trial.trial_id}: {trial.reason}" for trial in skipped[:1])
        raise StorageError(
            f"{sweep_dir}: no trial has a reward matrix that can be replayed.{first}"
        )
    return SweepMatrices(
        sweep=plan.sweep,
        primary_criterion=plan.primary_criterion,
        cells=cells,
        skipped=tuple(skipped),
    )


def read_cells(sweep_dir: Path) -> dict[str, TrialSpec]:
    """Return a trial of each cell, by the cell's name: those with a search first.

    Raises:
        StorageError: ``plan.json`` cannot be used.
        SpecError: The settings of a cell cannot be used.
    """
    studies = read_studies(sweep_dir) if (sweep_dir / STUDIES).exists() else ()
    found = [(study.cell, study.config, STUDIES) for study in studies]
    found += [(cell.name, cell.config, PLAN) for cell in read_plan(sweep_dir).cells]
    return {
        name: cell_trial(config, where=f"{sweep_dir / file}: {name}")
        for name, config, file in found
    }


def read_matrix(folder: Path, spec: TrialSpec, *, criterion: str) -> RewardMatrix:
    """Read what a checkpoint made durable of one trial's matrix.

    Raises:
        StorageError: There is none yet, or it cannot be used.
    """
    components = [f"reward/{name}" for name in spec.task.components]
    if len(components) == 1:
        raise StorageError(
            f"task {spec.task.kind} has one reward component, so there are no weights to replay."
        )
    columns = ["step", "group", *components, f"criterion/{criterion}"]
    parts = pd.concat(read_reward_parts(folder, columns), ignore_index=True)
    rows = parts.sort_values(["step", "group"], kind="stable")
    group_size = spec.grpo.num_generations
    sizes = rows.groupby(["step", "group"]).size().reset_index(name="size")
    wrong = sizes[sizes["size"] != group_size]
    if len(wrong):
        step, group, size = wrong.iloc[0]
        raise StorageError(
            f"{folder / REWARDS}: group {group} of step {step} has {size} completions, expected "
            f"grpo.num_generations = {group_size}. Remove the trial's folder to train it again."
        )
    values = rows[components].to_numpy(dtype=np.float64)
    is_infinite = np.isinf(values).any(axis=0)  # (C,)
    if is_infinite.any():
        raise StorageError(
            f"{folder / REWARDS}: {components[int(np.argmax(is_infinite))]} holds infinite values. "
            "Mend the task's score function and train again."
        )
    by_group = values.reshape(-1, group_size, len(components))  # (G, N, C)
    reached = (
        rows[f"criterion/{criterion}"].to_numpy(dtype=object).reshape(-1, group_size)
    )  # null: unknown
    is_unknown = np.isnan(by_group).all(axis=2) | pd.isna(reached)  # (G, N)
    is_scored = ~is_unknown.any(axis=1)  # (G,)
    if not is_scored.any():
        raise StorageError(f"{folder / REWARDS}: no group of completions is scored whole.")
    return RewardMatrix(
        trial_id=folder.name,
        rewards=np.ascontiguousarray(by_group[is_scored].transpose(2, 1, 0)),
        is_passing=np.ascontiguousarray(reached[is_scored].astype(np.bool_).T),
        steps=rows["step"].to_numpy(dtype=np.int64)[::group_size][is_scored],
        num_unscored=int((~is_scored).sum()),
    )
