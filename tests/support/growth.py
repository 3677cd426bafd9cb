"""How the time of something grows with its input: a ratio within one run, so any machine will do.

The clock is that of this process, and of three times the least counts: the others hold what else
the machine did.
"""

import gc
import time
from collections.abc import Callable


def growth(run: Callable[[int], object], size: int, *, factor: int) -> float:
    """Return how many times as long ``run(factor * size)`` takes as ``run(size)``.

    The garbage collector is off meanwhile: it costs by what the whole process holds.
    """
    gc.collect()
    gc.disable()
    try:
        # Below half a millisecond the clock says nothing about growth.
        return _seconds(run, factor * size) / max(_seconds(run, size), 5e-4)
    finally:
        gc.enable()


def _seconds(run: Callable[[int], object], size: int) -> float:
    times = []
    for _ in range(3):
        started = time.process_time()
        run(size)
        times.append(time.process_time() - started)
    return min(times)
