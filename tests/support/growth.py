"""How the time of something grows with its input: a ratio within one run, so any machine will do.

The clock is that of this process, and what else the machine did can only add to it: of three times
the least counts, and one round of several below the bound is enough.
"""

import gc
import time
from collections.abc import Callable

ROUNDS = 3


def check_growth(run: Callable[[int], object], size: int, *, factor: int, below: float) -> None:
    """Assert that ``run(factor * size)`` takes less than ``below`` times as long as ``run(size)``.

    The garbage collector is off meanwhile: it costs by what the whole process holds.
    """
    gc.collect()
    gc.disable()
    ratios: list[float] = []
    try:
        while not any(ratio < below for ratio in ratios):
            assert len(ratios) < ROUNDS, f"{factor} times the size took {ratios} times as long"
            ratios.append(_ratio(run, size, factor))
    finally:
        gc.enable()


def cpu_s(run: Callable[[], object]) -> float:
    """Return the CPU seconds of this process that something takes."""
    started = time.process_time()
    run()
    return time.process_time() - started


def _ratio(run: Callable[[int], object], size: int, factor: int) -> float:
    # Below half a millisecond the clock says nothing about growth.
    return _least_s(run, factor * size) / max(_least_s(run, size), 5e-4)


def _least_s(run: Callable[[int], object], size: int) -> float:
    return min(cpu_s(lambda: run(size)) for _ in range(3))
