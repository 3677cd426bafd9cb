"""Weight vectors to replay: the default, given ones, and draws from the simplex.

A vector is what a sweep file would say under ``trial.rewards``: in a cell without thinking,
the weight of what only thinking can earn is shared out over the others, as in training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.families import Floats
from analysis.replay.matrices import Cell, SweepMatrices
from strictune.config.weights import active_weights, weight_problems
from strictune.errors import SpecError

__all__ = ["DEFAULT", "Vectors", "given_vectors", "sample_simplex", "sampled_vectors"]

DEFAULT = "default"
"""The name of each cell's own weights."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """W named weight vectors."""

    names: tuple[str, ...]
    given: Floats
    """(W, C) as they were written or drawn; NaN for the default, which each cell has its own."""
    by_cell: Mapping[str, Floats]
    """(W, C) by cell: the weights as they act there."""

    def part(self, chosen: slice) -> "Vectors":
        """Return some of the vectors."""
        return Vectors(
            self.names[chosen],
            self.given[chosen],
            {cell: weights[chosen] for cell, weights in self.by_cell.items()},
        )


def given_vectors(sweep: SweepMatrices, tables: Mapping[str, Mapping[str, float]]) -> Vectors:
    """Return the default, then each table of weights; a component left out has weight 0.

    Args:
        sweep: Its cells say how weights act.
        tables: By what to call it: component -> weight.

    Raises:
        SpecError: A component is unknown, or no weight is left in one of the cells.
    """
    for name, table in tables.items():
        for cell in sweep.cells:
            _check(name, table, cell)
    return Vectors(
        names=(DEFAULT, *tables),
        given=np.array(
            [
                np.full(len(sweep.components), np.nan),
                *([table.get(name, 0.0) for name in sweep.components] for table in tables.values()),
            ]
        ),
        by_cell={
            cell.name: np.array(
                [cell.weights, *(_acting(table, cell) for table in tables.values())]
            )
            for cell in sweep.cells
        },
    )


def sampled_vectors(sweep: SweepMatrices, *, num_samples: int, seed: int) -> Vectors:
    """Draw vectors over the components that some cell of the sweep can earn.

    What a cell without thinking makes of them is uniform on its own, smaller simplex.
    """
    is_active = np.any([cell.is_active for cell in sweep.cells], axis=0)
    weights = sample_simplex(is_active, num_samples=num_samples, seed=seed)
    tables = [dict(zip(sweep.components, map(float, row), strict=True)) for row in weights]
    return Vectors(
        names=tuple(f"sample {index}" for index in range(num_samples)),
        given=weights,
        by_cell={
            cell.name: np.array([_acting(table, cell) for table in tables]) for cell in sweep.cells
        },
    )


def sample_simplex(is_active: NDArray[np.bool_], *, num_samples: int, seed: int) -> Floats:
    """Draw weights that sum to 1, uniformly (Dirichlet(1)) over the active components.

    Args:
        is_active: (C,)
        num_samples: W.
        seed: More samples of one seed begin with the fewer.

    Returns:
        (W, C), 0 for the others.
    """
    weights = np.zeros((num_samples, len(is_active)))
    ones = np.ones(int(is_active.sum()))
    weights[:, is_active] = np.random.default_rng(seed).dirichlet(ones, size=num_samples)
    return weights


def _acting(table: Mapping[str, float], cell: Cell) -> Sequence[float]:
    acting = active_weights(
        cell.spec.task, thinking=cell.spec.thinking, rewards=table, rewards_no_think=None
    )
    return [acting[name] for name in cell.components]


def _check(name: str, table: Mapping[str, float], cell: Cell) -> None:
    problems = weight_problems(
        cell.spec.task,
        thinking=cell.spec.thinking,
        rewards=table,
        rewards_no_think=None,
        allow_ties=True,
    )
    if problems:
        lines = (f"--weights {name}: {problem.key} {problem.text}" for problem in problems)
        raise SpecError("\n".join(lines))
