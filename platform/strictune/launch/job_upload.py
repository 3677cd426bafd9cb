"""Which files of the checkout a job is sent: all but what its runtime environment excludes,
``.gitignore`` and ``.rayignore``. Ray's own rules decide, so that both agree about each file.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from strictune.errors import SpecError

__all__ = ["path_in_upload"]

_QUIET = logging.getLogger(f"{__name__}.ray")
_QUIET.setLevel(logging.WARNING)


def path_in_upload(file: Path, root: Path, *, excludes: Sequence[str], source: str) -> Path:
    """Return where a file of the checkout ``root`` is in the copy that a job is sent.

    Args:
        file: A sweep file.
        root: What is sent.
        excludes: What of it is not, as patterns of a ``.gitignore``.
        source: Where they stand; named in errors.

    Raises:
        SpecError: The file is not sent.
    """
    real = file.resolve()
    if not real.is_relative_to(root):
        raise SpecError(
            f"{file} lies outside {root}, and the job is sent that folder only. Copy the file "
            "into search_spaces/."
        )
    if _is_left_out(real, root, excludes):
        raise SpecError(
            f"{file} is not sent to the cluster: {source}, .gitignore or .rayignore leave it out. "
            "Copy the file into search_spaces/."
        )
    return real.relative_to(root)


def _is_left_out(file: Path, root: Path, excludes: Sequence[str]) -> bool:
    """Walk down to a file as Ray does, with the ignore files of each folder on the way."""
    # Private, and the only statement of the rule; the version of Ray is pinned.
    from ray._private.ray_constants import RAY_RUNTIME_ENV_IGNORE_GITIGNORE
    from ray._private.runtime_env.packaging import _get_excludes, get_excludes_from_ignore_files

    reads_gitignore = os.environ.get(RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1"
    rules = [_get_excludes(root, list(excludes))]
    parents = file.relative_to(root).parents
    for place in (*(root / parent for parent in reversed(parents)), file):
        rules += get_excludes_from_ignore_files(place, reads_gitignore, _QUIET)
        if any(is_excluded(place) for is_excluded in rules):
            return True
    return False
