"""Runs one measurement and writes the folder of a run.

The folder holds what a trial's holds: ``lock.json``, ``eval/<split>/``, ``metrics.jsonl`` and
``outcome.json``, the last one written when all else is there.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from strictune.errors import StrictuneError
from strictune.records import write_json
from trainables.evaluation.keys import ComparisonKeys
from trainables.evaluation.measurement import Measurement
from trainables.evaluation.suite import SuiteResult, evaluate_suite, write_result
from trainables.models import load_tokenizer
from trainables.provenance import lock_document
from trainables.records import TrialRecords
from trainables.rollouts.engines import evaluation_engine

__all__ = ["record_measurement"]


def record_measurement(
    measurement: Measurement,
    keys: ComparisonKeys,
    folder: Path,
    *,
    facts: Mapping[str, Any],
    on_progress: Callable[[int, int], None] | None = None,
) -> SuiteResult:
    """Measure, and leave everything in ``folder``.

    Args:
        measurement: What to measure.
        keys: Its keys.
        folder: Where results go.
        facts: What else ``lock.json`` says.
        on_progress: Told how many completions of how many there are.

    Raises:
        TrialError: It cannot be measured; ``outcome.json`` gives the same reason.
    """
    records = TrialRecords(folder)
    try:
        facts = {
            **keys.document(),
            "seed": measurement.sampling.seed,
            **facts,
        }
        write_json(folder / "lock.json", lock_document(**facts))
        tokenizer = load_tokenizer(measurement.model)
        result = evaluate_suite(
            evaluation_engine(measurement, tokenizer),
            tokenizer,
            task=measurement.task,
            prompts=measurement.prompts,
            split=measurement.split,
            thinking=measurement.thinking,
            sampling=measurement.sampling,
            max_prompt_tokens=measurement.max_prompt_tokens,
            answer_grammars=measurement.answer_grammars,
            on_progress=on_progress,
        )
        write_result(result, folder / "eval" / measurement.split)
        records.log(0, result.metrics("final"))
        records.commit(step=0, stage=0, checkpoint=None)
        records.end("FINISHED")
    except StrictuneError as error:
        records.end("FAILED", str(error))
        raise
    finally:
        records.close()
    return result
