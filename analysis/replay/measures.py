"""Scores recorded completions under other reward weights, and measures the result.

The completions stay the same, only their rewards change. A completion earns, as in TRL 1.16,

    sum_then_normalize   s = sum_k w_k r_k
    normalize_then_sum   s = sum_k w_k (r_k - mean r_k) / (std r_k + 1e-4)

with ``r`` its value of component k, ``w`` the weight, and ``mean`` and ``std`` (divisor n - 1)
over its group. A component that does not apply to a completion adds nothing to its sum. Within a
group advantages have the order of ``s``, and are 0 where it has no spread; ``scale_rewards`` only
sets what a group weighs against the others, and so does what ``dvao`` divides the sum by: here it
is the sum. ``saw`` sums with weights of each step's own (``trainables.tasks.aggregation``).

Standard errors take a step of a trial as the unit, because the groups of a step come from one
policy (the jackknife of ``analysis.families``). Drift over a training run counts as noise here,
and what another seed would give is not in them.

Shapes: C = components, N = completions of a group, G = groups, ordered by step; B = steps.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from analysis.families import Floats, jackknife_se
from analysis.replay.matrices import Aggregation, Cell, RewardMatrix, SweepMatrices
from strictune.config import TrialSpec
from strictune.config.weights import active_weights, weight_problems
from strictune.errors import SpecError
from trainables.tasks.aggregation import STD_FLOOR, saw_weights

__all__ = [
    "AGGREGATIONS",
    "ALL_CELLS",
    "DEFAULT",
    "MEASURES",
    "NUM_PHASES",
    "Estimate",
    "Scores",
    "check_weights",
    "component_phases",
    "component_steps",
    "group_measures",
    "mean_over_steps",
    "normalized",
    "replay",
    "score_completions",
    "step_sums",
    "step_weights",
]

AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)
"""The values of ``multi_objective_aggregation``."""

MEASURES = ("zero_spread_frac", "failing_above_passing_frac", "failing_level_with_passing_frac")
"""Of a replayed group, in report order; see ``group_measures``."""

DEFAULT = "default"
"""The name of each cell's own weights."""

ALL_CELLS = "all cells"
"""The scope that pools every cell; a sweep of one cell has none."""

NUM_PHASES = 4
"""Parts of equal length that tables cut the steps of a cell into."""

TIE = 1e-8
"""Scores no farther apart than this times the sum of the weights are equal. The arithmetic leaves
1e-13, and a difference of 1e-8 moves an advantage by 1e-4 of a standard deviation at most."""


class Scores(NamedTuple):
    """The rewards of completions."""

    values: Floats
    """(N, G) the ``s`` of the formulas."""
    tie: Floats
    """(1,) or (G,) completions tie whose values are no farther apart than this."""

    @property
    def is_flat(self) -> NDArray[np.bool_]:
        """(G,) the group's completions all tie: it has zero spread."""
        return np.asarray(np.ptp(self.values, axis=0) <= self.tie)


class Estimate(NamedTuple):
    """Numbers with their standard errors; NaN where there is nothing to measure."""

    value: Floats
    standard_error: Floats
    num: Floats
    """What the mean is over."""


def score_completions(rewards: Floats, weights: Floats, aggregation: Aggregation) -> Scores:
    """Aggregate raw components.

    Args:
        rewards: (C, N, G) raw components, NaN where one does not apply.
        weights: (C,) for all groups or (C, G); not negative, with a positive sum. Those of ``saw``
            are a step's own, see ``step_weights``.
        aggregation: How components are put together.
    """
    addends = normalized(rewards) if aggregation == "normalize_then_sum" else np.nan_to_num(rewards)
    by_group = weights.reshape(len(weights), 1, -1)  # (C, 1, G or 1)
    return Scores((by_group * addends).sum(axis=0), TIE * by_group.sum(axis=(0, 1)))


def step_weights(matrix: RewardMatrix, weights: Floats, aggregation: Aggregation) -> Floats:
    """Return the weights that act in each group: (C,) or (C, G) -> the same or, for saw, (C, G)."""
    if aggregation != "saw":
        return weights
    by_group = np.broadcast_to(weights.reshape(len(weights), -1), (len(weights), len(matrix.steps)))
    steps = np.split(np.arange(len(matrix.steps)), matrix.starts[1:])
    acting = [saw_weights(matrix.rewards[:, :, step], by_group[:, step[0]]) for step in steps]
    return np.repeat(np.stack(acting, axis=1), [len(step) for step in steps], axis=1)


def normalized(rewards: Floats) -> Floats:
    """Centre and scale each component within each group; 0 where it does not apply."""
    known = np.ma.masked_invalid(rewards)
    centred = known - known.mean(axis=1, keepdims=True)
    scaled = centred / (centred.std(axis=1, ddof=1, keepdims=True) + STD_FLOOR)
    return np.asarray(scaled.filled(0.0))


def group_measures(scores: Scores, is_passing: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Measure each group: what counts, and of how many, both (3, G).

    - zero_spread_frac: the group, where all of its completions earn the same.
    - failing_above_passing_frac: pairs of a failing and a passing completion in which the failing
      one earns more; failing_level_with_passing_frac: in which they tie.
    """
    lead = scores.values[:, np.newaxis] - scores.values  # (N, N, G) first minus second
    is_pair = ~is_passing[:, np.newaxis] & is_passing  # (N, N, G) first fails, second passes
    above = (is_pair & (lead > scores.tie)).sum(axis=(0, 1))
    level = (is_pair & (np.abs(lead) <= scores.tie)).sum(axis=(0, 1))
    pairs = is_pair.sum(axis=(0, 1))
    ones = np.ones(len(pairs))
    return np.array([scores.is_flat, above, level], dtype=np.float64), np.array(
        [ones, pairs, pairs], dtype=np.float64
    )


def replay(sweep: SweepMatrices, tables: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Replay the weights that the cells train with, then each table of weights.

    A table is what a sweep file would say under ``trial.rewards``: a component left out has
    weight 0, and a cell without thinking shares the weight of what only thinking can earn out
    over the others. It holds in all stages; the default is what each stage trains with.

    Args:
        sweep: The recorded completions.
        tables: By what to call it: component -> weight.

    Returns:
        Rows of vector, cell (or ``all cells``), multi_objective_aggregation, is_own (the cell
        trains with it), num_completions, each of ``MEASURES`` with its standard error over steps
        (``_se``) and what it is over (``_n``: groups, pairs, pairs), and ``weights``: as they act
        in the cell, as given for all cells, None for the default.

    Raises:
        SpecError: A component is unknown, or no weight is left in one of the cells.
    """
    check_weights(tables, [cell.spec for cell in sweep.cells])
    scopes: dict[str, Sequence[Cell]] = {cell.name: (cell,) for cell in sweep.cells}
    if len(sweep.cells) > 1:
        scopes[ALL_CELLS] = sweep.cells
    return [
        row
        for name, table in {DEFAULT: None, **tables}.items()
        for aggregation in AGGREGATIONS
        for row in _vector_rows(name, table, aggregation, scopes)
    ]


def component_phases(cell: Cell) -> list[dict[str, Any]]:
    """Measure each component in each quarter of the steps, over the trials of a cell.

    A component that is at its maximum everywhere, or the same within every group, teaches
    nothing whatever its weight. Where it does not apply it counts as 0.

    Returns:
        Rows of cell, component, phase (from 1), first_step, last_step, num_completions, mean,
        std (over completions), at_max_frac, constant_groups_frac (groups in which it is the
        same for all completions) and the standard errors of the three means, over steps.
    """
    steps, maxima = _steps(cell), cell.maxima
    phases = np.array_split(steps, min(NUM_PHASES, len(steps)))
    return [
        {"phase": index, "first_step": int(phase[0]), "last_step": int(phase[-1]), **row}
        for index, phase in enumerate(phases, start=1)
        for row in _component_rows(cell, phase[0], phase[-1], maxima=maxima, is_unit_step=True)
    ]


def component_steps(cell: Cell) -> list[dict[str, Any]]:
    """Measure each component at each step, over the trials of a cell.

    Returns:
        Rows as of ``component_phases`` with step in place of the phase. Standard errors are
        over groups, and missing where a step has a single one.
    """
    maxima = cell.maxima
    return [
        {"step": int(step), **row}
        for step in _steps(cell)
        for row in _component_rows(cell, step, step, maxima=maxima, is_unit_step=False)
    ]


def step_sums(values: Floats, starts: NDArray[np.int64]) -> Floats:
    """Sum over the groups of each step: (..., G) -> (..., B)."""
    found: Floats = np.add.reduceat(values, starts, axis=-1)
    return found


def mean_over_steps(sums: Floats, counts: Floats) -> Estimate:
    """Return the ratio of totals: (..., B), (..., B) -> (...).

    Args:
        sums: What each step adds to the numerator.
        counts: How much of the denominator each step holds.
    """
    all_sums, all_counts = sums.sum(axis=-1), counts.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.asarray(all_sums / all_counts, dtype=np.float64)
        left = (all_sums[..., np.newaxis] - sums) / (all_counts[..., np.newaxis] - counts)
    return Estimate(value, jackknife_se(left, value), all_counts)


def check_weights(tables: Mapping[str, Mapping[str, float]], cells: Iterable[TrialSpec]) -> None:
    """Check that weights, by what to call them, can be replayed in cells.

    Raises:
        SpecError: A component is unknown, or no weight is left in one of the cells.
    """
    for (name, table), cell in itertools.product(tables.items(), cells):
        problems = weight_problems(
            cell.task,
            thinking=cell.thinking,
            rewards=table,
            rewards_no_think=None,
            allow_ties=True,
        )
        if problems:
            lines = (f"--weights {name}: {problem.key} {problem.text}" for problem in problems)
            raise SpecError("\n".join(lines))


def _vector_rows(
    name: str,
    table: Mapping[str, float] | None,
    aggregation: Aggregation,
    scopes: Mapping[str, Sequence[Cell]],
) -> Iterator[dict[str, Any]]:
    for scope, cells in scopes.items():
        acting = [
            None
            if table is None
            else active_weights(
                cell.spec.task, thinking=cell.spec.thinking, rewards=table, rewards_no_think=None
            )
            for cell in cells
        ]
        parts = [
            _measured(matrix, cell, weights, aggregation)
            for cell, weights in zip(cells, acting, strict=True)
            for matrix in cell.matrices
        ]
        found = mean_over_steps(
            *(np.concatenate([part[side] for part in parts], axis=-1) for side in (0, 1))
        )
        row: dict[str, Any] = {
            "vector": name,
            "cell": scope,
            "multi_objective_aggregation": aggregation,
            "is_own": all(cell.aggregation == aggregation for cell in cells),
            "num_completions": sum(m.num_completions for cell in cells for m in cell.matrices),
        }
        for index, measure in enumerate(MEASURES):
            row[measure] = float(found.value[index])
            row[f"{measure}_se"] = float(found.standard_error[index])
            row[f"{measure}_n"] = int(found.num[index])
        yield row | {"weights": acting[0] if len(cells) == 1 else table}


def _measured(
    matrix: RewardMatrix, cell: Cell, weights: Mapping[str, float] | None, aggregation: Aggregation
) -> tuple[Floats, Floats]:
    """Measure a trial's groups and sum over each step: (3, B), (3, B)."""
    vector = (
        cell.own_weights(matrix.steps)
        if weights is None
        else np.array([weights[name] for name in cell.components])
    )
    acting = step_weights(matrix, vector, aggregation)
    scores = score_completions(matrix.rewards, acting, aggregation)
    sums, counts = group_measures(scores, matrix.is_passing)
    return step_sums(sums, matrix.starts), step_sums(counts, matrix.starts)


def _steps(cell: Cell) -> NDArray[np.int64]:
    return np.unique(np.concatenate([matrix.steps for matrix in cell.matrices]))


def _component_rows(
    cell: Cell, first_step: int, last_step: int, *, maxima: Floats, is_unit_step: bool
) -> Iterator[dict[str, Any]]:
    values, sums, counts = [], [], []
    for matrix in cell.matrices:
        is_in = (matrix.steps >= first_step) & (matrix.steps <= last_step)
        if is_in.any():
            rewards, steps = np.nan_to_num(matrix.rewards[:, :, is_in]), matrix.steps[is_in]
            units = steps if is_unit_step else np.arange(len(steps))
            starts = np.flatnonzero(np.diff(units, prepend=-1))
            by_group = _group_sums(rewards, maxima)  # (3, C, G)
            size = np.array([rewards.shape[1], rewards.shape[1], 1.0]).reshape(3, 1, 1)
            values.append(rewards.reshape(len(rewards), -1))
            sums.append(step_sums(by_group, starts))
            counts.append(step_sums(np.broadcast_to(size, by_group.shape), starts))
    completions = np.concatenate(values, axis=1)  # (C, completions)
    means, errors, _ = mean_over_steps(
        np.concatenate(sums, axis=-1), np.concatenate(counts, axis=-1)
    )  # (3, C)
    for index, component in enumerate(cell.components):
        row: dict[str, Any] = {
            "cell": cell.name,
            "component": component,
            "num_completions": completions.shape[1],
            "std": float(completions[index].std(ddof=1)),
        }
        for place, name in enumerate(("mean", "at_max_frac", "constant_groups_frac")):
            row[name] = float(means[place, index])
            row[f"{name}_se"] = float(errors[place, index])
        yield row


def _group_sums(rewards: Floats, maxima: Floats) -> Floats:
    """Sum values and maxima over each group; 1 where it is constant: (C, N, G) -> (3, C, G)."""
    is_constant = rewards.max(axis=1) == rewards.min(axis=1)
    at_max = (rewards == maxima[:, np.newaxis, np.newaxis]).sum(axis=1)
    return np.stack([rewards.sum(axis=1), at_max, is_constant]).astype(np.float64)
