import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from trainables.memory import card
from trainables.memory.card import (
    CONTEXT_GIB,
    allocator_fraction,
    beside_torch_gib,
    limit_to_share,
    parse_compute_apps,
)
from trainables.memory.peak import PeakMeter, peak_rss_gib

GIB = 2**30


class FakeCard:
    """torch.cuda on a card of 24 GiB, of which this process's allocator holds 3."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, free_gib: float = 20.0) -> None:
        self.fraction = 1.0
        answers = {
            "is_available": lambda: True,
            "memory_reserved": lambda: 3 * GIB,
            "max_memory_reserved": lambda: 5 * GIB,
            "mem_get_info": lambda: (free_gib * GIB, 24 * GIB),
            "get_device_properties": lambda _: SimpleNamespace(total_memory=24 * GIB),
            "set_per_process_memory_fraction": self._limit,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(torch.cuda, name, answer)

    def _limit(self, fraction: float) -> None:
        self.fraction = fraction


def test_the_peak_of_main_memory_keeps_what_was_given_back() -> None:
    code = (
        "from trainables.memory.peak import peak_rss_gib as peak\n"
        "before = peak(); block = bytearray(300 << 20); del block\n"
        "assert 0.28 < peak() - before < 0.32, (before, peak())"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_on_a_cpu_the_peak_is_main_memory_alone() -> None:
    assert PeakMeter().read() == {"memory/peak_gib": pytest.approx(peak_rss_gib(), rel=0.1)}


def test_the_peak_on_a_card_is_what_torch_reserved_and_what_lies_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FakeCard(monkeypatch, free_gib=20.3)
    # 3.7 GiB are used, 3 of them by the allocator now, 5 at its peak.
    assert PeakMeter(is_alone=True).read()["gpu/peak_gib"] == pytest.approx(5.7)


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
    FakeCard(monkeypatch, free_gib=1.0)
    monkeypatch.setattr(card.os, "getpid", lambda: 4711)
    monkeypatch.setattr(card, "_compute_apps", lambda: listed.format(pid=4711))
    assert beside_torch_gib(is_alone=False) == pytest.approx(beside_gib)


def test_a_machine_without_the_drivers_tool_has_an_empty_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(card, "QUERY", ["/nonexistent/nvidia-smi"])
    assert parse_compute_apps(card._compute_apps()) == {}


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_processes_within_their_shares_fit_a_card_with_their_contexts(count: int) -> None:
    each = allocator_fraction(1 / count, total_gib=24) * 24 + CONTEXT_GIB
    assert count * each == pytest.approx(24)


def test_a_share_that_barely_holds_a_context_still_allocates() -> None:
    assert allocator_fraction(1 / 12, total_gib=6) == 1 / 24


def test_a_process_is_limited_to_its_share_less_its_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeCard(monkeypatch)
    limit_to_share(0.25)
    assert fake.fraction == pytest.approx((0.25 * 24 - CONTEXT_GIB) / 24)
