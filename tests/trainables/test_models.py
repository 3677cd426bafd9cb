"""Finding and loading models."""

from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from tiny_llama import save_random_llama

from strictune.cache import writable_cache_folder
from strictune.config import LoraSpec
from strictune.errors import StorageError, TrialError
from trainables.models import load_base_model, load_tokenizer, lora_config, resolve_model
from trainables.packaged import package_model_folder
from trainables.rollouts.transformers_engine import Decoding, TransformersEngine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_llama(tmp_path_factory.mktemp("llama"))


def test_evaluating_first_does_not_silence_gradients(folder: Path) -> None:
    """bitsandbytes repacks NF4 weights in eval mode for a kernel without a backward."""
    source = resolve_model(str(folder))
    tokenizer = load_tokenizer(source)

    def gradients(*, evaluates_first: bool) -> list[float]:
        base = load_base_model(source, quantization="nf4", dtype="bfloat16")
        torch.manual_seed(0)
        model = get_peft_model(base, lora_config(LoraSpec()))
        if evaluates_first:
            engine = TransformersEngine(model, tokenizer, batch_size=1)
            engine.generate(["a"], Decoding(temperature=0, top_p=1, max_new_tokens=2), seed=0)
        ids = torch.tensor([tokenizer("some text")["input_ids"]])
        model.train()
        model(input_ids=ids, labels=ids).loss.backward()
        return [
            float(parameter.grad.norm())
            for name, parameter in model.named_parameters()
            if "lora_B" in name and parameter.grad is not None
        ]

    plain = gradients(evaluates_first=False)
    assert min(plain) > 0
    assert gradients(evaluates_first=True) == pytest.approx(plain)


def test_revision_of_a_folder_follows_its_content(folder: Path, tmp_path: Path) -> None:
    copy = save_random_llama(tmp_path / "copy")
    revision = resolve_model(str(copy)).revision
    assert revision == resolve_model(str(folder)).revision
    (copy / "chat_template.jinja").write_text("another")
    assert resolve_model(str(copy)).revision != revision


def test_a_folder_without_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match=r"holds no config\.json"):
        resolve_model(str(tmp_path))


def test_an_unknown_model_is_refused_with_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TrialError, match=r"'no/such-model' was not found.*builtin:tiny"):
        resolve_model("no/such-model")


def test_an_unknown_package_model_names_the_known_ones() -> None:
    with pytest.raises(TrialError, match="known are: package:smollm2-135m"):
        package_model_folder("other")


def test_completions_come_in_input_order_and_repeat_with_the_seed(folder: Path) -> None:
    source = resolve_model(str(folder))
    engine = TransformersEngine(
        load_base_model(source, quantization="none", dtype="float32"),
        load_tokenizer(source),
        batch_size=2,
    )
    prompts = ["a", "a much longer prompt", "bb"]
    greedy = Decoding(temperature=0, top_p=1, max_new_tokens=5)
    together = engine.generate(prompts, greedy, seed=0)
    alone = [engine.generate([prompt], greedy, seed=0)[0] for prompt in prompts]
    assert together == alone
    sampled = Decoding(temperature=1, top_p=1, max_new_tokens=5)
    assert engine.generate(prompts, sampled, seed=1) == engine.generate(prompts, sampled, seed=1)
    assert engine.generate(prompts, sampled, seed=1) != engine.generate(prompts, sampled, seed=2)


def test_a_cache_that_cannot_be_written_names_the_variable_that_moves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for root in ("/proc/x/.cache", str(tmp_path / "file")):
        monkeypatch.setenv("XDG_CACHE_HOME", root)
        with pytest.raises(StorageError, match=rf"^{root}/strictune/models: .* Set XDG_CACHE_HOME"):
            writable_cache_folder("models")
