"""Tables of made-up completions for the tests of audits, and their audit."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from analysis.audit.audit import Audit, audit_arms
from analysis.audit.runs import BaselineIs, write_runs

NUM_FAMILIES = 12
PROMPTS_PER_FAMILY = 5


def completions(
    strict: float,
    *,
    syntax: float | None = None,
    is_thinking_asked: bool = False,
    think: float = 0.0,
    num_characters: int = 100,
    num_values: float = 4.0,
    empty: float = 0.0,
    reward: float = 0.5,
    num_prompts: int = NUM_FAMILIES * PROMPTS_PER_FAMILY,
    **arm: str,
) -> pd.DataFrame:
    """Return one arm's completions; rates are shares of prompts, the first ones right."""

    def first(share: float) -> list[float]:
        # Families take turns, so that each has the same share.
        return [float(index // NUM_FAMILIES < share * PROMPTS_PER_FAMILY) for index in order]

    order = range(num_prompts)
    return pd.DataFrame(
        {
            **{f"arm/{column}": value for column, value in arm.items()},
            "prompt_id": [f"p{index:03}" for index in order],
            "family": [f"f{index % NUM_FAMILIES}" for index in order],
            "difficulty": "unknown",
            "is_thinking_asked": is_thinking_asked,
            "is_thinking": [bool(value) for value in first(think)],
            "num_tokens": float("nan"),
            "is_truncated": float("nan"),
            "criterion/syntax": first(strict if syntax is None else syntax),
            "criterion/strict": first(strict),
            "measure/num_characters": num_characters,
            "measure/num_values": num_values,
            "measure/reward/format": reward,
            "measure/share/empty_document": first(empty),
        }
    )


def table(*arms: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(arms, ignore_index=True)


def audit_table(
    rows: pd.DataFrame,
    *,
    criterion: str = "strict",
    baseline: BaselineIs | None = None,
    contrast_columns: Sequence[str] = (),
) -> Audit:
    """Write the arms of a table as runs, and audit them."""
    with TemporaryDirectory() as folder:
        key = {"suite": "s", "scorer": "1"}
        arms = write_runs(rows, Path(folder), criterion=criterion, key=key, baseline=baseline)
        return audit_arms(arms, criterion=criterion, contrast_columns=contrast_columns)
