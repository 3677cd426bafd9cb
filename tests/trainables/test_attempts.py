"""The attempts at a trial, on a disk that was full for a while."""

from pathlib import Path

import pytest

from strictune.records import read_attempts
from trainables.records import DIED, begin_attempt


@pytest.mark.parametrize("cut_off", ['{"time": 17', ""], ids=["in-a-line", "between-lines"])
def test_an_attempt_after_a_cut_off_line_is_kept(tmp_path: Path, cut_off: str) -> None:
    begin_attempt(tmp_path, driver="a")
    with (tmp_path / "attempts.jsonl").open("a") as lines:
        lines.write(cut_off)
    begin_attempt(tmp_path, driver="a")
    begin_attempt(tmp_path, driver="a")
    assert [attempt.why for attempt in read_attempts(tmp_path)] == [None, DIED, DIED]
