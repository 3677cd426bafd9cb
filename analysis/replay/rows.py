"""Replays weight vectors over the matrices of a sweep: one row a vector, scope and scheme.

Pure arithmetic over what trials recorded under their own weights: the completions stay the
same, only what they would have earned changes. What training under other weights would have
written instead is not in them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.families import Floats
from analysis.replay.advantages import SCHEMES, Scheme, advantages
from analysis.replay.matrices import Cell, SweepMatrices
from analysis.replay.measures import (
    GROUP_MEASURES,
    Reference,
    Replayed,
    average_groups,
    replay_matrix,
)
from analysis.replay.pooled import Pool
from analysis.replay.simplex import Vectors
from analysis.replay.steps import Estimate

__all__ = ["ALL_CELLS", "MEASURES", "SCHEME_COLUMNS", "num_chunks", "replay", "replay_chunks"]

ALL_CELLS = "all cells"
"""The scope that pools every cell; a sweep of one cell has none."""

MEASURES = ("rank_correlation", *GROUP_MEASURES)
"""Columns of a row, in report order; each with its standard error (``_se``) and its n (``_n``)."""

SCHEME_COLUMNS = ("multi_objective_aggregation", "scale_rewards")
"""What makes a row's scheme, under TRL's names."""

CHUNK_COMPLETIONS = 2_000_000
"""Completions times vectors that are worked on at once: arrays of 16 MB."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """Cells whose completions are judged together."""

    name: str
    cells: tuple[Cell, ...]
    pool: Pool

    @property
    def num_completions(self) -> int:
        return sum(matrix.num_completions for cell in self.cells for matrix in cell.matrices)


def replay(
    sweep: SweepMatrices, vectors: Vectors, schemes: Sequence[Scheme] = SCHEMES
) -> pd.DataFrame:
    """Replay all vectors.

    Returns:
        vector, cell (or ``all cells``), multi_objective_aggregation, scale_rewards, is_own
        (the cell trains with this scheme), num_completions, each of ``MEASURES`` with its
        standard error over steps (``_se``) and what it is over (``_n``: completions for
        rank_correlation, else groups), and ``weight/<component>``: as it acts in the cell,
        as it was given for all cells.
    """
    return pd.concat(replay_chunks(sweep, vectors, schemes), ignore_index=True)


def num_chunks(sweep: SweepMatrices, vectors: Vectors) -> int:
    """Return how many tables ``replay_chunks`` yields."""
    return -(-len(vectors.names) // _chunk_size(sweep))


def replay_chunks(
    sweep: SweepMatrices, vectors: Vectors, schemes: Sequence[Scheme] = SCHEMES
) -> Iterator[pd.DataFrame]:
    """Yield the rows of ``replay`` some vectors at a time."""
    references = {
        cell.name: tuple(
            Reference.of(matrix, cell.weights, cell.scheme) for matrix in cell.matrices
        )
        for cell in sweep.cells
    }
    scopes = _scopes(sweep.cells, references)
    size = _chunk_size(sweep)
    for first in range(0, len(vectors.names), size):
        part = vectors.part(slice(first, first + size))
        tables: list[pd.DataFrame] = []
        for aggregation in dict.fromkeys(scheme.aggregation for scheme in schemes):
            replayed = {
                cell: [replay_matrix(trial, part.by_cell[cell], aggregation) for trial in trials]
                for cell, trials in references.items()
            }
            alike = [scheme for scheme in schemes if scheme.aggregation == aggregation]
            tables += _tables(scopes, replayed, part, alike)
        yield pd.concat(tables, ignore_index=True)


def _chunk_size(sweep: SweepMatrices) -> int:
    completions = sum(m.num_completions for cell in sweep.cells for m in cell.matrices)
    return max(1, CHUNK_COMPLETIONS // completions)


def _scopes(
    cells: tuple[Cell, ...], references: Mapping[str, Sequence[Reference]]
) -> tuple[_Scope, ...]:
    members: dict[str, tuple[Cell, ...]] = {cell.name: (cell,) for cell in cells}
    if len(cells) > 1:
        members[ALL_CELLS] = cells
    scopes = []
    for name, held in members.items():
        trials = [trial for cell in held for trial in references[cell.name]]
        pool = Pool.of(
            [trial.advantages for trial in trials], [trial.matrix.starts for trial in trials]
        )
        scopes.append(_Scope(name, held, pool))
    return tuple(scopes)


def _tables(
    scopes: Sequence[_Scope],
    replayed: Mapping[str, Sequence[Replayed]],
    vectors: Vectors,
    schemes: Sequence[Scheme],
) -> Iterator[pd.DataFrame]:
    """Yield the rows of each scope and scheme; the schemes share the aggregation."""
    grouped = {
        scope.name: average_groups([t for cell in scope.cells for t in replayed[cell.name]])
        for scope in scopes
    }
    for scheme in schemes:
        blocks = {
            cell: [advantages(trial.scores, scheme, trial.starts) for trial in trials]
            for cell, trials in replayed.items()
        }
        for scope in scopes:
            pooled = scope.pool.correlate(
                [block for cell in scope.cells for block in blocks[cell.name]]
            )
            yield _table(
                scope, scheme, {"rank_correlation": pooled, **grouped[scope.name]}, vectors
            )


def _table(
    scope: _Scope, scheme: Scheme, measured: Mapping[str, Estimate], vectors: Vectors
) -> pd.DataFrame:
    columns: dict[str, Any] = {
        "vector": vectors.names,
        "cell": scope.name,
        **dict(zip(SCHEME_COLUMNS, scheme, strict=True)),
        "is_own": all(cell.scheme == scheme for cell in scope.cells),
        "num_completions": scope.num_completions,
    }
    for name in MEASURES:
        columns[name] = measured[name].value
        columns[f"{name}_se"] = measured[name].standard_error
        columns[f"{name}_n"] = measured[name].num.astype(int)
    return pd.DataFrame(columns | _weights(scope, vectors))


def _weights(scope: _Scope, vectors: Vectors) -> dict[str, Floats]:
    one, *others = scope.cells
    weights = vectors.given if others else vectors.by_cell[one.name]
    return {f"weight/{name}": weights[:, index] for index, name in enumerate(one.components)}
