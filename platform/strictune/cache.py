"""strictune's folder in the user's cache directory: baselines, models, drawn data, costs."""

import tempfile
from pathlib import Path

from strictune.errors import StorageError

__all__ = ["cache_folder", "writable_cache_folder"]


def cache_folder() -> Path:
    """Return strictune's folder in the user's cache directory."""
    import platformdirs  # Here: who names models otherwise can do without it.

    return platformdirs.user_cache_path("strictune", appauthor=False)


def writable_cache_folder(part: str) -> Path:
    """Return the folder of a part of the cache, made if it is missing.

    Raises:
        StorageError: It cannot be made or written to.
    """
    folder = cache_folder() / part
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise StorageError(
            f"{folder}: this part of the cache cannot be written ({error.strerror}). Set "
            "XDG_CACHE_HOME to a folder of your own."
        ) from error
