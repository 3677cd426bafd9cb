import json
from pathlib import Path

import pytest

from strictune.cli import main

SPACES = Path(__file__).resolve().parents[2] / "search_spaces"
QUICKSTART = str(SPACES / "quickstart.yaml")


def plan(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["plan", *args]) == 0
    out: str = capsys.readouterr().out
    return out


def test_the_table_shows_cells_steps_and_stages(capsys: pytest.CaptureFixture[str]) -> None:
    crossed = ("--set", "matrix.curriculum=[standard, three_stage]")
    out = plan(capsys, QUICKSTART, *crossed, "--set", "trial.grpo.max_steps=100")
    assert "quickstart: 4 cells, 12 trials" in out
    assert "tiny \u00b7 think \u00b7 three-stage" in out
    assert "format_basics 32" in out
    assert "contrasts: thinking." in out


def test_tied_cells_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    ties = ("--set", "trial.rewards={format: 1}", "--set", "trial.allow_ties=true")
    assert "let failures tie with passes" in plan(capsys, QUICKSTART, *ties)
    assert "let failures tie with passes" not in plan(capsys, QUICKSTART)


def test_a_learning_rate_far_below_the_default_is_warned_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    published = str(SPACES / "strict_json_single.yaml")
    out = plan(capsys, published)
    assert "grpo.learning_rate = 5e-06 is below a tenth of 0.0002" in out
    assert "no-think \u00b7 standard and 3 more cells." in out
    for rate in ("null", "2e-5"):
        rated = (published, "--set", f"trial.grpo.learning_rate={rate}")
        assert json.loads(plan(capsys, *rated, "--json"))["warnings"] == []


def test_json_is_the_plan_document(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(plan(capsys, QUICKSTART, "--json", "--only", "thinking=true"))
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
    out = plan(capsys, QUICKSTART, "--only", "thinking=false", "--only", "curriculum=standard")
    [row] = [line for line in out.splitlines() if "GiB estimated" in line]
    # A step, the evaluations, the hours.
    assert row.count(" guess ") == 3
    assert "Times marked guess are a formula's" in out
    assert "until the last one ends (a guess)." in out


@pytest.mark.usefixtures("nothing_measured")
def test_json_names_the_source_of_its_hours(capsys: pytest.CaptureFixture[str]) -> None:
    matrix = str(SPACES / "strict_json_matrix.yaml")
    costs = json.loads(plan(capsys, matrix, "--gpu", "48", "--json"))["costs"]
    assert costs["hours_source"] == "guess"
    cells = costs["cells"].values()
    assert {cell["step"]["source"] for cell in cells} == {"guess"}
    # The published trials take the better part of a day, and several share a GPU.
    assert all(8 < cell["hours"] < 30 for cell in cells)
    assert costs["gpu_hours"] < 0.5 * costs["trial_hours"]


def test_planning_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan(capsys, QUICKSTART)
    assert list(tmp_path.iterdir()) == []


OWN_ROWS = """
name: own
task: {kind: functions, module: mine.py, rewards: [right], success: right, train: rows.jsonl}
trial: {model: builtin:tiny, grpo: {max_steps: 1}}
matrix: {variant: {good: {}, bad: {task.train: bad.jsonl}}}
"""


@pytest.fixture
def own_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep of two variants whose second one trains on rows of which one has no prompt."""
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"{a}{b} is what?"} for a in "abcde" for b in "vwxyz"]
    for name, others in (("rows", []), ("bad", [{"question": "x?"}]), ("test", [])):
        lines = (json.dumps(row) + "\n" for row in rows + others)
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    (tmp_path / "mine.py").write_text("def right(completions, **rest): ...\n")
    held_out = "validation: v.jsonl, test: t.jsonl}"
    for name in "vt":
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"prompt": f"{name} alone?"}) + "\n")
    (tmp_path / "s.yaml").write_text(OWN_ROWS.replace("rows.jsonl}", f"rows.jsonl, {held_out}"))
    return tmp_path / "s.yaml"


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_row_that_cannot_be_used_is_refused_before_anything_starts(
    verb: str, own_rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(own_rows.parent.iterdir())
    assert main([verb, str(own_rows)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    [line] = shown.err.splitlines()
    assert line.startswith("error: bad.jsonl:26: column 'prompt' is missing, expected the prompt")
    assert sorted(own_rows.parent.iterdir()) == before


def test_rows_of_the_trials_that_are_planned_are_checked_alone(
    own_rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "good" in plan(capsys, str(own_rows), "--only", "variant=good")
