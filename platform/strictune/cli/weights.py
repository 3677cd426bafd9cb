"""``strictune weights replay``: other reward weights on the completions of a finished sweep."""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from strictune.cli.arguments import add_sweep_folder, sweep_folder
from strictune.cli.tables import table_console
from strictune.errors import SpecError, StorageError

if TYPE_CHECKING:
    import pandas as pd

    from analysis.replay import Scheme, SweepMatrices, Vectors

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
        "--samples", type=_count, default=0, metavar="N", help="replay N draws from the simplex"
    )
    replay.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    replay.add_argument(
        "--own-scheme",
        action="store_true",
        help="only the multi_objective_aggregation and scale_rewards that the cells train with",
    )
    replay.add_argument(
        "--rows",
        type=Path,
        metavar="FILE",
        help="write a row for each vector, cell and scheme (.csv or .parquet)",
    )
    replay.add_argument(
        "--steps",
        type=Path,
        metavar="FILE",
        help="write a row for each reward component, cell and step (.csv or .parquet)",
    )
    replay.add_argument(
        "--truth",
        action="store_true",
        help="of a search: whether replay agrees with what its points became, and nothing else",
    )
    replay.add_argument(
        "--stops",
        action="store_true",
        help="of a search that watched its points: what early stopping would have cost",
    )
    replay.add_argument("--json", action="store_true", help="print the figures as JSON")


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    # pandas and scipy take a second to import.
    import pandas as pd

    from analysis import replay as offline

    if args.stops:
        return _print_stops(sweep_folder(args), as_json=args.json)
    if args.truth:
        return _print_truth(sweep_folder(args), as_json=args.json)
    tables = {text: _parse_weights(text) for text in args.weights}
    for option, path in (("--rows", args.rows), ("--steps", args.steps)):
        _check_format(option, path)
    sweep = offline.read_matrices(sweep_folder(args))
    schemes = (
        tuple({cell.scheme: None for cell in sweep.cells}) if args.own_scheme else offline.SCHEMES
    )
    vectors = _replay(sweep, offline.given_vectors(sweep, tables), schemes)
    samples = None
    if args.samples:
        drawn = offline.sampled_vectors(sweep, num_samples=args.samples, seed=args.seed)
        samples = _replay(sweep, drawn, schemes)
    phases = [row for cell in sweep.cells for row in offline.component_phases(cell)]
    if args.rows:
        _write(args.rows, vectors if samples is None else pd.concat([vectors, samples]))
    if args.steps:
        steps = [row for cell in sweep.cells for row in offline.component_steps(cell)]
        _write(args.steps, pd.DataFrame(steps))
    if args.json:
        document = offline.replay_document(sweep, phases, vectors, samples)
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _print(sweep, phases, vectors, samples)
    return 0


def _print_stops(folder: Path, *, as_json: bool) -> int:
    from strictune.launch.study.wrong_stops import replay_stops, stop_sentences
    from strictune.records import STUDIES, read_studies

    if not (folder / STUDIES).exists():
        raise StorageError(f"{folder} holds no search; give the folder of a sweep with one.")
    found = replay_stops(read_studies(folder))
    if as_json:
        print(json.dumps({"stops": [asdict(stops) for stops in found]}, indent=2))
        return 0
    for sentence in stop_sentences(found):
        print(f"- {sentence}")
    return 0


def _print_truth(folder: Path, *, as_json: bool) -> int:
    from analysis.replay import replay_agreement, truth_sentences
    from analysis.writing import plain

    found = replay_agreement(folder)
    if as_json:
        print(json.dumps({"agreement": plain(found)}, indent=2, ensure_ascii=False))
        return 0
    for sentence in truth_sentences(found):
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


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text}, expected a whole number of 1 or more")
    return int(text)


def _check_format(option: str, path: Path | None) -> None:
    if path is not None and path.suffix not in TABLE_FORMATS:
        raise SpecError(
            f"{option} {path}: expected a name that ends in {' or '.join(TABLE_FORMATS)}."
        )


def _replay(
    sweep: "SweepMatrices", vectors: "Vectors", schemes: "Sequence[Scheme]"
) -> "pd.DataFrame":
    """Replay with a bar on a terminal's error output."""
    import pandas as pd

    from analysis.replay import num_chunks, replay_chunks

    chunks = track(
        replay_chunks(sweep, vectors, schemes),
        description="replaying",
        total=num_chunks(sweep, vectors),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    return pd.concat(chunks, ignore_index=True)


def _write(path: Path, table: "pd.DataFrame") -> None:
    from strictune.records import replacing

    path.parent.mkdir(parents=True, exist_ok=True)
    write = table.to_csv if path.suffix == ".csv" else table.to_parquet
    with replacing(path) as temporary:
        write(temporary, index=False)


def _print(
    sweep: "SweepMatrices",
    phases: Sequence[dict[str, Any]],
    vectors: "pd.DataFrame",
    samples: "pd.DataFrame | None",
) -> None:
    from analysis import replay as offline

    rung = sweep.primary_rung
    tables = {
        "reward components": offline.component_rows(sweep, phases),
        "reward weights": offline.vector_rows(vectors, rung=rung),
    }
    sentences = [
        *offline.count_sentences(sweep),
        *offline.vector_sentences(vectors),
        *offline.constant_sentences(sweep, phases),
    ]
    if samples is not None:
        tables["sampled weights: median [5%, 95%]"] = offline.sample_rows(samples, rung=rung)
        sentences.append(offline.farthest_sentence(samples))
    console = table_console()
    for title, rows in tables.items():
        table = Table(title=title)
        for heading in rows[0]:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*row.values())
        console.print(table, markup=False)
    for sentence in (*sentences, *offline.how_to_read(rung)):
        console.print(f"- {sentence}", markup=False, soft_wrap=True)
