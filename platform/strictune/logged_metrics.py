"""Reads a run's ``metrics.jsonl``."""

from strictune.records import read_metrics

__all__ = ["read_metrics"]
