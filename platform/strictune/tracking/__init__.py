"""The one writer of the tracking store: a mirror of what trials left in their folders.

``mirror`` copies a sweep, ``background`` does it beside a running one. Below them:
``reader`` and ``records`` (what the folders say), ``spool`` (metrics as batches),
``planning`` (what the store lacks), ``run_tree`` and ``store`` (writing it), ``identity``
and ``names``. Only ``store`` imports mlflow, when a store is opened. Data sets, logged
models and the model registry are left out.
"""

from strictune.tracking.background import MirrorThread
from strictune.tracking.identity import tracking_uri_for
from strictune.tracking.mirror import Mirror, SyncReport, replay
from strictune.tracking.store import default_tracking_uri, without_password

__all__ = [
    "Mirror",
    "MirrorThread",
    "SyncReport",
    "default_tracking_uri",
    "replay",
    "tracking_uri_for",
    "without_password",
]
