"""The script of ``make gpu-check``, as far as it goes without a card."""

import json
from pathlib import Path

import check_gpu
import pytest

from strictune.doctor.findings import broken, ok
from strictune.packing import Card, Machine
from trainables.memory.measured import Probe

CARD = Card(name="NVIDIA Card", memory_gib=24.0)
PROBE = Probe(
    device=CARD.name,
    gpu_gib=2.0,
    card_gib=24.0,
    memory_gib=3.0,
    step_s=4.0,
    evaluation_s=5.0,
    prompt_tokens=300,
    num_threads=1,
    seconds=60.0,
)


def on(monkeypatch: pytest.MonkeyPatch, card: Card | None) -> None:
    machine = Machine(cpus=4, memory_gib=16, gpus=int(card is not None), card=card)
    monkeypatch.setattr(check_gpu, "this_machine", lambda: machine)


def test_without_a_card_it_says_so_and_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on(monkeypatch, None)
    assert check_gpu.main(["builtin:tiny"]) == 0
    assert capsys.readouterr().out.startswith("skipped: nvidia-smi shows no GPU")


def test_a_card_that_torch_cannot_use_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on(monkeypatch, CARD)
    found = [broken("gpu", "torch is built without CUDA", cure="Install one."), ok("nf4", "fine")]
    monkeypatch.setattr(check_gpu, "try_in_process", lambda *_, **__: found)
    assert check_gpu.main(["builtin:tiny"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "broken: gpu: torch is built without CUDA",
        "    Install one.",
        "ok: nf4: fine",
    ]


def test_the_first_guess_stands_beside_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_gpu, "measure_trial", lambda spec, num_threads: PROBE)
    finding = check_gpu.compare_memory("builtin:tiny", device="cuda")
    assert finding.found.startswith("measured 2.00 GiB, first guess ")
    assert "main memory 3.00, 4.0 s a step at worst lengths, 60 s in all" in finding.found


def test_a_trials_span_and_peak_are_read_from_its_records(tmp_path: Path) -> None:
    (tmp_path / "attempts.jsonl").write_text('{"time": 10.0}\n{"time": 20.0}\n')
    lines = [{"metrics": {"gpu/peak_gib": 1.5}}, {"metrics": {}}, {"metrics": {"gpu/peak_gib": 2}}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "outcome.json").write_text('{"ended": 30.0}')
    assert check_gpu.read_trial(tmp_path) == check_gpu.Trial(began=10.0, ended=30.0, peak_gib=2)
