"""How the trials of a sweep stand, read from its folder while it runs.

``sweep`` looks at all of it, ``trial`` at one trial, and ``driver`` says whether anybody runs the
sweep. Reading never writes, and asks neither Ray nor MLflow: the folder is the truth, on whatever
machine it is seen. Results on the final split are left to the report.
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
