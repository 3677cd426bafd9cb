"""``strictune data``: files that repeat with their seed, and what inspect shows of them."""

from pathlib import Path

import pytest
from command_line import as_json, printed, refusal, write_jsonl

from trainables.tasks.strict_json.data import build_splits
from trainables.tasks.strict_json.export import write_splits
from trainables.tasks.strict_json.task import StrictJson

FEW = ("--num-train", "30", "--num-eval", "24")
INSPECT = ("data", "inspect")
FILES = ("train.jsonl", "validation.jsonl", "test.jsonl")


def test_generate_writes_the_splits_of_the_seed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = printed(capsys, "data", "generate", "--out", tmp_path / "a", "--seed", 3, *FEW)
    assert "train.jsonl: 30 prompts" in out
    expected = build_splits(seed=3, num_train_prompts=30, num_eval_prompts=24)
    write_splits(tmp_path / "b", expected)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_generate_overwrites_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text("mine")
    message = refusal(capsys, "data", "generate", "--out", tmp_path, *FEW)
    assert "test.jsonl: exists already" in message
    assert (tmp_path / "test.jsonl").read_text() == "mine"


def test_generate_sends_a_sweep_of_any_task_to_inspect(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    message = refusal(capsys, "data", "generate", "mine.yaml", "--out", tmp_path / "out")
    assert message.endswith("whichever it is: strictune data inspect mine.yaml.\n")
    assert not (tmp_path / "out").exists()


def test_inspect_says_the_same_of_drawn_and_of_written_prompts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    drawn = as_json(capsys, *INSPECT, "--seed", 3, *FEW)
    printed(capsys, "data", "generate", "--out", tmp_path, "--seed", 3, *FEW)
    assert as_json(capsys, *INSPECT, tmp_path) == drawn
    assert drawn["splits"]["test"]["num_families"] == 6
    assert set(drawn["num_shared_families"].values()) == {0}
    assert len(drawn["splits"]["train"]["samples"]) == 3


def test_inspect_counts_tokens_of_whole_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, *INSPECT, *FEW, "--tokenizer", "builtin:tiny")["splits"]["test"]
    lengths = found["difficulties"]["hard"]["prompt_lengths"]["tokens builtin:tiny"]
    assert 0 < lengths["median"] <= lengths["max"] <= 512


def test_inspect_prints_tables_and_samples(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, *INSPECT, *FEW, "--samples", 2)
    for text in ("of three or more", "exact_count", "train and test share 0 families", "schema: "):
        assert text in out
    assert out.count("prompt: ") == 3 * 3 * 2


def test_inspect_describes_the_rows_of_any_task(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [{"prompt": f"{a}{b} is what?", "answer": a} for a in "abcde" for b in "vwxyz"]
    write_jsonl(tmp_path / "rows.jsonl", *rows)
    (tmp_path / "mine.py").write_text("def right(completions, **rest): ...\n")
    task = "{kind: functions, module: mine.py, rewards: [right], success: right, train: rows.jsonl}"
    trial = "{model: builtin:tiny, grpo: {max_steps: 1}}"
    sweep = tmp_path / "s.yaml"
    sweep.write_text(f"name: s\ntask: {task}\ntrial: {trial}\n")
    splits = as_json(capsys, *INSPECT, sweep)["splits"]
    assert {name: split["num_families"] for name, split in splits.items()} == {
        "train": 21,
        "validation": 2,
        "test": 2,
    }
    assert splits["test"]["samples"][0]["prompt"].endswith(" is what?")
    assert "construct" not in printed(capsys, *INSPECT, sweep, "--samples", 0)
    (tmp_path / "rows.jsonl").write_text('{"question": "a"}\n')
    message = refusal(capsys, *INSPECT, sweep)
    assert "rows.jsonl:1: column 'prompt' is missing" in message


def test_inspect_refuses_a_task_that_plan_refuses(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = tmp_path / "s.yaml"
    sweep.write_text(
        "name: s\ntask: {kind: strict_json}\ntrial: {model: builtin:tiny, grpo: {max_steps: 1}}\n"
    )
    same = build_splits(seed=0, num_train_prompts=30, num_eval_prompts=24)["train"]
    monkeypatch.setattr(StrictJson, "build_prompts", lambda self, split: same)
    assert "of validation has the family of prompt" in refusal(capsys, *INSPECT, sweep)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(("--num-eval", "3"), "--num-eval = 3, expected a whole number", id="too-few"),
        pytest.param((".", "--seed", "1"), "have no meaning", id="folder-and-seed"),
        pytest.param(("no-such-folder",), "train.jsonl: cannot be read", id="no-folder"),
        pytest.param(("--samples", "-1"), "--samples = -1", id="negative-samples"),
        pytest.param(
            (*FEW, "--tokenizer", "package:none"), "--tokenizer package:none", id="no-tokenizer"
        ),
    ],
)
def test_bad_input_is_named(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], message: str
) -> None:
    assert message in refusal(capsys, *INSPECT, *args)
