"""The state of a sweep and its trials, read from its folder while it runs.

``sweep`` reads all of it and whether a process runs it, ``trial`` one trial. Reading never writes,
and asks neither Ray nor MLflow, so it works on every machine that sees the folder. Results on the
final split are left to the report.
"""

from strictune.watch.sweep import Driver, SweepSnapshot, SweepWatch, read_driver
from strictune.watch.trial import TrialRow

__all__ = ["Driver", "SweepSnapshot", "SweepWatch", "TrialRow", "read_driver"]
