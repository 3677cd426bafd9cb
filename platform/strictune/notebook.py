"""strictune from Python: plan a sweep file, run it, and load what a sweep left as frames.

``strictune.plan``, ``strictune.run`` and ``strictune.load_sweep`` are these functions. A run is the
command ``strictune run`` in a process of its own, so that Ray, MLflow and the signals that end a
sweep stay out of a notebook's process.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from strictune.config import expand
from strictune.config import load_sweep as load_spec
from strictune.cost_cache import CostCache
from strictune.costs import expected_costs
from strictune.errors import StorageError, StrictuneError
from strictune.hardware import this_machine
from strictune.planning import check_tasks, costed_trials, parse_only, plan_document, select
from strictune.records import BASELINES, CONTROLS, TRIALS, read_metrics, read_plan, read_samples

if TYPE_CHECKING:
    from analysis import SweepVerdicts
    from analysis.figures.theme import Picture
    from analysis.report.gathering import SweepTables
    from analysis.trials import TrialVerdict
    from analysis.verdicts import Verdict

__all__ = ["LoadedSweep", "load_sweep", "plan", "run"]

EXIT_DONE, EXIT_FAILED_TRIALS = 0, 1


def plan(
    file: str | Path, *, overrides: Sequence[str] = (), only: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the trials of a sweep file and what they are expected to take here; starts nothing.

    Args:
        file: The sweep file.
        overrides: As ``--set``, e.g. ``["trial.grpo.beta=0.02"]``.
        only: As ``--only``, e.g. ``["thinking=true"]``.

    Returns:
        A frame with one row a trial, by trial_id: name, cell, model, thinking, curriculum, method,
        variant, seed, steps, memory_gib, memory_source, step_s, hours, hours_source. What is not
        known is NaN.

    Raises:
        SpecError: The file, an override or a filter cannot be used, or a row of the task's files.
    """
    sweep = load_spec(str(file), list(overrides))
    trials = select(expand(sweep), parse_only(only))
    check_tasks(trials)
    machine = [this_machine()]
    costs = expected_costs(sweep.resources, costed_trials(sweep, trials), machine, CostCache())
    frame = pd.DataFrame(plan_document(sweep, trials)["trials"]).set_index("trial_id")
    cells = pd.DataFrame.from_dict(
        {
            name: {
                "steps": cell.num_steps,
                "memory_gib": cell.memory.peak_gib,
                "memory_source": cell.memory.source,
                "step_s": cell.step.step_s,
                "hours": cell.hours,
                "hours_source": cell.step.source,
            }
            for name, cell in costs.cells.items()
        },
        orient="index",
    )
    return frame.join(cells, on="cell")


def run(
    file: str | Path,
    *,
    out: str | Path = "runs",
    resume: bool = False,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
) -> "LoadedSweep":
    """Run a sweep as ``strictune run`` does, show its progress, and load its results.

    An interrupt (the stop button of a notebook) ends it cleanly; ``resume=True`` goes on.

    Raises:
        SpecError: The file, an override or a filter cannot be used.
        StrictuneError: The sweep could not be run; its last lines say why. Trials that fail are
            data, see ``LoadedSweep.trials``.
    """
    sweep = load_spec(str(file), list(overrides))
    command = [sys.executable, "-m", "strictune", "run", str(file), "--out", str(out)]
    command += [part for text in overrides for part in ("--set", text)]
    command += [part for text in only for part in ("--only", text)]
    command += ["--resume"] if resume else []
    last = ""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        while True:
            try:
                for line in process.stdout:
                    sys.stdout.write(line)
                    last = line.strip() or last
                break
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)
    if process.returncode not in (EXIT_DONE, EXIT_FAILED_TRIALS):
        raise StrictuneError(last.removeprefix("error: "))
    return load_sweep(Path(out) / sweep.name)


def load_sweep(folder: str | Path) -> "LoadedSweep":
    """Load what a sweep left in its folder, e.g. ``runs/quickstart``, finished or not.

    Raises:
        StorageError: It holds no sweep.
    """
    read_plan(Path(folder))
    return LoadedSweep(Path(folder))


class LoadedSweep:
    """A sweep's results as frames; each is read when it is first asked for, and then kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"LoadedSweep({str(self.folder)!r})"

    def _repr_html_(self) -> str:
        """Show the verdicts, with their sentences in full."""
        shown = self.verdicts.drop(columns=["p_adjusted", "detectable_pp"]).round(1)
        with pd.option_context("display.max_colwidth", None):
            table = shown.to_html(index=False, na_rep="-")
        return f"<b>{escape(self.folder.name)}</b>{table}"

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Every planned trial, one row each by trial_id.

        name, cell, model, thinking, curriculum, method, variant, seed; state (FINISHED, FAILED,
        KILLED, RUNNING, PENDING), reason, seconds; rate and baseline (Pass@1 of the primary
        criterion on the final split), verdict, delta_pp, low_pp, high_pp, p_adjusted,
        detectable_pp (see ``verdicts``).
        """
        frame = pd.DataFrame([self._trial_row(trial) for trial in self._judged.trials])
        return frame.set_index("trial_id")

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """Every verdict: of trials, of cells over their seeds, and of contrasts.

        kind (trial, cell, contrast), name, verdict (better, worse, equivalent, no clear
        difference; empty where nothing was decided), delta_pp, low_pp, high_pp, p_adjusted,
        detectable_pp (at 80% power), sentence.
        """
        judged = self._judged
        rows = [("trial", trial.plan.name, trial.verdict) for trial in judged.trials]
        rows += [("cell", cell.cell, cell.verdict) for cell in judged.cells]
        rows += [
            ("contrast", f"{found.cell} - {found.against_cell}", found.verdict)
            for found in judged.contrasts
        ]
        return pd.DataFrame(
            [
                {"kind": kind, "name": name, **_numbers(verdict), "sentence": verdict.text}
                for kind, name, verdict in rows
            ]
        )

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """What trials logged, one row a value: trial_id, step, metric, value."""
        return pd.DataFrame(
            [
                (path.name, step, name, value)
                for path in self._runs(TRIALS)
                for step, values in read_metrics(path)
                for name, value in values.items()
            ],
            columns=["trial_id", "step", "metric", "value"],
        )

    @cached_property
    def samples(self) -> pd.DataFrame:
        """Evaluated completions of trials, baselines and controls, one row each.

        kind (trials, baselines, controls), run (the folder's name), split, prompt_id, family,
        difficulty, constructs, sample, completion; one column for each criterion
        (``criterion/...``), reward component (``reward/...``) and measure (``measure/...``) of the
        task; error_class, error_path, num_tokens, is_truncated, is_thinking. Where the task has
        them: fields (JSON: field of the expected answer -> values right, wrong, missing, extra)
        and details (JSON: what the report marks). grammar_problem: why a control's grammar could
        not be kept to.
        """
        frames = [
            read_samples(path, with_texts=True).assign(
                kind=kind, run=folder.name, split=path.parent.name
            )
            for kind in (TRIALS, BASELINES, CONTROLS)
            for folder in self._runs(kind)
            for path in sorted(folder.glob("eval/*/samples.parquet"))
        ]
        if not frames:
            raise StorageError(f"{self.folder}: no run has been evaluated yet.")
        frame = pd.concat(frames, ignore_index=True)
        return frame[["kind", "run", "split", *frame.columns.drop(["kind", "run", "split"])]]

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """Pairs of cells that differ in one key, planned as contrasts or not, by difficulty too.

        factor, level, against (the key and its two values), is_planned, within (the cell, or a mean
        over cells), ours_trial_id, theirs_trial_id (a trial of each side), num_seeds, difficulty,
        num_prompts, delta_pp, low_pp, high_pp; of the gains over the baselines gain_delta_pp,
        gain_low_pp, gain_high_pp.
        """
        return self.table("comparisons")

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of the report, e.g. ``difficulties``; ``tables`` lists their names."""
        return pd.DataFrame(self._gathered.tables[name])

    @property
    def tables(self) -> tuple[str, ...]:
        """The names that ``table`` knows."""
        return tuple(self._gathered.tables)

    def figures(self) -> "Mapping[str, Picture]":
        """Return the report's figures by name; a notebook shows the one that a cell ends with.

        ``.chart`` of a figure is an altair chart.
        """
        from analysis.report.catalogue import draw

        return {figure.name: figure for figure in draw(self._gathered)}

    @cached_property
    def _judged(self) -> "SweepVerdicts":
        from analysis import sweep_verdicts

        return sweep_verdicts(self.folder)

    @cached_property
    def _gathered(self) -> "SweepTables":
        from analysis.report.gathering import gather

        return gather(self.folder)

    def _runs(self, kind: str) -> Iterator[Path]:
        yield from sorted((self.folder / kind).glob("*/"))

    def _trial_row(self, trial: "TrialVerdict") -> dict[str, Any]:
        result, beside, criterion = trial.result, trial.comparison, self._judged.primary_criterion
        return {
            **dict(trial.plan),
            "state": trial.state.value,
            "reason": trial.reason,
            "seconds": trial.seconds,
            "rate": None if result is None else result.rates[criterion].estimate,
            "baseline": None if beside is None else beside.rates[criterion].estimate,
            **_numbers(trial.verdict),
        }


def _numbers(verdict: "Verdict") -> dict[str, Any]:
    effect = verdict.effect
    return {
        "verdict": None if verdict.word is None else verdict.word.value,
        "delta_pp": None if effect is None else effect.estimate_pp,
        "low_pp": None if effect is None else effect.low_pp,
        "high_pp": None if effect is None else effect.high_pp,
        "p_adjusted": verdict.p_adjusted,
        "detectable_pp": verdict.detectable_pp,
    }
