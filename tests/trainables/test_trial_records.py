"""Records of a trial: what a kill at any moment leaves, and what a resume makes of it."""

import json
from pathlib import Path

import pandas as pd
import pytest

from strictune.errors import StorageError
from strictune.records import read_outcome
from trainables.records import TrialRecords, record_failure
from trainables.rollouts.completion import Completion
from trainables.tasks.task import Prompt, Score

PROMPT = Prompt(id="p", text="", family="f", difficulty="simple")


def score(value: float) -> Score:
    return Score(
        criteria={"strict": value > 0}, rewards={"a": value, "b": 1.0}, reasons={}, error_class="ok"
    )


def add_step(records: TrialRecords, step: int) -> None:
    records.log(step, {"train/loss": 1.0 / step})
    records.add_rewards(
        step,
        [PROMPT] * 4,
        [Completion("x", 1, False)] * 4,
        [score(0.0), score(1.0), score(0.5), score(1.0)],
        weights={"a": 0.75, "b": 0.25},
        group_size=2,
    )


def steps_in(folder: Path) -> list[int]:
    return [
        json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]


def test_a_kill_after_a_commit_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    records = TrialRecords(tmp_path)
    for step in (1, 2):
        add_step(records, step)
    records.commit(step=2, stage=0, checkpoint=tmp_path / "checkpoints" / "c")
    add_step(records, 3)
    records.close()  # what a killed process leaves: step 3 logged, never committed
    with (tmp_path / "metrics.jsonl").open("a") as handle:
        handle.write('{"step": 4, "tor')

    resumed = TrialRecords(tmp_path)
    assert resumed.progress.step == 2
    assert resumed.progress.checkpoint == "checkpoints/c"
    assert steps_in(tmp_path) == [1, 2]
    add_step(resumed, 3)
    resumed.commit(step=3, stage=0, checkpoint=None)
    resumed.end("FINISHED")
    assert steps_in(tmp_path) == [1, 2, 3]
    rows = pd.concat(pd.read_parquet(part) for part in sorted(tmp_path.glob("rewards/*")))
    assert rows.groupby("step").size().to_dict() == {1: 4, 2: 4, 3: 4}


def test_a_reward_part_of_an_uncommitted_checkpoint_is_dropped(tmp_path: Path) -> None:
    records = TrialRecords(tmp_path)
    add_step(records, 1)
    records.commit(step=1, stage=0, checkpoint=None)
    before = (tmp_path / "progress.json").read_text()
    add_step(records, 2)
    records.commit(step=2, stage=0, checkpoint=None)
    records.close()
    (tmp_path / "progress.json").write_text(before)

    TrialRecords(tmp_path).close()
    assert [part.name for part in tmp_path.glob("rewards/*")] == ["part-00000001.parquet"]


def test_the_reward_matrix_holds_raw_scores_totals_and_groups(tmp_path: Path) -> None:
    records = TrialRecords(tmp_path)
    add_step(records, 1)
    records.commit(step=1, stage=0, checkpoint=None)
    records.close()
    rows = pd.read_parquet(tmp_path / "rewards" / "part-00000001.parquet")
    assert rows["group"].tolist() == [0, 0, 1, 1]
    assert rows["reward/a"].tolist() == [0.0, 1.0, 0.5, 1.0]
    assert rows["total"].tolist() == [0.25, 1.0, 0.625, 1.0]


def test_values_that_were_not_measured_are_absent(tmp_path: Path) -> None:
    records = TrialRecords(tmp_path)
    records.log(1, {"a": float("nan"), "b": None, "c": 0.0, "d": float("inf")})
    records.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["metrics"] == {"c": 0.0}


def test_outcome_is_absent_until_the_end(tmp_path: Path) -> None:
    records = TrialRecords(tmp_path)
    assert read_outcome(tmp_path) is None
    records.end("FAILED", "no such model")
    outcome = read_outcome(tmp_path)
    assert outcome is not None
    assert (outcome.state, outcome.reason) == ("FAILED", "no such model")


def test_a_dead_trial_is_recorded_with_how_far_it_got(tmp_path: Path) -> None:
    records = TrialRecords(tmp_path)
    add_step(records, 1)
    records.commit(step=1, stage=0, checkpoint=None)
    records.close()
    record_failure(tmp_path, "its process died")
    outcome = read_outcome(tmp_path)
    assert outcome is not None
    assert (outcome.state, outcome.steps, outcome.reason) == ("FAILED", 1, "its process died")


def test_unreadable_progress_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text("{")
    with pytest.raises(StorageError, match="Remove the folder of this run"):
        TrialRecords(tmp_path)
