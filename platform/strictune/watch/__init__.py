"""The state of a sweep and its trials, read from its folder while it runs.

``sweep`` reads all of it, ``trial`` one trial, and ``driver`` whether a process runs the sweep.
Reading never writes, and asks neither Ray nor MLflow, so it works on every machine that sees the
folder. Results on the final split are left to the report.
"""

from strictune.watch.driver import Driver, read_driver
from strictune.watch.sweep import SweepSnapshot, SweepState, SweepWatch
from strictune.watch.trial import HeldOut, TrialRow

__all__ = [
    "Driver",
    "HeldOut",
    "SweepSnapshot",
    "SweepState",
    "SweepWatch",
    "TrialRow",
    "read_driver",
]
