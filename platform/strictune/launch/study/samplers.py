"""Optuna's samplers and pruners, as a sweep file names them."""

import warnings

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from strictune.config import SchedulerSpec, SearchSpec

__all__ = ["pruner_for", "sampler_for"]


def sampler_for(search: SearchSpec, *, number: int) -> BaseSampler:
    """Return the sampler of one point.

    Each point has a generator of its own, so that what is drawn depends on the seed and the
    study so far, and not on how often the sweep was resumed.
    """
    seed = (search.seed * 1_000_003 + number) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match search.sampler:
            case "tpe":
                return TPESampler(
                    seed=seed,
                    n_startup_trials=search.num_startup_trials,
                    multivariate=True,
                    group=True,
                    constant_liar=True,
                )
            case "gp":
                return GPSampler(seed=seed, n_startup_trials=search.num_startup_trials)
            case "random":
                return RandomSampler(seed=seed)


def pruner_for(scheduler: SchedulerSpec) -> BasePruner:
    """Return the pruner of a study; ``dominated`` is decided elsewhere."""
    match scheduler.kind:
        case "asha":
            return SuccessiveHalvingPruner(
                min_resource=scheduler.min_steps, reduction_factor=scheduler.reduction_factor
            )
        case "median":
            return MedianPruner(n_startup_trials=4, n_warmup_steps=scheduler.min_steps - 1)
        case _:
            return NopPruner()
