"""The files of a whole sweep: its plan, its expected costs, and the studies of its search."""

import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from strictune.records.files import find_model, read_model

__all__ = [
    "BASELINES",
    "CONTROLS",
    "COSTS",
    "PLAN",
    "STUDIES",
    "TRIALS",
    "CellPlan",
    "Costs",
    "Grant",
    "MemoryPlan",
    "Objective",
    "Plan",
    "PlannedCell",
    "PlannedStage",
    "PlannedTrial",
    "Point",
    "PointState",
    "StepPlan",
    "StepSource",
    "Study",
    "read_costs",
    "read_plan",
    "read_studies",
]

PLAN, COSTS, STUDIES = "plan.json", "costs.json", "studies.json"
BASELINES, CONTROLS, TRIALS = "baselines", "controls", "trials"


class PlannedTrial(BaseModel, frozen=True):
    """One trial as the plan lists it."""

    trial_id: str
    name: str
    cell: str
    model: str
    thinking: bool
    curriculum: str
    method: str = "grpo"
    variant: str | None = None
    seed: int


class PlannedStage(BaseModel, frozen=True):
    """One stage of a cell's curriculum."""

    name: str
    steps: int
    """Its own optimizer steps."""
    method: str | None = None
    """What trains it; None in the plan of an older version: the trial's method."""
    weights: dict[str, float] = {}
    """The reward weights that it trains with; empty where it trains without rewards."""


class PlannedCell(BaseModel, frozen=True):
    """One cell as the plan lists it."""

    name: str
    stages: tuple[PlannedStage, ...] = ()
    weights: dict[str, float] = {}
    """The reward weights of stages without weights of their own."""
    ties: tuple[str, ...] = ()
    """Decisive reward components without weight: a wrong answer may tie with a right one."""
    config: dict[str, Any] = {}
    """The settings of its trials, without seed and names."""

    @property
    def is_mixed(self) -> bool:
        """Whether its stages are trained by different methods, as in a warm start."""
        return len({stage.method for stage in self.stages}) > 1


class Plan(BaseModel, frozen=True):
    """``plan.json``: what the sweep compares, fixed before anything runs."""

    sweep: str
    task: str
    primary_criterion: str
    criteria: tuple[str, ...]
    contrasts: tuple[str, ...] = ()
    search: dict[str, Any] | None = None
    """The settings of its search, where it has one."""
    cells: tuple[PlannedCell, ...] = ()
    trials: tuple[PlannedTrial, ...]


StepSource = Literal["earlier trials", "probe, at worst lengths", "guess", "unknown"]
"""Where times come from, surest first; see ``strictune.cost_guess`` for the guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What each trial of a cell is granted; with several workers each of them is granted it."""

    cpus: float
    gpus: float = 0.0
    """Share of a GPU; 0 on machines without."""
    memory_gib: float | None = None
    """Main memory set aside; None sets none aside."""
    at_once: int
    """Trials of this kind that run at the same time on the whole cluster."""
    num_workers: int = 1
    """Processes of one trial."""

    @property
    def num_threads(self) -> int:
        """Torch threads of each process."""
        return max(1, int(self.cpus))

    def ray_resources(self) -> dict[str, float]:
        """Return the request of one process in Ray Tune's words; memory is in bytes."""
        resources = {"cpu": self.cpus}
        if self.gpus:
            resources["gpu"] = self.gpus
        if self.memory_gib is not None:
            resources["memory"] = math.ceil(self.memory_gib * 2**30)
        return resources


class MemoryPlan(BaseModel, frozen=True):
    """The peak of a trial: on the GPU where there is one, else of its process."""

    peak_gib: float | None = None
    source: Literal["measured", "estimated", "unknown"] = "unknown"


class StepPlan(BaseModel, frozen=True):
    """The seconds of an optimizer step, and of all of a trial's evaluations together."""

    step_s: float | None = None
    evaluation_s: float | None = None
    other_s: float = 0.0
    """Loading and checkpoints of a trial."""
    source: StepSource = "unknown"


class CellPlan(BaseModel, frozen=True):
    """What the trials of one cell are expected to take; None is not known."""

    num_trials: int = 0
    num_steps: int = 0
    """Optimizer steps of one trial."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What it computes in on these machines."""
    memory: MemoryPlan = MemoryPlan()
    grant: Grant | None = None
    """None where it takes a probe to know."""
    problem: str | None = None
    """Why a trial does not fit, or may not."""
    step: StepPlan = StepPlan()
    hours: float | None = None
    """Of one trial."""


class Costs(BaseModel, frozen=True):
    """``costs.json``: what was expected of the sweep when it began."""

    cells: dict[str, CellPlan] = {}


class PointState(StrEnum):
    """How a point of a study ended."""

    FINISHED = "finished"
    STOPPED = "stopped early"
    FAILED = "failed"
    OPEN = "open"
    """Suggested, and not finished yet."""


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
    interim_values: dict[int, float]
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
    """What the study of one cell has tried."""

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
    config: dict[str, Any] = {}
    """The cell's own settings."""
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


class _Studies(BaseModel, frozen=True):
    studies: tuple[Study, ...]


def read_plan(sweep: Path) -> Plan:
    """Read ``plan.json`` of a sweep.

    Raises:
        StorageError: It is missing or not a plan.
    """
    cure = "Give the folder of a sweep that was started, e.g. runs/quickstart."
    return read_model(sweep / PLAN, Plan, cure=cure)


def read_costs(sweep: Path) -> Costs:
    """Read ``costs.json`` of a sweep; without the file nothing was expected.

    Raises:
        StorageError: It cannot be understood.
    """
    cure = "Remove the file: the sweep then has no plan of its costs."
    return find_model(sweep / COSTS, Costs, cure=cure) or Costs()


def read_studies(sweep: Path) -> tuple[Study, ...]:
    """Read the studies of a sweep's search, one a cell.

    Raises:
        StorageError: The sweep has none yet, or the file cannot be understood.
    """
    cure = "Give the folder of a sweep whose search has begun, e.g. runs/reward-weights."
    return read_model(sweep / STUDIES, _Studies, cure=cure).studies
