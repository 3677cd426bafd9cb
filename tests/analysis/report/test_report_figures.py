"""Which figures a sweep gets, and what their captions admit."""

import shutil
from pathlib import Path

import pytest
from reported_sweep import Drawing, write_control, write_reported_sweep

from analysis.figures.theme import Picture
from analysis.report import catalogue, gather
from analysis.report.catalogue import FIGURES, draw
from analysis.report.gathering import SweepTables
from analysis.tables import Row


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepTables:
    folder = tmp_path_factory.mktemp("figures") / "demo"
    drawing = Drawing(num_prompts=24)
    write_control(folder, write_reported_sweep(folder, drawing)[0], drawing)
    return gather(folder)


def test_every_figure_is_drawn_where_there_are_data(sweep: SweepTables) -> None:
    drawn = draw(sweep)
    assert [figure.name for figure in drawn] == [figure.name for figure in FIGURES]
    assert [figure.caption for figure in drawn if " of 4 cells" in figure.caption] == [
        "Share of training completions with a real think block, in cells that ask for one. "
        "2 of 4 cells are shown."
    ]


def test_a_figure_that_shows_some_trials_says_which(
    sweep: SweepTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = FIGURES[0]._replace(limit=3)
    monkeypatch.setattr(catalogue, "FIGURES", (entry,))
    (figure,) = draw(sweep)
    assert figure.caption.endswith(
        "Of 4 finished trials the 1 with the smallest and the 2 with the largest gain are shown; "
        "the tables hold all."
    )


def test_a_cell_stands_above_its_trials_with_its_own_verdict(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    overrides = ["matrix={thinking: [false, true], seed: [0, 1]}", "contrasts=[]"]
    write_reported_sweep(folder, Drawing(num_prompts=24), overrides=overrides)
    sweep = gather(folder)
    rows = rows_of(sweep, "differences")
    assert [row["kind"] for row in rows] == 2 * ["cell", "trial", "trial"]
    for row, cell in zip(rows[::3], sweep.verdicts.cells, strict=True):
        assert row["trial"] == f"{cell.cell}: 2 seeds"
        assert cell.verdict.effect is not None
        assert row["delta_pp"] == cell.verdict.effect.estimate_pp
        assert row["verdict"] == "undecided"


def rows_of(sweep: SweepTables, name: str) -> list[Row]:
    (figure,) = (figure for figure in FIGURES if figure.name == name)
    return figure.rows(sweep)


def test_every_baseline_of_a_model_is_drawn_once(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    overrides = ["matrix={seed: [0, 1, 2]}", "contrasts=[]"]
    *_, trial = write_reported_sweep(folder, Drawing(num_prompts=12), overrides=overrides)
    shutil.copytree(folder / "baselines" / "plain", folder / "baselines" / "nf4")
    lock = folder / "trials" / trial.trial_id / "lock.json"
    lock.write_text(lock.read_text().replace('"plain"', '"nf4"'))
    rows = rows_of(gather(folder), "think_by_curriculum")
    assert [row["curriculum"] for row in rows] == ["baseline"] * 2 + ["standard"] * 3
    assert len({row["trial"] for row in rows}) == 5


def drawn_alone(sweep: SweepTables, *names: str) -> dict[str, Picture]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "FIGURES", [f for f in FIGURES if f.name in names])
        return {figure.name: figure for figure in draw(sweep)}


def without_baselines(folder: Path, *, lost: str, overrides: list[str]) -> SweepTables:
    write_reported_sweep(folder, Drawing(num_prompts=12), overrides=overrides)
    shutil.rmtree(folder / "baselines" / lost)
    return gather(folder)


def test_trials_without_a_baseline_are_shown_where_there_is_room(tmp_path: Path) -> None:
    overrides = [
        "matrix={thinking: [false, true], curriculum: [standard], seed: [0, 1, 2, 3, 4, 5, 6]}",
        "contrasts=[]",
    ]
    sweep = without_baselines(tmp_path / "demo", lost="plain", overrides=overrides)
    shown = {row["trial_id"] for row in rows_of(sweep, "criterion_ladder")}
    compared = {trial.plan.trial_id for trial in sweep.verdicts.trials if trial.comparison}
    assert (len(compared), len(shown)) == (7, 12)
    assert compared < shown
    drawn = drawn_alone(sweep, "criterion_ladder", "differences", "baseline_against_trained")
    endings = {name: figure.caption.partition(" Not shown: ")[2] for name, figure in drawn.items()}
    rest = " of 14 finished trials, without a gain over a baseline; the tables hold all."
    assert endings["criterion_ladder"] == f"2{rest}"
    assert endings["differences"] == f"7{rest}"
    assert endings["baseline_against_trained"] == ""


def test_a_result_without_its_baseline_is_drawn(tmp_path: Path) -> None:
    overrides = ["matrix={seed: [0]}", "contrasts=[]"]
    sweep = without_baselines(tmp_path / "demo", lost="plain", overrides=overrides)
    for name in ("baseline_against_trained", "criterion_ladder", "completion_length"):
        assert {row["side"] for row in rows_of(sweep, name)} == {"trained"}
    assert rows_of(sweep, "differences") == []


def test_without_results_there_are_no_figures_of_results(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    write_reported_sweep(folder, Drawing(num_prompts=12), unfinished=range(4))
    names = [figure.name for figure in draw(gather(folder))]
    assert "differences" not in names
    assert {"curriculum_progression", "reward_components"} <= set(names)
