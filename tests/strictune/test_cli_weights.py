"""``strictune weights replay``: tables, JSON, files, and what it refuses."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command_line import HEAVY, as_json, imported_by, printed, refusal
from reward_sweep import random_draw, write_reward_sweep

REPLAY = ("weights", "replay")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "demo"
    write_reward_sweep(folder, random_draw, ["matrix.curriculum=[standard]"])
    return folder


def test_tables_name_cells_weights_and_measures(
    capsys: pytest.CaptureFixture[str], sweep: Path
) -> None:
    out = printed(capsys, *REPLAY, sweep, "--weights", "schema=0.6,strictness=0.4")
    for text in (
        "tiny · no-think · standard",
        "all cells",
        "normalize_then_sum",
        "weights 1: schema=0.6,strictness=0.4",
        "not strict above strict",
        "zero spread",
        "has not been shown to predict",
    ):
        assert text in out
    assert "96 training completions in 24 groups, of 2 trials in 2 cells." in out


def test_a_sweep_is_found_by_its_name(capsys: pytest.CaptureFixture[str], sweep: Path) -> None:
    document = as_json(capsys, *REPLAY, "demo", "--out", sweep.parent)
    assert [cell["thinking"] for cell in document["cells"]] == [False, True]


def test_json_holds_the_figures(capsys: pytest.CaptureFixture[str], sweep: Path) -> None:
    document = as_json(capsys, *REPLAY, sweep, "--weights", "format=1")
    assert document["primary_criterion"] == "strict"
    assert len(document["vectors"]) == 2 * 3 * 4  # Vectors, cells and all of them, schemes.
    default = document["vectors"][0]
    assert (default["vector"], default["failing_above_passing_frac"]) == ("default", 0)
    assert default["zero_spread_frac_n"] == 12
    assert {row["component"] for row in document["components"]} >= {"schema", "reasoning"}
    (stage,) = document["cells"][0]["stages"]
    assert stage["weights"]["schema"] > 0


@pytest.mark.parametrize(("suffix", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_a_file_holds_every_step(
    capsys: pytest.CaptureFixture[str], sweep: Path, tmp_path: Path, suffix: str, read: Any
) -> None:
    steps = tmp_path / "new" / f"steps.{suffix}"
    printed(capsys, *REPLAY, sweep, "--steps", steps)
    assert len(read(steps)) == 2 * 6 * 7
    assert sorted(path.name for path in steps.parent.iterdir()) == [steps.name]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(
            ("--weights", "schema"), "found 'schema', expected NAME=WEIGHT", id="no-value"
        ),
        pytest.param(("--weights", "schema=x"), "schema = x, expected a number", id="no-number"),
        pytest.param(("--weights", "schema=-1"), "schema = -1, expected a number", id="negative"),
        pytest.param(("--weights", "schema=nan"), "schema = nan, expected a number", id="nan"),
        pytest.param(("--weights", "schema=1,schema=1"), "schema is there twice", id="twice"),
        pytest.param(("--weights", "shema=1"), "Did you mean schema?", id="misspelt"),
        pytest.param(("--steps", "x.txt"), "ends in .csv or .parquet", id="format"),
    ],
)
def test_bad_input_is_refused(
    capsys: pytest.CaptureFixture[str], sweep: Path, args: tuple[str, str], message: str
) -> None:
    error = refusal(capsys, *REPLAY, sweep, *args)
    assert error.startswith(f"error: {' '.join(args)}")
    assert message in error


def test_a_misspelt_component_is_named_before_a_matrix_is_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_reward_sweep(tmp_path / "s", lambda _: None)
    error = refusal(capsys, *REPLAY, tmp_path / "s", "--weights", "shema=1")
    assert error.startswith("error: --weights shema=1: rewards.shema is not a reward component")


def test_replay_needs_no_torch(sweep: Path) -> None:
    assert not imported_by(*REPLAY, sweep, "--json") & HEAVY
