"""A replay in rows of display strings and in plain sentences."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.replay.advantages import Scheme
from analysis.replay.document import QUANTILES, summarize_samples
from analysis.replay.matrices import SweepMatrices
from analysis.replay.rows import MEASURES, SCHEME_COLUMNS
from analysis.replay.saturation import NUM_PHASES
from analysis.replay.simplex import DEFAULT
from analysis.wording import NOT_MEASURED

__all__ = [
    "component_rows",
    "constant_sentences",
    "count_sentences",
    "farthest_sentence",
    "how_to_read",
    "sample_rows",
    "vector_rows",
    "vector_sentences",
]

_IN_PERCENT = {"zero_spread_frac", "wrong_best_frac", "tied_best_frac"}


def count_sentences(sweep: SweepMatrices) -> list[str]:
    """Say what was read and what was not."""
    matrices = [matrix for cell in sweep.cells for matrix in cell.matrices]
    completions = sum(matrix.num_completions for matrix in matrices)
    groups = sum(len(matrix.steps) for matrix in matrices)
    unscored = sum(matrix.num_unscored for matrix in matrices)
    return [
        f"{sweep.sweep}: {completions:,} training completions in {groups:,} groups, of "
        f"{len(matrices)} trials in {len(sweep.cells)} cells.",
        *(
            [f"Left out: {unscored:,} groups with a completion that could not be scored."]
            if unscored
            else []
        ),
        *(f"Left out: {trial.trial_id}: {trial.reason}" for trial in sweep.skipped),
    ]


def component_rows(
    sweep: SweepMatrices, phases: Sequence[Mapping[str, Any]]
) -> list[dict[str, str]]:
    """Return the first and the last part of training, for each component a cell can earn."""
    found = {(row["cell"], row["component"], row["phase"]): row for row in phases}
    last = {cell: max(key[2] for key in found if key[0] == cell) for cell, _, _ in found}
    rows = []
    for cell in sweep.cells:
        for name, weight, is_active in zip(
            cell.components, cell.weights, cell.is_active, strict=True
        ):
            if is_active:
                ends = found[cell.name, name, 1], found[cell.name, name, last[cell.name]]
                rows.append(
                    {
                        "cell": cell.name,
                        "component": name,
                        "weight": f"{weight:.3g}",
                        "at its maximum": _course(ends, "at_max_frac"),
                        "std": " → ".join(f"{end['std']:.2f}" for end in ends),
                        "same in the whole group": _course(ends, "constant_groups_frac"),
                    }
                )
    return rows


def constant_sentences(sweep: SweepMatrices, phases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the components whose weight changes no order: equal within every group of a cell."""
    cells_of: dict[str, list[str]] = {}
    for cell in sweep.cells:
        for name, is_active in zip(cell.components, cell.is_active, strict=True):
            shares = [
                row["constant_groups_frac"]
                for row in phases
                if (row["cell"], row["component"]) == (cell.name, name)
            ]
            if is_active and min(shares) == 1:
                cells_of.setdefault(name, []).append(cell.name)
    return [
        f"{name} never differed within a group of {', '.join(cells)}: a weight on it changes no "
        "order, it only takes weight from the others."
        for name, cells in cells_of.items()
    ]


def vector_sentences(table: pd.DataFrame) -> list[str]:
    """Say what the vectors of ``vector_rows`` are."""
    named = _short_names(table)
    return [f"{short}: {name}" for name, short in named.items() if name != DEFAULT]


def vector_rows(table: pd.DataFrame, *, rung: str) -> list[dict[str, str]]:
    """Return a row for each vector: every cell as it trains, and all of them in every scheme."""
    widest = table["cell"].iloc[-1]
    shown = table[table["is_own"] | (table["cell"] == widest)]
    named = _short_names(table)
    order = {name: index for index, name in enumerate(named)}
    shown = shown.sort_values("vector", key=lambda names: names.map(order), kind="stable")
    return [
        {
            "weights": named[row["vector"]],
            "cell": str(row["cell"]),
            "advantages": _scheme_label(row),
            **{_heading(name, rung): _value(row, name) for name in MEASURES},
        }
        for row in shown.to_dict("records")
    ]


def sample_rows(table: pd.DataFrame, *, rung: str) -> list[dict[str, str]]:
    """Return median and 5% to 95% of each measure over the sampled vectors, for each scheme.

    Of the widest scope only: all cells, or the only one.
    """
    return [
        {
            "cell": str(row["cell"]),
            "vectors": str(row["num_samples"]),
            "advantages": _scheme_label(row),
            **{_heading(name, rung): _spread(row[name], name) for name in MEASURES},
        }
        for row in summarize_samples(_widest(table))
    ]


def farthest_sentence(table: pd.DataFrame) -> str:
    """Name the sampled vector whose advantages resemble the default's least."""
    widest = _widest(table)
    own = widest[widest["is_own"]] if widest["is_own"].any() else widest
    row = own.sort_values("rank_correlation").head(1).to_dict("records")[0]
    weights = ", ".join(
        f"{name.removeprefix('weight/')} {row[name]:.2f}"
        for name in map(str, table.columns)
        if name.startswith("weight/")
    )
    return (
        f"Least like the default in {row['cell']} ({_scheme_label(row)}): {row['vector']}, rank "
        f"correlation {row['rank_correlation']:.2f}: {weights}."
    )


def how_to_read(rung: str) -> tuple[str, ...]:
    """Return the rules of the tables."""
    return (
        "Replay re-scores recorded completions: it does not know what training under other "
        "weights would have written. It has not been shown to predict what a trial does.",
        "Rank correlation: Spearman between the advantages of all completions of a row's cells "
        "and those under the default weights of plan.json in the cell's own scheme; a group "
        "without spread takes part with advantage 0. Within groups: the mean over the groups "
        "that have an order under both; scale_rewards cannot change it.",
        f"Best is not {rung} and tied with one: of the groups that hold both kinds. Correlation "
        f"with {rung}: in the same groups, 0 without spread.",
        "After ±: the standard error over the steps of the trials. It says nothing about other "
        "seeds.",
        f"An arrow leads from the first to the last of {NUM_PHASES} equal parts of the steps.",
        "A cell without thinking shares the weight of what only thinking can earn out over the "
        "others, as in training.",
    )


def _short_names(table: pd.DataFrame) -> dict[str, str]:
    """Name given vectors so that they fit into a table, in order."""
    names = dict.fromkeys(map(str, table["vector"]))
    return {name: name if name == DEFAULT else f"weights {n}" for n, name in enumerate(names)}


def _heading(measure: str, rung: str) -> str:
    return {
        "rank_correlation": "rank correlation",
        "group_rank_correlation": "within groups",
        "zero_spread_frac": "zero spread",
        "wrong_best_frac": f"best is not {rung}",
        "tied_best_frac": "tied with one",
        "rung_correlation": f"correlation with {rung}",
    }[measure]


def _widest(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows of the last scope: all cells, or the only one."""
    found: pd.DataFrame = table[table["cell"] == table["cell"].iloc[-1]]
    return found


def _scheme_label(row: Mapping[Any, Any]) -> str:
    return Scheme(*(row[name] for name in SCHEME_COLUMNS)).label


def _value(row: Mapping[Any, Any], measure: str) -> str:
    value, error = float(row[measure]), float(row[f"{measure}_se"])
    if math.isnan(value):
        return NOT_MEASURED
    text = _number(value, measure)
    return text if math.isnan(error) else f"{text} ± {_number(error, measure).rstrip('%')}"


def _course(ends: Iterable[Mapping[str, Any]], measure: str) -> str:
    return " → ".join(
        f"{end[measure]:.0%}"
        + ("" if math.isnan(end[f"{measure}_se"]) else f" ± {100 * end[f'{measure}_se']:.0f}")
        for end in ends
    )


def _spread(quantiles: Mapping[str, float], measure: str) -> str:
    median, low, high = (quantiles[key] for key in QUANTILES)
    if math.isnan(median):
        return NOT_MEASURED
    bounds = (_number(bound, measure).rstrip("%") for bound in (low, high))
    return f"{_number(median, measure)} [{', '.join(bounds)}]"


def _number(value: float, measure: str) -> str:
    return f"{value:.1%}" if measure in _IN_PERCENT else f"{value:.3f}"
