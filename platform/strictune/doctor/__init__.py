"""Checks whether sweeps can run on this machine, and names a cure for what fails.

``checks`` lists the checks in the order of their table, and holds the light ones, which read files
and ask the system. Heavy ones start a process that runs the real model, store or cluster as a sweep
does: ``try_model``, ``try_mlflow`` or Ray's in ``strictune.launch.try_ray``. ``examination``
runs them side by side within their time limits.
"""

from strictune.doctor.checks import CHECKS
from strictune.doctor.examination import Check, Finding, Place, examine

__all__ = ["CHECKS", "Check", "Finding", "Place", "examine"]
