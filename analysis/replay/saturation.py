"""How far each reward component still tells completions apart, over the steps of training.

A component that is at its maximum everywhere, or the same within every group, teaches
nothing whatever its weight. No weights are involved here.
"""

from typing import Any

import numpy as np

from analysis.families import Floats
from analysis.replay.matrices import MAXIMUM, Cell
from analysis.replay.steps import Estimate, mean_over_steps, step_sums

__all__ = ["NUM_PHASES", "component_phases", "component_steps"]

NUM_PHASES = 4
"""Parts of equal length that tables cut the steps of a cell into."""


def component_phases(cell: Cell) -> list[dict[str, Any]]:
    """Measure each component in each quarter of the steps, over the trials of a cell.

    Returns:
        Rows of cell, component, phase (from 1), first_step, last_step, num_completions, mean,
        std (over completions), at_max_frac, constant_groups_frac (groups in which it is the
        same for all completions) and the standard errors of the three means, over steps.
    """
    steps = np.unique(np.concatenate([matrix.steps for matrix in cell.matrices]))
    phases = np.array_split(steps, min(NUM_PHASES, len(steps)))
    return [
        {"phase": index, "first_step": int(phase[0]), "last_step": int(phase[-1]), **row}
        for index, phase in enumerate(phases, start=1)
        for row in _rows(cell, first_step=phase[0], last_step=phase[-1], is_unit_step=True)
    ]


def component_steps(cell: Cell) -> list[dict[str, Any]]:
    """Measure each component at each step, over the trials of a cell.

    Returns:
        Rows as of ``component_phases`` with step in place of the phase. Standard errors are
        over groups, and missing where a step has a single one.
    """
    steps = np.unique(np.concatenate([matrix.steps for matrix in cell.matrices]))
    return [
        {"step": int(step), **row}
        for step in steps
        for row in _rows(cell, first_step=step, last_step=step, is_unit_step=False)
    ]


def _rows(
    cell: Cell, *, first_step: int, last_step: int, is_unit_step: bool
) -> list[dict[str, Any]]:
    values, sums, counts = [], [], []
    for matrix in cell.matrices:
        is_in = (matrix.steps >= first_step) & (matrix.steps <= last_step)
        if not is_in.any():
            continue
        rewards, steps = matrix.rewards[:, :, is_in], matrix.steps[is_in]
        units = steps if is_unit_step else np.arange(len(steps))
        starts = np.flatnonzero(np.diff(units, prepend=-1))
        values.append(rewards.reshape(len(rewards), -1))
        sums.append(step_sums(_group_sums(rewards), starts))
        counts.append(step_sums(_group_counts(rewards), starts))
    completions = np.concatenate(values, axis=1)  # (C, completions)
    found = mean_over_steps(
        np.concatenate(sums, axis=-1), np.concatenate(counts, axis=-1)
    )  # (3, C)
    return [
        _row(cell.name, name, completions[index], found, index)
        for index, name in enumerate(cell.components)
    ]


def _row(cell: str, component: str, values: Floats, means: Estimate, index: int) -> dict[str, Any]:
    (mean, at_max, constant), errors = means.value[:, index], means.standard_error[:, index]
    return {
        "cell": cell,
        "component": component,
        "num_completions": len(values),
        "mean": float(mean),
        "mean_se": float(errors[0]),
        "std": float(values.std(ddof=1)),
        "at_max_frac": float(at_max),
        "at_max_frac_se": float(errors[1]),
        "constant_groups_frac": float(constant),
        "constant_groups_frac_se": float(errors[2]),
    }


def _group_sums(rewards: Floats) -> Floats:
    """Sum values and maxima over each group; 1 where it is constant: (C, N, G) -> (3, C, G)."""
    is_constant = rewards.max(axis=1) == rewards.min(axis=1)
    at_max = (rewards == MAXIMUM).sum(axis=1)
    return np.stack([rewards.sum(axis=1), at_max, is_constant]).astype(np.float64)


def _group_counts(rewards: Floats) -> Floats:
    """Count what ``_group_sums`` sums over: completions, completions, groups."""
    _, size, num_groups = rewards.shape
    return np.broadcast_to(
        np.array([size, size, 1.0])[:, np.newaxis, np.newaxis], (3, len(rewards), num_groups)
    )
