"""Metrics files as batches: whole lines, once each, and rollbacks noticed."""

import json
from pathlib import Path

import pytest

from strictune.tracking.points import MAX_BATCH_POINTS, Mark, Point, is_copied, read_batches

START = Mark(0, "")


def _line(step: int, *, num_keys: int = 1, time: float = 1e9) -> str:
    metrics = {f"train/key{key}": step + key / 100 for key in range(num_keys)}
    return json.dumps({"step": step, "time": time + step, "metrics": metrics}) + "\n"


def _points(path: Path, *, start: Mark = START, end_bytes: int = 10**9) -> list[Point]:
    batches = read_batches(path, start=start, end_bytes=end_bytes)
    return [point for batch in batches for point in batch.points]


def test_reading_goes_on_where_a_mark_left_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(_line(1) + _line(2))
    *_, last = read_batches(path, start=START, end_bytes=path.stat().st_size)
    with path.open("a") as lines:
        lines.write(_line(3))
    assert [point.step for point in _points(path, start=last.mark)] == [3]


@pytest.mark.parametrize(
    ("written", "end_bytes"),
    [
        pytest.param(_line(1) + _line(2)[:-5], 10**9, id="line-being-written"),
        pytest.param(_line(1) + _line(2), len(_line(1)), id="not-durable"),
        pytest.param(_line(1) + _line(2), len(_line(1)) + 3, id="end-inside-a-line"),
    ],
)
def test_only_whole_durable_lines_are_read(tmp_path: Path, written: str, end_bytes: int) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(written)
    assert [point.step for point in _points(path, end_bytes=end_bytes)] == [1]


@pytest.mark.parametrize("num_keys", [1, 7, MAX_BATCH_POINTS - 1, 2 * MAX_BATCH_POINTS + 3])
def test_batches_keep_the_stores_limit_and_hold_every_point_once(
    tmp_path: Path, num_keys: int
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(_line(step, num_keys=num_keys) for step in range(5)))
    batches = list(read_batches(path, start=START, end_bytes=path.stat().st_size))
    assert max(len(batch.points) for batch in batches) <= MAX_BATCH_POINTS
    assert len(_points(path)) == len(set(_points(path))) == 5 * num_keys
    assert batches[-1].mark.num_bytes == path.stat().st_size


def test_every_mark_is_a_place_to_go_on_without_loss(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(_line(step, num_keys=300) for step in range(20)))
    everything = set(_points(path))
    sent: set[Point] = set()
    for batch in read_batches(path, start=START, end_bytes=path.stat().st_size):
        sent |= set(batch.points)
        assert sent | set(_points(path, start=batch.mark)) == everything


def test_values_that_were_not_measured_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "time": 1.0, "metrics": {"a": NaN, "b": Infinity, "c": 2.0}}\n')
    assert _points(path) == [Point("c", 2.0, 1, 1000)]


def test_a_line_that_is_no_record_is_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(_line(1) + "[]\n" + '{"step": 2}\n' + _line(3))
    assert [point.step for point in _points(path)] == [1, 3]
    assert caplog.text.count("skipped a line") == 2


def test_a_file_that_only_grew_is_still_the_one_that_was_copied(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(_line(1) + _line(2))
    *_, last = read_batches(path, start=START, end_bytes=path.stat().st_size)
    path.write_text(path.read_text() + _line(3))
    assert is_copied(path, last.mark)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(_line(1), id="cut-off"),
        pytest.param(_line(1) + _line(2, time=2e9), id="written-again-to-the-same-length"),
        pytest.param(_line(1) + _line(2, time=2e9) + _line(3, time=2e9), id="grown-beyond"),
        pytest.param(None, id="removed"),
    ],
)
def test_a_file_that_was_rolled_back_is_another_one(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(_line(1) + _line(2))
    *_, last = read_batches(path, start=START, end_bytes=path.stat().st_size)
    path.unlink() if content is None else path.write_text(content)
    assert not is_copied(path, last.mark)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("120 abc", Mark(120, "abc"), id="a-mark"),
        pytest.param(None, START, id="no-tag"),
        pytest.param("nonsense", START, id="nonsense"),
    ],
)
def test_a_mark_reads_back_from_its_tag(text: str | None, expected: Mark) -> None:
    assert Mark.parse(text) == expected
    assert Mark.parse(str(expected)) == expected
