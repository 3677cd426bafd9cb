"""``strictune export``: a trial's result as a folder that other tools load."""

import argparse
from pathlib import Path

from strictune.errors import SpecError, TrialError

__all__ = ["configure", "execute"]

DEFAULT_RUNS = Path("runs")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "run", metavar="RUN", type=Path, help="a finished trial's folder, or SWEEP/TRIAL by name"
    )
    parser.add_argument(
        "--merge",
        action="store_true",
        help="merge the adapter into its base, unquantized: a whole model in transformers' format; "
        "without it, the adapter alone",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="the folder to write, new or empty"
    )


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    run = _trial_folder(args.run)

    # pandas and scipy, and once there is a result, torch and transformers.
    from analysis.model_card import model_card, read_card_source

    source = read_card_source(run)

    from trainables.builtin import BUILTIN_MODELS
    from trainables.export import export_trial, usage_code

    model = source.spec.model
    card = model_card(
        source,
        is_merged=args.merge,
        usage=usage_code(source.spec, dtype=source.dtype, is_merged=args.merge),
        notes=[BUILTIN_MODELS[model].note] if model in BUILTIN_MODELS else [],
    )
    try:
        export_trial(
            run,
            source.spec,
            args.out,
            dtype=source.dtype,
            model_revision=str(source.lock.model_revision),
            card=card,
            is_merged=args.merge,
        )
    except TrialError as error:
        raise SpecError(str(error)) from error
    what = f"{source.dtype} model" if args.merge else "adapter"
    print(f"{what} of {source.spec.trial_id}, with its card: {args.out}")
    return 0


def _trial_folder(given: Path) -> Path:
    """Return the folder that RUN means.

    Raises:
        SpecError: It is not the folder of a trial.
    """
    by_name = DEFAULT_RUNS / given.parent / "trials" / given.name
    candidates = (given, given.parent / "trials" / given.name, by_name)
    for path in candidates:
        if (path / "trial.yaml").is_file() and path.resolve().parent.name != "baselines":
            return path.resolve()
    raise SpecError(
        f"{given}: none of {', '.join(map(str, candidates))} is the folder of a trial (it has no "
        "trial.yaml). Give e.g. runs/quickstart/trials/<trial id>, or quickstart/<trial id>."
    )
