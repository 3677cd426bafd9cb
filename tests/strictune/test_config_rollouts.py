"""Engines and their options: what is refused, and what names a trial."""

from pathlib import Path
from typing import Any

import pytest

from strictune.config import TrialSpec, expand, load_sweep
from strictune.errors import SpecError

QUICKSTART = Path(__file__).resolve().parents[2] / "search_spaces" / "quickstart.yaml"
VLLM = "trial.rollouts.engine=vllm"
URL = "http://127.0.0.1:8000/v1"


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
            ["trial.rollouts.engine=sglang"],
            "trial.rollouts.engine = sglang, expected one of transformers, continuous_batching, "
            "vllm.",
            id="unknown-engine",
        ),
        pytest.param(
            ["trial.rollouts.vllm={timeout_s: 60}"],
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
            [VLLM, f"trial.rollouts.vllm={{base_url: '{URL}', gpu_memory_utilization: 0.5}}"],
            "trial.rollouts.vllm.gpu_memory_utilization is set, but the server of base_url is "
            "started by nobody here. Remove one of the two.",
            id="share-of-a-given-server",
        ),
        pytest.param(
            [VLLM, "trial.rollouts.vllm={base_url: 'http://me:secret@host/v1'}"],
            "trial.rollouts.vllm.base_url holds a user, a password or a query, which would be "
            "written into every record. Put the key into the environment variable "
            "STRICTUNE_VLLM_API_KEY instead.",
            id="secret",
        ),
        pytest.param(
            [VLLM, "trial.rollouts.vllm={base_url: localhost:8000}"],
            "trial.rollouts.vllm.base_url = localhost:8000, expected",
            id="no-address",
        ),
        pytest.param(
            [VLLM, "trial.rollouts.vllm={mode: colocate}"],
            "trial.rollouts.vllm.mode is not a known key, expected one of command, arguments",
            id="unknown-option",
        ),
        pytest.param(
            [VLLM, "trial.rollouts.vllm={gpu_memory_utilization: 1}"],
            "trial.rollouts.vllm.gpu_memory_utilization = 1, expected a number above 0 and below 1",
            id="all-the-memory",
        ),
    ],
)
def test_what_an_engine_cannot_do_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep(QUICKSTART, overrides)
    assert message in str(caught.value)


@pytest.mark.parametrize("engine", ["transformers", "continuous_batching", "vllm"])
def test_every_engine_takes_a_quantized_base(engine: str) -> None:
    trials = expand(load_sweep(QUICKSTART, [f"trial.rollouts.engine={engine}"]))
    assert {(spec.rollouts.engine, spec.quantization) for spec in trials} == {(engine, "nf4")}


def test_new_options_rename_no_trial_of_old_files() -> None:
    names = [spec.trial_id for spec in expand(load_sweep(QUICKSTART))]
    assert names[0] == "tiny-no-think-standard-s0-538d9b38"


VLLM_TRIAL: dict[str, Any] = {"engine": "vllm"}


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        pytest.param({}, {"rollouts": VLLM_TRIAL}, False, id="engine"),
        pytest.param(
            {"rollouts": VLLM_TRIAL},
            {"rollouts": {"engine": "vllm", "vllm": {"gpu_memory_utilization": 0.2}}},
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
            {"rollouts": VLLM_TRIAL},
            {"rollouts": {"engine": "vllm", "vllm": {"base_url": URL}}},
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
