"""``strictune weights replay``: other reward weights on the completions of a finished sweep."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strictune.cli.arguments import add_sweep_folder, sweep_folder
from strictune.cli.terminal import print_json, table_console, text_table
from strictune.errors import SpecError, StorageError

if TYPE_CHECKING:
    from analysis.replay.matrices import SweepMatrices

__all__ = ["configure", "execute"]

TABLE_FORMATS = (".csv", ".parquet")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    replay = actions.add_parser(
        "replay",
        help="re-score stored reward matrices under other weights, offline",
        description="Says what other reward weights would have made of the completions that a "
        "sweep's trials were trained on. Needs no model and no GPU, and starts nothing.",
    )
    add_sweep_folder(replay)
    replay.add_argument(
        "--weights",
        metavar="NAME=WEIGHT,...",
        action="append",
        default=[],
        help="weights to replay, e.g. schema=0.6,strictness=0.4; a component left out has weight "
        "0; repeatable",
    )
    replay.add_argument(
        "--steps",
        type=Path,
        metavar="FILE",
        help="write a row for each reward component, cell and step (.csv or .parquet)",
    )
    replay.add_argument(
        "--stops",
        action="store_true",
        help="of a search that watched its points: what early stopping would have cost",
    )
    replay.add_argument("--json", action="store_true", help="print the figures as JSON")


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    if args.stops:
        return _print_stops(sweep_folder(args), as_json=args.json)

    # pandas and scipy take a second to import.
    from analysis.replay.matrices import read_cells, read_matrices
    from analysis.replay.measures import (
        check_weights,
        component_phases,
        component_steps,
        replay,
    )
    from analysis.replay.wording import replay_document

    tables = {text: _parse_weights(text) for text in args.weights}
    if args.steps is not None and args.steps.suffix not in TABLE_FORMATS:
        raise SpecError(
            f"--steps {args.steps}: expected a name that ends in {' or '.join(TABLE_FORMATS)}."
        )
    folder = sweep_folder(args)
    check_weights(tables, read_cells(folder).values())
    sweep = read_matrices(folder)
    vectors = replay(sweep, tables)
    phases = [row for cell in sweep.cells for row in component_phases(cell)]
    if args.steps is not None:
        _write(args.steps, [row for cell in sweep.cells for row in component_steps(cell)])
    if args.json:
        document = replay_document(sweep, phases, vectors)
        print_json(document)
    else:
        _print(sweep, phases, vectors)
    return 0


def _print_stops(folder: Path, *, as_json: bool) -> int:
    from strictune.launch.study.wrong_stops import replay_stops, stop_sentences
    from strictune.records import STUDIES, TRIALS, read_studies

    if not (folder / STUDIES).exists():
        raise StorageError(f"{folder} holds no search; give the folder of a sweep with one.")
    found = replay_stops(read_studies(folder), folder / TRIALS)
    if as_json:
        print_json({"stops": [asdict(stops) for stops in found]})
        return 0
    for sentence in stop_sentences(found):
        print(f"- {sentence}")
    return 0


def _parse_weights(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not name:
            raise SpecError(
                f"--weights {text}: found {part!r}, expected NAME=WEIGHT,..., "
                "e.g. schema=0.6,strictness=0.4."
            )
        if name in found:
            raise SpecError(f"--weights {text}: {name} is there twice; give it once.")
        found[name] = _weight(value, where=f"--weights {text}: {name}")
    return found


def _weight(text: str, *, where: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight) or weight < 0:
        raise SpecError(f"{where} = {text}, expected a number of 0 or more.")
    return weight


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import pandas as pd

    from strictune.records import replacing

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    write = table.to_csv if path.suffix == ".csv" else table.to_parquet
    with replacing(path) as temporary:
        write(temporary, index=False)


def _print(
    sweep: "SweepMatrices",
    phases: Sequence[Mapping[str, Any]],
    vectors: Sequence[Mapping[str, Any]],
) -> None:
    from analysis.replay.wording import (
        component_rows,
        constant_sentences,
        count_sentences,
        how_to_read,
        vector_rows,
        vector_sentences,
    )

    criterion = sweep.primary_criterion
    console = table_console()
    for title, rows in (
        ("reward components", component_rows(sweep, phases)),
        ("reward weights", vector_rows(vectors, criterion=criterion)),
    ):
        console.print(text_table(title, rows))
    sentences = (
        *count_sentences(sweep),
        *vector_sentences(vectors),
        *constant_sentences(sweep, phases),
        *how_to_read(criterion),
    )
    for sentence in sentences:
        console.print(f"- {sentence}", markup=False, soft_wrap=True)
