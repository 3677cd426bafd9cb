"""The folder of a sweep: files written in one piece, read as models, followed as they grow."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from watched_sweep import WatchedTrial

from strictune.errors import StorageError
from strictune.records import (
    Lock,
    MetricsTail,
    Outcome,
    Progress,
    part_path,
    read_costs,
    read_lock,
    read_metrics,
    read_outcome,
    read_plan,
    read_progress,
    read_reward_parts,
    read_samples,
    read_studies,
    replacing,
    write_json,
    write_outcome,
    write_progress,
)

LOCK = {"evaluation_key": {"split": "test"}, "baseline_key": {}, "baseline": "b"}


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_json(path, {"sweep": "old"})
    with pytest.raises(OSError, match="full"), replacing(path) as temporary:
        temporary.write_text('{"sweep"')
        raise OSError("the disk is full")
    assert json.loads(path.read_text()) == {"sweep": "old"}
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "tiny · think"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "name": "tiny · think"\n}\n'


def test_progress_and_outcome_come_back_as_they_were_written(tmp_path: Path) -> None:
    assert (read_progress(tmp_path), read_outcome(tmp_path)) == (Progress(), None)
    progress = Progress(step=3, stage=1, checkpoint="c", metrics_bytes=99, seconds=1.5)
    outcome = Outcome(state="FAILED", reason="no such model", steps=3, seconds=2.0)
    write_progress(tmp_path, progress)
    write_outcome(tmp_path, outcome)
    assert (read_progress(tmp_path), read_outcome(tmp_path)) == (progress, outcome)


def test_further_keys_are_ignored(tmp_path: Path) -> None:
    assert read_lock(tmp_path) is None
    write_json(tmp_path / "lock.json", LOCK | {"of_a_later_version": [1, 2]})
    assert read_lock(tmp_path) == Lock(**LOCK)


READERS = {
    "plan.json": read_plan,
    "studies.json": read_studies,
    "costs.json": read_costs,
    "lock.json": read_lock,
    "progress.json": read_progress,
    "outcome.json": read_outcome,
}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("plan.json", None, "there is no such file.*runs/quickstart", id="missing"),
        pytest.param("plan.json", b"{", "the document: Invalid JSON", id="not-json"),
        pytest.param("plan.json", b'{"sweep": "x"}', "task: Field required", id="plan"),
        pytest.param("studies.json", b'{"studies": [{}]}', r"studies\.0\.cell: Field", id="study"),
        pytest.param("costs.json", b'{"cells": 1}', "cells: .*Remove the file", id="costs"),
        pytest.param("lock.json", b"[]", "the document: .*Remove the folder", id="lock"),
        pytest.param("progress.json", b'{"step": "x"}', "step: .*Remove the fol", id="progress"),
        pytest.param("outcome.json", b'{"state": "DONE"}', "state: .*Remove the", id="outcome"),
        pytest.param("outcome.json", b"\xff", "the document: Invalid", id="not-text"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_key_and_a_cure(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(StorageError, match=f"{tmp_path / name}: {message}"):
        READERS[name](tmp_path)


# Metrics.


def steps(trial: WatchedTrial) -> list[int]:
    return [step for step, _ in read_metrics(trial.path)]


def new_steps(tail: MetricsTail) -> list[int]:
    return [json.loads(line)["step"] for line in tail.read_new()[1].splitlines()]


@pytest.fixture
def trial(tmp_path: Path) -> WatchedTrial:
    return WatchedTrial(tmp_path / "t0")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"no json", id="text"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"{}", id="empty"),
        pytest.param(b'{"step": 2, "time": 1, "metrics": null}', id="no-metrics"),
        pytest.param(b'{"step": "x", "time": 1, "metrics": {}}', id="no-number"),
        pytest.param(b"\xff\xfe", id="no-text"),
    ],
)
def test_a_line_that_is_no_record_is_passed_over(trial: WatchedTrial, line: bytes) -> None:
    assert steps(trial) == []
    trial.train(1, 1)
    with trial.metrics_path.open("ab") as lines:
        lines.write(line + b"\n")
    trial.train(2, 2)
    assert steps(trial) == [1, 2]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_half_written_line_is_read_once_it_is_whole(trial: WatchedTrial, cut: int) -> None:
    tail = MetricsTail(trial.metrics_path)
    trial.train(1, 3)
    whole = trial.metrics_path.read_bytes()
    trial.metrics_path.write_bytes(whole[:-cut])
    assert steps(trial) == new_steps(tail) == [1, 2]
    trial.metrics_path.write_bytes(whole)
    assert new_steps(tail) == [3]


def test_a_tail_reads_only_what_is_new(trial: WatchedTrial) -> None:
    tail = MetricsTail(trial.metrics_path)
    assert tail.read_new() == (False, b"")
    trial.train(1, 8)
    assert new_steps(tail) == list(range(1, 9))
    trial.train(9, 9)
    assert new_steps(tail) == [9]
    assert tail.read_new() == (False, b"")


def test_a_file_that_was_cut_back_is_read_afresh(trial: WatchedTrial) -> None:
    tail = MetricsTail(trial.metrics_path)
    trial.train(1, 4)
    size = trial.metrics_path.stat().st_size
    trial.train(5, 10)
    assert len(new_steps(tail)) == 10
    trial.roll_back(size)
    was_replaced, lines = tail.read_new()
    assert (was_replaced, lines.count(b"\n")) == (True, 4)


def test_a_file_that_was_cut_back_and_grew_past_its_old_size_is_read_afresh(
    trial: WatchedTrial,
) -> None:
    tail = MetricsTail(trial.metrics_path)
    trial.train(1, 4)
    size = trial.metrics_path.stat().st_size
    trial.evaluate(5, 0.9)
    assert len(new_steps(tail)) == 5
    trial.roll_back(size)
    trial.train(5, 9, **{"train/other": 1.0})
    was_replaced, lines = tail.read_new()
    assert (was_replaced, lines.count(b"\n")) == (True, 9)


def test_a_file_that_is_gone_is_forgotten(trial: WatchedTrial) -> None:
    tail = MetricsTail(trial.metrics_path)
    trial.train(1, 4)
    tail.read_new()
    trial.metrics_path.unlink()
    assert tail.read_new() == (True, b"")
    trial.train(1, 2)
    assert new_steps(tail) == [1, 2]


# Tables.


def test_rewards_are_read_up_to_the_last_checkpoint(tmp_path: Path) -> None:
    for step in (2, 4, 6):
        part_path(tmp_path, step).parent.mkdir(exist_ok=True)
        pd.DataFrame({"step": [step - 1, step], "b": 0}).to_parquet(part_path(tmp_path, step))
    with pytest.raises(StorageError, match="no checkpoint yet"):
        list(read_reward_parts(tmp_path, ["step"]))
    write_progress(tmp_path, Progress(step=4))
    parts = list(read_reward_parts(tmp_path, ["step"]))
    assert pd.concat(parts)["step"].tolist() == [1, 2, 3, 4]
    with pytest.raises(
        StorageError, match=r"part-00000002\.parquet: was recorded without reward/a"
    ):
        list(read_reward_parts(tmp_path, ["reward/a"]))


def sample_table(**columns: Any) -> pd.DataFrame:
    facts = {"prompt_id": ["a", "a"], "family": "f", "difficulty": "hard", "sample": [0, 1]}
    measures = {"num_tokens": 3, "is_truncated": False, "is_thinking": False}
    return pd.DataFrame(facts | measures | {"criterion/strict": True, "completion": "{}"} | columns)


def test_samples_are_read_with_or_without_their_texts(tmp_path: Path) -> None:
    sample_table().to_parquet(tmp_path / "samples.parquet")
    read = [read_samples(tmp_path / "samples.parquet", with_texts=flag) for flag in (False, True)]
    assert ["completion" in table for table in read] == [False, True]
    assert ["criterion/strict" in table for table in read] == [True, True]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param(sample_table(sample=0), "sample 0 of prompt 'a' is there twice", id="twice"),
        pytest.param(sample_table().drop(columns="family"), "columns family are", id="column"),
        pytest.param(None, "cannot be read as a table of samples", id="missing"),
    ],
)
def test_samples_that_cannot_be_used_are_refused(
    tmp_path: Path, table: pd.DataFrame | None, message: str
) -> None:
    if table is not None:
        table.to_parquet(tmp_path / "samples.parquet")
    with pytest.raises(StorageError, match=f"samples.parquet: .*{message}"):
        read_samples(tmp_path / "samples.parquet")
