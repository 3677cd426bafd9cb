"""A study that begins with the points of an earlier sweep."""

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from study_fakes import RATE, end_trial, open_study, search_sweep

from strictune.config import SweepSpec
from strictune.errors import SpecError
from strictune.launch.folder import SweepFolder
from strictune.launch.study.cell_study import CellStudy
from strictune.launch.study.document import best_point, study_document, write_studies
from strictune.launch.study.warm_start import add_earlier_points


def earlier_sweep(path: Path, **blocks: Any) -> Path:
    """Write a sweep whose four points are worth 0.1 to 0.4."""
    path.mkdir()
    folder = SweepFolder(path / "runs" / "s")
    study = open_study(search_sweep(path, **blocks), folder)
    for value in (0.1, 0.2, 0.3, 0.4):
        point = study.next_point()
        end_trial(folder, point.trials[0], {RATE: value})
        study.finish(point)
    write_studies(folder.path, [study])
    return folder.path


def later_study(path: Path, sweep: SweepSpec) -> CellStudy:
    return open_study(sweep, SweepFolder(path / "later"))


def test_earlier_points_are_known_and_not_counted(tmp_path: Path) -> None:
    earlier = earlier_sweep(tmp_path / "earlier")
    study = later_study(tmp_path, search_sweep(tmp_path))
    assert add_earlier_points(study, [str(earlier)]) == 4
    assert [trial.value for trial in study.study.trials] == [0.1, 0.2, 0.3, 0.4]
    assert study.own_points == []
    assert study.next_point().number == 4
    assert add_earlier_points(study, [str(earlier)]) == 0, "only into a new study"
    assert best_point(study) is None, "a winner was measured by this sweep"
    states = [(p["is_from_before"], p["state"]) for p in study_document(study)["points"]]
    assert states == [(True, "finished")] * 4 + [(False, "open")]


def test_points_outside_narrower_bounds_are_left_out(tmp_path: Path) -> None:
    earlier = earlier_sweep(tmp_path / "earlier")
    space = {
        "rewards": {"min_weight": 0.02},
        "settings": {"grpo.beta": {"low": 0.01, "high": 0.1, "log": True}},
    }
    study = later_study(tmp_path, search_sweep(tmp_path, {"space": space}))
    num_added = add_earlier_points(study, [str(earlier)])
    assert 0 < num_added < 4
    found = [trial.params["grpo.beta"] for trial in study.study.trials]
    assert all(0.01 <= beta <= 0.1 for beta in found)
    assert {trial.state for trial in study.study.trials} == {TrialState.COMPLETE}


def test_values_under_other_settings_are_refused(tmp_path: Path) -> None:
    trial = {"model": "builtin:tiny", "grpo": {"max_steps": 16}}
    earlier = earlier_sweep(tmp_path / "earlier", trial=trial)
    study = later_study(tmp_path, search_sweep(tmp_path))
    with pytest.raises(SpecError, match=r"were measured under another grpo\.max_steps"):
        add_earlier_points(study, [str(earlier)])


def test_a_sweep_without_this_cell_is_refused(tmp_path: Path) -> None:
    earlier = earlier_sweep(tmp_path / "earlier", matrix={"thinking": [True]})
    study = later_study(tmp_path, search_sweep(tmp_path))
    with pytest.raises(SpecError, match="has no study of tiny · no-think · standard"):
        add_earlier_points(study, [str(earlier)])
    with pytest.raises(SpecError, match="cannot be read"):
        add_earlier_points(study, [str(tmp_path)])
