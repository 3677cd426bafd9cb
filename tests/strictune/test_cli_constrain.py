"""``strictune evaluate --constrain``: what it reports, and that results are not mixed up."""

import json
from pathlib import Path

import pytest
from byte_llama import save_byte_llama

from strictune.cli import main

ROWS = (
    {"id": "a", "prompt": "Say so.", "schema": {"type": "boolean"}, "family": "truths"},
    {"id": "b", "prompt": "Say no.", "schema": {"const": False}, "family": "lies"},
    {"id": "c", "prompt": "List.", "schema": {"type": "array", "uniqueItems": True}},
)
QUICK = ("--samples", "2", "--max-new-tokens", "40", "--quantization", "none", "--dtype", "float32")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the run ``free`` and the run ``held``."""
    folder = tmp_path_factory.mktemp("runs")
    model = save_byte_llama(folder / "model")
    suite = folder / "mine.jsonl"
    suite.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    options = ["evaluate", "--model", str(model), "--suite", str(suite), *QUICK]
    assert main([*options, "--out", str(folder / "free")]) == 0
    assert main([*options, "--constrain", "--out", str(folder / "held")]) == 0
    return folder


def summary(run: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads((run / "eval" / "mine" / "summary.json").read_text())
    return document


def test_random_weights_are_right_where_the_grammar_holds(evaluated: Path) -> None:
    held, free = summary(evaluated / "held"), summary(evaluated / "free")
    rates = {name: one["rungs"]["strict"] for name, one in (("held", held), ("free", free))}  # type: ignore[index]
    assert rates == {"held": pytest.approx(2 / 3), "free": 0.0}
    assert list(held["grammar_problems"].values()) == [1]  # type: ignore[attr-defined]
    assert "constrain: true" in (evaluated / "held" / "evaluation.yaml").read_text()


def test_the_table_says_what_was_decoded_freely_and_how_fast(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = evaluated / "again"
    options = [
        "--model",
        str(evaluated / "model"),
        "--suite",
        str(evaluated / "mine.jsonl"),
        *QUICK,
    ]
    assert main(["evaluate", *options, "--constrain", "--out", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "under a grammar: 2 of 3 prompts; decoded freely: 1 (1: failed to compile" in out
    assert " tokens a second; " in out


def test_a_free_and_a_constrained_run_are_not_compared(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(evaluated / "held"), str(evaluated / "free")]) == 2
    assert "grammar is 'llguidance" in capsys.readouterr().err


def test_a_control_is_compared_on_request_and_called_one(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(evaluated / name) for name in ("held", "free")]
    assert main(["compare", *runs, "--across", "grammar"]) == 0
    out = capsys.readouterr().out
    assert "+66.7 pp" in out
    assert "They did not start equal: grammar differ." in out
