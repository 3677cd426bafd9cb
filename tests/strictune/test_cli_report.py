"""``strictune report``: what it writes, prints and refuses, and what MLflow gets of it."""

from pathlib import Path

import pytest
from command_line import as_json, printed
from reported_sweep import Drawing, write_reported_sweep

from strictune.cli import main
from strictune.tracking.reader import SweepReader

pytestmark = pytest.mark.usefixtures("one_figure")

OVERRIDES = ("matrix.curriculum=[standard]", "contrasts=[]")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "quickstart"
    write_reported_sweep(folder, Drawing(num_prompts=24), overrides=OVERRIDES, unfinished=[1])
    return folder


def test_the_verb_names_what_it_wrote_and_what_to_run_next(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(capsys, "report", sweep).splitlines()
    assert lines[0].startswith(f"{sweep / 'report.html'}: ")
    assert lines[1] == str(sweep / "report.md")
    assert lines[2].startswith("1. 1 trial of 2 has not ended.")
    assert lines[3] == f"   strictune run {sweep / 'sweep.yaml'} --resume --out {sweep.parent}"
    assert lines[-1] == f"to bring the report to MLflow: strictune track replay {sweep}"


def test_a_sweep_is_found_by_name_and_its_tables_are_json(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = as_json(capsys, "report", "quickstart", "--out", sweep.parent)
    assert document["html_bytes"] == (sweep / "report.html").stat().st_size
    (row,) = document["tables"]["differences"]
    (verdict, _) = document["verdicts"]["trials"]
    assert row["delta_pp"] == verdict["verdict"]["effect"]["estimate_pp"]
    assert row["verdict"] == verdict["verdict"]["word"]
    assert len(document["tables"]["criteria"]) == 2 * len(document["verdicts"]["criteria"])


def test_the_mirror_takes_the_report(sweep: Path) -> None:
    assert main(["report", str(sweep)]) == 0
    names = {artifact.name for artifact in SweepReader(sweep).read().sweep.artifacts}
    assert {"report.html", "report.md", "report_figures/differences.svg"} <= names


def test_progress_is_told_phase_by_phase(sweep: Path) -> None:
    from analysis.report import write_report

    phases: list[str] = []
    write_report(sweep, on_phase=phases.append)
    assert phases == [
        "judging trials",
        "reading trial 1 of 2",
        "reading trial 2 of 2",
        "comparing cells",
        "reading costs and prompts",
        "drawing figures",
        "packing completions",
    ]
