"""The one writer of the tracking store: a mirror of what trials left in their folders.

``mirror`` copies a sweep, ``background`` does it beside a running one. Below them: ``reader``
(what the folders say), ``points`` (metrics as batches), ``store`` (writing), ``identity`` and
``names``. ``registry`` moves the alias ``best`` of a registered model. Only ``store`` imports
mlflow, when a store is opened.
"""

from strictune.addresses import without_password
from strictune.tracking.background import MirrorThread
from strictune.tracking.identity import (
    default_tracking_uri,
    read_identity,
    runs_page,
    tracking_uri_for,
)
from strictune.tracking.mirror import Mirror, replay
from strictune.tracking.registry import Promotion, promote

__all__ = [
    "Mirror",
    "MirrorThread",
    "Promotion",
    "default_tracking_uri",
    "promote",
    "read_identity",
    "replay",
    "runs_page",
    "tracking_uri_for",
    "without_password",
]
