"""The control of a cell: its untrained model under the grammar of each prompt's answers.

Measured as the baseline is, on the same prompts with the same decoding, so that only the grammar
is between the two: would a grammar have done it?
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from transformers import logging as transformers_logging

from strictune.config import ComputeDtype, TrialSpec, dump_yaml
from strictune.records import read_outcome
from trainables.evaluation.keys import measurement_keys
from trainables.evaluation.measurement import baseline_measurement
from trainables.evaluation.recording import record_measurement

__all__ = ["measure_control"]


def measure_control(
    spec: TrialSpec,
    controls: Path,
    *,
    dtype: ComputeDtype,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Measure the control of a trial's cell into ``controls/<key digest>/``; return that folder.

    One that is there is not measured again.

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
