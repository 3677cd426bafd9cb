"""How many points it takes to find the weight that decides.

Run by hand: ``python tests/bench/bench_importance.py [--points 12 20 40] [--effect 0.5]``. Each
simulated study draws six weights evenly from the simplex; its value rises by ``effect`` times the
weight of schema (which spreads it by about 6 points), with a noise of 3 points. Reported is how
many studies call schema above chance, and how many call any other weight so.
"""

# ruff: noqa: T201 - printing is what a benchmark is for.

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(ROOT / "tests" / "support")]

from searched_sweep import COMPONENTS, RATE, drawn_weights, point  # noqa: E402

from analysis.study import importance  # noqa: E402
from analysis.study.points import Dimension  # noqa: E402
from strictune.records import Study  # noqa: E402

DECISIVE = "schema"
NOISE = 0.03


def above_chance(num_points: int, effect: float, seed: int) -> set[str]:
    """Return the weights that one simulated study calls above chance."""
    weights = drawn_weights(num_points, seed=seed)
    noise = np.random.default_rng(seed).normal(0, NOISE, num_points)
    values = [0.3 + effect * row[DECISIVE] + one for row, one in zip(weights, noise, strict=True)]
    study = Study.model_validate(
        {
            "cell": "simulated",
            "model": "none",
            "thinking": False,
            "sampler": "random",
            "num_trials": num_points,
            "objectives": [{"metric": RATE, "mode": "max"}],
            "components": COMPONENTS,
            "default_weights": {},
            "winner": None,
            "points": [
                point(number, weights[number], values=[value])
                for number, value in enumerate(values)
            ],
        }
    )
    dimensions = [
        Dimension(name, True, False, {number: row[name] for number, row in enumerate(weights)})
        for name in COMPONENTS
    ]
    table = importance.importance_of(study, dimensions)
    return {row.name for row in table.rows if row.is_above_chance}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[12, 20, 40])
    parser.add_argument("--effect", type=float, default=0.5)
    parser.add_argument("--studies", type=int, default=20)
    args = parser.parse_args()
    importance.MIN_POINTS = min(args.points)
    for num_points in args.points:
        found = [above_chance(num_points, args.effect, seed) for seed in range(args.studies)]
        hits = sum(DECISIVE in names for names in found)
        wrong = sum(bool(names - {DECISIVE}) for names in found)
        print(
            f"{num_points} points, effect {args.effect:g}: schema above chance in {hits} of "
            f"{args.studies} studies, another weight in {wrong}"
        )


if __name__ == "__main__":
    main()
