from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)
from transformers.cache_utils import DynamicLayer

from strictune.config import LoraSpec
from trainables.models import load_base_model, load_tokenizer, lora_config, resolve_model
from trainables.rollouts import decoding, merged
from trainables.rollouts.decoding import NucleusFilter, RoomyLayer, TokenLogps, generate_batch
from trainables.rollouts.merged import MergedCopy, merged_copy
from trainables.rollouts.training_engine import TrainingEngine

PROMPTS = ("Describe a bridge.", "Describe a bridge.", "A ship, please, with its name.", "Go on")
NUM_NEW = 40


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return load_tokenizer(resolve_model("builtin:tiny"))


def with_adapter(*, quantization: str = "nf4", dropout: float = 0.0) -> PeftModel:
    """Return builtin:tiny with an adapter that changes what it says."""
    base = load_base_model(
        resolve_model("builtin:tiny"),
        quantization=quantization,  # type: ignore[arg-type]
        dtype="float32",
    )
    torch.manual_seed(0)
    model = get_peft_model(base, lora_config(LoraSpec(lora_dropout=dropout)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> PeftModel:
    return with_adapter()


def batch(tokenizer: PreTrainedTokenizerBase) -> tuple[torch.Tensor, torch.Tensor]:
    padded = tokenizer(list(PROMPTS), return_tensors="pt", padding=True)
    return padded["input_ids"], padded["attention_mask"]


def greedy(tokenizer: PreTrainedTokenizerBase, **options: int) -> GenerationConfig:
    return GenerationConfig(
        max_new_tokens=NUM_NEW,
        do_sample=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **options,
    )


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 7, NUM_NEW, 2 * NUM_NEW])
def test_chunks_change_no_completion(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
) -> None:
    monkeypatch.setattr(decoding, "CHUNK_TOKENS", chunk)
    base, (ids, mask), config = model.get_base_model(), batch(tokenizer), greedy(tokenizer)
    expected = base.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    found = generate_batch(base, ids, mask, config)
    assert found.shape == (len(PROMPTS), ids.shape[1] + NUM_NEW)
    assert torch.equal(found[:, : expected.shape[1]], expected)
    assert (found[:, expected.shape[1] :] == tokenizer.pad_token_id).all()
    lengths = {(row != tokenizer.pad_token_id).sum().item() for row in found[:, ids.shape[1] :]}
    assert len(lengths) > 1, "completions of one length would leave the batch together"


def test_a_cache_with_room_holds_what_the_one_of_transformers_does() -> None:
    roomy, plain = RoomyLayer(), DynamicLayer()
    generator = torch.Generator().manual_seed(0)
    copies, before = 0, None
    for rows, kept in ((4, [0, 1, 3]), (3, [2, 0]), (2, [0, 1])):
        for num_tokens in (5, *[1] * 20):
            new = torch.randn(2, rows, 2, num_tokens, 3, generator=generator)
            found, expected = roomy.update(*new), plain.update(*new)
            assert torch.equal(found[0], expected[0])
            assert torch.equal(found[1], expected[1])
            copies += found[0].data_ptr() != before
            before = found[0].data_ptr()
        for layer in (roomy, plain):
            layer.batch_select_indices(torch.tensor(kept))
    assert roomy.get_seq_length() == plain.get_seq_length() == 75
    assert copies == 3, "one at the start, and one after each choice of rows"


@pytest.mark.parametrize("candidates", [1, 8, 1000])
@pytest.mark.parametrize(("temperature", "top_p"), [(0.7, 0.95), (1.0, 0.5), (1.3, 0.999)])
def test_a_nucleus_is_that_of_transformers(
    monkeypatch: pytest.MonkeyPatch, candidates: int, temperature: float, top_p: float
) -> None:
    monkeypatch.setattr(decoding, "NUCLEUS_CANDIDATES", candidates)
    spread = torch.tensor([[0.01], [1.0], [5.0], [40.0]])  # nearly uniform to nearly certain
    scores = torch.randn(4, 300, generator=torch.Generator().manual_seed(0)) * spread
    ids = torch.zeros(4, 1, dtype=torch.long)
    expected = TopPLogitsWarper(top_p)(ids, TemperatureLogitsWarper(temperature)(ids, scores))
    found = NucleusFilter(temperature=temperature, top_p=top_p)(ids, scores)
    assert torch.equal(found, expected)
    sizes = expected.isfinite().sum(dim=1).tolist()
    assert sizes[0] > 100
    assert sizes[-1] < 8


@torch.no_grad()
@pytest.mark.parametrize("more", [{}, {"min_p": 0.2}, {"top_k": 3}])
def test_a_nucleus_is_sampled_as_by_transformers(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, more: dict[str, float]
) -> None:
    base, (ids, mask) = model.get_base_model(), batch(tokenizer)
    options = {"do_sample": True, "temperature": 1.2, "top_p": 0.6, "top_k": 0, **more}
    config = GenerationConfig(
        max_new_tokens=decoding.CHUNK_TOKENS,  # in one chunk, so that no row leaves the batch
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **options,
    )
    torch.manual_seed(0)
    expected = base.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    torch.manual_seed(0)
    assert torch.equal(generate_batch(base, ids, mask, config)[:, : expected.shape[1]], expected)
    assert (config.temperature, config.top_p) == (1.2, 0.6)


@torch.no_grad()
def test_no_completion_ends_before_the_least_length(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    ids, mask = batch(tokenizer)
    found = generate_batch(
        model.get_base_model(), ids, mask, greedy(tokenizer, min_new_tokens=NUM_NEW - 1)
    )
    assert (found[:, ids.shape[1] : -1] != tokenizer.eos_token_id).all()


@torch.no_grad()
def test_equal_prompts_are_read_once(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "CHUNK_TOKENS", 4)
    read: list[tuple[int, ...]] = []
    base = model.get_base_model()
    hook = base.model.layers[0].register_forward_pre_hook(
        lambda _, inputs: read.append(tuple(inputs[0].shape[:2]))
    )
    ids, mask = batch(tokenizer)
    generate_batch(base, ids, mask, greedy(tokenizer))
    hook.remove()
    assert read[0] == (len(set(PROMPTS)), ids.shape[1] - 1)
    assert all(tokens == 1 for _, tokens in read[1:])
    rows = [rows for rows, _ in read[1:]]
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] < rows[0], "what has ended goes on being computed"


@torch.no_grad()
@pytest.mark.parametrize("chunk", [7, 2 * NUM_NEW])
def test_log_probabilities_are_those_of_the_tokens_that_were_sampled(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
) -> None:
    monkeypatch.setattr(decoding, "CHUNK_TOKENS", chunk)
    base, (ids, mask), config = model.get_base_model(), batch(tokenizer), greedy(tokenizer)
    config.do_sample, config.temperature, config.top_k = True, 0.7, 0
    found = TokenLogps(len(ids), temperature=0.7)
    torch.manual_seed(0)
    written = generate_batch(base, ids, mask, config, token_logps=found)
    torch.manual_seed(0)
    assert torch.equal(written, generate_batch(base, ids, mask, config))
    lengths = set()
    for row, prompt_mask, logps in zip(written, mask, found.rows, strict=True):
        new = row[ids.shape[1] :].tolist()
        end = tokenizer.eos_token_id
        length = new.index(end) + 1 if end in new else NUM_NEW
        lengths.add(length)
        kept = row[len(prompt_mask) - int(prompt_mask.sum()) : ids.shape[1] + length]
        scored = torch.log_softmax(base(input_ids=kept[None]).logits[0, :-1] / 0.7, dim=-1)
        expected = scored.gather(1, kept[1:, None])[-length:, 0]
        assert torch.tensor(logps[:length]).sub(expected).abs().max() < 1e-3
    assert len(lengths) > 1


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_a_merged_copy_answers_as_the_model_with_its_adapter(
    tokenizer: PreTrainedTokenizerBase, quantization: str
) -> None:
    model = with_adapter(quantization=quantization)
    ids, mask = batch(tokenizer)
    with torch.no_grad(), model.disable_adapter():
        untrained = model(input_ids=ids, attention_mask=mask).logits
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask).logits
        copied = MergedCopy(model)
        found = copied.model(input_ids=ids, attention_mask=mask).logits
        assert (expected - untrained).abs().max() > 1
        assert (found - expected).abs().max() < 1e-3
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.mul_(-1)
        copied.refresh()
        turned = model(input_ids=ids, attention_mask=mask).logits
        assert (copied.model(input_ids=ids, attention_mask=mask).logits - turned).abs().max() < 1e-3


@torch.no_grad()
@pytest.mark.parametrize("weights", ["merged", "adapter"])
def test_what_is_sampled_goes_through_no_dropout(
    tokenizer: PreTrainedTokenizerBase, weights: str
) -> None:
    model = with_adapter(dropout=0.5)
    (ids, mask), config = batch(tokenizer), greedy(tokenizer)
    expected = generate_batch(model.get_base_model(), ids, mask, config)
    model.train()
    spec: Any = SimpleNamespace(
        rollouts=SimpleNamespace(weights=weights), max_completion_tokens=config.max_new_tokens
    )
    trainer: Any = SimpleNamespace(model=model)
    TrainingEngine(spec, max_prompt_tokens=ids.shape[1]).settle(trainer)
    assert torch.equal(model.generate(ids, mask, config), expected)
    assert model.training
    assert all(module.training for module in model.modules())


def test_a_merged_copy_leaves_the_trained_model_as_it_is(model: PeftModel) -> None:
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    copied = MergedCopy(model).model
    assert all(torch.equal(before[name], now) for name, now in model.named_parameters())
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert all(p.requires_grad for name, p in model.named_parameters() if "lora_" in name)
    assert copied.lm_head.weight is not None
    shared = copied.get_input_embeddings().weight.data_ptr()
    assert shared == model.get_input_embeddings().weight.data_ptr()


def test_an_untrained_quantized_model_is_unpacked() -> None:
    source = resolve_model("builtin:tiny")
    model = merged.load_for_generation(
        source, adapter=None, quantization="nf4", dtype="float32", weights="merged"
    )
    assert {type(module).__name__ for module in model.modules() if "Linear" in repr(type(module))}
    assert not any("4bit" in type(module).__name__ for module in model.modules())
    assert isinstance(model, PreTrainedModel)


def test_without_room_for_a_copy_the_model_itself_generates(
    model: PeftModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(model: PeftModel) -> MergedCopy:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(merged, "MergedCopy", refuse)
    assert merged_copy(model) is None
    assert "no room for a merged copy" in caplog.text


def test_an_adapter_that_is_more_than_products_is_not_merged() -> None:
    base = load_base_model(resolve_model("builtin:tiny"), quantization="none", dtype="float32")
    config = lora_config(LoraSpec())
    config.use_dora = True
    assert merged_copy(get_peft_model(base, config)) is None
