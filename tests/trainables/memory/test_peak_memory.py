import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from fake_gpu import FakeGpu

from trainables.memory import process
from trainables.memory.estimate import CONTEXT_GIB
from trainables.memory.process import (
    PeakMeter,
    allocator_fraction,
    beside_torch_gib,
    limit_to_share,
    peak_rss_gib,
    repeat_in_shares,
)


def test_the_peak_of_main_memory_keeps_what_was_given_back() -> None:
    code = (
        "from trainables.memory.process import peak_rss_gib as peak\n"
        "before = peak(); block = bytearray(300 << 20); del block\n"
        "assert 0.28 < peak() - before < 0.32, (before, peak())"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_on_a_cpu_the_peak_is_main_memory_alone() -> None:
    assert PeakMeter().read() == {"memory/peak_gib": pytest.approx(peak_rss_gib(), rel=0.1)}


def test_the_peak_on_a_gpu_is_what_tensors_took_and_what_lies_beside_the_allocator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FakeGpu(monkeypatch, free_gib=20.3)
    peaks = PeakMeter(is_alone=True).read()
    # 3.7 GiB are used, 3 of them by the allocator.
    assert peaks["gpu/peak_gib"] == pytest.approx(4.7)
    assert peaks["gpu/peak_reserved_gib"] == pytest.approx(5.7)


@pytest.mark.parametrize(
    ("listed", "beside_gib"),
    [
        pytest.param("{pid}, 3584\n1, 9000\n", 0.5, id="listed"),
        pytest.param("1, 9000\n", CONTEXT_GIB, id="another-process"),
        pytest.param("{pid}, [N/A]\n", CONTEXT_GIB, id="not-told"),
        pytest.param("", CONTEXT_GIB, id="no-list"),
    ],
)
def test_beside_other_processes_the_drivers_list_tells_the_context(
    monkeypatch: pytest.MonkeyPatch, listed: str, beside_gib: float
) -> None:
    FakeGpu(monkeypatch, free_gib=1.0)
    monkeypatch.setattr(process.os, "getpid", lambda: 4711)
    monkeypatch.setattr(process, "nvidia_smi", lambda query: listed.format(pid=4711))
    assert beside_torch_gib(is_alone=False) == pytest.approx(beside_gib)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_processes_within_their_shares_fit_a_gpu_with_their_contexts(count: int) -> None:
    each = allocator_fraction(1 / count, total_gib=24) * 24 + CONTEXT_GIB
    assert count * each == pytest.approx(24)


def test_a_share_that_barely_holds_a_context_still_allocates() -> None:
    assert allocator_fraction(1 / 12, total_gib=6) == 1 / 24


def test_a_process_is_limited_to_its_share_less_its_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeGpu(monkeypatch)
    limit_to_share(0.25)
    assert fake.fraction == pytest.approx((0.25 * 24 - CONTEXT_GIB) / 24)


def out_of_memory() -> Exception:
    return torch.OutOfMemoryError("CUDA out of memory.")


def wrapped() -> Exception:
    error = RuntimeError("generation failed")
    error.__cause__ = out_of_memory()
    return error


@pytest.mark.parametrize("raised", [out_of_memory, wrapped])
@pytest.mark.parametrize(
    ("needs_gib", "tried", "failed_gib"),
    [
        pytest.param(5.0, [6.0], None, id="the-first-holds-it"),
        pytest.param(6.5, [6.0, 8.0], 6.0, id="the-next-larger-one-holds-it"),
        pytest.param(11.0, [6.0, 8.0, 12.0], 8.0, id="the-one-after-that"),
        pytest.param(20.0, [6.0, 8.0, 12.0], 12.0, id="only-the-whole-GPU-is-left"),
    ],
)
def test_work_is_repeated_in_the_share_that_it_would_be_granted(
    monkeypatch: pytest.MonkeyPatch,
    needs_gib: float,
    tried: list[float],
    failed_gib: float | None,
    raised: Callable[[], Exception],
) -> None:
    fake = FakeGpu(monkeypatch)
    shares = []

    def work() -> None:
        share_gib = fake.fraction * 24 + CONTEXT_GIB
        shares.append(share_gib)
        if share_gib < needs_gib:
            raise raised()

    # 5 GiB with a margin take more than a fifth of 24.
    found = repeat_in_shares(work, gpu_gib=5.0)
    assert (found or 0.0) == pytest.approx(failed_gib or 0.0, rel=1e-3)
    assert shares == pytest.approx(tried, rel=1e-3)


def test_what_takes_the_whole_gpu_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGpu(monkeypatch)
    assert repeat_in_shares(lambda: pytest.fail("repeated"), gpu_gib=12.0) is None
    assert repeat_in_shares(lambda: pytest.fail("repeated"), gpu_gib=23.0) is None


def test_what_fails_in_its_share_for_another_reason_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FakeGpu(monkeypatch)

    def work() -> None:
        raise ValueError("no such prompt")

    with pytest.raises(ValueError, match="no such prompt"):
        repeat_in_shares(work, gpu_gib=5.0)
