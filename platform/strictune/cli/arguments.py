"""Arguments that several verbs share: a sweep file, a sweep's folder, the fields of a spec."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from strictune.errors import SpecError

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["add_sweep_folder", "add_sweep_options", "spec_from_options", "sweep_folder"]

S = TypeVar("S", bound="BaseModel")


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


def spec_from_options(
    spec_class: type[S], values: Mapping[str, Any], names: Mapping[str, str]
) -> S:
    """Build a spec from options, with the checks and messages of a sweep file.

    Args:
        spec_class: The spec.
        values: By field; None keeps the field's default.
        names: The option behind each field, e.g. ``{"samples_per_prompt": "--samples"}``.

    Raises:
        SpecError: A value is not allowed; one line for each.
    """
    # Not for help screens.
    from pydantic import ValidationError

    from strictune.config.hints import explain

    given = {field: value for field, value in values.items() if value is not None}
    try:
        return spec_class.model_validate(given)
    except ValidationError as error:
        problems = explain(error, data=given, schema=spec_class.model_json_schema())
        lines = (f"{names.get(problem.key, problem.key)} {problem.text}" for problem in problems)
        raise SpecError("\n".join(lines)) from error
