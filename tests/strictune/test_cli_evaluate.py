"""``strictune evaluate``: the artifacts of a trial, comparable runs, and what it refuses."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from command_line import as_json, printed, refusal, write_jsonl
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_llama import save_random_llama
from transformers import AutoModelForCausalLM

from strictune.cli import evaluate as evaluate_verb
from strictune.cli import main
from strictune.config import DTYPES, SamplingSpec
from trainables.tasks.refiner.settings import RefinerSettings
from trainables.tasks.strict_json.criteria import CRITERIA
from trainables.tasks.strict_json.rewards import REWARDS

ROWS = (
    {"id": "a", "prompt": "Write a list.", "schema": {"type": "array"}, "family": "lists"},
    {"id": "b", "prompt": "Write a text.", "schema": {"type": "string"}, "family": "texts"},
    {"id": "c", "prompt": "Write a number.", "schema": {"type": "number"}, "family": "numbers"},
)
QUICK = ("--samples", "2", "--max-new-tokens", "4", "--quantization", "none", "--dtype", "float32")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def adapter(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"])
    get_peft_model(AutoModelForCausalLM.from_pretrained(model), config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("suite") / "mine.jsonl", *ROWS)


@pytest.fixture(scope="module")
def run(model: Path, suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a plain run; ``printed`` beside it is what the run printed."""
    out = tmp_path_factory.mktemp("measured") / "run"
    args = ("--model", model, "--suite", suite, *QUICK, "--out", out, "--json")
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        assert main(["evaluate", *map(str, args)]) == 0
    (out.parent / "printed").write_text(stdout.getvalue())
    return out


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that looks like the package bfcl-eval: a short question, a long one, an odd one."""
    data = tmp_path / "site" / "bfcl_eval" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").touch()
    rows = []
    for number, (question, kind) in enumerate([("Go", "dict"), ("Go" * 700, "dict"), ("Go", "?")]):
        call = {"name": "go", "description": "Goes.", "parameters": {"type": kind}}
        turn = [{"role": "user", "content": question}]
        rows.append({"id": f"simple_python_{number}", "question": [turn], "function": [call]})
    write_jsonl(data / "BFCL_v4_simple_python.json", *rows)
    monkeypatch.syspath_prepend(tmp_path / "site")


def test_a_run_leaves_what_a_trial_leaves(run: Path) -> None:
    summary = json.loads((run.parent / "printed").read_text())
    samples = pd.read_parquet(run / "eval" / "mine" / "samples.parquet")
    assert list(samples["prompt_id"]) == ["a", "a", "b", "b", "c", "c"]
    assert list(samples["sample"]) == [0, 1] * 3
    assert {
        *(f"criterion/{name}" for name in CRITERIA),
        *(f"reward/{name}" for name in REWARDS),
    } < set(samples.columns)
    written = json.loads((run / "eval" / "mine" / "summary.json").read_text())
    assert {name: summary[name] for name in written} == written
    assert (summary["num_prompts"], summary["num_completions"]) == (3, 6)
    assert set(summary["intervals"]) == set(CRITERIA)
    assert summary["dropped"] == {}
    lock = json.loads((run / "lock.json").read_text())
    assert lock["evaluation_key"]["split"] == "mine"
    assert lock["baseline_key"]["thinking"] is False
    assert lock["primary_criterion"] == "strict"
    assert json.loads((run / "outcome.json").read_text())["state"] == "FINISHED"
    request = yaml.safe_load((run / "evaluation.yaml").read_text())
    assert request["sampling"]["samples_per_prompt"] == 2


def test_two_runs_compare_with_and_without_an_adapter(
    capsys: pytest.CaptureFixture[str],
    model: Path,
    adapter: Path,
    suite: Path,
    run: Path,
    tmp_path: Path,
) -> None:
    ours = tmp_path / "ours"
    args = ("--model", model, "--suite", suite, *QUICK, "--adapter", adapter, "--out", ours)
    as_json(capsys, "evaluate", *args)
    locks = [json.loads((folder / "lock.json").read_text()) for folder in (run, ours)]
    assert locks[0]["baseline_key"] == locks[1]["baseline_key"]
    assert [lock["adapter"] for lock in locks] == [None, str(adapter)]
    compared = as_json(capsys, "compare", ours, run)
    assert (compared["criterion"], compared["num_prompts"]) == ("strict", 3)


def test_runs_that_were_decoded_differently_are_not_compared(
    capsys: pytest.CaptureFixture[str], model: Path, suite: Path, run: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    args = ("--model", model, "--suite", suite, *QUICK, "--top-p", "0.5", "--out", other)
    as_json(capsys, "evaluate", *args)
    assert "top_p is 0.95 in" in refusal(capsys, "compare", run, other)


def test_a_split_of_the_task_is_a_suite(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    args = ("--model", "builtin:tiny", "--suite", "strict_json:validation")
    greedy = ("--temperature", "0", "--max-new-tokens", "3", "--num-per-difficulty", "1")
    folders = [as_json(capsys, "evaluate", *args, *greedy)["folder"] for _ in range(2)]
    parent = Path("runs") / "evaluations"
    assert folders == [str(parent / f"tiny-no-think-validation-{number}") for number in (1, 2)]
    keys = [json.loads(Path(folder, "lock.json").read_text()) for folder in folders]
    assert keys[0]["evaluation_key"] == keys[1]["evaluation_key"]


def test_a_suite_from_outside_is_measured_as_far_as_it_fits(
    capsys: pytest.CaptureFixture[str], model: Path, calls: None, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    args = ("--model", model, "--suite", "bfcl-eval:simple_python", *QUICK)
    summary = as_json(capsys, "evaluate", *args, "--max-prompt-tokens", "1300", "--out", out)
    dropped = {"parameter of an unknown type": 1, "prompt of more than 1300 tokens": 1}
    assert (summary["num_prompts"], summary["dropped"]) == (1, dropped)
    lock = json.loads((out / "lock.json").read_text())
    assert lock["dropped_prompts"] == dropped
    assert lock["evaluation_key"]["split"] == "bfcl-eval-simple-python"
    assert (out / "eval" / "bfcl-eval-simple-python" / "samples.parquet").is_file()


def test_a_suite_from_outside_of_which_nothing_fits_is_refused(
    capsys: pytest.CaptureFixture[str], model: Path, calls: None, tmp_path: Path
) -> None:
    args = ("--model", model, "--suite", "bfcl-eval:simple_python", "--out", tmp_path / "run")
    error = refusal(capsys, "evaluate", *args, "--max-prompt-tokens", "99")
    assert (
        "suite bfcl-eval:simple_python: none of its entries can be used (2 prompt of more than 99 "
        "tokens, 1 parameter of an unknown type). Raise --max-prompt-tokens"
    ) in error
    assert not (tmp_path / "run").exists()


def test_a_prompt_that_is_too_long_fails_the_run_with_its_reason(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    args = ("--model", model, "--suite", "strict_json:test", "--num-per-difficulty", "1")
    error = refusal(capsys, "evaluate", *args, *QUICK, "--out", out)
    assert "more than the 512" in error
    outcome = json.loads((out / "outcome.json").read_text())
    assert outcome["state"] == "FAILED"
    assert outcome["reason"] in error


def test_greedy_decoding_takes_one_sample_and_adds_the_tokens_of_thinking(
    capsys: pytest.CaptureFixture[str], model: Path, suite: Path, tmp_path: Path
) -> None:
    greedy = ("--temperature", "0", "--max-new-tokens", "2", "--max-think-tokens", "3")
    summary = as_json(
        capsys,
        "evaluate",
        *("--model", model, "--suite", suite, "--thinking", *greedy),
        *("--num-per-difficulty", "2", "--out", tmp_path / "run"),
    )
    assert summary["num_prompts"] == summary["num_completions"] == 2
    assert summary["completion_tokens_mean"] == 5


def test_several_samples_give_pass_at_k_and_pass_hat_k(
    capsys: pytest.CaptureFixture[str], model: Path, suite: Path, run: Path, tmp_path: Path
) -> None:
    summary = json.loads((run.parent / "printed").read_text())
    assert set(summary["samples"]) == set(CRITERIA)
    one, two = summary["samples"]["strict"]
    assert (one["k"], two["k"]) == (1, 2)
    assert one["pass_at_k"] == one["pass_hat_k"] == summary["criteria"]["strict"]
    args = ("--model", model, "--suite", suite, *QUICK)
    alone = as_json(capsys, "evaluate", *args, "--samples", "1", "--out", tmp_path / "alone")
    assert alone["samples"] == {criterion: [] for criterion in CRITERIA}


def test_the_tables_show_rates_with_intervals_and_pass_at_k(
    capsys: pytest.CaptureFixture[str], model: Path, suite: Path, tmp_path: Path
) -> None:
    asked = ("--model", model, "--suite", suite, *QUICK, "--out", tmp_path / "run")
    out = printed(capsys, "evaluate", *asked)
    assert "mine: Pass@1 with 95% intervals" in out
    assert "6 completions of 3 prompts" in out
    assert f"results: {tmp_path / 'run'}" in out
    assert "pass@k: at least one of k samples is right; pass^k: all k are." in out
    assert [line.split()[1] for line in out.splitlines() if "pass" in line and "%" in line] == [
        "pass@1",
        "pass@2",
        "pass^2",
    ]


def test_an_occupied_folder_is_refused_and_kept(
    capsys: pytest.CaptureFixture[str], model: Path, suite: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "note").write_text("mine")
    error = refusal(capsys, "evaluate", "--model", model, "--suite", suite, "--out", out)
    assert "is not empty" in error
    assert [path.name for path in out.iterdir()] == ["note"]


def test_an_adapter_that_does_not_fit_is_refused(
    capsys: pytest.CaptureFixture[str], model: Path, adapter: Path, suite: Path, tmp_path: Path
) -> None:
    odd = shutil.copytree(adapter, tmp_path / "odd")
    path = odd / "adapter_model.safetensors"
    save_file({k.replace(".layers.1.", ".layers.7."): v for k, v in load_file(path).items()}, path)
    args = ("--model", model, "--suite", suite, *QUICK, "--out", tmp_path / "run")
    error = refusal(capsys, "evaluate", *args, "--adapter", odd)
    assert "does not fit its base: 2 of 4 of its weights have no place and 2 of 4 that" in error


def test_a_model_that_names_no_end_is_refused(
    capsys: pytest.CaptureFixture[str], model: Path, suite: Path, tmp_path: Path
) -> None:
    endless = shutil.copytree(model, tmp_path / "endless")
    for name in ("tokenizer_config.json", "generation_config.json", "config.json"):
        document = json.loads((endless / name).read_text())
        kept = {k: v for k, v in document.items() if not k.startswith("eos_token")}
        (endless / name).write_text(json.dumps(kept))
    error = refusal(
        capsys, "evaluate", "--model", endless, "--suite", suite, "--out", tmp_path / "run"
    )
    assert "names no end-of-sequence token" in error
    assert not (tmp_path / "run").exists()


def test_adapters_outside_safetensors_are_refused(
    capsys: pytest.CaptureFixture[str], model: Path, adapter: Path, suite: Path, tmp_path: Path
) -> None:
    pickled = tmp_path / "pickled"
    shutil.copytree(adapter, pickled)
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    args = ("--model", model, "--suite", suite, "--out", tmp_path / "run")
    error = refusal(capsys, "evaluate", *args, "--adapter", pickled)
    assert "there is no adapter_model.safetensors" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(("--samples", "0"), "--samples = 0, expected", id="no-samples"),
        pytest.param(("--top-p", "2"), "--top-p = 2.0, expected", id="top-p"),
        pytest.param(
            ("--temperature", "0", "--samples", "2"),
            "--samples = 2 at temperature 0 repeats",
            id="repeated-greedy",
        ),
        pytest.param(
            ("--max-prompt-tokens", "0"), "--max-prompt-tokens = 0, expected", id="no-prompt-tokens"
        ),
        pytest.param(("--suite", "schemastore:x"), "schemastore alone", id="no-such-part"),
        pytest.param(("--suite", "strict_json:train"), "one of strict_json:validation", id="train"),
        pytest.param(("--suite", "no-such-file"), "no-such-file: cannot be read", id="no-suite"),
        pytest.param(("--model", "package:none"), "'package:none' is unknown", id="no-model"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str],
    model: Path,
    suite: Path,
    tmp_path: Path,
    args: tuple[str, ...],
    message: str,
) -> None:
    given = ("--model", model, "--suite", suite, "--out", tmp_path / "run", *args)
    assert message in refusal(capsys, "evaluate", *given)
    assert not (tmp_path / "run").exists()


def test_the_task_of_a_sweep_file_is_measured_by_its_judge(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(
        "name: mine\n"
        "task: {kind: refiner, num_train_rows: 4, num_eval_rows: 4, max_prompt_tokens: 4096,\n"
        "  judge: {kind: lexical}}\n"
        "trial: {model: builtin:tiny, grpo: {max_steps: 4, per_device_train_batch_size: 8}}\n"
    )
    out = tmp_path / "run"
    asked = ("--model", model, "--suite", "refiner:validation", *QUICK, "--out", out)
    document = as_json(capsys, "evaluate", *asked, "--task", sweep)
    assert document["num_prompts"] == 4
    assert set(document["intervals"]) == set(RefinerSettings.criteria)
    request = yaml.safe_load((out / "evaluation.yaml").read_text())
    assert request["task"]["judge"]["kind"] == "lexical"


def test_a_task_that_is_neither_file_nor_kind_is_refused(
    capsys: pytest.CaptureFixture[str], model: Path
) -> None:
    said = refusal(capsys, "evaluate", "--model", model, "--suite", "x.jsonl", "--task", "chess")
    assert (
        "--task chess: expected a sweep file, or one of functions, ifstruct, refiner, strict_json"
        in said
    )


def test_the_help_shows_the_defaults_of_the_configuration() -> None:
    defaults = {
        field: default for field, (_, default, _) in evaluate_verb._SAMPLING_OPTIONS.items()
    }
    assert defaults == SamplingSpec().model_dump()
    assert evaluate_verb.DTYPES == DTYPES
