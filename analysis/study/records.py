"""Reads ``studies.json``: what the studies of a search have tried."""

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from strictune.errors import StorageError

__all__ = ["FILE", "Objective", "Point", "PointState", "Study", "read_studies"]

FILE = "studies.json"


class PointState(StrEnum):
    """How a point of a study ended."""

    FINISHED = "finished"
    STOPPED = "stopped early"
    FAILED = "failed"
    OPEN = "open"
    """Asked for, and not told yet."""


class Objective(BaseModel, frozen=True):
    """One metric that the study optimizes."""

    metric: str
    mode: Literal["max", "min"]

    @property
    def sign(self) -> float:
        """What makes more of it better."""
        return 1.0 if self.mode == "max" else -1.0


class Point(BaseModel, frozen=True):
    """One choice of settings."""

    number: int
    state: PointState
    is_from_before: bool
    """It was measured by an earlier sweep."""
    is_feasible: bool
    constraints: dict[str, float]
    """Above 0 is a violation."""
    settings: dict[str, Any]
    """By dotted key, on top of the cell's own; empty is the cell itself."""
    weights: dict[str, float]
    """The reward weights in effect."""
    values: tuple[float, ...] | None
    """In the order of the objectives; None unless it finished."""
    looks: dict[int, float]
    """The first objective at partial budgets, by step; never mixed with ``values``."""
    reason: str | None
    trials: tuple[str, ...]
    """Their ids, one a seed."""

    @property
    def name(self) -> str:
        """What tables and the confirming trials call it, e.g. ``p007``."""
        return f"p{self.number:03d}"

    @property
    def is_default(self) -> bool:
        """Whether it is the cell with its own settings."""
        return not self.settings

    @property
    def is_candidate(self) -> bool:
        """Whether it may win: finished, and feasible."""
        return self.values is not None and self.is_feasible

    @property
    def value(self) -> float:
        """The first objective of a point that finished."""
        assert self.values is not None
        return self.values[0]


class Study(BaseModel, frozen=True):
    """What one study has tried."""

    cell: str
    model: str
    thinking: bool
    sampler: str
    num_trials: int
    """Points that the study is to have."""
    objectives: tuple[Objective, ...]
    components: tuple[str, ...]
    """Reward components that can be earned in the cell."""
    default_weights: dict[str, float]
    winner: int | None
    """Number of the best feasible point, by the first objective."""
    points: tuple[Point, ...]

    @property
    def best(self) -> Point | None:
        """The winner."""
        return next((point for point in self.points if point.number == self.winner), None)

    @property
    def default(self) -> Point | None:
        """The first finished point with the cell's own settings."""
        return next((p for p in self.points if p.is_default and p.values is not None), None)


class _Document(BaseModel, frozen=True):
    studies: tuple[Study, ...]


def read_studies(sweep_dir: Path) -> tuple[Study, ...]:
    """Read the studies of a sweep, one a cell.

    Raises:
        StorageError: The sweep has none yet, or the file cannot be understood.
    """
    path = sweep_dir / FILE
    try:
        return _Document.model_validate_json(path.read_bytes()).studies
    except FileNotFoundError as error:
        raise StorageError(
            f"{path}: there is no such file. It is written by a sweep with a search, once its "
            "first point is asked for, e.g. runs/reward-weights."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise StorageError(f"{path}: {where}: {first['msg']}.") from error
