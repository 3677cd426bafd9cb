"""``strictune evaluate --constrain``: what it reports, and that results are not mixed up."""

import json
from pathlib import Path

import pytest
from byte_llama import save_byte_llama
from command_line import as_json, printed, refusal, write_jsonl

from strictune.cli import main
from strictune.config import TrialSpec, dump_yaml

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
    suite = write_jsonl(folder / "mine.jsonl", *ROWS)
    options = ["evaluate", "--model", str(model), "--suite", str(suite), *QUICK]
    assert main([*options, "--out", str(folder / "free")]) == 0
    assert main([*options, "--constrain", "--out", str(folder / "held")]) == 0
    return folder


def summary(run: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads((run / "eval" / "mine" / "summary.json").read_text())
    return document


def test_random_weights_are_right_where_the_grammar_holds(evaluated: Path) -> None:
    held, free = summary(evaluated / "held"), summary(evaluated / "free")
    rates = {name: one["criteria"]["strict"] for name, one in (("held", held), ("free", free))}  # type: ignore[index]
    assert rates == {"held": pytest.approx(2 / 3), "free": 0.0}
    assert list(held["grammar_problems"].values()) == [1]  # type: ignore[attr-defined]
    assert "constrain: true" in (evaluated / "held" / "evaluation.yaml").read_text()


def test_the_table_says_what_was_decoded_freely_and_how_fast(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--model", evaluated / "model", "--suite", evaluated / "mine.jsonl", *QUICK)
    out = printed(capsys, "evaluate", *asked, "--constrain", "--out", evaluated / "again")
    assert "under a grammar: 2 of 3 prompts; decoded freely: 1 (1: failed to compile" in out
    assert " tokens a second; " in out


def test_a_free_and_a_constrained_run_are_not_compared(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(capsys, "compare", evaluated / "held", evaluated / "free")
    assert "grammar is 'llguidance" in message


def test_a_control_is_compared_on_request_and_called_one(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [evaluated / name for name in ("held", "free")]
    out = printed(capsys, "compare", *runs, "--across", "grammar")
    assert "+66.7 pp" in out
    assert "They did not start equal: grammar differ." in out


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a sweep with two seeds of one cell, none of them trained."""
    folder = tmp_path_factory.mktemp("sweep") / "mine"
    for seed in (0, 1):
        spec = TrialSpec.model_validate(
            {
                "task": {"kind": "strict_json", "num_train_prompts": 3, "num_eval_prompts": 12},
                "model": "builtin:tiny",
                "quantization": "none",
                "dtype": "float32",
                "seed": seed,
                "grpo": {"max_steps": 1},
                "evaluation": {
                    "num_prompts_per_difficulty": 1,
                    "samples_per_prompt": 2,
                    "max_new_tokens": 60,
                    "final_split": "validation",
                },
            }
        )
        (folder / "trials" / spec.trial_id).mkdir(parents=True)
        (folder / "trials" / spec.trial_id / "trial.yaml").write_text(dump_yaml(spec))
    (folder / "plan.json").write_text("{}")
    return folder


def test_the_untrained_models_of_a_sweep_are_measured_once_under_its_decoding(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [document] = as_json(capsys, "evaluate", "--sweep", sweep, "--constrain")
    [control] = (sweep / "controls").iterdir()
    assert document["folder"] == str(control)
    assert (document["num_prompts"], document["num_completions"]) == (3, 6)
    assert document["tokens_per_s"] > 0
    key = json.loads((control / "lock.json").read_text())["baseline_key"]
    assert (key["split"], key["max_new_tokens"]) == ("validation", 60)
    assert key["grammar"].startswith("llguidance")

    before = (control / "outcome.json").read_bytes()
    out = printed(capsys, "evaluate", "--sweep", "mine", "--constrain", "--out", sweep.parent)
    assert f"strictune report {sweep}" in out
    assert "no-think" in out
    assert [path.read_bytes() for path in sweep.glob("controls/*/outcome.json")] == [before]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--sweep", "mine"], "Add --constrain", id="free"),
        pytest.param(
            ["--sweep", "mine", "--constrain", "--model", "builtin:tiny", "--samples", "2"],
            "are the sweep's. Leave out --model, --samples.",
            id="given-twice",
        ),
        pytest.param(["--sweep", "yours", "--constrain"], "no plan.json", id="no-sweep"),
        pytest.param(["--model", "builtin:tiny"], "--suite: missing.", id="no-suite"),
        pytest.param([], "--model and --suite: missing. Give both, or --sweep.", id="nothing"),
    ],
)
def test_a_sweep_says_what_is_measured(
    sweep: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(capsys, "evaluate", *options, "--out", sweep.parent)
