"""What works on this machine, and what would cure what does not.

``checks`` lists the checks in the order of their table, and holds the light ones, which read files
and ask the system. Heavy ones start a process of their own that does with the real thing what a
sweep does: ``try_model``, ``try_mlflow`` or Ray's in ``strictune.launch.try_ray``. ``examination``
runs them side by side within their time limits.
"""

from strictune.doctor.checks import CHECKS
from strictune.doctor.examination import Check, Finding, Place, Status, examine

__all__ = ["CHECKS", "Check", "Finding", "Place", "Status", "examine"]
