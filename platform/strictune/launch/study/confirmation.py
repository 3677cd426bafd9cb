"""The winner of a study, trained again with fresh seeds beside what it is held against.

The best of many measurements is biased upward, so nothing is said of a winner before this. Its
trials are an ordinary matrix with the axis ``variant``, and the only ones of a search that open
the final split.
"""

from typing import NamedTuple

from strictune.config import Settings, SweepSpec, TrialSpec, resolve_point
from strictune.launch.study.cell_study import CellStudy
from strictune.launch.study.document import best_point, settings_of

__all__ = ["Confirmation", "confirmation_of"]


class Confirmation(NamedTuple):
    """What a study's winner is trained as, or why it is not."""

    trials: tuple[TrialSpec, ...]
    note: str | None = None


def confirmation_of(sweep: SweepSpec, study: CellStudy) -> Confirmation:
    """Return the trials that confirm the winner of a study whose points have all ended."""
    assert sweep.search is not None
    confirm = sweep.search.confirm
    if confirm is None:
        return Confirmation((), f"{study.name}: search.confirm is null, nothing is confirmed")
    best = best_point(study)
    if best is None:
        return Confirmation(
            (), f"{study.name}: no point of the study finished, or none is feasible"
        )
    variants: dict[str, Settings] = {}
    if "default" in confirm.against:
        variants["default"] = {}
    first = study.own_points[0]
    if "first" in confirm.against and first.number != best.number and settings_of(first):
        variants["first"] = settings_of(first)
    if not settings_of(best):
        note = f"{study.name}: the best point has the cell's own settings, nothing is to confirm"
        return Confirmation((), note)
    variants[f"p{best.number:03d}"] = settings_of(best)
    return Confirmation(
        tuple(
            resolve_point(sweep, study.cell, settings, variant=variant, seed=seed)
            for variant, settings in variants.items()
            for seed in confirm.seeds
        )
    )
