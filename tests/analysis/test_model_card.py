"""Model cards: figures agree with the records, and what is unknown is said to be."""

import json
from pathlib import Path

import pytest
import yaml
from synthetic_sweep import FakeTrial, write_sweep

from analysis import write_verdicts
from analysis.model_card import model_card, read_card_source
from strictune.config import dump_yaml, expand, load_sweep
from strictune.errors import StorageError

ROOT = Path(__file__).resolve().parents[2]


def judged_run(folder: Path, trial: FakeTrial, *settings: str) -> Path:
    sweep = write_sweep(folder, [trial])
    run = sweep / "trials" / trial.trial_id
    overrides = [f"matrix.thinking=[{str(trial.thinking).lower()}]", "contrasts=[]"]
    overrides += ["matrix.curriculum=[standard]", *settings]
    spec = expand(load_sweep(ROOT / "search_spaces" / "quickstart.yaml", overrides))[0]
    (run / "trial.yaml").write_text(dump_yaml(spec))
    lock = json.loads((run / "lock.json").read_text())
    lock |= {"model_revision": "abc123", "packages": {"torch": "2.13.0"}, "device": "a machine"}
    lock["dtype"] = "bfloat16"
    (run / "lock.json").write_text(json.dumps(lock))
    return run


def card(run: Path, *, is_merged: bool = True, notes: tuple[str, ...] = ()) -> str:
    return model_card(read_card_source(run), is_merged=is_merged, usage="print(1)", notes=notes)


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return judged_run(tmp_path / "sweep", FakeTrial(trial_id="t1"))


def test_figures_are_those_of_the_verdicts(run: Path) -> None:
    text = card(run)
    write_verdicts(run.parents[1])
    (judged,) = json.loads((run.parents[1] / "verdicts.json").read_text())["trials"]
    rate, baseline = judged["result"]["rates"]["strict"], judged["comparison"]["rates"]["strict"]
    strict = next(line for line in text.splitlines() if line.startswith("| strict |"))
    for interval in (rate, baseline):
        shown = f"{interval['estimate']:.1%} [{100 * interval['low']:.1f}, "
        assert f"{shown}{100 * interval['high']:.1f}]" in strict
    assert judged["verdict"]["text"] in section(text, "Verdict")
    assert "recipe undecided" in section(text, "Verdict")
    assert "| split |" not in text
    assert "240 completions of 240 prompts in 60 families" in text


def test_an_adapter_of_both_methods_says_so(tmp_path: Path) -> None:
    run = judged_run(tmp_path / "sweep", FakeTrial(trial_id="t1"), "matrix.curriculum=[warm_start]")
    text = card(run)
    assert "trained on gold completions of, then by GRPO on strict_json" in text
    assert yaml.safe_load(text.split("---")[1])["tags"] == ["sft", "grpo", "strictune"]
    assert "reward weights: format" in section(text, "Training")


def test_a_supervised_adapter_says_what_it_was_trained_on(tmp_path: Path) -> None:
    trial = FakeTrial(trial_id="t1", method="sft")
    text = card(judged_run(tmp_path / "sweep", trial, "trial.method=sft"))
    assert "trained on gold completions of strict_json" in text
    assert "tags: [sft, strictune]" in text
    assert "reward weights" not in section(text, "Training")


def test_training_is_told_from_the_records(run: Path) -> None:
    training = section(card(run), "Training")
    assert "base builtin:tiny, revision abc123" in training
    assert "60 optimizer steps in 5 minutes on a machine, seed 0" in training
    assert "nf4, computing in bfloat16" in training
    assert "torch 2.13.0" in training
    assert "\nlora:\n  r: 16\n" in training


def test_the_front_matter_is_yaml(run: Path) -> None:
    for is_merged, library in ((True, "transformers"), (False, "peft")):
        front = yaml.safe_load(card(run, is_merged=is_merged).split("---\n")[1])
        assert front["library_name"] == library
        assert "base_model" not in front  # builtin:tiny is on no hub.


def test_a_hub_model_is_named_in_the_front_matter(tmp_path: Path) -> None:
    run = judged_run(
        tmp_path / "sweep", FakeTrial(trial_id="t1"), "matrix.model=[HuggingFaceTB/SmolLM2-135M]"
    )
    front = yaml.safe_load(card(run).split("---\n")[1])
    assert front["base_model"] == "HuggingFaceTB/SmolLM2-135M"


def test_limits_follow_from_the_trial(tmp_path: Path) -> None:
    thinker = FakeTrial(trial_id="t1", thinking=True, think_rate=0.1)
    run = judged_run(tmp_path / "sweep", thinker)
    merged, adapter = (section(card(run, is_merged=way), "Limits") for way in (True, False))
    assert "asked to think and rarely does" in merged
    assert "measured on nf4 weights" in merged
    assert "measured on nf4 weights" not in adapter
    assert "a note" in section(card(run, notes=("a note",)), "Limits")


def test_files_of_a_users_own_are_not_said_to_be_split_by_family(run: Path, tmp_path: Path) -> None:
    drawn = card(run)
    assert "- no family of prompts is in two splits" in section(drawn, "Data")
    assert "families that training never saw" in section(drawn, "Results")
    folder = tmp_path / "of-files"
    files = [f"task.{split}={folder / split}.jsonl" for split in ("train", "validation", "test")]
    sweep = load_sweep(
        ROOT / "search_spaces" / "refiner_quickstart.yaml", [*files, "matrix.seed=[0]"]
    )
    own = judged_run(folder, FakeTrial(trial_id="t1"))
    (own / "trial.yaml").write_text(dump_yaml(expand(sweep)[0]))
    text = card(own)
    assert "whether a family is in two splits was not checked" in section(text, "Data")
    assert "no family of prompts" not in text
    assert "never saw" not in text


def test_a_run_that_no_sweep_has_planned_is_not_judged(run: Path) -> None:
    (run.parents[1] / "plan.json").unlink()
    text = card(run)
    assert "not judged" in section(text, "Verdict")
    assert "| not measured | not measured |" in section(text, "Results")


def test_a_trial_without_a_result_gets_no_card(tmp_path: Path) -> None:
    failed = FakeTrial(trial_id="t1", state="FAILED", reason="out of memory")
    run = judged_run(tmp_path / "sweep", failed)
    with pytest.raises(StorageError, match=r"has no result: failed \(out of memory\)"):
        read_card_source(run)


def test_a_plan_that_cannot_be_read_is_an_error(run: Path) -> None:
    (run.parents[1] / "plan.json").write_text('{"trials": 3}')
    with pytest.raises(StorageError, match=r"plan\.json: "):
        read_card_source(run)


def test_a_lock_of_an_unknown_precision_is_an_error(run: Path) -> None:
    lock = json.loads((run / "lock.json").read_text())
    (run / "lock.json").write_text(json.dumps(lock | {"dtype": None}))
    with pytest.raises(StorageError, match=r"lock\.json: dtype is missing"):
        read_card_source(run)


def test_blocks_of_a_tasks_settings_are_left_to_the_yaml(tmp_path: Path) -> None:
    run = judged_run(tmp_path / "judged", FakeTrial(trial_id="t1"))
    [spec] = expand(load_sweep(ROOT / "search_spaces" / "refiner_quickstart.yaml"))
    (run / "trial.yaml").write_text(dump_yaml(spec))
    text = card(run)
    data = section(text, "Data")
    assert "task refiner (data_seed 0, num_train_rows 2000, num_eval_rows 240," in data
    assert "{" not in data and "None" not in data
    assert "kind: lexical" in section(text, "Training")
