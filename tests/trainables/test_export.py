"""Exports of a hand-made adapter on the tiny model: same logits, and loadable by others."""

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from strictune.config import ComputeDtype, TrialSpec, expand, load_sweep
from strictune.errors import StorageError, TrialError
from trainables.export import export_trial, usage_code
from trainables.models import load_base_model, load_tokenizer, lora_config, resolve_model
from trainables.prompting import render_prompt
from trainables.tasks import load_task

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


TURNS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
DROPS_SYSTEM = TURNS.replace(
    "{% for m in messages %}", "{% for m in messages if m.role == 'user' %}"
)


@pytest.mark.parametrize("thinking", [False, True])
@pytest.mark.parametrize(
    ("template", "adds"),
    [
        pytest.param(TURNS, "$A", id="plain"),
        pytest.param(NO_SYSTEM + TURNS, "$A", id="raises-for-a-system-role"),
        pytest.param(DROPS_SYSTEM, "$A", id="drops-the-system-role"),
        pytest.param("<|pad|>" + TURNS, "$A", id="writes-its-beginning"),
        pytest.param("<|pad|>" + TURNS, "<|pad|> $A", id="writes-what-is-added"),
        pytest.param(TURNS, "<|pad|> $A", id="leaves-the-beginning-to-the-tokenizer"),
        pytest.param(TURNS, "$A <|im_end|>", id="appended-end"),
        pytest.param(NO_SYSTEM + "<|pad|>" + TURNS, "<|pad|> $A <|im_end|>", id="all-of-it"),
        pytest.param(TURNS + "<think>\n", "$A", id="opens-the-think-block"),
        pytest.param(TURNS + "<think>\n\n", "<|pad|> $A", id="opens-it-and-adds"),
        pytest.param(
            TURNS + "{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}",
            "$A",
            id="knows-thinking",
        ),
    ],
)
def test_the_code_of_the_card_writes_the_trained_prompt(
    tmp_path: Path, template: str, adds: str, thinking: bool
) -> None:
    model = shutil.copytree(resolve_model("builtin:tiny").location, tmp_path / "model")
    (model / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = template
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=adds,
        special_tokens=[
            (token, tokenizer.convert_tokens_to_ids(token)) for token in ("<|pad|>", "<|im_end|>")
        ],
    )
    tokenizer.save_pretrained(model)
    spec = trial().model_copy(update={"model": str(model), "thinking": thinking})
    task = load_task(spec.task)
    messages = task.messages(task.prompts(spec.evaluation.final_split)[0], thinking=thinking)
    trained = load_tokenizer(resolve_model(str(model)))
    rendered = render_prompt(trained, messages, thinking=thinking).text

    code = usage_code(spec, dtype="float32", is_merged=True).replace('"."', repr(str(model)))
    before_generating = code[: code.index("output = ")].replace('"pt"', "None")
    said: dict[str, Any] = {}
    exec(before_generating, said)
    assert said["inputs"]["input_ids"] == trained(rendered)["input_ids"]


def test_the_code_of_the_card_does_without_the_base(tmp_path: Path) -> None:
    spec = trial().model_copy(update={"model": str(tmp_path)})
    assert "apply_chat_template" in usage_code(spec, dtype="float32", is_merged=False)


def test_an_export_keeps_the_generation_defaults_of_its_base(run: Path, tmp_path: Path) -> None:
    model = shutil.copytree(resolve_model("builtin:tiny").location, tmp_path / "model")
    path = model / "generation_config.json"
    own = json.loads(path.read_text()) | {"temperature": 0.6, "min_p": 0.1, "do_sample": False}
    path.write_text(json.dumps(own))
    revision = resolve_model(str(model)).revision
    spec, out = trial().model_copy(update={"model": str(model)}), tmp_path / "out"
    export_trial(run, spec, out, dtype="float32", model_revision=revision, card="", is_merged=True)
    assert json.loads((out / "generation_config.json").read_text()) == own


@pytest.mark.filterwarnings("ignore::UserWarning:peft")
@pytest.mark.parametrize(
    ("is_tied", "module"),
    [
        pytest.param(True, "embed_tokens", id="tied-embedding"),
        pytest.param(True, "lm_head", id="tied-output"),
        pytest.param(False, "embed_tokens", id="untied"),
    ],
)
def test_an_adapter_on_one_side_of_a_tied_matrix_is_not_merged(
    tmp_path: Path, is_tied: bool, module: str
) -> None:
    model = tmp_path / "model"
    base = load_base_model(resolve_model("builtin:tiny"), quantization="none", dtype="float32")
    base.config.tie_word_embeddings = is_tied
    if not is_tied:
        base.lm_head.weight = torch.nn.Parameter(base.lm_head.weight.detach().clone())
    base.save_pretrained(model)
    AutoTokenizer.from_pretrained(base.name_or_path).save_pretrained(model)
    lora = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", module])
    get_peft_model(base, lora).save_pretrained(tmp_path / "run" / "adapter" / "final")

    def export() -> None:
        spec = trial().model_copy(update={"model": str(model), "dtype": "float32"})
        revision = resolve_model(str(model)).revision
        out = tmp_path / "out"
        export_trial(
            tmp_path / "run",
            spec,
            out,
            dtype="float32",
            model_revision=revision,
            card="",
            is_merged=True,
        )

    if not is_tied:
        export()
        return
    with pytest.raises(TrialError, match=r"output layer.*Export without --merge"):
        export()
    assert not (tmp_path / "out").exists()


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
