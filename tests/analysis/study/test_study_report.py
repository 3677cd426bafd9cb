"""A search in the report of its sweep."""

from pathlib import Path

import pytest
from searched_sweep import point, write_search
from test_study_writing import QUICK, finished_search

from analysis.report import write_report

pytestmark = pytest.mark.usefixtures("one_figure")


def test_the_report_shows_what_the_search_found(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    finished_search(folder, num_points=6, num_objectives=2)
    report = write_report(folder)
    for page in (report.html, report.markdown):
        text = page.read_text(encoding="utf-8")
        assert "What the search found" in text
        assert "the winner, against the cell" in text
        assert "Best points" in text
        assert "The best of many points owes part of its value to luck." in text
    drawn = {path.stem for path in (folder / "report_figures").glob("search-*.svg")}
    assert drawn == {f"search-0-{name}" for name in ("pareto_front", "parallel_points", "slices")}
    page = report.html.read_text(encoding="utf-8")
    assert all(f'id="figure-{name}"' in page for name in drawn)


def test_a_search_that_still_runs_says_what_is_missing(tmp_path: Path) -> None:
    write_search(tmp_path / "s", [point(0, values=None, state="open")], overrides=QUICK)
    report = write_report(tmp_path / "s")
    assert "has not come to its confirmation" in report.steps[0].text
    assert "1 open" in report.markdown.read_text(encoding="utf-8")


def test_a_study_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    write_search(tmp_path / "s", [point(0, values=None, state="open")], overrides=QUICK)
    (tmp_path / "s" / "studies.json").write_text("{}")
    report = write_report(tmp_path / "s")
    assert any("studies.json" in problem for problem in report.sweep.problems)
    assert "What the search found" not in report.html.read_text(encoding="utf-8")
