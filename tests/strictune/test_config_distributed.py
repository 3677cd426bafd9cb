"""Trials of several workers: what they count, what names them, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from strictune.config import TrialSpec, expand, load_sweep
from strictune.errors import SpecError

QUICKSTART = Path(__file__).resolve().parents[2] / "search_spaces" / "quickstart.yaml"
TWO = "trial.distributed.num_workers=2"
PLAIN = "trial.quantization=none"


def trial(**changes: Any) -> TrialSpec:
    fields: dict[str, Any] = {
        "task": {"kind": "strict_json"},
        "model": "builtin:tiny",
        "quantization": "none",
        "grpo": {"max_steps": 10},
    }
    return TrialSpec.model_validate(fields | changes)


def test_a_step_counts_the_completions_and_prompts_of_all_workers() -> None:
    grpo = {"max_steps": 1, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 6}
    one, three = trial(grpo=grpo), trial(grpo=grpo, distributed={"num_workers": 3})
    assert (one.completions_per_step, one.prompts_per_step) == (24, 3)
    assert (three.completions_per_step, three.prompts_per_step) == (72, 9)


def test_a_group_may_be_spread_over_workers() -> None:
    grpo = {"max_steps": 1, "per_device_train_batch_size": 4, "num_generations": 8}
    assert trial(grpo=grpo, distributed={"num_workers": 2}).prompts_per_step == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(
            ["trial.grpo.num_generations=5"],
            "trial.grpo.num_generations = 5 does not divide the completions of one optimizer "
            "step, per_device_train_batch_size x gradient_accumulation_steps = 32 x 1 = 32. "
            "Groups must fill the step: change one of them.",
            id="groups",
        ),
        pytest.param(
            [TWO, "trial.grpo.num_generations=5"],
            "num_workers x per_device_train_batch_size x gradient_accumulation_steps = "
            "2 x 32 x 1 = 64.",
            id="groups-of-all-workers",
        ),
        pytest.param(
            ["trial.distributed.strategy=fsdp", PLAIN],
            "trial.distributed.strategy = fsdp shares a model out among workers, but "
            "num_workers = 1. Raise num_workers, or leave strategy out.",
            id="alone",
        ),
        pytest.param(
            [TWO, "trial.distributed.strategy=zero3"],
            "trial.distributed.strategy = zero3, but quantization = nf4: packed 4-bit weights "
            "cannot be cut into the shares of several workers. Set quantization to none, or "
            "strategy to ddp.",
            id="nf4",
        ),
        pytest.param(
            [TWO, PLAIN, "trial.rollouts.engine=vllm"],
            "trial.rollouts.engine = vllm, which generates in no trial of several workers. Set "
            "engine to transformers, or distributed.num_workers to 1.",
            id="vllm",
        ),
        pytest.param(
            [
                TWO,
                PLAIN,
                "trial.distributed.strategy=fsdp",
                "trial.rollouts.engine=continuous_batching",
            ],
            "trial.rollouts.engine = continuous_batching, which generates in no trial of several "
            "workers with strategy = fsdp.",
            id="continuous-batching",
        ),
        pytest.param(
            [TWO, "trial.grpo.flat_groups=resample"],
            "trial.grpo.flat_groups = resample, but distributed.num_workers = 2: workers would "
            "generate for different numbers of prompts. Use drop, or one worker.",
            id="further-prompts",
        ),
        pytest.param(
            ["trial.distributed.num_workers=0"],
            "trial.distributed.num_workers = 0, expected a whole number of 1 or more",
            id="nobody",
        ),
        pytest.param(
            [TWO, "trial.distributed.strategy=ddpp"],
            "trial.distributed.strategy = ddpp, expected one of ddp, fsdp, zero3",
            id="unknown-strategy",
        ),
    ],
)
def test_what_workers_cannot_do_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        expand(load_sweep(QUICKSTART, overrides))
    assert message in str(caught.value)


def test_workers_do_not_pause_for_evaluations() -> None:
    with pytest.raises(ValidationError, match="interim_steps pause a trial"):
        trial(distributed={"num_workers": 2}, interim_steps=(5,))


def test_a_search_that_evaluates_in_between_has_one_worker_each() -> None:
    search = QUICKSTART.with_name("reward_weights_quickstart.yaml")
    with pytest.raises(SpecError) as caught:
        load_sweep(search, [TWO, "search.scheduler.kind=watch"])
    assert (
        "search.scheduler.kind pauses trials to evaluate them, which several workers cannot do. "
        "Set it to none."
    ) in str(caught.value)


def test_only_more_than_one_worker_changes_a_name() -> None:
    names = [spec.trial_id for spec in expand(load_sweep(QUICKSTART))]
    same = [spec.trial_id for spec in expand(load_sweep(QUICKSTART, [TWO.replace("2", "1")]))]
    others = [spec.trial_id for spec in expand(load_sweep(QUICKSTART, [TWO]))]
    assert names == same
    assert not set(names) & set(others)
    assert names[0] == "tiny-no-think-standard-s0-538d9b38"


def test_how_work_is_shared_out_names_the_trial() -> None:
    ddp = trial(distributed={"num_workers": 2})
    zero3 = trial(distributed={"num_workers": 2, "strategy": "zero3"})
    assert ddp.fingerprint != zero3.fingerprint
    assert ddp.fingerprint != trial(distributed={"num_workers": 4}).fingerprint
