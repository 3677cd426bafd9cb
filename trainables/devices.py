"""What devices are called in records: the same name everywhere, so that costs can be found."""

import platform

__all__ = ["cpu_name"]


def cpu_name() -> str:
    """Return how this machine's processor appears in ``lock.json``."""
    return f"cpu ({platform.machine()})"
