"""What is written for a run, given its folder and what the store holds: no store needed."""

from dataclasses import replace
from pathlib import Path

import pytest

from strictune.tracking import names
from strictune.tracking.planning import (
    NO_OUTCOME,
    KnownRun,
    LogFacts,
    LogMetrics,
    LogPoints,
    RemoveTag,
    SetStatus,
    Upload,
    plan_run,
)
from strictune.tracking.records import Artifact, Findings, RunKey, RunRecord
from strictune.tracking.spool import Mark, Point

RUNNING = RunRecord(
    key=RunKey("trial", "t1"),
    path=Path("t1"),
    name="t1",
    started_ms=1,
    ended_ms=9,
    num_steps=40,
    durable_bytes=100,
    metrics_bytes=150,
)
FAILED = replace(RUNNING, status="FAILED", tags={names.REASON: "out of memory"})
COPIED = KnownRun(run_id="r", status="RUNNING", tags={names.MIRRORED: "100 abc"})


def test_a_run_that_is_up_to_date_needs_nothing() -> None:
    assert plan_run(RUNNING, COPIED, is_final=False) == []


@pytest.mark.parametrize(
    ("record", "is_final", "end_bytes"),
    [
        pytest.param(RUNNING, False, 100, id="running"),
        pytest.param(RUNNING, True, 100, id="killed-without-an-outcome"),
        pytest.param(FAILED, False, 100, id="failed-while-the-sweep-runs"),
        pytest.param(FAILED, True, 150, id="failed-for-good"),
    ],
)
def test_metrics_are_copied_as_far_as_they_cannot_be_rolled_back(
    record: RunRecord, is_final: bool, end_bytes: int
) -> None:
    known = replace(COPIED, tags={names.MIRRORED: "40 abc"})
    writes = plan_run(record, known, is_final=is_final)
    assert LogMetrics(start=Mark(40, "abc"), end_bytes=end_bytes) in writes


def test_only_missing_params_and_differing_tags_are_logged() -> None:
    record = replace(RUNNING, tags={"a": "1", "b": "2"}, params={"p": "1", "q": "2"})
    known = replace(COPIED, tags={**COPIED.tags, "a": "1", "b": "old"}, params=frozenset({"p"}))
    assert plan_run(record, known, is_final=False) == [LogFacts(tags={"b": "2"}, params={"q": "2"})]


def test_a_run_without_an_outcome_is_ended_as_killed_with_a_reason() -> None:
    assert plan_run(RUNNING, COPIED, is_final=True) == [
        LogFacts(tags={names.REASON: NO_OUTCOME}, params={}),
        SetStatus(status="KILLED", ended_ms=9),
    ]


def test_a_resumed_run_is_opened_and_loses_its_reason() -> None:
    known = replace(COPIED, status="FAILED", tags={**COPIED.tags, names.REASON: "out of memory"})
    assert plan_run(RUNNING, known, is_final=False) == [
        RemoveTag(key=names.REASON),
        SetStatus(status="RUNNING", ended_ms=9),
    ]


def test_tags_that_others_set_are_left_alone() -> None:
    known = replace(COPIED, tags={**COPIED.tags, "strictune.flag": "x", "mine": "y"})
    assert plan_run(RUNNING, known, is_final=False) == []


def test_a_run_ends_before_its_artifacts_go_up() -> None:
    file = Artifact(Path("lock.json"), "lock.json", 2, 3)
    kinds = [
        type(write)
        for write in plan_run(replace(FAILED, artifacts=(file,)), COPIED, is_final=False)
    ]
    assert kinds == [LogFacts, SetStatus, Upload]


def test_artifacts_go_up_again_only_if_a_file_changed() -> None:
    file = Artifact(Path("lock.json"), "lock.json", 2, 3)
    record = replace(RUNNING, artifacts=(file,))
    (upload,) = plan_run(record, COPIED, is_final=False)
    assert isinstance(upload, Upload)
    known = replace(COPIED, tags={**COPIED.tags, names.UPLOADED: upload.digest})
    assert plan_run(record, known, is_final=False) == []
    changed = replace(record, artifacts=(file._replace(mtime_ns=4),))
    assert plan_run(changed, known, is_final=False) != []


def test_a_comparison_is_logged_at_the_last_step_and_once() -> None:
    record = replace(RUNNING, comparison=Findings({"delta/x_pp": 1.5}, time_ms=7))
    (log,) = plan_run(record, COPIED, is_final=False)
    assert isinstance(log, LogPoints)
    assert log.points == (Point("delta/x_pp", 1.5, 40, 7),)
    known = replace(COPIED, tags={**COPIED.tags, names.COMPARED: log.digest})
    assert plan_run(record, known, is_final=False) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"a": {"b": 0.5}}, {"a.b": "0.5"}, id="nested"),
        pytest.param({"a": "x"}, {"a": "x"}, id="text"),
        pytest.param({"a": True, "b": None}, {"a": "true", "b": "null"}, id="as-in-yaml"),
        pytest.param({"a": [{"n": 1}]}, {"a": '[{"n": 1}]'}, id="list"),
        pytest.param({"a": {}}, {"a": "{}"}, id="empty"),
        pytest.param({"pass@1": 1}, {"pass_1": "1"}, id="refused-character"),
    ],
)
def test_specs_become_flat_params(value: dict[str, object], expected: dict[str, str]) -> None:
    assert names.flat_params(value) == expected


def test_long_values_are_cut_to_the_stores_limit_and_say_so() -> None:
    (value,) = names.flat_params({"a": "x" * 9000}).values()
    assert len(value) == 6000
    assert value.endswith("[...]")


def test_a_long_table_is_cut_after_a_whole_line_and_says_where_the_rest_is() -> None:
    rows = "".join(f"| {row:04} | better |\n" for row in range(1000))
    description = names.cut_table(rows, source="verdicts.md")
    assert len(description) <= 8000
    *_, last, _, hint = description.split("\n")
    assert last.endswith("| better |")
    assert "`verdicts.md`" in hint
    assert names.cut_table("short", source="verdicts.md") == "short"
