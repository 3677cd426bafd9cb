"""What tasks measure beside criteria: means with intervals, parts of rewards, marked answers."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_sweep import FakeTrial, write_sweep

from analysis.answers import MEASURES, measure_rows
from analysis.differences import interval, paired_difference
from analysis.measured import measure
from analysis.records import read_run
from analysis.report import Report, write_report
from analysis.report.completions import read_answers, run_block
from analysis.report.training import judge_rows, part_rows
from analysis.tables import texts

pytestmark = pytest.mark.usefixtures("one_figure")

TRIAL = FakeTrial(trial_id="t1", num_prompts=40)
TEXT = "<answer><snippet id=A>\N{GRINNING FACE} is red.</snippet> And blue.</answer>"
DETAILS: dict[str, Any] = {
    "spans": [{"start": 8, "end": 41, "label": "A shows 50%", "is_fault": False}],
    "scores": [{"name": "Right colour", "value": 0.5, "is_negative": False}],
}
FACTS = {"trial": "t", "trial_id": "t1"}


def add_measures(samples_file: Path, *, f1: float) -> None:
    samples = pd.read_parquet(samples_file)
    hardness = np.arange(len(samples)) / len(samples)
    samples["completion"] = TEXT
    samples["measure/f1"] = np.where(hardness < 0.1, np.nan, f1 * (1 - hardness))
    samples["measure/never"] = np.nan
    samples["details"] = json.dumps(DETAILS)
    samples.to_parquet(samples_file, index=False)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = write_sweep(tmp_path / "judged", [TRIAL], ties={TRIAL.cell: ()})
    add_measures(folder / "trials/t1/eval/test/samples.parquet", f1=0.8)
    add_measures(folder / f"baselines/{TRIAL.baseline}/eval/test/samples.parquet", f1=0.4)
    return folder


@pytest.fixture
def report(sweep: Path) -> Report:
    return write_report(sweep)


def test_a_measure_has_both_sides_and_their_paired_difference(sweep: Path) -> None:
    ours = measure(read_run(sweep / "trials" / "t1"))
    theirs = measure(read_run(sweep / "baselines" / TRIAL.baseline))
    [row] = measure_rows(FACTS, ours, theirs)
    known = ~np.isnan(ours.measure("f1"))
    assert (row["measure"], row["num_prompts"], known.sum()) == ("f1", 36, 36)
    families = np.asarray(ours.families)[known].tolist()
    expected = paired_difference(ours.measure("f1")[known], theirs.measure("f1")[known], families)
    low, high = interval(expected)
    assert row["delta"] == pytest.approx(row["trained"] - row["baseline"])
    assert (row["delta_low"], row["delta_high"]) == (pytest.approx(low), pytest.approx(high))
    assert row["baseline_low"] < row["baseline"] < row["baseline_high"] < row["trained"]
    [alone] = measure_rows(FACTS, ours, None)
    shown, shown_alone = texts(MEASURES, [row, alone])
    text = shown["difference"]
    assert text == f"+{row['delta']:.3g} [+{low:.3g}, +{high:.3g}]"
    assert "delta" not in alone and shown_alone["baseline"] == "-"


def test_the_report_shows_measures_on_both_of_its_pages(report: Report) -> None:
    assert [row["measure"] for row in report.sweep.tables["measures"]] == ["f1"]
    page = report.markdown.read_text(encoding="utf-8")
    assert "## Measures" in page and "| f1 | 36 | 0." in page
    assert '"parts":[' not in page


def test_a_block_carries_measures_marks_and_scores(sweep: Path) -> None:
    answers = read_answers(read_run(sweep / "trials" / "t1"))
    block = run_block(answers, None, max_chars=10**9, extra={})
    document: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(block.content)))
    assert document["measures"] == ["f1", "never"]
    [sample] = document["answers"]["p0020"]["samples"]
    assert sample["measures"] == [pytest.approx(0.4), None]
    assert {name: sample[name] for name in DETAILS} == DETAILS
    [span] = sample["spans"]
    marked = TEXT[span["start"] : span["end"]]
    assert marked == "<snippet id=A>\N{GRINNING FACE} is red.</snippet>"


def test_marks_are_left_out_of_a_text_that_is_shortened(sweep: Path) -> None:
    file = sweep / "trials/t1/eval/test/samples.parquet"
    samples = pd.read_parquet(file)
    rng = np.random.default_rng(0)
    samples["completion"] = [
        TEXT + "".join(map(chr, rng.integers(33, 126, 9000))) for _ in range(len(samples))
    ]
    samples.to_parquet(file, index=False)
    answers = read_answers(read_run(sweep / "trials" / "t1"))
    block = run_block(answers, None, max_chars=60_000, extra={})
    assert block.text_limit is not None
    document = json.loads(gzip.decompress(base64.b64decode(block.content)))
    [sample] = next(iter(document["answers"].values()))["samples"]
    assert "spans" not in sample and sample["scores"] == DETAILS["scores"]


def test_parts_are_counted_by_group(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    (folder / "rewards").mkdir(parents=True)
    rows = [
        (step, "p", 0, json.dumps({"right": step * 0.25 + member * (step == 2) * 0.5, "calm": 1.0}))
        for step in (1, 2, 3)
        for member in (0, 1)
    ]
    rows.append((3, "q", 1, json.dumps({"alone": 0.5})))
    table = pd.DataFrame(rows, columns=["step", "prompt_id", "group", "parts"])
    table.to_parquet(folder / "rewards" / "part-00000003.parquet")
    calm, right = part_rows(FACTS, read_run(folder))
    assert (calm["part"], calm["num_groups"], calm["flat_frac"]) == ("calm", 3, 1.0)
    assert (right["first"], right["last"]) == (0.25, 0.75)
    assert right["flat_frac"] == pytest.approx(2 / 3)
    assert part_rows(FACTS, read_run(tmp_path)) == []


def test_the_judge_of_a_trial_is_summed_up_over_its_steps(tmp_path: Path) -> None:
    steps = [{"train/judge/calls": 3.0, "train/judge/failure_frac": 0.5, "train/loss": 1.0}]
    steps += [{"train/judge/calls": 5.0, "train/judge/failure_frac": 0.0}, {"final/judge/calls": 9}]
    lines = (json.dumps({"step": n, "metrics": found}) for n, found in enumerate(steps))
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    calls, failures = judge_rows(FACTS, read_run(tmp_path))
    assert (calls["fact"], calls["mean"], calls["largest"], calls["total"]) == ("calls", 4, 5, 8)
    assert (failures["mean"], failures["largest"], failures["total"]) == (0.25, 0.5, None)
    assert judge_rows(FACTS, read_run(tmp_path / "none")) == []
