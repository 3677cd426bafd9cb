"""One study: what it asks for, what it is told, and how it survives its driver."""

from pathlib import Path

import pytest
from optuna.trial import TrialState
from study_fakes import RATE, end_trial, open_study, search_sweep, write_interim

from strictune.errors import SpecError
from strictune.launch.folder import SweepFolder
from strictune.launch.search import confirmation_of
from strictune.launch.study.cell_study import CellStudy
from strictune.launch.study.document import best_point, study_document

BAD = {"format": 0.2, "validity": 0.2, "schema": 0.02, "truncation": 0.2, "repetition": 0.28}
BAD |= {"strictness": 0.1}


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "runs" / "s")


def run_to_end(study: CellStudy, folder: SweepFolder, values: list[float]) -> None:
    for value in values:
        point = study.next_point()
        for trial in point.trials:
            end_trial(folder, trial, {RATE: value})
        study.finish(point)


def states(study: CellStudy) -> list[TrialState]:
    return [trial.state for trial in study.own_points]


def test_a_point_is_trained_on_the_validation_split_only(
    tmp_path: Path, folder: SweepFolder
) -> None:
    study = open_study(search_sweep(tmp_path), folder)
    [trial] = study.next_point().trials
    assert trial.evaluation.final_split == "validation"
    assert trial.cell == "tiny · no-think · standard · p000"
    weights = trial.weights
    assert sum(weights.values()) == pytest.approx(1.0)
    assert weights["reasoning"] == 0, "only thinking can earn it"
    assert min(value for name, value in weights.items() if name != "reasoning") >= 0.0199
    assert 0.001 <= trial.grpo.beta <= 0.1


def test_the_first_points_come_first_and_exactly_as_they_stand(
    tmp_path: Path, folder: SweepFolder
) -> None:
    sweep = search_sweep(
        tmp_path,
        {"first": [{"rewards": BAD}, {}], "space": {"rewards": {"min_weight": 0.02}}},
    )
    study = open_study(sweep, folder)
    first, second = study.next_point(), study.next_point()
    assert {name: first.trials[0].weights[name] for name in BAD} == BAD
    assert second.trials[0].weights == study.cell.weights
    assert open_study(sweep, folder).next_point().settings != {}, "queued once, not at each start"


def test_a_first_point_outside_the_space_is_refused(tmp_path: Path, folder: SweepFolder) -> None:
    sweep = search_sweep(tmp_path, {"first": [{"grpo.beta": 0.5}]})
    with pytest.raises(SpecError, match=r"grpo\.beta = 0\.5 lies outside the searched 0\.001 to"):
        open_study(sweep, folder)


def test_the_objective_is_the_mean_over_the_seeds(tmp_path: Path, folder: SweepFolder) -> None:
    study = open_study(search_sweep(tmp_path, matrix={"seed": [0, 1, 2]}), folder)
    point = study.next_point()
    assert [trial.seed for trial in point.trials] == [0, 1, 2]
    for trial, value in zip(point.trials, (0.1, 0.2, 0.6), strict=True):
        end_trial(folder, trial, {RATE: value})
    study.finish(point)
    assert study.own_points[0].value == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("metrics", "state", "reason", "words"),
    [
        ({RATE: float("nan")}, "FINISHED", None, f"has no finite {RATE}"),
        ({}, "FINISHED", None, f"has no finite {RATE}"),
        ({}, "FAILED", "out of memory", "FAILED: out of memory"),
        ({}, "KILLED", "stopped by its user", "KILLED: stopped by its user"),
    ],
)
def test_a_point_without_a_value_fails_and_says_why(
    tmp_path: Path,
    folder: SweepFolder,
    metrics: dict[str, float],
    state: str,
    reason: str | None,
    words: str,
) -> None:
    study = open_study(search_sweep(tmp_path), folder)
    point = study.next_point()
    end_trial(folder, point.trials[0], metrics, state=state, reason=reason)
    study.finish(point)
    assert states(study) == [TrialState.FAIL]
    [document] = study_document(study)["points"]
    assert document["state"] == "failed"
    assert words in document["reason"]


def test_an_interrupted_point_is_gone_on_with_and_not_drawn_again(
    tmp_path: Path, folder: SweepFolder
) -> None:
    sweep = search_sweep(tmp_path)
    asked = open_study(sweep, folder).next_point()
    reopened = open_study(sweep, folder)
    [found] = reopened.interrupted()
    assert (found.number, found.settings) == (asked.number, asked.settings)
    assert [trial.trial_id for trial in found.trials] == [t.trial_id for t in asked.trials]
    assert len(reopened.own_points) == 1


def test_a_driver_that_died_while_asking_leaves_a_point_that_is_completed(
    tmp_path: Path, folder: SweepFolder
) -> None:
    sweep = search_sweep(tmp_path)
    whole = open_study(sweep, SweepFolder(tmp_path / "runs" / "whole")).next_point()
    study = open_study(sweep, folder)
    study.study.ask()  # and dead
    [found] = open_study(sweep, folder).interrupted()
    assert found.settings == whole.settings, "what is drawn depends on seed and study alone"


def test_points_do_not_repeat_after_a_resume(tmp_path: Path, folder: SweepFolder) -> None:
    sweep = search_sweep(tmp_path)
    run_to_end(open_study(sweep, folder), folder, [0.1, 0.2])
    study = open_study(sweep, folder)
    run_to_end(study, folder, [0.3, 0.4])
    assert not study.has_room
    drawn = [trial.user_attrs["settings"]["grpo.beta"] for trial in study.own_points]
    assert len(set(drawn)) == 4


def test_asha_stops_the_worse_half_at_an_interim_evaluation(
    tmp_path: Path, folder: SweepFolder
) -> None:
    scheduler = {"kind": "asha", "min_steps": 2, "reduction_factor": 2}
    study = open_study(search_sweep(tmp_path, {"scheduler": scheduler}), folder)
    good, bad = study.next_point(), study.next_point()
    assert good.trials[0].interim_steps == (2, 4)
    assert study.report_interim(good, 2, 0.5) is None
    reason = study.report_interim(bad, 2, 0.1)
    assert reason == "stopped early by asha, at 0.1"
    end_trial(folder, bad.trials[0], {RATE: 0.1}, state="KILLED", reason=reason)
    study.finish(bad)
    end_trial(folder, good.trials[0], {RATE: 0.6})
    study.finish(good)
    assert states(study) == [TrialState.COMPLETE, TrialState.PRUNED]
    documents = study_document(study)["points"]
    assert documents[1]["values"] is None, "a partial value is no value"
    assert documents[1]["interim_values"] == {"2": 0.1}
    best = best_point(study)
    assert best is not None
    assert best.number == good.number


def test_dominated_stops_a_point_that_the_median_beats(tmp_path: Path, folder: SweepFolder) -> None:
    search = {"num_trials": 5, "scheduler": {"kind": "dominated", "min_steps": 4}}
    study = open_study(search_sweep(tmp_path, search), folder)
    reasons = []
    for number, rate in enumerate((0.5, 0.6, 0.9, 0.1, 0.55)):
        point = study.next_point()
        trial = folder.trial(point.trials[0].trial_id)
        write_interim(trial, step=4, rate=rate, seed=number)
        reasons.append(study.report_interim(point, 4, rate))
    reason = "stopped early, point 1, the median at step 4, beats it"
    assert reasons == [None, None, None, reason, None]
    documents = study_document(study)["points"]
    assert [document["interim_values"] for document in documents[:2]] == [{"4": 0.5}, {"4": 0.6}]


def test_several_objectives_have_the_best_in_the_first_as_winner(
    tmp_path: Path, folder: SweepFolder
) -> None:
    tokens = "eval/completion_tokens/mean"
    objectives = [{"metric": RATE, "mode": "max"}, {"metric": tokens, "mode": "min"}]
    study = open_study(search_sweep(tmp_path, {"objectives": objectives}), folder)
    for rate, length in ((0.2, 50.0), (0.5, 90.0), (0.5, 80.0)):
        point = study.next_point()
        end_trial(folder, point.trials[0], {RATE: rate, tokens: length})
        study.finish(point)
    best = best_point(study)
    assert best is not None
    assert best.number == 2


def test_the_winner_is_confirmed_with_fresh_seeds_on_the_final_split(
    tmp_path: Path, folder: SweepFolder
) -> None:
    sweep = search_sweep(tmp_path, {"confirm": {"seeds": [7, 8], "against": ["default"]}})
    study = open_study(sweep, folder)
    run_to_end(study, folder, [0.1, 0.4, 0.2, 0.3])
    trials = confirmation_of(sweep, study).trials
    assert [(trial.variant, trial.seed) for trial in trials] == [
        ("default", 7),
        ("default", 8),
        ("p001", 7),
        ("p001", 8),
    ]
    assert {trial.evaluation.final_split for trial in trials} == {"test"}
    assert trials[0].weights == study.cell.weights
    assert all(trial.interim_steps == () for trial in trials)


def test_a_cell_that_wins_itself_has_nothing_to_confirm(
    tmp_path: Path, folder: SweepFolder
) -> None:
    space = {"rewards": {"min_weight": 0.02}}
    sweep = search_sweep(tmp_path, {"first": [{}], "space": space})
    study = open_study(sweep, folder)
    run_to_end(study, folder, [0.9, 0.1, 0.1, 0.1])
    found = confirmation_of(sweep, study)
    assert found.trials == ()
    assert "the cell's own settings" in str(found.note)
