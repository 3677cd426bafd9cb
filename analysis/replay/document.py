"""A replay as one plain document, for machines: what ``strictune weights replay --json`` prints."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.replay.matrices import Cell, SweepMatrices
from analysis.replay.rows import MEASURES, SCHEME_COLUMNS
from analysis.writing import plain

__all__ = ["QUANTILES", "replay_document", "summarize_samples"]

QUANTILES = {"median": 0.5, "low": 0.05, "high": 0.95}
"""What is said of each measure over the sampled vectors."""


def replay_document(
    sweep: SweepMatrices,
    phases: Sequence[Mapping[str, Any]],
    vectors: pd.DataFrame,
    samples: pd.DataFrame | None,
) -> dict[str, Any]:
    """Return everything but the single samples and steps; NaN becomes None.

    Args:
        sweep: What was read.
        phases: From ``component_phases``, of all cells.
        vectors: From ``replay``: the default and the given vectors.
        samples: From ``replay``: the sampled vectors; None without.
    """
    document = {
        "sweep": sweep.sweep,
        "primary_rung": sweep.primary_rung,
        "standard_errors": "over the steps of the trials",
        "cells": [_cell(cell) for cell in sweep.cells],
        "skipped": sweep.skipped,
        "components": [dict(row) for row in phases],
        "vectors": vectors.to_dict("records"),
        "samples": None if samples is None else summarize_samples(samples),
    }
    plainly: dict[str, Any] = plain(document)
    return plainly


def summarize_samples(samples: pd.DataFrame) -> list[dict[str, Any]]:
    """Return, for each cell and scheme, median and 5% to 95% of each measure over the vectors."""
    rows = []
    for (cell, aggregation, scale), part in samples.groupby(["cell", *SCHEME_COLUMNS], sort=False):
        quantiles = {
            name: {key: float(part[name].quantile(q)) for key, q in QUANTILES.items()}
            for name in MEASURES
        }
        rows.append(
            {
                "cell": cell,
                "multi_objective_aggregation": aggregation,
                "scale_rewards": scale,
                "num_samples": len(part),
                **quantiles,
            }
        )
    return rows


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "name": cell.name,
        "thinking": cell.spec.thinking,
        "scheme": cell.scheme,
        "weights": dict(zip(cell.components, cell.weights.tolist(), strict=True)),
        "trials": [matrix.trial_id for matrix in cell.matrices],
        "num_completions": sum(matrix.num_completions for matrix in cell.matrices),
        "num_groups": sum(len(matrix.steps) for matrix in cell.matrices),
        "num_unscored_groups": sum(matrix.num_unscored for matrix in cell.matrices),
    }
