"""``strictune export``: what RUN may be, and what is refused before torch is loaded."""

from pathlib import Path

import pytest

from strictune.cli import main
from strictune.cli.export import _trial_folder
from strictune.errors import SpecError


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runs" / "sweep" / "trials" / "t1"
    folder.mkdir(parents=True)
    (folder / "trial.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize("given", ["runs/sweep/trials/t1", "runs/sweep/t1", "sweep/t1"])
def test_a_trial_is_found_by_folder_or_name(trial: Path, given: str) -> None:
    assert _trial_folder(Path(given)) == trial.resolve()


def test_a_baseline_is_no_trial(trial: Path) -> None:
    baseline = trial.parents[1] / "baselines" / "b1"
    baseline.mkdir(parents=True)
    (baseline / "trial.yaml").touch()
    with pytest.raises(SpecError, match="is the folder of a trial"):
        _trial_folder(Path("runs/sweep/baselines/b1"))


def test_what_is_no_trial_is_refused(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "sweep/t2", "--merge", "--out", "x"]) == 2
    assert "sweep/t2: none of sweep/t2, sweep/trials/t2" in capsys.readouterr().err


def test_a_trial_without_a_result_is_refused(
    trial: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "sweep/t1", "--out", "x"]) == 2
    assert "trial.yaml: found nothing" in capsys.readouterr().err
    assert not Path("x").exists()
