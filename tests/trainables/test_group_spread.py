"""Groups that a measure, or a part of the reward, does not tell apart teach nothing by it."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from trainables.records import TrialRecords
from trainables.rewards import flat_groups, wrong_above_right
from trainables.rollouts.completion import Completion
from trainables.tasks.task import Prompt, Score

TASK: Any = SimpleNamespace(measures=("chars", "f1"))


def prompt(name: str) -> Prompt:
    return Prompt(id=name, text=name, family=name, difficulty="one")


def score(parts: Mapping[str, float], **measures: float) -> Score:
    return Score(
        criteria={},
        rewards={"all": 1.0},
        reasons={},
        error_class="ok",
        measures=measures,
        parts=parts,
    )


def test_the_share_of_groups_without_spread_is_counted_for_each_measure_and_all_parts() -> None:
    scores = [
        *(score({"right": 1.0, "polite": 0.0}, chars=3, f1=0.5), score({"right": 0.0}, chars=3)),
        *(score({"right": 0.2, "polite": 0.1}, chars=4), score({"right": 0.2, "polite": 0.3})),
    ]
    prompts = [prompt("a"), prompt("a"), prompt("b"), prompt("b")]
    flat = flat_groups(TASK, prompts, scores)
    # One completion alone shows no spread: polite in a, chars in b, and f1 everywhere.
    assert flat == {
        "chars/zero_std_groups_frac": 1.0,
        "parts/zero_std_groups_frac": pytest.approx(1 / 3),
    }


def test_a_task_without_parts_has_no_share_of_them() -> None:
    flat = flat_groups(TASK, [prompt("a")] * 2, [score({}, chars=1), score({}, chars=2)])
    assert flat == {"chars/zero_std_groups_frac": 0.0}


def test_records_keep_the_parts_of_each_completion(tmp_path: Path) -> None:
    records = TrialRecords(tmp_path)
    scores = [score({"right": 0.5}, chars=1), score({}, chars=2)]
    made = [Completion("x", 1, False)] * 2
    records.add_rewards(1, [prompt("a")] * 2, made, scores, weights={"all": 1.0}, group_size=2)
    records.commit(step=1, stage=0, checkpoint=None)
    records.close()
    [part] = tmp_path.glob("rewards/*")
    kept = pd.read_parquet(part)["parts"]
    assert json.loads(kept[0]) == {"right": 0.5}
    assert kept.isna().tolist() == [False, True]


def test_failing_completions_that_earn_more_than_passing_ones_are_counted_by_pairs() -> None:
    def made(passes: bool | None, **rewards: float) -> Score:
        return Score(criteria={} if passes is None else {"right": passes}, rewards=rewards)

    prompts = [Prompt(id=id_, text="", family="", difficulty="") for id_ in "aaaabb"]
    scores = [
        made(True, form=0.0, value=1.0),
        made(False, form=1.0, value=0.5),
        made(False, form=1.0),  # A component that does not apply adds nothing.
        made(None, form=9.0),
        made(False, form=5.0),  # No passing completion in its group.
        made(False, form=5.0),
    ]
    weights = {"form": 1.0, "value": 1.0}
    assert wrong_above_right("right", prompts, scores, weights=weights) == {
        "failing_above_passing_frac": 0.5
    }
    assert wrong_above_right("right", prompts[4:], scores[4:], weights=weights) == {}
