"""The expected costs of a sweep: those of its cells, and their sum; None is not known."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from strictune.packing import Machine
from strictune.records import CellPlan, StepSource

__all__ = ["SweepCosts"]


STEP_SOURCES: tuple[StepSource, ...] = get_args(StepSource)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCosts:
    """The cells of a sweep, and their sum."""

    device: str
    machines: Sequence[Machine]
    cells: Mapping[str, CellPlan]

    @property
    def at_once(self) -> int | None:
        """Trials that run at the same time at most; None where it takes a probe to know."""
        grants = [cell.grant for cell in self.cells.values()]
        if any(grant is None for grant in grants):
            return None
        return max((grant.at_once for grant in grants if grant is not None), default=None)

    @property
    def trial_hours(self) -> float | None:
        """Hours of all trials, one after the other; None if those of a cell are not known."""
        return _total([(cell.hours, cell.num_trials) for cell in self.cells.values()])

    @property
    def gpu_hours(self) -> float | None:
        """Hours of GPUs: each trial's hours times its GPUs; 0 on machines without."""
        return _total(
            [
                (
                    cell.hours,
                    cell.num_trials * cell.grant.num_workers * cell.grant.gpus
                    if cell.grant
                    else None,
                )
                for cell in self.cells.values()
            ]
        )

    @property
    def wall_hours(self) -> float | None:
        """Hours until the last trial ends, if no place stands empty before."""
        cells = self.cells.values()
        packed = _total(
            [
                (cell.hours, cell.num_trials / cell.grant.at_once if cell.grant else None)
                for cell in cells
            ]
        )
        longest = max((cell.hours or 0.0 for cell in cells), default=0.0)
        return None if packed is None else max(packed, longest)

    @property
    def hours_source(self) -> StepSource:
        """Where the least sure of the cells' hours come from."""
        sources = [cell.step.source for cell in self.cells.values()]
        return max(sources, key=STEP_SOURCES.index, default="unknown")

    def document(self) -> dict[str, Any]:
        """Return the costs as plain data: what ``costs.json`` and ``plan --json`` hold."""
        return {
            "device": self.device,
            "machines": [asdict(machine) for machine in self.machines],
            "cells": {name: cell.model_dump() for name, cell in self.cells.items()},
            "trial_hours": self.trial_hours,
            "gpu_hours": self.gpu_hours,
            "wall_hours": self.wall_hours,
            "hours_source": self.hours_source,
        }


def _total(parts: Sequence[tuple[float | None, float | None]]) -> float | None:
    """Add up products; None if a factor is not known."""
    if any(factor is None for part in parts for factor in part):
        return None
    return math.fsum((hours or 0.0) * (times or 0.0) for hours, times in parts)
