"""When so many of a judge's calls fail that a trial must end."""

from collections import Counter

import pytest

from strictune.errors import TrialError
from trainables.tasks.refiner.judge_health import BatchHealth, CallFault, FailureWatch


def look(
    watch: FailureWatch, answered: int, failed: int, *, fault: CallFault, is_over: bool = True
) -> None:
    health = BatchHealth(faults=Counter({fault: failed} if failed else {}), example="why")
    watch.refuse(health, num_answered=answered, is_over=is_over, judge="m")


@pytest.mark.parametrize("size", [40, 520, 2000])
def test_a_batch_counts_as_a_whole_however_large_it_is(size: int) -> None:
    look(FailureWatch(0.1), size * 9 // 10 + 1, size // 10 - 1, fault="timeout")
    with pytest.raises(TrialError, match=f"{size // 5} of the latest {size} calls"):
        look(FailureWatch(0.1), size * 4 // 5, size // 5, fault="timeout")


def test_earlier_batches_fill_the_window() -> None:
    watch = FailureWatch(0.1)
    for _ in range(4):
        look(watch, 100, 0, fault="timeout")
    look(watch, 0, 40, fault="timeout")
    with pytest.raises(TrialError, match="50 of the latest 450 calls"):
        look(watch, 0, 10, fault="timeout")


def test_the_first_calls_that_end_do_not_speak_for_all() -> None:
    watch = FailureWatch(0.1)
    look(watch, 0, 100, fault="status", is_over=False)
    look(watch, 2000, 100, fault="status", is_over=False)
    look(watch, 2000, 100, fault="status")
    with pytest.raises(TrialError, match="1000 of the latest 3000"):
        look(watch, 2000, 1000, fault="status", is_over=False)


@pytest.mark.parametrize(
    ("fault", "named", "not_named"),
    [
        pytest.param("deadline", "task.judge.batch_deadline_s", "call_timeout_s", id="deadline"),
        pytest.param("timeout", "raise call_timeout_s", "batch_deadline_s", id="timeout"),
        pytest.param("cut_off", "raise task.judge.max_tokens", "call_timeout_s", id="cut-off"),
    ],
)
def test_the_cure_is_one_for_the_fault(fault: CallFault, named: str, not_named: str) -> None:
    with pytest.raises(TrialError) as error:
        look(FailureWatch(0.1), 0, 40, fault=fault)
    assert named in str(error.value) and not_named not in str(error.value)
