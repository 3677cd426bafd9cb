"""GRPO without the groups whose completions all earn the same.

Their advantages are 0, but TRL goes on counting their completions and tokens in what it divides
the loss by, so that a step is the smaller the more such groups it has
(https://github.com/huggingface/trl/issues/6367); and their KL term still pulls. Here they leave
the loss, and what is left is divided by what is left. No other prompts take their place.
"""

from typing import Any

import torch
from torch import Tensor

from trainables.aggregating import AggregatingTrainer

__all__ = ["DroppingTrainer", "flat_completions"]

SAME = 1e-6
"""Rewards, in float32, that differ by no more are equal."""


def flat_completions(
    rewards: Tensor, weights: Tensor, *, group_size: int, by_component: bool
) -> Tensor:
    """Say which completions are in a group that teaches nothing: (N, C) and (C,) -> (N,).

    A value that is NaN was not measured. A group in which fewer than two completions have rewards
    is flat.

    Args:
        rewards: Of the components, completions of a group side by side.
        weights: Of the components.
        group_size: Completions of a group.
        by_component: Components are normalized before they are summed up, so that a group is flat
            where each of them is; else where their sum is.
    """
    earned = rewards * weights  # (N, C)
    if by_component:
        earned = earned[:, weights != 0]
    else:
        is_missing = torch.isnan(earned).all(dim=1)
        earned = earned.nansum(dim=1).masked_fill(is_missing, torch.nan).unsqueeze(1)
    groups = earned.view(-1, group_size, earned.shape[1])  # (G, group, C)
    is_nan = torch.isnan(groups)
    spread = groups.masked_fill(is_nan, -torch.inf).amax(dim=1) - groups.masked_fill(
        is_nan, torch.inf
    ).amin(dim=1)
    return (spread <= SAME).all(dim=1).repeat_interleave(group_size)


class DroppingTrainer(AggregatingTrainer):
    """TRL's trainer, with the loss of the groups that can teach something alone."""

    def _calculate_rewards(self, *batch: Any) -> Tensor:
        rewards: Tensor = super()._calculate_rewards(*batch)
        self._is_flat = flat_completions(
            rewards,
            self.reward_weights.to(rewards.device),
            group_size=self.num_generations,
            by_component=self.multi_objective_aggregation == "normalize_then_sum",
        )
        return rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        mask, first = batch["completion_mask"], self.accelerator.process_index
        is_kept = ~self._is_flat[first * len(mask) : (first + 1) * len(mask)]
        mask = mask * is_kept.unsqueeze(1)
        num_dropped = self._is_flat.sum().item() / self.num_generations
        self._metrics["train"]["dropped_groups"].append(num_dropped)
        return batch | {
            "completion_mask": mask,
            "is_kept": is_kept,
            # What dapo divides by.
            "num_items_in_batch": self.accelerator.gather(mask.sum()).sum(),
        }

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        loss: Tensor = super()._compute_loss(model, inputs)
        return loss / self._counted_frac()

    def _counted_frac(self) -> Tensor | float:
        """Return the share that is left of what TRL divides a step's loss by.

        That is completions for grpo and dr_grpo, and passes with any completion for bnpo, which
        averages over the tokens of each pass. 1 where nothing is left: the loss is 0 then.
        """
        if self.loss_type == "dapo":
            return 1.0
        kept = torch.stack([batch["is_kept"] for batch in self._buffered_inputs])  # (passes, B)
        counted = kept.any(dim=1) if self.loss_type == "bnpo" else kept
        frac = self.accelerator.gather(counted.float().mean()).mean()
        return frac if frac > 0 else 1.0
