"""Mean time of the full score over recorded completions: ``python tests/bench/bench_scoring.py``.

Prints microseconds per completion for ladder and rewards together, the same for
``json.loads`` plus a compiled validation of the same fences, and the ratio. Times are CPU
times, so that other work on the machine does not count; the best of several rounds.
"""

# ruff: noqa: T201 - printing is what a benchmark is for.

import argparse
import gzip
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from trainables.tasks.strict_json.scoring import Scorer  # noqa: E402
from trainables.tasks.strict_json.validation import Predicate, compile_schema  # noqa: E402

REFERENCE = ROOT.parent / "shared" / "reference"


class Row(NamedTuple):
    completion: str
    schema: str
    thinking: bool


def read_rows(folder: Path) -> list[Row]:
    """Read the recorded completions with the schemas of their prompts."""
    with (folder / "task_schemas.jsonl").open(encoding="utf-8") as lines:
        tasks = [json.loads(line) for line in lines]
    schemas = {task["prompt"]: json.dumps(task["schema"]) for task in tasks}
    with gzip.open(folder / "completions.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [
        Row(record["completion"], schemas[record["prompt"]], record["thinking"])
        for record in records
    ]


def score_all(rows: list[Row]) -> None:
    """Score every row, schemas compiled within."""
    scorer = Scorer()
    for row in rows:
        scorer.score(row.completion, row.schema, thinking=row.thinking, think_prefilled=False)


def parse_and_validate_all(rows: list[Row]) -> None:
    """Do the least that any scorer must: find the fence, parse, validate."""
    compiled: dict[str, Predicate] = {}
    for row in rows:
        if row.schema not in compiled:
            compiled[row.schema] = compile_schema(json.loads(row.schema))
        start = row.completion.find("```json") + len("```json")
        end = row.completion.find("```", start)
        try:
            document = json.loads(row.completion[start:end])
        except ValueError:
            continue
        compiled[row.schema](document)


def best_us(work: Callable[[list[Row]], None], rows: list[Row], *, num_rounds: int) -> float:
    """Return the best round's mean microseconds per row."""
    seconds = []
    for _ in range(num_rounds):
        started = time.process_time()
        work(rows)
        seconds.append(time.process_time() - started)
    return min(seconds) / len(rows) * 1e6


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reference", type=Path, default=REFERENCE, help="the data's folder")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not (options.reference / "completions.jsonl.gz").exists():
        print(f"No recorded completions in {options.reference}: nothing measured.")
        return 0
    rows = read_rows(options.reference)
    full = best_us(score_all, rows, num_rounds=options.rounds)
    least = best_us(parse_and_validate_all, rows, num_rounds=options.rounds)
    print(f"{len(rows)} completions, best of {options.rounds} rounds, CPU time")
    print(f"full score (ladder, seven rewards, error class)  {full:7.1f} us per completion")
    print(f"json.loads and compiled validation               {least:7.1f} us per completion")
    print(f"ratio                                            {full / least:7.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
