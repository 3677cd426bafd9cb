"""Replay against what points became: the statistics, and a search whose truth is planted."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from reward_sweep import Drawn, write_matrix, write_reward_sweep

from analysis.replay import replay_agreement, truth_sentences
from analysis.replay.truth import spearman_interval
from strictune.config import TrialSpec, dump_yaml
from strictune.errors import StorageError

STEPS, SIZE = 12, 8


def planted_search(folder: Path, *, num_points: int = 12, is_true: bool = True) -> None:
    """Write points whose value is the weight of ``schema``, the component that tells right answers.

    With ``is_true`` off the values have nothing to do with the weights.
    """
    rng = np.random.default_rng(0)
    drawn: list[TrialSpec] = []
    overrides = ["matrix.thinking=[false]", "matrix.curriculum=[standard]"]
    [cell] = write_reward_sweep(folder, lambda spec: None, overrides)
    points = []
    for number in range(num_points):
        share = (number + 1) / (num_points + 1)
        weights = {"schema": share, "repetition": 1 - share, "strictness": 0.01}
        spec = cell.model_copy(
            update={"variant": f"p{number:03d}", "rewards_no_think": weights, "rewards": None}
        )
        trial = folder / "trials" / spec.trial_id
        trial.mkdir()
        (trial / "trial.yaml").write_text(dump_yaml(spec))
        passing = rng.random((STEPS, SIZE)) < 0.4
        rewards = rng.random((STEPS, SIZE, len(spec.task.components))) * 0.9
        rewards[..., list(spec.task.components).index("schema")] = np.where(passing, 1.0, 0.3)
        write_matrix(trial, spec, Drawn(rewards, passing))
        drawn.append(spec)
        value = share if is_true else float(rng.random())
        points.append(
            {
                "number": number,
                "state": "finished",
                "settings": {"rewards_no_think": weights},
                "weights": weights,
                "values": [value],
                "trials": [spec.trial_id],
            }
        )
    study = {
        "cell": cell.cell,
        "objectives": [{"metric": "eval/strict/pass_at_1", "mode": "max"}],
        "default_weights": cell.weights,
        "config": cell.model_dump(mode="json"),
        "points": points,
    }
    (folder / "studies.json").write_text(json.dumps({"studies": [study]}))


def test_a_truth_that_follows_the_weights_is_found(tmp_path: Path) -> None:
    planted_search(tmp_path / "s")
    found = {agreement.measure: agreement for agreement in replay_agreement(tmp_path / "s")}
    rung = found["rung_correlation"]
    assert rung.num_points == 12
    assert rung.correlation.rho > 0.8
    assert rung.correlation.low > 0
    assert found["wrong_best_frac"].correlation.rho < -0.6
    [sentence] = [line for line in truth_sentences([rung]) if "rung_correlation" in line]
    assert "over 12 points; in this study more of it went with better points" in sentence
    assert sentence.endswith("by an interval that is not adjusted for 4 measures.")
    assert "went with worse points" in truth_sentences([found["wrong_best_frac"]])[0]


def test_values_without_a_reason_are_not_predicted(tmp_path: Path) -> None:
    planted_search(tmp_path / "s", is_true=False)
    found = {agreement.measure: agreement for agreement in replay_agreement(tmp_path / "s")}
    low, high = found["rung_correlation"].correlation[1:]
    assert low < 0 < high
    assert "not shown to predict" in truth_sentences([found["rung_correlation"]])[0]


@pytest.mark.parametrize("num_points", [1, 4])
def test_few_points_have_no_interval(tmp_path: Path, num_points: int) -> None:
    planted_search(tmp_path / "s", num_points=num_points)
    found = replay_agreement(tmp_path / "s")
    assert all(math.isnan(agreement.correlation.rho) for agreement in found)
    assert (
        f"5 or more points that differ are needed, found {num_points})" in truth_sentences(found)[0]
    )


def test_the_interval_covers_a_known_correlation_about_as_often_as_it_says() -> None:
    """Normal pairs with rho = 0.6 have a Spearman correlation of 6 / pi asin(0.3) = 0.58."""
    rng = np.random.default_rng(1)
    truth = 6 / math.pi * math.asin(0.3)
    num_covered = 0
    for _ in range(400):
        first = rng.normal(size=20)
        second = 0.6 * first + 0.8 * rng.normal(size=20)
        _, low, high = spearman_interval(first, second)
        num_covered += low <= truth <= high
    assert 0.92 <= num_covered / 400 <= 0.98


def test_a_sweep_without_a_search_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no search"):
        replay_agreement(tmp_path)
