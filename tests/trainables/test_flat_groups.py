"""Groups whose completions all earn the same leave the loss, and what it is divided by."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from strictune.config import TrialSpec, expand, load_sweep
from trainables.flat_groups import DroppingTrainer, ResamplingTrainer, flat_completions
from trainables.models import load_base_model, load_tokenizer, resolve_model
from trainables.trial import train_trial

ROOT = Path(__file__).resolve().parents[2]
NAN = float("nan")
LOSSES = ("grpo", "dr_grpo", "bnpo", "dapo")
MAX_TOKENS = 6


@pytest.mark.parametrize(
    ("rewards", "by_component", "expected"),
    [
        pytest.param([[1, 0], [1, 0], [1, 0], [0, 0]], False, [True, False], id="the-first"),
        pytest.param([[1, 0], [0, 1], [0, 0], [0, 0]], False, [True, True], id="equal-in-sum"),
        pytest.param([[1, 0], [0, 1], [0, 0], [0, 0]], True, [False, True], id="by-component"),
        pytest.param([[1, 0], [1 + 1e-8, 0], [0, 0], [1e-3, 0]], False, [True, False], id="noise"),
        pytest.param(
            [[NAN, NAN], [1, 0], [NAN, NAN], [NAN, NAN]], False, [True, True], id="one-known"
        ),
        pytest.param([[NAN, 0], [1, 0], [NAN, 1], [1, 0]], False, [False, True], id="parts-known"),
    ],
)
def test_a_group_is_flat_where_all_its_completions_earn_the_same(
    rewards: list[list[float]], by_component: bool, expected: list[bool]
) -> None:
    found = flat_completions(
        torch.tensor(rewards), torch.tensor([1.0, 1.0]), group_size=2, by_component=by_component
    )
    assert found.tolist() == [flat for flat in expected for _ in range(2)]


def test_a_component_without_weight_keeps_no_group() -> None:
    rewards = torch.tensor([[1.0, 0.0], [1.0, 9.0]])
    for by_component in (False, True):
        found = flat_completions(
            rewards, torch.tensor([1.0, 0.0]), group_size=2, by_component=by_component
        )
        assert found.tolist() == [True, True]


def trainer_of(
    kind: type[GRPOTrainer], folder: Path, flat: set[str], **arguments: Any
) -> GRPOTrainer:
    """Make a trainer on two prompts, of which those in ``flat`` earn 1 whatever is answered."""

    def reward(completions: list[str], prompts: list[str], **batch: Any) -> list[float]:
        return [1.0 if p in flat else float(index) for index, p in enumerate(prompts)]

    trainer = kind(
        model=load_base_model(resolve_model("builtin:tiny"), quantization="none", dtype="float32"),
        reward_funcs=[reward],
        args=GRPOConfig(
            output_dir=str(folder),
            max_steps=1,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            num_generations=4,
            max_completion_length=MAX_TOKENS,
            max_grad_norm=0.0,
            bf16=False,
            use_cpu=True,
            seed=3,
            gradient_checkpointing=False,
            shuffle_dataset=False,
            report_to="none",
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            **arguments,
        ),
        train_dataset=Dataset.from_list([{"prompt": "{"}, {"prompt": "}"}]),
        processing_class=load_tokenizer(resolve_model("builtin:tiny")),
    )
    trainer.remove_callback(PrinterCallback)
    if isinstance(trainer, ResamplingTrainer):
        trainer.spares, trainer.spares_per_generation = [{"prompt": "["}, {"prompt": "]"}], 2
    return trainer


def trained(kind: type[GRPOTrainer], folder: Path, flat: set[str], **arguments: Any) -> Any:
    trainer = trainer_of(kind, folder, flat, **arguments)
    trainer.train()
    [logged] = [line for line in trainer.state.log_history if "loss" in line]
    masks = torch.cat([batch["completion_mask"] for batch in trainer._buffered_inputs])
    return logged, int(masks.sum())


@pytest.mark.parametrize(
    ("kind", "loss_type"),
    [*((DroppingTrainer, name) for name in LOSSES), (ResamplingTrainer, "dapo")],
)
def test_without_a_flat_group_it_is_trl(
    kind: type[GRPOTrainer], loss_type: str, tmp_path: Path
) -> None:
    (plain, _), (ours, _) = (
        trained(one, tmp_path, set(), loss_type=loss_type, beta=0.1) for one in (GRPOTrainer, kind)
    )
    assert ours["dropped_groups"] == ours.get("resampled_groups", 0) == 0
    for key in ("loss", "grad_norm", "kl", "entropy", "reward", "num_tokens"):
        assert ours[key] == plain[key]


@pytest.mark.parametrize(
    ("flat", "drawn", "dropped", "reward"),
    [
        pytest.param({"}"}, 1, 0, 1.5, id="the-first"),
        pytest.param({"}", "["}, 2, 0, 1.5, id="the-second"),
        pytest.param({"}", "[", "]"}, 2, 1, 1.25, id="none"),
        pytest.param({"{", "}"}, 2, 0, 3.5, id="both-at-once"),
    ],
)
def test_further_prompts_take_the_place_of_flat_groups(
    flat: set[str], drawn: int, dropped: int, reward: float, tmp_path: Path
) -> None:
    logged, tokens = trained(ResamplingTrainer, tmp_path, flat)
    assert (logged["resampled_groups"], logged["dropped_groups"]) == (drawn, dropped)
    # What TRL is left with: a group that is not flat earns 0 to 3, or 4 to 7 behind another one.
    assert logged["reward"] == reward
    assert logged["grad_norm"] > 0
    assert tokens > 0


@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "dapo"])
def test_a_flat_group_shrinks_the_step_of_trl_alone(loss_type: str, tmp_path: Path) -> None:
    (plain, all_tokens), (dropping, kept_tokens) = (
        trained(kind, tmp_path, {"}"}, loss_type=loss_type)
        for kind in (GRPOTrainer, DroppingTrainer)
    )
    assert dropping["dropped_groups"] == 1
    assert 0 < kept_tokens < all_tokens
    # Of two groups one is left; dapo counts tokens.
    times = all_tokens / kept_tokens if loss_type == "dapo" else 2.0
    assert dropping["grad_norm"] == pytest.approx(times * plain["grad_norm"], rel=1e-4)


def test_an_aggregation_by_batch_sees_the_batch_that_remains(tmp_path: Path) -> None:
    trainer = trainer_of(ResamplingTrainer, tmp_path, {"}"})
    trainer.aggregation = "dvao"
    trainer.train()
    found = torch.cat([batch["advantages"] for batch in trainer._buffered_inputs])
    earned = torch.arange(4.0)
    expected = (earned - earned.mean()) / (earned.std() + 1e-4)
    assert found.sort().values.tolist() == pytest.approx(expected.repeat_interleave(2).tolist())


def test_a_step_of_flat_groups_alone_changes_nothing(tmp_path: Path) -> None:
    for loss_type in LOSSES:
        logged, tokens = trained(
            DroppingTrainer, tmp_path, {"{", "}"}, loss_type=loss_type, beta=0.1
        )
        assert (logged["dropped_groups"], tokens) == (2, 0)
        assert (logged["loss"], logged["grad_norm"]) == (0.0, 0.0)


ADVANTAGES = [1.0, 2.0, -0.5, -3.0]
LENGTHS = [3, 1, 4, 2]


@pytest.mark.parametrize("kept", [[0, 1], [0, 2], [0, 1, 2, 3]], ids=["a-pass", "each", "all"])
@pytest.mark.parametrize("loss_type", LOSSES)
def test_the_loss_is_the_formula_over_what_is_left(
    loss_type: str, kept: list[int], tmp_path: Path
) -> None:
    """Two passes of two completions; on policy a token's loss is minus its advantage."""
    trainer = trainer_of(DroppingTrainer, tmp_path, set(), loss_type=loss_type)
    trainer.current_gradient_accumulation_steps = 2
    tokens = {row: LENGTHS[row] for row in kept}
    is_kept = torch.tensor([row in kept for row in range(4)])
    mask = torch.arange(MAX_TOKENS)[None] < torch.tensor(LENGTHS)[:, None]
    ids = torch.full((4, MAX_TOKENS), 5)
    batch = {
        "prompt_ids": ids[:, :2],
        "prompt_mask": torch.ones(4, 2, dtype=torch.long),
        "completion_ids": ids,
        "completion_mask": (mask & is_kept[:, None]).long(),
        "advantages": torch.tensor(ADVANTAGES),
        "is_kept": is_kept,
    }
    passes: list[dict[str, Any]] = [
        {name: tensor[start : start + 2] for name, tensor in batch.items()} for start in (0, 2)
    ]
    for one in passes:
        one["num_items_in_batch"] = torch.tensor(sum(tokens.values()))
    trainer._buffered_inputs = passes
    trainer.model.train()
    loss = sum(trainer._compute_loss(trainer.model, one).item() for one in passes)

    summed = {row: ADVANTAGES[row] * tokens[row] for row in kept}
    means = [
        sum(summed[row] for row in rows) / sum(tokens[row] for row in rows)
        for rows in ([r for r in kept if r < 2], [r for r in kept if r >= 2])
        if rows
    ]
    expected = {
        "grpo": sum(ADVANTAGES[row] for row in kept) / len(kept),
        "dr_grpo": sum(summed.values()) / (len(kept) * MAX_TOKENS),
        "bnpo": sum(means) / len(means),
        "dapo": sum(summed.values()) / sum(tokens.values()),
    }
    assert loss == pytest.approx(-expected[loss_type], rel=1e-5)


def planned(**changes: Any) -> TrialSpec:
    settings = {
        "matrix.seed": "[0]",
        "matrix.thinking": "[false]",
        "contrasts": "[]",
        "trial.grpo.max_steps": 2,
        "trial.grpo.per_device_train_batch_size": 8,
        "trial.grpo.num_generations": 2,
        "trial.grpo.max_completion_length": 16,
        "trial.grpo.flat_groups": "drop",
        "task.num_train_prompts": 60,
        "task.num_eval_prompts": 12,
        "evaluation.num_prompts_per_difficulty": 1,
        "evaluation.max_new_tokens": 8,
    } | changes
    overrides = [f"{key}={value}" for key, value in settings.items()]
    return expand(load_sweep(ROOT / "search_spaces" / "quickstart.yaml", overrides))[0]


def test_a_trial_records_what_it_dropped_and_counts_no_tokens_of_it(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    assert train_trial(planned(), folder=tmp_path).state == "FINISHED"
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    steps = {line["step"]: line["metrics"] for line in lines if "train/loss" in line["metrics"]}
    rows = pd.concat(pd.read_parquet(part) for part in sorted(tmp_path.glob("rewards/*.parquet")))
    totals = rows.groupby(["step", "group"])["total"]
    is_flat = (totals.transform("max") - totals.transform("min")) < 1e-6
    assert 0 < is_flat.sum() < len(rows)
    for step, metrics in steps.items():
        assert metrics["train/dropped_groups"] == is_flat[rows["step"] == step].sum() / 2
        read = rows[~is_flat & (rows["step"] <= step)]
        assert metrics["train/completion_tokens"] == read["num_tokens"].sum()


def test_a_resumed_trial_draws_the_same_prompts(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    settings = {"trial.grpo.flat_groups": "resample", "trial.checkpoint.save_steps": 1}
    spec = planned(**settings)

    def die_at_two(step: int, metrics: Mapping[str, float]) -> None:
        if step == 2:
            raise KeyboardInterrupt

    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    assert train_trial(spec, folder=straight).state == "FINISHED"
    with pytest.raises(KeyboardInterrupt):
        train_trial(spec, folder=resumed, report=die_at_two)
    assert train_trial(spec, folder=resumed).state == "FINISHED"
    rows, again = (
        pd.concat(pd.read_parquet(part) for part in sorted(folder.glob("rewards/*.parquet")))
        for folder in (straight, resumed)
    )
    pd.testing.assert_frame_equal(again, rows)
    lines = [json.loads(line) for line in (straight / "metrics.jsonl").read_text().splitlines()]
    steps = {line["step"]: line["metrics"] for line in lines if "train/loss" in line["metrics"]}
    # Every group that was drawn is on record: 4 prompts a step and those in their places.
    drawn = {step: metrics["train/resampled_groups"] for step, metrics in steps.items()}
    assert sum(drawn.values()) > 0
    groups = rows.groupby(["step", "group"])["prompt_id"]
    assert (groups.nunique() == 1).all()
    assert groups.first().groupby("step").size().to_dict() == {
        step: 4 + number for step, number in drawn.items()
    }
