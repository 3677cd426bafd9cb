"""Rates by field of the expected answers: what is counted, for whom, and where it is shown."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_sweep import FakeTrial, write_sweep

from analysis import answers as module
from analysis.answers import field_rows
from analysis.differences import interval, paired_difference
from analysis.measured import Measured, measure
from analysis.rates import wilson_rate
from analysis.records import read_run
from analysis.report import write_report
from analysis.tables import Row
from strictune.cli import main

pytestmark = pytest.mark.usefixtures("one_figure")

TRIAL = FakeTrial(trial_id="t1", num_prompts=40, num_samples=2)
EVERY = ["right", "wrong", "missing", "extra"]


def add_fields(file: Path, *, shift: int) -> None:
    """Give every completion counts: /total for all prompts, /items/*/qty for each second one."""
    samples = pd.read_parquet(file)
    texts = []
    for index in range(len(samples)):
        prompt = index // 2
        counts = {"/total": np.eye(4, dtype=int)[(prompt + shift) % 3].tolist()}
        if prompt % 2 == 0:
            counts["/items/*/qty"] = [1, 1, 0, 0]
        if index % 8 == 0:
            counts["/note"] = [0, 0, 0, 3]
        texts.append(json.dumps(counts))
    samples["fields"] = texts
    samples.to_parquet(file, index=False)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = write_sweep(tmp_path / "judged", [TRIAL], ties={TRIAL.cell: ()})
    add_fields(folder / "trials/t1/eval/test/samples.parquet", shift=0)
    add_fields(folder / f"baselines/{TRIAL.baseline}/eval/test/samples.parquet", shift=1)
    return folder


def sides(sweep: Path) -> dict[str, Measured]:
    return {
        "baseline": measure(read_run(sweep / "baselines" / TRIAL.baseline)),
        "trained": measure(read_run(sweep / "trials" / "t1")),
    }


def named(rows: list[Row], field: str, side: str) -> Row:
    [row] = [row for row in rows if (row["field"], row["side"]) == (field, side)]
    return row


def test_shares_are_of_the_prompts_that_expect_the_field(sweep: Path) -> None:
    rows = field_rows(sides(sweep))
    assert [row["field"] for row in rows[::2]] == ["/total", "/items/*/qty", "/note"]
    total = named(rows, "/total", "trained")
    assert (total["num_prompts"], total["num_values"]) == (40, 80)
    assert [total[name] for name in EVERY] == pytest.approx([14 / 40, 13 / 40, 13 / 40, 0])
    quantity = named(rows, "/items/*/qty", "trained")
    assert (quantity["num_prompts"], quantity["num_values"]) == (20, 80)
    assert [quantity[name] for name in EVERY] == [0.5, 0.5, 0, 0]


def test_extra_values_are_counted_by_completion_and_expected_nowhere(sweep: Path) -> None:
    note = named(field_rows(sides(sweep)), "/note", "trained")
    assert (note["num_prompts"], note["num_values"], note["extra"]) == (0, 0, 10 / 80)
    assert np.isnan([note[name] for name in EVERY[:3]]).all() and "delta_pp" not in note


def test_intervals_are_clustered_by_family_and_the_difference_is_paired(sweep: Path) -> None:
    found = sides(sweep)
    row = named(field_rows(found), "/total", "trained")
    prompts = np.arange(40)
    after, before = (prompts % 3 == 0).astype(float), ((prompts + 1) % 3 == 0).astype(float)
    families = found["trained"].families
    rate = wilson_rate(after, families, num_completions=80)
    assert (row["right_low"], row["right_high"]) == pytest.approx(
        (float(rate.low), float(rate.high))
    )
    change = paired_difference(after, before, families)
    low, high = interval(change)
    assert row["delta_pp"] == pytest.approx(100 * change.estimate)
    assert (row["low_pp"], row["high_pp"]) == pytest.approx((100 * float(low), 100 * float(high)))
    assert "delta_pp" not in named(field_rows(found), "/total", "baseline")


def test_rare_fields_are_counted_together(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FIELDS", 1)
    rows = field_rows(sides(sweep))
    assert [row["field"] for row in rows[::2]] == ["/total", "(other fields)"]
    others = named(rows, "(other fields)", "trained")
    assert (others["num_values"], others["right"]) == (80, 0.5)
    assert others["extra"] == 10 / 80


def test_runs_without_answers_have_no_fields(tmp_path: Path) -> None:
    assert field_rows(sides(write_sweep(tmp_path / "judged", [TRIAL]))) == []


def test_the_report_and_compare_show_them(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = write_report(sweep)
    rows: list[dict[str, Any]] = report.sweep.tables["fields"]
    assert {row["trial_id"] for row in rows} == {"t1"} and len(rows) == 6
    markdown, html = (path.read_text() for path in (report.markdown, report.html))
    assert "| /total | trained | 80 | 35.0% [" in markdown
    assert "expected values" in html and "Of a field, right, wrong" in html
    runs = [str(sweep / "trials" / "t1"), str(sweep / "baselines" / TRIAL.baseline)]
    assert main(["compare", *runs]) == 0
    assert "/items/*/qty" in capsys.readouterr().out
    assert main(["compare", *runs, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["fields"]
    assert [row["side"] for row in found[:2]] == [TRIAL.baseline, "t1"]
