"""Sweep files and what they resolve to; imports neither torch nor ray nor mlflow."""

from strictune.config.curriculum import StageSpec
from strictune.config.evaluation import EvaluationSpec, SamplingSpec
from strictune.config.expansion import expand, resolve_point
from strictune.config.loading import cell_trial, load_sweep, load_trial
from strictune.config.rollouts import RolloutsSpec, VllmSpec
from strictune.config.search import (
    DimensionSpec,
    ObjectiveSpec,
    SchedulerSpec,
    SearchSpec,
    SimplexSpec,
    SpaceSpec,
)
from strictune.config.settings import Settings
from strictune.config.sweep import ResourcesSpec, SweepSpec
from strictune.config.training import (
    DTYPES,
    ComputeDtype,
    Dtype,
    GrpoSpec,
    LoraSpec,
    SftSpec,
    auto_dtype,
)
from strictune.config.trial import Attention, CheckpointSpec, TrialSpec
from strictune.config.yaml_text import dump_yaml

__all__ = [
    "DTYPES",
    "Attention",
    "CheckpointSpec",
    "ComputeDtype",
    "DimensionSpec",
    "Dtype",
    "EvaluationSpec",
    "GrpoSpec",
    "LoraSpec",
    "ObjectiveSpec",
    "ResourcesSpec",
    "RolloutsSpec",
    "SamplingSpec",
    "SchedulerSpec",
    "SearchSpec",
    "Settings",
    "SftSpec",
    "SimplexSpec",
    "SpaceSpec",
    "StageSpec",
    "SweepSpec",
    "TrialSpec",
    "VllmSpec",
    "auto_dtype",
    "cell_trial",
    "dump_yaml",
    "expand",
    "load_sweep",
    "load_trial",
    "resolve_point",
]
