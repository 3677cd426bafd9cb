"""Sweeps of GRPO fine-tuning on Ray, from a sweep file to verdicts."""

__all__ = ["__version__"]

__version__ = "0.1.0"
