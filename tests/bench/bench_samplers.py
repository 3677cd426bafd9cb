"""TPE against random draws on an objective that was fixed in advance: how many points to be good?

Run by hand: ``python tests/bench/bench_samplers.py SWEEP [SWEEP ...] --noise SD``. The
objective is a Gaussian process fitted to the finished points of the given sweeps (their weights,
and the values on the validation split), frozen before any sampler runs; each evaluation adds noise
of the size that seeds differ by (``--noise``, e.g. from the trials that confirmed a winner). Both
samplers are those of a sweep file, and points are drawn through the space of a study. Reported is
the number of points until one lies at 95% of the best, by the objective without noise, with a
bootstrap interval of the median; a run that never gets there counts as one more than the budget.
"""

# ruff: noqa: T201 - printing is what a benchmark is for.

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from strictune.config import SearchSpec, SimplexSpec, SpaceSpec  # noqa: E402
from strictune.launch.study.samplers import sampler_for  # noqa: E402
from strictune.launch.study.space import CellSpace  # noqa: E402

Floats = NDArray[np.float64]
GOOD_FRAC = 0.95
NUM_PROBES = 20_000
"""Even draws among which the best of the objective is looked for."""


class Objective(NamedTuple):
    """A fitted objective, fixed before the samplers run."""

    components: list[str]
    model: GaussianProcessRegressor
    noise: float
    """Standard deviation of one measurement."""
    best: float

    def __call__(self, weights: Floats) -> Floats:
        """Return the noiseless value: (n, C) -> (n,)."""
        found: Floats = self.model.predict(weights)
        return found


def fit(sweeps: list[Path], *, noise: float) -> Objective:
    """Fit the objective to the finished points of searches over the same components."""
    rows, values, components = [], [], None
    for sweep in sweeps:
        for study in json.loads((sweep / "studies.json").read_text())["studies"]:
            components = components or study["components"]
            for point in study["points"]:
                if point["state"] == "finished":
                    rows.append([point["weights"].get(name, 0.0) for name in components])
                    values.append(point["values"][0])
    weights, measured = np.array(rows), np.array(values)
    white = (noise / measured.std()) ** 2
    kernel = ConstantKernel(0.1) * RBF(0.3, (0.1, 3.0)) + WhiteKernel(white, "fixed")
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # A length scale at its bound is no reason to stop.
        model.fit(weights, measured)
    probes = np.random.default_rng(0).dirichlet(np.ones(len(components or ())), NUM_PROBES)
    predicted = model.predict(probes)
    print(
        f"{len(rows)} points, values {measured.min():.3f} to {measured.max():.3f}; objective "
        f"{predicted.min():.3f} to {predicted.max():.3f}, noise sd {noise:.3f}, "
        f"{np.mean(predicted >= GOOD_FRAC * predicted.max()):.1%} of the simplex is good"
    )
    return Objective(list(components or ()), model, noise, float(predicted.max()))


def num_points_to_good(
    objective: Objective, sampler: Literal["tpe", "random"], *, seed: int, budget: int
) -> int:
    """Run one search and return how many points it took, ``budget + 1`` if it never got there."""
    search = SearchSpec(
        space=SpaceSpec(rewards=SimplexSpec(min_weight=0.0)),
        num_trials=budget,
        sampler=sampler,
        seed=seed,
    )
    space = CellSpace(
        spec=search.space, table="rewards", components=objective.components, cell={}, curriculum=""
    )
    noise = np.random.default_rng(seed)
    study = optuna.create_study(direction="maximize")
    for number in range(budget):
        study.sampler = sampler_for(search, number=number)
        trial = study.ask()
        drawn = space.suggest(trial)["rewards"]
        assert isinstance(drawn, dict)
        weights = np.array([[float(str(drawn[name])) for name in objective.components]])
        value = float(objective(weights)[0])
        if value >= GOOD_FRAC * objective.best:
            return number + 1
        study.tell(trial, value + noise.normal(0, objective.noise))
    return budget + 1


def median_interval(counts: Floats, *, num_draws: int = 10_000) -> tuple[float, float, float]:
    """Return the median with its 95% bootstrap interval."""
    drawn = np.random.default_rng(0).choice(counts, (num_draws, len(counts)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(np.median(counts)), float(low), float(high)


def main() -> None:
    """Fit, search, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweeps", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--noise", type=float, required=True, help="sd of one measurement")
    parser.add_argument("--budget", type=int, default=60)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    objective = fit(args.sweeps, noise=args.noise)
    counts = {}
    for sampler in ("tpe", "random"):
        found = [
            num_points_to_good(objective, sampler, seed=seed, budget=args.budget)
            for seed in range(args.seeds)
        ]
        counts[sampler] = np.array(found, dtype=np.float64)
        median, low, high = median_interval(counts[sampler])
        never = int((counts[sampler] > args.budget).sum())
        print(
            f"{sampler}: median {median:g} points [{low:g}, {high:g}] to 95% of the best, "
            f"{never} of {args.seeds} never within {args.budget}"
        )
    ahead = float(np.mean(counts["tpe"] < counts["random"]))
    behind = float(np.mean(counts["tpe"] > counts["random"]))
    print(f"same seed: tpe sooner in {ahead:.0%}, later in {behind:.0%}")


if __name__ == "__main__":
    main()
