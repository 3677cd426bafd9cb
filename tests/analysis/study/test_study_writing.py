"""What is written into the folder of a search, at its end and in the middle."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from searched_sweep import (
    RATE,
    TOKENS,
    confirm,
    drawn_weights,
    planted,
    point,
    write_search,
)

from analysis.study import findings_lines, importance, write_findings
from strictune.config import SweepSpec, expand
from strictune.launch.folder import SweepFolder
from strictune.launch.search import open_studies
from strictune.launch.study.document import write_studies
from strictune.records import read_studies

QUICK = ("evaluation.num_prompts_per_difficulty=2",)
OBJECTIVES = ({"metric": RATE, "mode": "max"}, {"metric": TOKENS, "mode": "min"})


def finished_search(folder: Path, *, num_points: int, num_objectives: int = 1) -> SweepSpec:
    weights = drawn_weights(num_points - 1)
    rates = planted(weights, lambda schema, **_: 0.2 + 0.6 * schema)
    values = [[0.3, 50.0], *([rate, 60.0 - 40 * rate] for rate in rates)]
    points = [
        point(number, row, values=values[number][:num_objectives])
        for number, row in enumerate([None, *weights])
    ]
    best = max(points, key=lambda found: found["values"][0])
    sweep = write_search(
        folder,
        points,
        winner=best["number"],
        objectives=OBJECTIVES[:num_objectives],
        overrides=QUICK,
    )
    variants = {"default": {}, f"p{best['number']:03d}": best["settings"]}
    rates_again = dict(zip(variants, (0.3, 0.6), strict=True))
    confirm(folder, sweep, variants, rates=rates_again)
    return sweep


def test_a_finished_search_is_written_with_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A level that few shuffles can pass: each one ranks all parameters again.
    monkeypatch.setattr(importance, "ALPHA", 0.5)
    folder = tmp_path / "s"
    finished_search(folder, num_points=24, num_objectives=2)
    findings = write_findings(folder, num_resamples=10)
    page = (folder / "findings.md").read_text(encoding="utf-8")
    for title in (
        "The winner",
        "Best points",
        "What mattered",
        "Crafted answers",
        "How to read this",
    ):
        assert f"# {title}\n" in page
    assert "weight of schema" in page
    assert "Selection bias" in page
    shown = {Path(part.split(")")[0]).name for part in page.split("](")[1:]}
    drawn = {path.name for path in (folder / "findings_figures").glob("*.svg")}
    assert drawn == shown
    assert {name.split("-")[-1] for name in drawn} == {
        "pareto_front.svg",
        "importance.svg",
        "parallel_points.svg",
        "slices.svg",
    }
    document = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    (study,) = document["studies"]
    assert study["winner"] == findings.studies[0].study.winner
    assert study["confirmation"]["contrasts"][0]["verdict"]["word"] == "better"


def test_few_points_are_told_in_a_few_lines_and_old_figures_go(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    finished_search(folder, num_points=4)
    (folder / "findings_figures").mkdir()
    (folder / "findings_figures" / "old.svg").write_text("<svg/>")
    findings = write_findings(folder)
    lines = findings_lines(findings)
    assert len(lines) < 12
    (cell,) = {line.split(": ")[0] for line in lines}
    assert cell.endswith("standard")
    assert any("the winner, against the cell's own settings" in line for line in lines)
    assert any("too few points: n = 4 finished" in line for line in lines)
    names = {path.name for path in (folder / "findings_figures").iterdir()}
    assert "old.svg" not in names
    assert not any("importance" in name or "pareto" in name for name in names)


@pytest.mark.parametrize("state", ["open", "failed"])
def test_a_study_without_a_finished_point_is_written_too(tmp_path: Path, state: str) -> None:
    points = [point(0, values=None, state=state, reason="out of memory")]
    write_search(tmp_path / "s", points, num_trials=2, overrides=QUICK)
    findings = write_findings(tmp_path / "s")
    assert findings.studies[0].best == ()
    assert f"1 {state}, 1 not asked for" in (tmp_path / "s" / "findings.md").read_text()


def test_a_study_is_read_as_the_search_writes_it(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    sweep = write_search(folder, [], overrides=QUICK)
    studies = open_studies(sweep, expand(sweep), SweepFolder(folder))
    studies[0].next_point()
    write_studies(folder, studies)
    (study,) = read_studies(folder)
    assert [found.state.value for found in study.points] == ["open"]
    assert study.points[0].is_default
    assert write_findings(folder).studies[0].counts["open"] == 1


def test_importing_takes_neither_optuna_nor_altair_nor_torch_along() -> None:
    code = (
        "import sys, analysis.study\n"
        "assert not {'optuna', 'altair', 'torch', 'ray', 'trl', 'mlflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
