"""Moves the alias ``best`` of registered models at the end of a sweep, and says so."""

from collections.abc import Callable
from pathlib import Path

from analysis import SweepVerdicts, best_adapters, challenge
from strictune.errors import StorageError
from strictune.tracking import Promotion, promote
from strictune.tracking.registry import Candidate

__all__ = ["promote_best"]


def promote_best(
    sweep_dir: Path, tracking_uri: str, verdicts: SweepVerdicts, *, tell: Callable[[str], None]
) -> None:
    """Register the adapters that are better than their baselines and tell what became of them.

    A store that does not answer, or lacks what must be compared, costs one line.
    """
    candidates = [
        Candidate(model, trial.plan.trial_id, trial.verdict.text)
        for model, trial in best_adapters(verdicts, sweep_dir).items()
    ]
    try:
        promotions = promote(
            sweep_dir, tracking_uri, candidates, task=verdicts.task, judge=challenge
        )
    except StorageError as error:
        tell(f"registered models were not changed: {error}")
        return
    for promotion in promotions:
        tell(_sentence(promotion))


def _sentence(done: Promotion) -> str:
    state = "holds" if done.is_best else "does not get"
    return (
        f"registered model {done.name}: version {done.version} ({done.trial_id}) {state} the "
        f"alias best: {done.text}"
    )
