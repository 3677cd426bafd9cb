"""``strictune evaluate --sweep``: the untrained models of a sweep, held to a grammar.

Everything else (suite, samples, decoding, precision) is the sweep's, so that the results stand
beside its baselines and its trained arms in the report.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from strictune.cli.arguments import sweep_folder
from strictune.cli.terminal import print_json, shown_progress, table_console, text_table
from strictune.config import TrialSpec, load_trial
from strictune.errors import SpecError, TrialError
from strictune.records import CONTROLS

__all__ = ["evaluate_sweep"]


def evaluate_sweep(args: argparse.Namespace, given: Sequence[str]) -> int:
    """Measure the controls of a sweep that are not there yet, and show all of them.

    ``given`` are the options of a single evaluation, which have no meaning here.
    """
    if given:
        raise SpecError(
            f"--sweep: model, prompts and decoding are the sweep's. Leave out {', '.join(given)}."
        )
    if not args.constrain:
        raise SpecError(
            "--sweep: the sweep has measured its untrained models itself, see its report. Add "
            "--constrain to measure them under a grammar."
        )
    folder = sweep_folder(args)

    # torch and transformers.
    from trainables.evaluation.recording import measure_control
    from trainables.precision import trial_dtype

    found = []
    for trial in _one_for_each_model(folder):
        try:
            with shown_progress("completions") as on_progress:
                dtype = trial_dtype(trial, folder / "trials" / trial.trial_id)
                control = measure_control(
                    trial, folder / CONTROLS, dtype=dtype, on_progress=on_progress
                )
        except TrialError as error:
            raise SpecError(str(error)) from error
        found.append(_document(trial, control))
    if args.json:
        print_json(found)
        return 0
    title = "untrained, under the grammar of each prompt's answers"
    rows = [
        {
            "model": control["model"],
            "thinking": "think" if control["thinking"] else "no-think",
            "prompts": str(control["num_prompts"]),
            f"{control['criterion']} Pass@1": control["pass_at_1"],
            "tokens/s": f"{control['tokens_per_s']:.0f}",
            "decoded freely": str(sum(control["grammar_problems"].values())),
        }
        for control in found
    ]
    table_console().print(text_table(title, rows, num_left=2))
    print(f"beside the trained arms: strictune report {folder}")
    print(f"to bring them to MLflow: strictune track replay {folder}")
    return 0


def _one_for_each_model(folder: Path) -> list[TrialSpec]:
    """Return a trial for each of the sweep's untrained models, with and without thinking."""
    chosen: dict[tuple[object, ...], TrialSpec] = {}
    for path in sorted(folder.glob("trials/*/trial.yaml")):
        trial = load_trial(path)
        key = (trial.model, trial.thinking, trial.quantization, trial.dtype)
        chosen.setdefault(key, trial)
    if not chosen:
        raise SpecError(f"{folder}: the sweep has no trials yet. Run it first.")
    return list(chosen.values())


def _document(trial: TrialSpec, control: Path) -> dict[str, Any]:
    from analysis.measured import measure
    from analysis.records import read_run
    from analysis.tables import rate_text

    measured = measure(read_run(control))
    rate = measured.rate(trial.task.primary_criterion)
    return {
        "folder": str(control),
        "model": trial.model_name,
        "thinking": trial.thinking,
        "criterion": trial.task.primary_criterion,
        "pass_at_1": rate_text(rate),
        "tokens_per_s": measured.record.decoding_speed,
        **measured.record.summary,
    }
