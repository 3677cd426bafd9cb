"""What works on this machine, and what would cure what does not.

``checks`` lists them. Light ones (``machine``, ``software``, ``hub``) read files and ask the
system; heavy ones start a process of their own, ``try_model``, ``try_mlflow`` or Ray's in
``strictune.launch.try_ray``, which does with the real thing what a sweep does. ``findings`` is
what they say, and ``examination`` runs them side by side within their time limits.
"""

from strictune.doctor.checks import CHECKS
from strictune.doctor.examination import Check, examine
from strictune.doctor.findings import Finding, Place, Status

__all__ = ["CHECKS", "Check", "Finding", "Place", "Status", "examine"]
