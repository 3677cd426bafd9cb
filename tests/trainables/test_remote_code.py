"""A model's own code runs where the sweep file trusts it, and nowhere else."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import save_random_llama
from transformers import dynamic_module_utils

from strictune.config import TrialSpec
from strictune.errors import TrialError
from trainables.evaluation.measurement import baseline_measurement
from trainables.models import ModelSource, load_base_model, load_tokenizer, resolve_model
from trainables.trial import train_trial

OWN_CODE = """
from pathlib import Path

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Path({marker!r}).touch()


class OwnConfig(LlamaConfig):
    model_type = "own_llama"


class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig


class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """There once the model's code has run."""
    return tmp_path / "code-has-run"


@pytest.fixture
def folder(tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Llama that says it can be loaded only with the code beside it."""
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = save_random_llama(tmp_path / "own")
    (folder / "own.py").write_text(OWN_CODE.format(marker=str(marker)))
    change(
        folder / "config.json",
        model_type="own_llama",
        architectures=["OwnModel"],
        auto_map={"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"},
    )
    change(
        folder / "tokenizer_config.json",
        tokenizer_class="OwnTokenizer",
        auto_map={"AutoTokenizer": [None, "own.OwnTokenizer"]},
    )
    return folder


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def load(source: ModelSource) -> tuple[str, str]:
    model = load_base_model(source, quantization="none", dtype="float32")
    return type(model).__name__, type(load_tokenizer(source)).__name__


def trial(model: Path, **changes: Any) -> TrialSpec:
    fields: dict[str, Any] = {
        "task": {"kind": "strict_json", "num_train_prompts": 60, "num_eval_prompts": 12},
        "model": str(model),
        "grpo": {"max_steps": 1},
    }
    return TrialSpec.model_validate(fields | changes)


@pytest.mark.parametrize("part", ["model", "tokenizer"])
def test_code_does_not_run_unasked(folder: Path, marker: Path, part: str) -> None:
    source = resolve_model(str(folder))
    with pytest.raises(TrialError, match=r"own' brings code .* trial\.trust_remote_code = true"):
        if part == "model":
            load_base_model(source, quantization="none", dtype="float32")
        else:
            load_tokenizer(source)
    assert not marker.exists()


def test_trusted_code_loads_model_and_tokenizer(folder: Path, marker: Path) -> None:
    source = resolve_model(str(folder), trust_remote_code=True)
    assert load(source) == ("OwnModel", "OwnTokenizer")
    assert marker.exists()


def test_trusted_code_is_part_of_the_revision(folder: Path) -> None:
    before = resolve_model(str(folder), trust_remote_code=True).revision
    assert before != resolve_model(str(folder)).revision
    (folder / "own.py").write_text((folder / "own.py").read_text() + "\nEXTRA = 1\n")
    assert resolve_model(str(folder), trust_remote_code=True).revision != before


def test_a_trial_asks_for_trust_only_if_its_file_does(folder: Path, tmp_path: Path) -> None:
    outcome = train_trial(trial(folder), folder=tmp_path / "trial")
    assert outcome.state == "FAILED"
    assert "brings code of its own" in str(outcome.reason)
    for trusts in (True, False):
        spec = trial(folder, trust_remote_code=trusts)
        assert baseline_measurement(spec, dtype="float32").model.trust_remote_code is trusts
