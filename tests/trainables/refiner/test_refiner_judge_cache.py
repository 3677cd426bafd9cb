"""The judge's cache, and budgets per minute."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from strictune.errors import StorageError
from trainables.tasks.refiner.judge_cache import JudgeCache, cache_key
from trainables.tasks.refiner.judge_client import BURST_S, Budget


def key(number: int) -> bytes:
    return cache_key({"messages": [{"content": str(number)}], "model": "m"})


def test_what_was_put_is_got_back_exactly(tmp_path: Path) -> None:
    cache = JudgeCache(tmp_path / "sub" / "scores.db")
    entries = {key(number): (number / 7, 1.0) for number in range(1200)}
    cache.put(entries)
    assert JudgeCache(tmp_path / "sub" / "scores.db").get([*entries, key(9999)]) == entries


def test_a_key_names_everything_of_a_call() -> None:
    call = {"model": "m", "temperature": 0.0, "messages": [{"role": "user", "content": "a"}]}
    assert cache_key(call) == cache_key(dict(reversed(call.items())))
    for changed in ({"model": "n"}, {"temperature": 0.1}, {"messages": []}):
        assert cache_key({**call, **changed}) != cache_key(call)


def test_the_oldest_answers_go_first(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    cache = JudgeCache(path)
    for number in range(10):
        cache.put({key(number): (0.5,)})
    kept = JudgeCache(path, max_rows=4).get([key(number) for number in range(10)])
    assert set(kept) == {key(number) for number in range(6, 10)}


FILL = """
import sys
from pathlib import Path
from trainables.tasks.refiner.judge_cache import JudgeCache, cache_key
path, first = Path(sys.argv[1]), int(sys.argv[2])
cache = JudgeCache(path)
for number in range(first, first + 100):
    cache.put({cache_key({"number": number}): (0.5,)})
"""


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    command = [sys.executable, "-c", FILL, str(path)]
    writers = [subprocess.Popen([*command, str(60 * n)]) for n in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    keys = [cache_key({"number": number}) for number in range(220)]
    assert len(JudgeCache(path).get(keys)) == 220


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    path.write_bytes(b"no database " * 100)
    with pytest.raises(StorageError, match=r"scores\.db: cannot be used .* Remove the file"):
        JudgeCache(path)


def test_losing_the_cache_costs_calls_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "scores.db"
    cache = JudgeCache(path)
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE scores")
    connection.commit()
    connection.close()
    cache.put({key(1): (0.5,)})
    assert cache.get([key(1)]) == {}
    assert "was not written" in caplog.text and "was not read" in caplog.text


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_is_spent_evenly_after_its_burst() -> None:
    clock = Clock()
    budget = Budget(60, clock=clock)
    waits = [budget.reserve(1) for _ in range(8)]
    assert waits == [0, 0, 0, 0, 0, 0, 1, 2]
    clock.now += 60
    assert [budget.reserve(1) for _ in range(int(BURST_S) + 1)] == [0] * 6


def test_tokens_that_were_not_used_are_given_back() -> None:
    clock = Clock()
    budget = Budget(600, clock=clock)
    assert budget.reserve(100) == 0
    assert budget.reserve(1) == pytest.approx(5)
    budget.correct(-50)
    assert budget.reserve(1) == pytest.approx(0.1)


def test_no_budget_never_waits() -> None:
    budget = Budget(None)
    assert [budget.reserve(1e9) for _ in range(3)] == [0, 0, 0]
    budget.correct(5)
