"""What each reward component does under given weights, on recorded training completions.

Sensitivity, standardized and within groups: by how many standard deviations the reward moves
when the component moves by one, both taken within groups, because advantages know nothing else:

    sensitivity = w sqrt(sum_g SS_g(r) / sum_g SS_g(s)),   s = sum_k w_k r_k

with SS_g the sum of squares around the group's mean, and r normalized within its group first
where the aggregation is normalize_then_sum. A weight says what a component may pay; this says
what it does pay. Saturation needs no weights: from its step on, the component is the same for
all completions of nearly every group and so teaches nothing.

Shapes: C = components, N = completions of a group, G = groups, B = steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis.families import Floats
from analysis.records import TRIALS
from analysis.replay import component_steps
from analysis.replay.advantages import NORMALIZE_THEN_SUM, STD_FLOOR, Scheme
from analysis.replay.matrices import Cell, RewardMatrix, read_matrix
from analysis.replay.steps import mean_over_steps, step_sums
from strictune.config import TrialSpec
from strictune.errors import StrictuneError

__all__ = ["ComponentAudit", "Weighting", "audit_components", "read_cell", "weightings_of"]

SATURATED_FRAC = 0.95
"""Share of groups in which a saturated component is constant."""
WINDOW_FRAC = 0.1
MIN_WINDOW = 3
"""Steps over which that share is averaged: this part of all, and at least so many."""


class Weighting(NamedTuple):
    """Weights and how TRL puts them together."""

    name: str
    """``default``, or the winner's, e.g. ``p007``; with the stage where stages differ."""
    weights: Mapping[str, float]
    scheme: Scheme


class Sensitivity(NamedTuple):
    """A component's pull on the reward."""

    value: float
    """Standard deviations of the reward for one of the component, within groups."""
    standard_error: float
    """Over steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentAudit:
    """One component."""

    component: str
    sensitivity: dict[str, Sensitivity]
    """By the names of the weightings."""
    saturation_step: int | None
    """From this step on nearly every group is constant in it; None: it still tells them apart."""
    constant_groups_frac: float
    """Over the last window of steps."""
    at_max_frac: float
    """Share of completions at its maximum, over the last window of steps."""


def weightings_of(name: str, spec: TrialSpec) -> list[Weighting]:
    """Return what a trial is trained with: one table, or one for each stage where they differ."""
    grpo = spec.grpo
    scheme = Scheme(grpo.multi_objective_aggregation, grpo.scale_rewards)
    tables = {stage.name: spec.stage_weights(stage) for stage in spec.stages}
    if all(weights == next(iter(tables.values())) for weights in tables.values()):
        return [Weighting(name, next(iter(tables.values())), scheme)]
    return [Weighting(f"{name} in {stage}", weights, scheme) for stage, weights in tables.items()]


def read_cell(
    sweep_dir: Path, cell: TrialSpec, trial_ids: Sequence[str], *, rung: str
) -> Cell | None:
    """Read the reward matrices of some trials; those without one are left out, None for none."""
    matrices = []
    for trial_id in trial_ids:
        try:
            matrices.append(read_matrix(sweep_dir / TRIALS / trial_id, cell, rung=rung))
        except StrictuneError:
            continue
    if not matrices:
        return None
    own = weightings_of("default", cell)[0]
    return Cell(
        name=cell.cell,
        spec=cell,
        weights=_vector(own, tuple(cell.task.components)),
        scheme=own.scheme,
        matrices=tuple(matrices),
    )


def audit_components(cell: Cell, weightings: Sequence[Weighting]) -> tuple[ComponentAudit, ...]:
    """Measure every component that can be earned in the cell."""
    steps = component_steps(cell)
    found = {one.name: _sensitivities(cell, one) for one in weightings}
    audits = []
    for index, component in enumerate(cell.components):
        if not cell.is_active[index]:
            continue
        rows = [row for row in steps if row["component"] == component]
        window = _window(len(rows))
        audits.append(
            ComponentAudit(
                component=component,
                sensitivity={name: values[index] for name, values in found.items()},
                saturation_step=_saturation_step(rows),
                constant_groups_frac=_mean(rows[-window:], "constant_groups_frac"),
                at_max_frac=_mean(rows[-window:], "at_max_frac"),
            )
        )
    return tuple(audits)


def _sensitivities(cell: Cell, weighting: Weighting) -> list[Sensitivity]:
    weights = _vector(weighting, cell.components)
    parts = [_squares(matrix, weights, weighting.scheme) for matrix in cell.matrices]
    per_component = np.concatenate([part[0] for part in parts], axis=-1)  # (C, B)
    total = np.concatenate([part[1] for part in parts], axis=-1)  # (B,)
    ratio = mean_over_steps(per_component, np.broadcast_to(total, per_component.shape))
    with np.errstate(invalid="ignore", divide="ignore"):
        values = weights * np.sqrt(ratio.value)
        # The error of a square root, to first order.
        errors = weights * ratio.standard_error / (2 * np.sqrt(ratio.value))
    return [Sensitivity(float(v), float(e)) for v, e in zip(values, errors, strict=True)]


def _squares(matrix: RewardMatrix, weights: Floats, scheme: Scheme) -> tuple[Floats, Floats]:
    """Sum squares around group means over each step: of components (C, B), of the reward (B,)."""
    centred = matrix.rewards - matrix.rewards.mean(axis=1, keepdims=True)  # (C, N, G)
    if scheme.aggregation == NORMALIZE_THEN_SUM:
        centred = centred / (centred.std(axis=1, ddof=1, keepdims=True) + STD_FLOOR)
    reward = np.tensordot(weights, centred, axes=1)  # (N, G)
    return (
        step_sums(np.square(centred).sum(axis=1), matrix.starts),
        step_sums(np.square(reward).sum(axis=0), matrix.starts),
    )


def _saturation_step(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the first step of the windows that are all saturated, to the end of training."""
    window = _window(len(rows))
    found = None
    for start in range(len(rows) - window, -1, -1):
        if _mean(rows[start : start + window], "constant_groups_frac") < SATURATED_FRAC:
            break
        found = int(rows[start]["step"])
    return found


def _window(num_steps: int) -> int:
    return min(num_steps, max(MIN_WINDOW, round(WINDOW_FRAC * num_steps)))


def _mean(rows: Sequence[Mapping[str, Any]], column: str) -> float:
    return float(np.mean([row[column] for row in rows]))


def _vector(weighting: Weighting, components: Sequence[str]) -> Floats:
    return np.array([weighting.weights.get(name, 0.0) for name in components])
