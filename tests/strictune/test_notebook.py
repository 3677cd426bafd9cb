"""strictune from Python: plans, runs and results as frames."""

import re
import stat
import subprocess
import sys
from html import escape
from pathlib import Path

import pytest
from quickstart import QUICKSTART
from reported_sweep import write_reported_sweep

import strictune
from analysis import sweep_verdicts
from strictune.errors import SpecError, StorageError, StrictuneError
from strictune.notebook import LoadedSweep

OVERRIDES = ("trial.grpo.max_steps=3", "matrix.thinking=[false]", "contrasts=[]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "quickstart"
    write_reported_sweep(folder, unfinished=[3])
    return folder


@pytest.fixture(scope="module")
def sweep(folder: Path) -> LoadedSweep:
    return strictune.load_sweep(folder)


def test_importing_strictune_imports_no_pandas() -> None:
    code = "import sys, strictune; assert not {'pandas', 'pydantic', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="'strictune' has no attribute 'lode_sweep'"):
        strictune.lode_sweep  # noqa: B018 - looking it up is the test.


def test_trials_carry_their_verdicts(sweep: LoadedSweep, folder: Path) -> None:
    judged = sweep_verdicts(folder)
    frame = sweep.trials
    assert list(frame.index) == [trial.plan.trial_id for trial in judged.trials]
    assert list(frame["state"]) == ["FINISHED"] * 3 + ["RUNNING"]
    words = [trial.verdict.word for trial in judged.trials]
    assert list(frame["verdict"].fillna("")) == [word.value if word else "" for word in words]
    first = frame.iloc[0]
    assert first["low_pp"] < first["delta_pp"] < first["high_pp"]
    assert 100 * (first["rate"] - first["baseline"]) == pytest.approx(first["delta_pp"])


def test_verdicts_are_those_of_trials_cells_and_contrasts(sweep: LoadedSweep, folder: Path) -> None:
    judged = sweep_verdicts(folder)
    counts = sweep.verdicts["kind"].value_counts()
    assert counts["trial"] == len(judged.trials)
    assert counts["cell"] == len(judged.cells)
    assert counts["contrast"] == len(judged.contrasts)
    assert sweep.verdicts["sentence"].str.len().min() > 10
    assert "quickstart" in sweep._repr_html_()


def test_metrics_and_samples_are_long_frames(sweep: LoadedSweep) -> None:
    metrics = sweep.metrics
    assert list(metrics.columns) == ["trial_id", "step", "metric", "value"]
    assert set(metrics["trial_id"]) <= set(sweep.trials.index)
    assert set(sweep.samples["kind"]) == {"trials", "baselines"}
    assert sweep.samples["criterion/strict"].isin([True, False]).all()
    rate = sweep.samples.query("kind == 'trials' and split == 'test'").groupby("run")[
        "criterion/strict"
    ]
    assert rate.mean()[sweep.trials.index[0]] == pytest.approx(sweep.trials.iloc[0]["rate"])


def test_tables_and_figures_are_those_of_the_report(sweep: LoadedSweep) -> None:
    assert {"difficulties", "error_classes", "costs"} <= set(sweep.tables)
    assert set(sweep.comparisons["factor"]) == {"thinking", "curriculum"}
    assert sweep.table("difficulties")["rate"].between(0, 1).all()


def test_a_figure_shows_itself_and_loads_nothing(sweep: LoadedSweep) -> None:
    figure = sweep.figures()["differences"]
    shown = figure._repr_html_()
    assert "What training changed" in shown and "<svg" in shown
    assert "<script" not in shown and 'href="http' not in shown.replace("xlink:href", "")
    assert repr(figure) == "<figure differences: What training changed>"
    assert figure.chart.to_dict()["$schema"]


@pytest.mark.parametrize("name", ["trials", "verdicts", "metrics", "samples", "comparisons"])
def test_the_columns_of_a_frame_are_documented(sweep: LoadedSweep, name: str) -> None:
    text = str(getattr(LoadedSweep, name).__doc__)
    documented = set(re.findall(r"\w+", text))
    columns = {str(column).partition("/")[0] for column in getattr(sweep, name).columns}
    assert not columns - documented


def test_a_sweep_shows_its_verdicts_in_full(sweep: LoadedSweep) -> None:
    shown = sweep._repr_html_()
    assert all(escape(text) in shown for text in sweep.verdicts["sentence"])


def test_a_folder_without_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"plan\.json: there is no such file"):
        strictune.load_sweep(tmp_path)


def test_a_plan_lists_trials_and_what_they_take() -> None:
    frame = strictune.plan(QUICKSTART, only=["seed=0"])
    assert list(frame["thinking"]) == [False, True]
    assert (frame["steps"] == 16).all()
    assert (frame["memory_gib"] > 0).all()
    with pytest.raises(SpecError, match=r"trial\.grpo\.max_stepz is not a known key"):
        strictune.plan(QUICKSTART, overrides=["trial.grpo.max_stepz=3"])


def interpreter(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


def test_a_run_is_the_command_and_gives_its_results(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", interpreter(tmp_path / "python", 'echo "ran $@"'))
    sweep = strictune.run(QUICKSTART, out=folder.parent, resume=True, overrides=OVERRIDES)
    assert sweep.folder == folder
    options = " ".join(f"--set {text}" for text in OVERRIDES)
    expected = f"ran -m strictune run {QUICKSTART} --out {folder.parent} {options} --resume\n"
    assert capsys.readouterr().out == expected


def test_a_run_that_is_refused_raises_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'echo "results: here"; echo "error: the folder is in use." >&2; exit 2'
    monkeypatch.setattr(sys, "executable", interpreter(tmp_path / "python", script))
    with pytest.raises(StrictuneError, match=r"^the folder is in use\.$"):
        strictune.run(QUICKSTART, out=tmp_path)
