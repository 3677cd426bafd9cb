"""TRL's ``GRPOTrainer`` with aggregations of reward components that TRL does not have."""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from trl import GRPOTrainer

from trainables.tasks.aggregation import Floats, dvao_scores, saw_weights

__all__ = ["AggregatingTrainer"]


class AggregatingTrainer(GRPOTrainer):  # type: ignore[misc]
    """Sums with the weights of each batch (``saw``), or replaces TRL's advantages (``dvao``).

    TRL itself sums and then normalizes meanwhile. The weights of a batch are logged as
    ``saw/<component>``.
    """

    aggregation = "sum_then_normalize"
    """``multi_objective_aggregation`` of the trial."""

    @cached_property
    def _given_weights(self) -> Floats:
        return np.asarray(self.reward_weights.double().numpy())

    def _calculate_rewards(self, *batch: Any) -> Tensor:
        rewards: Tensor = super()._calculate_rewards(*batch)  # (P, C), of all processes
        if self.aggregation not in ("saw", "dvao"):
            return rewards
        groups = rewards.view(-1, self.num_generations, rewards.shape[1])
        matrix = groups.permute(2, 1, 0).double().cpu().numpy()  # (C, N, G)
        if self.aggregation == "saw":
            weights = saw_weights(matrix, self._given_weights)
            self.reward_weights = torch.from_numpy(weights).float()
            for name, weight in zip(self.reward_func_names, weights.tolist(), strict=True):
                self._metrics["train"][f"saw/{name}"].append(weight)
        else:
            self._scores = torch.from_numpy(dvao_scores(matrix, self._given_weights))  # (N, G)
        return rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.aggregation == "dvao":
            theirs = batch["advantages"]
            first = self.accelerator.process_index * len(theirs)
            batch["advantages"] = self._scores.T.reshape(-1)[first : first + len(theirs)].to(theirs)
        return batch
