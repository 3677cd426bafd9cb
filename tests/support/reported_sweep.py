"""Writes sweep folders with everything that a report reads, as quickly as a thousand runs need.

Answers are drawn at given rates; texts look like completions. The plan and the specs are
those of the quickstart, so cells, stages and names are real.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from quickstart import CROSSED, QUICKSTART

from strictune.config import TrialSpec, dump_yaml, load_sweep
from strictune.planning import expand, plan_document

SMALL = (
    *CROSSED,
    "trial.grpo.max_steps=20",
    "trial.checkpoint.save_steps=10",
    # Prompts that the report builds again to see whether they are the sweep's.
    "task.num_train_prompts=30",
    "task.num_eval_prompts=30",
)
CRITERIA = ("syntax", "parsed", "conformant", "clean", "strict")
COMPONENTS = ("format", "schema", "strictness")
DIFFICULTIES = ("simple", "medium", "hard")
ERRORS = ("missing_key", "wrong_type", "extra_key", "text_outside")
CONSTRUCTS = ("array", "enum", "nesting", "range")
WORDS = ("Atlas", "Kenya", "Norway", "Comet", "draft", "total", "city", "price", "scores")


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How runs answer."""

    num_prompts: int = 60
    num_samples: int = 1
    text_chars: int = 200
    baseline_rate: float = 0.3
    trained_rate: float = 0.6
    text: str | None = None
    """Every completion is this; None draws one."""
    num_steps: int = 20


def write_reported_sweep(
    folder: Path,
    drawing: Drawing | None = None,
    *,
    overrides: Sequence[str] = (),
    unfinished: Sequence[int] = (),
) -> list[TrialSpec]:
    """Write plan, baselines and trials; those at ``unfinished`` (by place) still run."""
    drawing = drawing or Drawing()
    sweep = load_sweep(QUICKSTART, [*SMALL, *overrides])
    trials = list(expand(sweep))
    folder.mkdir(parents=True)
    plan = json.dumps(plan_document(sweep, trials), ensure_ascii=False)
    (folder / "plan.json").write_text(plan, encoding="utf-8")
    for index, trial in enumerate(trials):
        run = folder / "trials" / trial.trial_id
        is_finished = index not in unfinished
        _write_run(run, trial, drawing, drawing.trained_rate, index + 1, is_finished=is_finished)
        _write_metrics(run, drawing, index)
        for place, stage in enumerate(_stages(trial)):
            frame = _samples(drawing, drawing.trained_rate, 5000 + 3 * index + place)
            _write_samples(run / "eval" / "stages" / stage / "validation", frame)
        baseline = folder / "baselines" / _baseline(trial)
        if not baseline.exists():
            _write_run(baseline, trial, drawing, drawing.baseline_rate, 0, is_finished=True)
    return trials


def write_control(folder: Path, trial: TrialSpec, drawing: Drawing | None = None) -> None:
    """Write the untrained model of a trial's cell under a grammar."""
    drawing = drawing or Drawing()
    control = folder / "controls" / _baseline(trial)
    _write_run(control, trial, drawing, 0.9, 77, is_finished=True)
    lock = json.loads((control / "lock.json").read_text())
    for key in ("evaluation_key", "baseline_key"):
        lock[key]["grammar"] = "llguidance 1, abc"
    (control / "lock.json").write_text(json.dumps(lock))
    summary = {"num_completions": 60, "completion_tokens_mean": 70.0, "seconds": 7.0}
    (control / "eval" / "test" / "summary.json").write_text(json.dumps(summary))


def _write_run(
    folder: Path, trial: TrialSpec, drawing: Drawing, rate: float, draw: int, *, is_finished: bool
) -> None:
    folder.mkdir(parents=True)
    (folder / "trial.yaml").write_text(dump_yaml(trial), encoding="utf-8")
    key = {"suite": "5u17e", "split": "test"}
    lock = {
        "data_hash": "another",
        "evaluation_key": key,
        "baseline_key": {**key, "thinking": trial.thinking, "dtype": "float32"},
        "baseline": _baseline(trial),
    }
    (folder / "lock.json").write_text(json.dumps(lock))
    if not is_finished:
        return
    (folder / "outcome.json").write_text(json.dumps({"state": "FINISHED", "seconds": 100.0 + draw}))
    _write_samples(folder / "eval" / "test", _samples(drawing, rate, draw))


def _baseline(trial: TrialSpec) -> str:
    return "thinking" if trial.thinking else "plain"


def _stages(trial: TrialSpec) -> tuple[str, ...]:
    """The stages that have been evaluated; the last of three has not."""
    return tuple(stage.name for stage in trial.stages[:2])


def _write_samples(folder: Path, samples: pd.DataFrame) -> None:
    folder.mkdir(parents=True)
    samples.to_parquet(folder / "samples.parquet", index=False)


def _write_metrics(folder: Path, drawing: Drawing, draw: int) -> None:
    rng = np.random.default_rng(draw)
    lines = []
    for step in range(1, drawing.num_steps + 1):
        metrics = {f"reward/{name}/mean": float(rng.random()) for name in COMPONENTS}
        metrics |= {
            "reward/zero_std_groups_frac": 0.25,
            "train/think_rate": float(rng.random()),
            "train/adaptive/drawn_frac/hard": float(rng.random()),
            "train/adaptive/prompts_frac/mid": float(rng.random()),
            "time/step_s": 2.0,
            "memory/peak_gib": 1.5,
        }
        lines.append(json.dumps({"step": step, "time": 0.0, "metrics": metrics}) + "\n")
    (folder / "metrics.jsonl").write_text("".join(lines))


def _samples(drawing: Drawing, rate: float, draw: int) -> pd.DataFrame:
    """Draw a table; the same prompt is as hard for everyone, which is what pairing uses."""
    prompts = np.repeat(np.arange(drawing.num_prompts), drawing.num_samples)
    count = len(prompts)
    rng = np.random.default_rng([3, draw])
    hardness = np.random.default_rng(7).random(drawing.num_prompts)[prompts]
    level = 0.8 * hardness + 0.2 * rng.random(count)
    reached = {name: level < min(1.0, rate + 0.1 * (4 - i)) for i, name in enumerate(CRITERIA)}
    errors = np.asarray(ERRORS)[rng.integers(len(ERRORS), size=count)]
    return pd.DataFrame(
        {
            "prompt_id": [f"test-{prompt:05d}" for prompt in prompts],
            "family": [f"f{prompt // 2:04d}" for prompt in prompts],
            "difficulty": np.asarray(DIFFICULTIES)[prompts % 3],
            "constructs": [list(CONSTRUCTS[: 1 + prompt % 4]) for prompt in prompts],
            "sample": np.tile(np.arange(drawing.num_samples), drawing.num_prompts),
            "completion": [_text(drawing, rng) for _ in range(count)],
            **{f"criterion/{name}": reached[name] for name in CRITERIA},
            **{f"reward/{name}": np.round(rng.random(count), 4) for name in COMPONENTS},
            "error_class": np.where(reached["strict"], "ok", errors),
            "error_path": np.where(reached["strict"], "", "/price"),
            "num_tokens": rng.integers(20, 120, size=count),
            "is_truncated": rng.random(count) < 0.02,
            "is_thinking": rng.random(count) < 0.9,
        }
    )


def _text(drawing: Drawing, rng: np.random.Generator) -> str:
    if drawing.text is not None:
        return drawing.text
    num_pairs = max(1, drawing.text_chars // 20)
    names = rng.integers(len(WORDS), size=2 * num_pairs)
    numbers = rng.integers(10_000, size=num_pairs)
    pairs = [
        f'"{WORDS[names[2 * i]]} {WORDS[names[2 * i + 1]]}": {numbers[i]}' for i in range(num_pairs)
    ]
    return "```json\n{" + ", ".join(pairs) + "}\n```"
