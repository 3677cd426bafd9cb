from pathlib import Path

import pytest
from command_line import as_json, printed

SPACES = Path(__file__).resolve().parents[2] / "search_spaces"
QUICKSTART = str(SPACES / "quickstart.yaml")


def test_the_table_shows_cells_steps_and_stages(capsys: pytest.CaptureFixture[str]) -> None:
    crossed = ("--set", "matrix.curriculum=[standard, three_stage]")
    out = printed(capsys, "plan", QUICKSTART, *crossed, "--set", "trial.grpo.max_steps=100")
    assert "quickstart: 4 cells, 12 trials" in out
    assert "tiny \u00b7 think \u00b7 three-stage" in out
    assert "format_basics 32" in out
    assert "contrasts: thinking." in out


def test_the_title_counts_the_trials_of_a_search(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "plan", SPACES / "reward_weights_quickstart.yaml")
    assert "reward-weights-quickstart: 1 cell, 18 trials" in out


def test_tied_cells_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    ties = ("--set", "trial.rewards={format: 1}", "--set", "trial.allow_ties=true")
    assert "let failures tie with passes" in printed(capsys, "plan", QUICKSTART, *ties)
    assert "let failures tie with passes" not in printed(capsys, "plan", QUICKSTART)


def test_json_is_the_plan_document(capsys: pytest.CaptureFixture[str]) -> None:
    document = as_json(capsys, "plan", QUICKSTART, "--only", "thinking=true")
    assert document["num_trials"] == len(document["trials"]) == 3
    assert {cell["thinking"] for cell in document["cells"]} == {True}


@pytest.fixture
def nothing_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache directory without measured costs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.usefixtures("nothing_measured")
def test_hours_that_nothing_was_measured_for_are_marked_as_a_guess(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = printed(
        capsys, "plan", QUICKSTART, "--only", "thinking=false", "--only", "curriculum=standard"
    )
    [row] = [line for line in out.splitlines() if "GiB estimated" in line]
    # A step, the evaluations, the hours.
    assert row.count(" guess ") == 3
    assert "Times marked guess are a formula's" in out
    assert "until the last one ends (a guess)." in out


@pytest.mark.usefixtures("nothing_measured")
def test_json_names_the_source_of_its_hours(capsys: pytest.CaptureFixture[str]) -> None:
    matrix = str(SPACES / "strict_json_matrix.yaml")
    costs = as_json(capsys, "plan", matrix, "--gpu", 48)["costs"]
    assert costs["hours_source"] == "guess"
    cells = costs["cells"].values()
    assert {cell["step"]["source"] for cell in cells} == {"guess"}
    # The published trials take the better part of a day, and several share a GPU.
    assert all(8 < cell["hours"] < 30 for cell in cells)
    assert costs["gpu_hours"] < 0.5 * costs["trial_hours"]


@pytest.mark.usefixtures("nothing_measured")
def test_a_share_that_packs_fewer_trials_than_memory_allows_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    matrix = ("plan", SPACES / "strict_json_matrix.yaml", "--gpu", 80)
    whole = printed(capsys, *matrix, "--set", "resources.gpus_per_trial=1.0")
    assert "resources.gpus_per_trial = 1.0: 1 at once. With auto, which packs" in whole
    assert "With auto" not in printed(capsys, *matrix, "--set", "resources.gpus_per_trial=auto")


def test_planning_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed(capsys, "plan", QUICKSTART)
    assert list(tmp_path.iterdir()) == []
