"""What one finished run shows beyond its rungs: rates by construct, error classes, lengths.

A baseline is shared by many trials, so these rows carry no trial: who asks adds it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.families import Floats
from analysis.measured import Measured
from analysis.rates import wilson_rate
from analysis.report.answers import Answers
from analysis.tables import Row

__all__ = ["RunRows", "class_rates", "error_class_names", "run_rows"]

RunRows = dict[str, list[Row]]
"""Name of the table -> its rows."""

QUANTILES = {"p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9}


def run_rows(answers: Answers, rung: str) -> RunRows:
    """Return the tables ``constructs`` and ``lengths`` of one run."""
    return {
        "constructs": _construct_rows(answers, rung),
        "lengths": [_length_row(answers.samples)],
    }


def error_class_names(*parts: pd.DataFrame) -> list[str]:
    """Return the error classes of some samples, the most frequent first."""
    found = [part["error_class"] for part in parts if "error_class" in part]
    return [str(name) for name in pd.concat(found).value_counts().index] if found else []


def class_rates(measured: Measured, samples: pd.DataFrame, names: Sequence[str]) -> list[Row]:
    """Return the share of completions in each of ``names``, also where it is 0."""
    if not names or "error_class" not in samples:
        return []
    is_class = pd.DataFrame({name: samples["error_class"] == name for name in names})
    counts = is_class.sum()
    means = is_class.groupby(samples["prompt_id"], sort=True).mean()
    rates = wilson_rate(
        means.to_numpy(dtype=np.float64).T,
        measured.families,
        num_completions=measured.num_completions,
    )
    return [
        {
            "error_class": name,
            "num_completions": int(counts.iloc[index]),
            "rate": float(rates.estimate[index]),
            "low": float(rates.low[index]),
            "high": float(rates.high[index]),
        }
        for index, name in enumerate(names)
    ]


def _construct_rows(answers: Answers, rung: str) -> list[Row]:
    if "constructs" not in answers.samples:
        return []
    first = answers.samples.drop_duplicates("prompt_id").set_index("prompt_id")["constructs"]
    exploded = first.explode().dropna()
    rows = []
    for name in sorted(set(map(str, exploded))):
        table = answers.measured.table.loc[exploded.index[exploded == name]]
        rate = _rate(table, rung)
        rows.append({"construct": name, "num_prompts": len(table), **rate})
    return rows


def _rate(table: pd.DataFrame, rung: str) -> Row:
    families: Sequence[str] = list(map(str, table["family"].to_list()))
    values: Floats = np.asarray(table[f"rung/{rung}"], dtype=np.float64)
    num_completions = int(table["num_samples"].sum())
    found = wilson_rate(values, families, num_completions=num_completions)
    return {"rate": float(found.estimate), "low": float(found.low), "high": float(found.high)}


def _length_row(samples: pd.DataFrame) -> Row:
    tokens = samples["num_tokens"]
    return {
        **{name: float(tokens.quantile(share)) for name, share in QUANTILES.items()},
        "mean": float(tokens.mean()),
        "truncated": float(samples["is_truncated"].mean()),
    }
