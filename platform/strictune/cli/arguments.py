"""Arguments that several verbs share: a sweep file with its overrides, or a sweep's folder."""

import argparse
from pathlib import Path

from strictune.errors import SpecError

__all__ = ["add_sweep_folder", "add_sweep_options", "sweep_folder"]


def add_sweep_options(parser: argparse.ArgumentParser) -> None:
    """Add the sweep file, ``--set`` and ``--only``."""
    parser.add_argument("sweep", metavar="SWEEP.yaml", help="the sweep file")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set a value on top of the file, e.g. trial.grpo.beta=0.02; repeatable",
    )
    parser.add_argument(
        "--only",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="keep the trials with this model, thinking, curriculum, method, variant or seed; "
        "repeatable",
    )


def add_sweep_folder(parser: argparse.ArgumentParser) -> None:
    """Add SWEEP and ``--out``, which ``sweep_folder`` reads."""
    parser.add_argument("sweep", metavar="SWEEP", help="the sweep's folder, or its name")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="where sweeps lie by name (default: runs)",
    )


def sweep_folder(args: argparse.Namespace) -> Path:
    """Return the folder that SWEEP means.

    Raises:
        SpecError: It is not the folder of a sweep.
    """
    candidates = (Path(args.sweep), args.out / args.sweep)
    for path in candidates:
        if (path / "plan.json").is_file():
            return path
    raise SpecError(
        f"{args.sweep}: neither {candidates[0]} nor {candidates[1]} is the folder of a sweep (it "
        "has no plan.json). Give the folder that `strictune run` printed, or --out."
    )
