"""Ray Tune run to its end, or until somebody interrupts it, and which of the two it was.

Tune takes the first SIGINT for itself: it stops its trials in order and returns as if they were
done. If none arrives, its handler stays behind and takes the next one. So the interpreter notes
the signals that arrive, whoever handles them, and the handler is put back.
"""

import contextlib
import os
import signal
from typing import NamedTuple

from ray import tune

__all__ = ["Fitted", "fit"]

INTERRUPTING = frozenset({signal.SIGINT, signal.SIGUSR1})
"""What Tune ends a run for. SIGTERM and ``strictune stop`` become SIGINT before."""
MAX_NOTED = 4096
"""Signals that are looked through, one byte each."""


class Fitted(NamedTuple):
    """What a run of Tune came to."""

    results: tune.ResultGrid
    """One for each trial, also of those that were cut off or have not started."""
    is_interrupted: bool
    """It was ended by a signal."""


def fit(tuner: tune.Tuner) -> Fitted:
    """Run a tuner, in the main thread; a second SIGINT ends even its orderly end.

    Raises:
        KeyboardInterrupt: SIGINT arrived twice, or before Tune was ready for it.
    """
    handler = signal.getsignal(signal.SIGINT)
    noted, note = os.pipe()
    os.set_blocking(noted, False)
    os.set_blocking(note, False)
    before = signal.set_wakeup_fd(note, warn_on_full_buffer=False)
    try:
        results = tuner.fit()
        signals = b""
        with contextlib.suppress(BlockingIOError):  # None arrived.
            signals = os.read(noted, MAX_NOTED)
        return Fitted(results, is_interrupted=not INTERRUPTING.isdisjoint(signals))
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGINT, handler)
        os.close(noted)
        os.close(note)
