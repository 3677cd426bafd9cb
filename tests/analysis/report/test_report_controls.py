"""The section on control arms: what the page and the Markdown say of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from reported_sweep import Drawing, write_control, write_reported_sweep

from analysis.report import Report, catalogue, write_report
from analysis.report.controls import control_note
from analysis.report.gathering import SweepPrompts, gather
from analysis.sweep import sweep_verdicts

METHODS = (
    "matrix={method: [sft, grpo], seed: [0, 1, 2]}",
    "contrasts=[method]",
)


@pytest.fixture(scope="module", autouse=True)
def only_their_figure() -> Iterator[None]:
    (figure,) = (figure for figure in catalogue.FIGURES if figure.name == "control_arms")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "FIGURES", (figure,))
        yield


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("controls") / "demo"
    trials = write_reported_sweep(folder, Drawing(num_prompts=24), overrides=METHODS)
    write_control(folder, trials[0], Drawing(num_prompts=24))
    return write_report(folder)


def section(report: Report) -> list[str]:
    text = report.markdown.read_text()
    return text.partition("## Control arms\n")[2].partition("\n## ")[0].strip().splitlines()


def test_every_arm_is_a_row_of_the_table(report: Report) -> None:
    _, _, *rows = [line for line in section(report) if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[1] for row in cells] == [
        "untrained",
        "untrained, under the grammar",
        "tiny · no-think · standard · sft",
        "tiny · no-think · standard",
    ]
    assert [row[2] for row in cells] == ["-", "-", "3", "3"]
    assert cells[0][4:6] == ["-", "-"]
    assert cells[1][5] == "better, not planned"
    assert [row[6].startswith("-") and row[6] != "-" for row in cells] == [False, False, True, True]
    assert cells[1][9] == "600"
    # 20 steps of 2 s
    assert [row[8] for row in cells] == ["-", "-", "40", "40"]


def test_the_contrast_of_the_methods_is_said_in_words(report: Report) -> None:
    [line] = [line for line in section(report) if line.startswith("- ")]
    assert line.startswith("- grpo against sft (tiny · no-think · standard): ")
    assert "no clear difference" in line or "equivalent" in line


def test_the_page_has_the_same_table_and_a_figure(report: Report) -> None:
    page = report.html.read_text()
    arms = page.partition('<section id="control-arms">')[2].partition("</section>")[0]
    assert arms.count("<tr>") == 5
    assert "untrained, under the grammar" in arms
    assert 'id="figure-control_arms"' in page


def test_a_warm_start_is_an_arm_of_both_methods(tmp_path: Path) -> None:
    overrides = [
        "matrix={curriculum: [standard, warm_start], method: [sft, grpo]}",
        "contrasts=[curriculum]",
    ]
    write_reported_sweep(tmp_path / "demo", Drawing(num_prompts=12), overrides=overrides)
    found = gather(tmp_path / "demo").tables["controls"]
    assert [(row["arm"], row["name"].removeprefix("tiny · no-think · ")) for row in found] == [
        ("untrained", "untrained"),
        ("sft", "standard · sft"),
        ("sft", "warm-start · sft"),
        ("grpo", "standard"),
        ("sft and grpo", "warm-start"),
    ]
    assert 'id="figure-control_arms"' in write_report(tmp_path / "demo").html.read_text()


def test_a_sweep_without_controls_says_how_to_run_one(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    write_reported_sweep(folder, Drawing(num_prompts=12))
    found = write_report(folder)
    page = found.html.read_text()
    arms = page.partition('<section id="control-arms">')[2].partition("</section>")[0]
    assert "strictune evaluate --sweep SWEEP --constrain" in arms
    assert "## Control arms" not in found.markdown.read_text()
    assert 'id="figure-control_arms"' not in page


@pytest.mark.parametrize(
    ("is_planned", "is_measured", "said"),
    [
        pytest.param(True, False, "shown (supervised trials: 1 running).", id="sft-runs"),
        pytest.param(False, True, "shown (measurements under a grammar: 1).", id="unread"),
    ],
)
def test_controls_that_cannot_be_shown_are_not_advised(
    tmp_path: Path, is_planned: bool, is_measured: bool, said: str
) -> None:
    folder = tmp_path / "demo"
    methods = "[sft, grpo]" if is_planned else "[grpo]"
    overrides = [f"matrix={{method: {methods}, seed: [0]}}", "contrasts=[]"]
    trials = write_reported_sweep(
        folder, Drawing(num_prompts=12), overrides=overrides, unfinished=[0] if is_planned else []
    )
    if is_measured:
        write_control(folder, trials[0], Drawing(num_prompts=12))
        (folder / "controls" / "plain" / "outcome.json").unlink()
    note = control_note(folder, sweep_verdicts(folder), SweepPrompts(has_gold=True))
    assert note == f"Would something simpler have done it? No control can be {said}"


@pytest.mark.parametrize(
    ("prompts", "is_search", "advised"),
    [
        pytest.param(SweepPrompts(has_gold=True, has_grammar=True), False, (True, True), id="all"),
        pytest.param(SweepPrompts(has_gold=True), False, (True, False), id="no-grammar"),
        pytest.param(
            SweepPrompts(has_gold=True, has_grammar=True), True, (False, True), id="search"
        ),
        pytest.param(SweepPrompts(), False, (False, False), id="nothing-simpler"),
    ],
)
def test_only_controls_that_the_task_allows_are_advised(
    tmp_path: Path, prompts: SweepPrompts, is_search: bool, advised: tuple[bool, bool]
) -> None:
    folder = tmp_path / "demo"
    write_reported_sweep(folder, Drawing(num_prompts=12))
    if is_search:
        (folder / "studies.json").write_text("{}")
    note = control_note(folder, sweep_verdicts(folder), prompts)
    assert "No control was run." in note
    assert ("method: [sft, grpo]" in note, "--constrain" in note) == advised


def test_a_control_that_cannot_be_read_is_named_and_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    trials = write_reported_sweep(folder, Drawing(num_prompts=12))
    write_control(folder, trials[0], Drawing(num_prompts=12))
    (folder / "controls" / "plain" / "lock.json").write_text("{")
    found = write_report(folder)
    assert any("controls/plain/lock.json" in problem for problem in found.sweep.problems)
    assert found.sweep.tables["controls"] == []
