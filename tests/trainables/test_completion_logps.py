"""What the loss reads of the model, with every prompt read once: the numbers of whole rows."""

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel
from trl.trainer.utils import add_fused_lm_head

from strictune.config import LoraSpec
from trainables.completion_logps import completion_logps
from trainables.models import load_base_model, lora_config, resolve_model

TEMPERATURE = 0.7
NUM_NEW = 5
PROMPTS = ([5, 6, 7, 8, 9, 10, 11, 12], [0, 0, 0, 5, 6, 7, 8, 9], [0, 9, 8, 7, 6, 5, 6, 7])
PLACES = (0, 1, 0, 2, 1, 0)
"""The prompt of each row; zeros in front of it are padding."""
LENGTHS = (5, 3, 1, 4, 5, 2)


def llama() -> PreTrainedModel:
    return load_base_model(resolve_model("builtin:tiny"), quantization="nf4", dtype="float32")


def with_a_window_shorter_than_its_prompts() -> PreTrainedModel:
    config = MistralConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=4,
        attn_implementation="eager",
    )
    return MistralForCausalLM(config)


def adapted(base: PreTrainedModel) -> PeftModel:
    add_fused_lm_head(base, temperature=TEMPERATURE, outputs=("log_probs", "entropy"))
    model = get_peft_model(base, lora_config(LoraSpec()))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.train()


def gradient(model: PeftModel, loss: torch.Tensor) -> torch.Tensor:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, trained)])


@pytest.mark.parametrize("build", [llama, with_a_window_shorter_than_its_prompts])
def test_every_prompt_is_read_once_and_nothing_else_changes(build: type[PreTrainedModel]) -> None:
    torch.manual_seed(0)
    model = adapted(build())
    prompts = torch.tensor([PROMPTS[place] for place in PLACES])
    ids = torch.cat([prompts, torch.randint(5, 60, (len(PLACES), NUM_NEW))], dim=1)
    kept = torch.arange(NUM_NEW) < torch.tensor(LENGTHS)[:, None]
    mask = torch.cat([prompts != 0, kept], dim=1).long()

    logits = model(input_ids=ids, attention_mask=mask).logits[:, -NUM_NEW - 1 : -1] / TEMPERATURE
    logps = logits.log_softmax(dim=-1)
    expected = logps.gather(2, ids[:, -NUM_NEW:, None])[..., 0]
    seen: list[tuple[int, ...]] = []
    model.get_base_model().model.layers[0].register_forward_pre_hook(
        lambda _, inputs: seen.append(tuple(inputs[0].shape[:2]))
    )
    found, entropies = completion_logps(model, ids, mask, NUM_NEW)

    assert seen == [(len(PROMPTS), len(PROMPTS[0]) - 1), (len(PLACES), NUM_NEW + 1)]
    assert (found - expected)[kept].abs().max() < 1e-4
    assert (entropies + (logps.exp() * logps).sum(dim=-1))[kept].abs().max() < 1e-4
    whole = gradient(model, expected[kept].sum())
    assert (gradient(model, found[kept].sum()) - whole).norm() < 1e-4 * whole.norm()
