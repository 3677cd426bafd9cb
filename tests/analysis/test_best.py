"""Which adapter may call itself the best, and when it takes another's place."""

import json
from pathlib import Path

import pytest
from synthetic_sweep import SHARED_KEY, FakeTrial, write_run, write_sweep

from analysis import best_adapters, challenge, sweep_verdicts

GOOD = (0.95, 0.85, 0.7)
BETTER = (0.98, 0.95, 0.9)


def validated(sweep: Path, rates: dict[str, float]) -> None:
    for trial_id, rate in rates.items():
        lines = [{"step": 60, "metrics": {"eval/strict/pass_at_1": rate}}]
        (sweep / "trials" / trial_id / "metrics.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in lines)
        )


def test_the_candidate_is_chosen_by_validation_among_those_with_the_verdict(tmp_path: Path) -> None:
    trials = [
        FakeTrial(trial_id="first", rates=GOOD),
        FakeTrial(trial_id="second", rates=BETTER, seed=1),
        FakeTrial(trial_id="same", rates=(0.6, 0.4, 0.2), seed=2),
        FakeTrial(trial_id="other", rates=GOOD, model="large"),
    ]
    sweep = write_sweep(tmp_path / "sweep", trials)
    # The test split would choose the second, and nothing may choose the one without a verdict.
    validated(sweep, {"first": 0.66, "second": 0.61, "same": 0.99, "other": 0.5})
    best = best_adapters(sweep_verdicts(sweep), sweep)
    assert {model: trial.plan.trial_id for model, trial in best.items()} == {
        "tiny": "first",
        "large": "other",
    }


def test_without_a_verdict_nothing_is_best(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep", [FakeTrial(trial_id="a", rates=(0.6, 0.4, 0.2))])
    validated(sweep, {"a": 0.9})
    assert best_adapters(sweep_verdicts(sweep), sweep) == {}


@pytest.mark.parametrize(
    ("rates", "key", "model", "expected", "said"),
    [
        pytest.param(BETTER, SHARED_KEY, "tiny", True, "better", id="better"),
        pytest.param(GOOD, SHARED_KEY, "tiny", False, "", id="the same"),
        pytest.param(
            BETTER, {**SHARED_KEY, "scorer": "new"}, "tiny", False, "scorer", id="other scorer"
        ),
        pytest.param(BETTER, SHARED_KEY, "large", False, "base models", id="other base"),
    ],
)
def test_a_holder_gives_way_to_a_verdict_alone(
    tmp_path: Path,
    rates: tuple[float, float, float],
    key: dict[str, str],
    model: str,
    expected: bool,
    said: str,
) -> None:
    ours = FakeTrial(trial_id="new", rates=rates, evaluation_key=key, model=model)
    sweep = write_sweep(tmp_path / "sweep", [ours])
    theirs = write_run(
        tmp_path / "held" / "trials" / "old", FakeTrial(trial_id="old", rates=GOOD), draw=9
    )
    found = challenge(sweep / "trials" / "new", theirs)
    assert found.is_better is expected
    assert said in found.text
