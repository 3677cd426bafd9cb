"""A study that begins with the points of an earlier sweep."""

from pathlib import Path
from typing import Any

import pytest
from command_line import printed
from optuna.trial import TrialState
from study_fakes import RATE, end_trial, open_study, search_sweep

from strictune.config import SweepSpec, dump_yaml, expand, load_trial
from strictune.errors import SpecError
from strictune.launch.folder import SweepFolder
from strictune.launch.grants import with_share
from strictune.launch.search import open_studies
from strictune.launch.study.cell_study import CellStudy
from strictune.launch.study.document import best_point, study_document, write_studies
from strictune.launch.study.warm_start import add_earlier_points
from strictune.records import read_studies


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


OTHER_MODEL = {"model": "builtin:tiny_citing", "grpo": {"max_steps": 8}}


def test_points_of_another_model_are_measured_again_from_the_best_down(tmp_path: Path) -> None:
    earlier = earlier_sweep(tmp_path / "earlier")
    values = {str(p.settings): p.value for p in read_studies(earlier)[0].points if p.values}
    first = {"grpo.beta": 0.05}
    search = {"num_startup_trials": 3, "first": [first], "seed": 5, "warm_start": [str(earlier)]}
    sweep = search_sweep(tmp_path, search, trial=OTHER_MODEL)
    folder = SweepFolder(tmp_path / "later")
    folder.path.mkdir()
    (study,) = open_studies(sweep, expand(sweep), folder)
    (study,) = open_studies(sweep, expand(sweep), folder)  # Resumed: nothing is queued twice.
    points = [study.next_point() for _ in range(5)]
    assert points[0].settings == first, "its own first points stay the first"
    assert [values.get(str(point.settings)) for point in points] == [None, 0.4, 0.2, 0.1, None]
    assert {trial.model for point in points for trial in point.trials} == {"builtin:tiny_citing"}
    assert all(not found["is_from_before"] for found in study_document(study)["points"])


def test_another_model_may_differ_in_nothing_else(tmp_path: Path) -> None:
    earlier = earlier_sweep(tmp_path / "earlier")
    trial = OTHER_MODEL | {"quantization": "none"}
    study = later_study(tmp_path, search_sweep(tmp_path, trial=trial))
    with pytest.raises(SpecError, match="were measured under another quantization"):
        add_earlier_points(study, [str(earlier)])


def test_the_plan_says_that_points_are_another_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = earlier_sweep(tmp_path / "earlier")
    for trial, expected in (
        (OTHER_MODEL, f"{earlier} is of another model, builtin:tiny. 4 of its 4 finished points"),
        (OTHER_MODEL | {"model": "builtin:tiny"}, f"begins with 4 finished points of {earlier}."),
    ):
        search_sweep(tmp_path, {"warm_start": [str(earlier)]}, trial=trial)
        assert expected in printed(capsys, "plan", str(tmp_path / "search.yaml"))


def judged_by(url: str = "http://a/v1", model: str = "m", **more: Any) -> dict[str, Any]:
    judge = {"kind": "openai", "base_url": url, "model": model, **more}
    return {"kind": "refiner", "judge": judge}


SETTINGS = {
    "space": {"settings": {"grpo.beta": {"low": 0.001, "high": 0.1}}},
    "objectives": [{"metric": RATE, "mode": "max"}],
}


def shared_sweep(path: Path, **blocks: Any) -> Path:
    """Write an earlier sweep whose trials had a share of what the task may use."""
    earlier = earlier_sweep(path, search=SETTINGS, **blocks)
    for file in (earlier / "trials").glob("*/trial.yaml"):
        file.write_text(dump_yaml(with_share(load_trial(file), 4)))
    return earlier


def test_how_hard_and_where_servers_are_asked_changes_no_value(tmp_path: Path) -> None:
    trial = {"model": "builtin:tiny", "grpo": {"max_steps": 8}, "quantization": "none"}
    rollouts = {"engine": "vllm", "vllm": {"base_url": "http://a/v1"}}
    task = judged_by(max_concurrent_calls=128)
    earlier = shared_sweep(tmp_path / "earlier", task=task, trial=trial | {"rollouts": rollouts})
    rollouts = {"engine": "vllm", "vllm": {"base_url": "http://b/v1"}}
    task = judged_by("http://b/v1", max_concurrent_calls=64)
    sweep = search_sweep(tmp_path, SETTINGS, task=task, trial=trial | {"rollouts": rollouts})
    assert add_earlier_points(later_study(tmp_path, sweep), [str(earlier)]) == 4


def test_values_by_another_judge_are_refused(tmp_path: Path) -> None:
    earlier = shared_sweep(tmp_path / "earlier", task=judged_by())
    sweep = search_sweep(tmp_path, SETTINGS, task=judged_by(model="other"))
    with pytest.raises(SpecError, match=r"under another task\.judge\.model"):
        add_earlier_points(later_study(tmp_path, sweep), [str(earlier)])


def test_searched_weights_of_a_stage_are_no_other_setting(tmp_path: Path) -> None:
    blocks: dict[str, Any] = {"matrix": {"curriculum": ["three_stage"]}}
    search = {"space": {"stage_rewards": {"format_basics": {"min_weight": 0.02}}}}
    earlier = earlier_sweep(tmp_path / "earlier", search=search, **blocks)
    study = later_study(tmp_path, search_sweep(tmp_path, search, **blocks))
    assert add_earlier_points(study, [str(earlier)]) == 4


def test_a_sweep_without_this_cell_is_refused(tmp_path: Path) -> None:
    earlier = earlier_sweep(tmp_path / "earlier", matrix={"thinking": [True]})
    study = later_study(tmp_path, search_sweep(tmp_path))
    with pytest.raises(SpecError, match="has no study of tiny · no-think · standard"):
        add_earlier_points(study, [str(earlier)])
    with pytest.raises(SpecError, match=r"studies\.json: there is no such file"):
        add_earlier_points(study, [str(tmp_path)])
