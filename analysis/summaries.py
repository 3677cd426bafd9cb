"""What a run's ``summary.json`` says of its final evaluation beyond the answers themselves."""

import json
import math
from collections.abc import Mapping
from typing import Any

from analysis.records import RunRecord

__all__ = ["decoding_speed", "missing_frac"]


def decoding_speed(record: RunRecord) -> float:
    """Return the completion tokens a second; NaN if not recorded.

    Scoring is in the time, and loading the model is not.
    """
    summary = _summary(record)
    if not summary.get("seconds"):
        return math.nan
    tokens = summary["num_completions"] * summary["completion_tokens_mean"]
    return float(tokens / summary["seconds"])


def missing_frac(record: RunRecord) -> float:
    """Return the share of the completions that could not be scored; 0 if not recorded.

    They have no row and count in no rate. With all of them scored, a rate might be so much
    higher or lower, and no more (the worst case of Manski, "Nonparametric
    Bounds on Treatment Effects", 1990).
    """
    summary = _summary(record)
    missing = summary.get("num_missing", 0)
    return float(missing / (missing + summary["num_completions"])) if missing else 0.0


def _summary(record: RunRecord) -> Mapping[str, Any]:
    path = record.samples_file.parent / "summary.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
