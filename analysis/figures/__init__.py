"""Figures: each one function that takes a table and returns a figure.

A figure is an altair chart; ``rendering`` makes pictures of it, or what a page draws. The
tables come from ``analysis.report``, and a figure knows nothing of sweeps, files or tasks.
Importing this package takes altair with it, so callers import it where they need it.
"""

from analysis.figures.rates import (
    baseline_against_trained,
    comparisons,
    completion_length,
    control_arms,
    criterion_ladder,
    differences,
    error_classes,
    plan_against_actual,
    rates_by_construct,
    rates_by_difficulty,
    rescued_and_regressed,
    think_by_curriculum,
)
from analysis.figures.theme import page_scripts, specification, to_svg
from analysis.figures.training import (
    curriculum_progression,
    error_classes_by_stage,
    reward_components,
    stage_by_difficulty,
    think_rate,
)

__all__ = [
    "baseline_against_trained",
    "comparisons",
    "completion_length",
    "control_arms",
    "criterion_ladder",
    "curriculum_progression",
    "differences",
    "error_classes",
    "error_classes_by_stage",
    "page_scripts",
    "plan_against_actual",
    "rates_by_construct",
    "rates_by_difficulty",
    "rescued_and_regressed",
    "reward_components",
    "specification",
    "stage_by_difficulty",
    "think_by_curriculum",
    "think_rate",
    "to_svg",
]
