"""A replay in tables, in sentences, and as one document."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.replay.matrices import Cell, SweepMatrices
from analysis.replay.measures import DEFAULT, MEASURES, NUM_PHASES
from analysis.tables import NOT_MEASURED, plain

__all__ = [
    "component_rows",
    "constant_sentences",
    "count_sentences",
    "how_to_read",
    "replay_document",
    "vector_rows",
    "vector_sentences",
]

Row = Mapping[str, Any]


def replay_document(
    sweep: SweepMatrices, phases: Sequence[Row], vectors: Sequence[Row]
) -> dict[str, Any]:
    """Return a replay as plain data, from ``component_phases`` and ``replay``; NaN becomes None."""
    document = {
        "sweep": sweep.sweep,
        "primary_criterion": sweep.primary_criterion,
        "standard_errors": "over the steps of the trials",
        "cells": [_cell_document(cell) for cell in sweep.cells],
        "skipped": sweep.skipped,
        "components": list(phases),
        "vectors": list(vectors),
    }
    plainly: dict[str, Any] = plain(document)
    return plainly


def count_sentences(sweep: SweepMatrices) -> list[str]:
    """Count what was read and what was left out."""
    matrices = [matrix for cell in sweep.cells for matrix in cell.matrices]
    completions = sum(matrix.num_completions for matrix in matrices)
    groups = sum(len(matrix.steps) for matrix in matrices)
    unscored = sum(matrix.num_unscored for matrix in matrices)
    lines = [
        f"{sweep.sweep}: {completions:,} training completions in {groups:,} groups, of "
        f"{len(matrices)} trials in {len(sweep.cells)} cells."
    ]
    if unscored:
        lines.append(f"Left out: {unscored:,} groups with a completion that could not be scored.")
    return [*lines, *(f"Left out: {trial.trial_id}: {trial.reason}" for trial in sweep.skipped)]


def component_rows(sweep: SweepMatrices, phases: Sequence[Row]) -> list[dict[str, str]]:
    """Return the first and the last part of training, for each component a cell can earn."""
    rows = []
    for cell in sweep.cells:
        for name, weight in _active_weights(cell).items():
            parts = _parts(phases, cell, name)
            ends = parts[0], parts[-1]
            rows.append(
                {
                    "cell": cell.name,
                    "component": name,
                    "weight": weight,
                    "at its maximum": _course(ends, "at_max_frac"),
                    "std": " → ".join(f"{end['std']:.2f}" for end in ends),
                    "same in the whole group": _course(ends, "constant_groups_frac"),
                }
            )
    return rows


def constant_sentences(sweep: SweepMatrices, phases: Sequence[Row]) -> list[str]:
    """Name the components whose weight changes no order: equal within every group of a cell."""
    cells_of: dict[str, list[str]] = {}
    for cell in sweep.cells:
        for name in _active_weights(cell):
            if all(row["constant_groups_frac"] == 1 for row in _parts(phases, cell, name)):
                cells_of.setdefault(name, []).append(cell.name)
    return [
        f"{name} never differed within a group of {', '.join(cells)}: a weight on it changes no "
        "order, it only takes weight from the others."
        for name, cells in cells_of.items()
    ]


def vector_sentences(vectors: Sequence[Row]) -> list[str]:
    """Spell out the vectors of ``vector_rows``."""
    named = _short_names(vectors)
    return [f"{short}: {name}" for name, short in named.items() if name != DEFAULT]


def vector_rows(vectors: Sequence[Row], *, criterion: str) -> list[dict[str, str]]:
    """Return a row for each vector: each cell as it trains, and the widest scope either way."""
    named, widest = _short_names(vectors), vectors[-1]["cell"]
    headings = (
        "zero spread",
        f"not {criterion} above {criterion}",
        f"not {criterion} level with {criterion}",
    )
    return [
        {
            "weights": named[row["vector"]],
            "cell": str(row["cell"]),
            "advantages": str(row["multi_objective_aggregation"]),
            **{
                heading: _share(row, name) for heading, name in zip(headings, MEASURES, strict=True)
            },
        }
        for row in vectors
        if row["is_own"] or row["cell"] == widest
    ]


def how_to_read(criterion: str) -> tuple[str, ...]:
    """Return the rules of the tables."""
    return (
        "Replay scores recorded completions again: it does not know what training under other "
        "weights would have written. It has not been shown to predict what a trial does.",
        "Default: the weights that each stage of a cell trains with. Other weights hold in all "
        "stages; a cell without thinking shares the weight of what only thinking can earn out "
        "over the others, as in training.",
        "Zero spread: share of groups whose completions all earn the same, so that they teach "
        "nothing.",
        f"Above and level: of the pairs within a group of a completion that is not {criterion} and "
        "one that is, the share in which the former earns more, or as much. scale_rewards changes "
        "none of this.",
        "After ±: the standard error over the steps of the trials. It says nothing about other "
        "seeds.",
        f"An arrow leads from the first to the last of {NUM_PHASES} equal parts of the steps.",
    )


def _cell_document(cell: Cell) -> dict[str, Any]:
    spec = cell.spec
    stages = zip(spec.stages, spec.stage_steps, strict=True)
    return {
        "name": cell.name,
        "thinking": cell.spec.thinking,
        "multi_objective_aggregation": cell.aggregation,
        "stages": [
            {"name": stage.name, "steps": steps, "weights": spec.stage_weights(stage)}
            for stage, steps in stages
            if stage in spec.reward_stages
        ],
        "trials": [matrix.trial_id for matrix in cell.matrices],
        "num_completions": sum(matrix.num_completions for matrix in cell.matrices),
        "num_groups": sum(len(matrix.steps) for matrix in cell.matrices),
        "num_unscored_groups": sum(matrix.num_unscored for matrix in cell.matrices),
    }


def _active_weights(cell: Cell) -> dict[str, str]:
    """Return the weights of what the cell can earn; an arrow leads from stage to stage."""
    tables = [cell.spec.stage_weights(stage) for stage in cell.spec.reward_stages]
    found = {}
    for name, is_active in zip(cell.components, cell.is_active, strict=True):
        texts = [f"{table[name]:.3g}" for table in tables]
        if is_active:
            found[name] = " → ".join(texts if len(set(texts)) > 1 else texts[:1])
    return found


def _parts(phases: Sequence[Row], cell: Cell, component: str) -> list[Row]:
    return [row for row in phases if (row["cell"], row["component"]) == (cell.name, component)]


def _short_names(vectors: Sequence[Row]) -> dict[str, str]:
    """Name given vectors so that they fit into a table, in order."""
    names = dict.fromkeys(str(row["vector"]) for row in vectors)
    return {name: name if name == DEFAULT else f"weights {n}" for n, name in enumerate(names)}


def _share(row: Row, measure: str) -> str:
    value, error = row[measure], row[f"{measure}_se"]
    if math.isnan(value):
        return NOT_MEASURED
    return f"{value:.1%}" if math.isnan(error) else f"{value:.1%} ± {100 * error:.1f}"


def _course(ends: Sequence[Row], measure: str) -> str:
    return " → ".join(
        f"{end[measure]:.0%}"
        + ("" if math.isnan(end[f"{measure}_se"]) else f" ± {100 * end[f'{measure}_se']:.0f}")
        for end in ends
    )
