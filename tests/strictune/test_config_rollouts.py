"""Engines and their options: what is refused, and what names a trial."""

from pathlib import Path
from typing import Any

import pytest

from strictune.config import TrialSpec, expand, load_sweep
from strictune.errors import SpecError

QUICKSTART = Path(__file__).resolve().parents[2] / "search_spaces" / "quickstart.yaml"
VLLM = ("trial.rollouts.engine=vllm", "trial.quantization=none")


def trial(**changes: Any) -> TrialSpec:
    fields: dict[str, Any] = {
        "task": {"kind": "strict_json"},
        "model": "builtin:tiny",
        "quantization": "none",
        "grpo": {"max_steps": 10},
    }
    return TrialSpec.model_validate(fields | changes)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(
            ["trial.rollouts.engine=vllm"],
            "--set trial.rollouts.engine=vllm: trial.rollouts.engine = vllm, but quantization = "
            "nf4: TRL sends vLLM the packed 4-bit weights and vLLM refuses their shapes "
            "(huggingface/trl#4973). Set quantization to none, which keeps the base in bfloat16, "
            "or engine to transformers or continuous_batching.",
            id="nf4",
        ),
        pytest.param(
            [*VLLM, "trial.dtype=float32"],
            "trial.rollouts.engine = vllm, but dtype = float32: vLLM generates from a bfloat16 "
            "base, and would not be given what is trained. Set dtype to bfloat16, or engine to "
            "transformers or continuous_batching.",
            id="float32",
        ),
        pytest.param(
            ["trial.rollouts.engine=sglang"],
            "trial.rollouts.engine = sglang, expected one of transformers, continuous_batching, "
            "vllm.",
            id="unknown-engine",
        ),
        pytest.param(
            ["trial.rollouts.vllm={mode: server}"],
            "trial.rollouts.vllm is set, but engine = transformers does not read it. Set engine "
            "to vllm, or remove the block.",
            id="options-of-another-engine",
        ),
        pytest.param(
            ["trial.rollouts.continuous_batching={use_cuda_graph: true}"],
            "trial.rollouts.continuous_batching is set, but engine = transformers does not read "
            "it. Set engine to continuous_batching, or remove the block.",
            id="graphs-of-another-engine",
        ),
        pytest.param(
            [*VLLM, "trial.rollouts.vllm={server_port: 9000}"],
            "trial.rollouts.vllm.server_port = 9000, but mode = colocate does not read it. Set "
            "mode to server, or remove server_port.",
            id="server-option-in-colocate",
        ),
        pytest.param(
            [*VLLM, "trial.rollouts.vllm={mode: server, enable_sleep_mode: true}"],
            "trial.rollouts.vllm.enable_sleep_mode = true, but mode = server does not read it. "
            "Set mode to colocate, or remove enable_sleep_mode.",
            id="colocate-option-in-server",
        ),
        pytest.param(
            [*VLLM, "trial.rollouts.vllm={max_model_length: 200}"],
            "trial.rollouts.vllm.max_model_length = 200 leaves no room for a prompt: a completion "
            "alone may have 220 tokens. Raise it, or leave it out.",
            id="no-room-for-a-prompt",
        ),
        pytest.param(
            [*VLLM, "trial.rollouts.vllm={gpu_memory: 0.3}"],
            "trial.rollouts.vllm.gpu_memory is not a known key, expected one of mode, memory_frac",
            id="unknown-option",
        ),
        pytest.param(
            [*VLLM, "trial.rollouts.vllm={memory_frac: 1}"],
            "trial.rollouts.vllm.memory_frac = 1, expected a number above 0 and below 1",
            id="all-the-memory",
        ),
    ],
)
def test_what_an_engine_cannot_do_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep(QUICKSTART, overrides)
    assert message in str(caught.value)


@pytest.mark.parametrize("engine", ["transformers", "continuous_batching"])
def test_the_others_take_a_quantized_base(engine: str) -> None:
    trials = expand(load_sweep(QUICKSTART, [f"trial.rollouts.engine={engine}"]))
    assert {(spec.rollouts.engine, spec.quantization) for spec in trials} == {(engine, "nf4")}


def test_new_options_rename_no_trial_of_old_files() -> None:
    names = [spec.trial_id for spec in expand(load_sweep(QUICKSTART))]
    assert names[0] == "tiny-no-think-standard-s0-538d9b38"


VLLM_TRIAL: dict[str, Any] = {"engine": "vllm"}
SERVED: dict[str, Any] = {"engine": "vllm", "vllm": {"mode": "server"}}


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        pytest.param({}, {"rollouts": VLLM_TRIAL}, False, id="engine"),
        pytest.param({"rollouts": VLLM_TRIAL}, {"rollouts": SERVED}, False, id="server"),
        pytest.param(
            {"rollouts": VLLM_TRIAL},
            {"rollouts": {"engine": "vllm", "vllm": {"memory_frac": 0.2}}},
            True,
            id="memory",
        ),
        pytest.param(
            {"rollouts": {"engine": "continuous_batching"}},
            {
                "rollouts": {
                    "engine": "continuous_batching",
                    "continuous_batching": {"use_cuda_graph": True},
                }
            },
            True,
            id="graphs",
        ),
        pytest.param(
            {"rollouts": SERVED},
            {"rollouts": {"engine": "vllm", "vllm": {"mode": "server", "server_port": 9000}}},
            True,
            id="where-the-server-is",
        ),
        pytest.param({}, {"trust_remote_code": False}, True, id="no-remote-code"),
        pytest.param({}, {"trust_remote_code": True}, False, id="remote-code"),
    ],
)
def test_what_can_change_results_names_the_trial(
    one: dict[str, Any], other: dict[str, Any], is_same: bool
) -> None:
    assert (trial(**one).fingerprint == trial(**other).fingerprint) is is_same
