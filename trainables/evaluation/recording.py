"""Runs one measurement and writes the folder of a run.

The folder holds what a trial's holds: ``lock.json``, ``eval/<split>/``, ``metrics.jsonl`` and
``outcome.json``, the last one written when all else is there.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import logging as transformers_logging

from strictune.config import ComputeDtype, TrialSpec, dump_yaml
from strictune.errors import StrictuneError
from strictune.records import read_outcome, write_json
from trainables.evaluation.keys import ComparisonKeys, measurement_keys
from trainables.evaluation.measurement import Measurement, baseline_measurement
from trainables.evaluation.suite import SuiteResult, evaluate_suite, write_result
from trainables.models import load_tokenizer
from trainables.provenance import lock_document
from trainables.records import TrialRecords
from trainables.rollouts.engines import evaluation_engine

__all__ = ["measure_control", "record_measurement"]


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
        facts = {**keys.document(), "seed": measurement.sampling.seed, **facts}
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


def measure_control(
    spec: TrialSpec,
    controls: Path,
    *,
    dtype: ComputeDtype,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Measure the control of a trial's cell into ``controls/<key digest>/``; return that folder.

    The control is the cell's untrained model under the grammar of each prompt's answers, on the
    same prompts with the same decoding as the baseline: would a grammar have done it? One that
    is there is not measured again.

    Args:
        spec: A trial of the cell.
        controls: The folder of a sweep's controls.
        dtype: What the trial computes in.
        on_progress: Told how many completions of how many there are.

    Raises:
        SpecError: No grammar describes the answers of the task.
        TrialError: The model cannot be measured.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    free = baseline_measurement(spec, dtype=dtype)
    grammars = tuple(map(free.task.answer_grammar, free.prompts))
    measurement = replace(free, answer_grammars=grammars)
    keys = measurement_keys(measurement)
    folder = controls / keys.baseline_digest
    ended = read_outcome(folder)
    if ended is None or ended.state != "FINISHED":
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "trial.yaml").write_text(dump_yaml(spec), encoding="utf-8")
        record_measurement(measurement, keys, folder, facts={}, on_progress=on_progress)
    return folder
