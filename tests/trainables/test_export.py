"""Exports of a hand-made adapter on the tiny model: same logits, and loadable by others."""

import contextlib
import io
import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from strictune.config import ComputeDtype, TrialSpec, expand, load_sweep
from strictune.errors import StorageError, TrialError
from trainables.export import export_trial, usage_code
from trainables.models import load_base_model, lora_config, resolve_model

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "Produce a JSON object describing a car."


def trial(**settings: object) -> TrialSpec:
    fixed = {"matrix.curriculum": "[standard]", "matrix.thinking": "[false]", "contrasts": "[]"}
    overrides = [f"{key}={value}" for key, value in {**fixed, **settings}.items()]
    return expand(load_sweep(ROOT / "search_spaces" / "quickstart.yaml", overrides))[0]


@pytest.fixture(scope="module")
def revision() -> str:
    return resolve_model("builtin:tiny").revision


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a trial's folder with an adapter that changes every layer a little."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trial")
    base = load_base_model(resolve_model("builtin:tiny"), quantization="none", dtype="float32")
    adapted = get_peft_model(base, lora_config(trial().lora))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora_" in name:
                weights.normal_(std=0.1)
    adapted.save_pretrained(folder / "adapter" / "final")
    return folder


def with_adapter(run: Path, dtype: ComputeDtype) -> PeftModel:
    base = load_base_model(resolve_model("builtin:tiny"), quantization="none", dtype=dtype)
    return PeftModel.from_pretrained(base, run / "adapter" / "final").eval()


def logits(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(ids).logits.float()
    return found


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [pytest.param("float32", 1e-4, id="float32"), pytest.param("bfloat16", 0.25, id="bfloat16")],
)
def test_the_merged_model_is_base_plus_adapter(
    run: Path, revision: str, tmp_path: Path, dtype: ComputeDtype, largest: float
) -> None:
    spec = trial(**{"trial.dtype": dtype})
    assert spec.quantization == "nf4"
    out = tmp_path / "model"
    export_trial(
        run, spec, out, dtype=dtype, model_revision=revision, card="# Card\n", is_merged=True
    )
    merged = AutoModelForCausalLM.from_pretrained(out, dtype="auto", use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(out)
    ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    reference = logits(with_adapter(run, "float32"), ids)
    base = load_base_model(resolve_model("builtin:tiny"), quantization="none", dtype="float32")

    assert merged.dtype == getattr(torch, dtype)
    assert not hasattr(merged.config, "quantization_config")
    difference = (logits(merged, ids) - reference).abs().max()
    assert difference < largest
    assert (logits(base, ids) - reference).abs().max() > 10 * difference
    assert (out / "README.md").read_text() == "# Card\n"
    assert GenerationConfig.from_pretrained(out).eos_token_id == tokenizer.eos_token_id
    assert merged.generate(ids, max_new_tokens=5, do_sample=False).shape[1] > ids.shape[1]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("thinking", [False, True])
@pytest.mark.parametrize(
    "is_merged", [pytest.param(True, id="merged"), pytest.param(False, id="adapter")]
)
def test_the_code_of_the_card_runs(
    run: Path,
    revision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    thinking: bool,
    is_merged: bool,
) -> None:
    settings = {"matrix.thinking": f"[{str(thinking).lower()}]", "evaluation.max_new_tokens": 8}
    spec = trial(**settings, **{"evaluation.max_think_tokens": 8})
    out = tmp_path / "export"
    export_trial(
        run, spec, out, dtype="float32", model_revision=revision, card="", is_merged=is_merged
    )
    monkeypatch.chdir(out)
    code = usage_code(spec, dtype="float32", is_merged=is_merged)
    code = code.replace('"builtin:tiny"', repr(resolve_model("builtin:tiny").location))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue().strip()
    assert (r"<think>\n" in code) is thinking


def test_an_exported_adapter_names_its_base_as_the_sweep_file_does(
    run: Path, revision: str, tmp_path: Path
) -> None:
    out = tmp_path / "adapter"
    export_trial(
        run, trial(), out, dtype="float32", model_revision=revision, card="", is_merged=False
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "builtin:tiny"


def test_another_base_than_the_trained_one_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="is not the one that was trained"):
        export_trial(
            run,
            trial(),
            tmp_path / "x",
            dtype="float32",
            model_revision="other",
            card="",
            is_merged=True,
        )
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced(run: Path, revision: str, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(StorageError, match="is not empty"):
        export_trial(
            run,
            trial(),
            tmp_path,
            dtype="float32",
            model_revision=revision,
            card="",
            is_merged=False,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_pickled_adapter_is_refused(run: Path, revision: str, tmp_path: Path) -> None:
    adapter = tmp_path / "run" / "adapter" / "final"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(TrialError, match=r"there is no adapter_model\.safetensors"):
        export_trial(
            tmp_path / "run", trial(), tmp_path / "x", dtype="float32", model_revision=revision,
            card="", is_merged=True,
        )  # fmt: skip
