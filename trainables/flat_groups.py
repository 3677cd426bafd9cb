"""GRPO without the groups whose completions all earn the same.

Their advantages are 0, but TRL goes on counting their completions and tokens in what it divides
the loss by, so that a step is the smaller the more such groups it has
(https://github.com/huggingface/trl/issues/6367); and their KL term still pulls. Here they leave
the loss, and what is left is divided by what is left. Other prompts may take their place first.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from trl import GRPOTrainer

from trainables.aggregating import AggregatingTrainer

__all__ = ["DroppingTrainer", "ResamplingTrainer", "flat_completions"]

SAME = 1e-6
"""Rewards, in float32, that differ by no more are equal."""


def flat_completions(
    rewards: Tensor, weights: Tensor, *, group_size: int, by_component: bool
) -> Tensor:
    """Mark the completions of groups that teach nothing: (N, C) and (C,) -> (N,).

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
        self._is_flat = self._find_flat(rewards, self.reward_weights)
        return rewards

    def _find_flat(self, rewards: Tensor, weights: Tensor) -> Tensor:
        return flat_completions(
            rewards,
            weights.to(rewards),
            group_size=self.num_generations,
            by_component=self.multi_objective_aggregation == "normalize_then_sum",
        )

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


class _Answer(NamedTuple):
    """A completion as TRL passes it on."""

    prompt_ids: list[int]
    completion_ids: list[int]
    completion: str
    logps: list[float] | None
    """With which its tokens were sampled, where the engine says so."""
    rewards: Tensor
    """Of the components: (C,)."""
    is_flat: bool
    """Its group is."""


class _AnsweredTrainer(GRPOTrainer):  # type: ignore[misc]
    """Passes on completions and rewards that are there already, where there are any."""

    answers: Sequence[_Answer] = ()

    def _generate(self, prompts: Sequence[str]) -> tuple[Any, ...]:
        if not self.answers:
            generated: tuple[Any, ...] = super()._generate(prompts)
            return generated
        prompt_ids, ids, completions, logps, *_ = map(list, zip(*self.answers, strict=True))
        return prompt_ids, ids, None, completions, None if None in logps else logps, {}, None, []

    def _calculate_rewards(self, *batch: Any) -> Tensor:
        if not self.answers:
            rewards: Tensor = super()._calculate_rewards(*batch)
            return rewards
        return torch.stack([answer.rewards for answer in self.answers])  # (N, C)


class ResamplingTrainer(DroppingTrainer, _AnsweredTrainer):
    """Lets further prompts take the place of those whose groups are flat, as long as it has any.

    Each generation has spare prompts of its own, so that a resumed trial draws the same. TRL's own
    computations see the completions that remain, once. For one process alone.
    """

    spares: Sequence[dict[str, Any]]
    """Rows like those of the data set, generation after generation."""
    spares_per_generation: int

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        self.answers = ()
        rows, answers = list(inputs), self._answer(inputs)
        spares, size, num_drawn = self._own_spares(), self.num_generations, 0
        while spares:
            places = [first for first in range(0, len(rows), size) if answers[first].is_flat]
            if not places:
                break
            places = places[: len(spares)]
            fresh = [row for row in spares[: len(places)] for _ in range(size)]
            spares = spares[len(places) :]
            found = self._answer(fresh)
            for index, place in enumerate(places):
                theirs, here = slice(index * size, (index + 1) * size), slice(place, place + size)
                rows[here], answers[here] = fresh[theirs], found[theirs]
            num_drawn += len(places)
        self._metrics["train"]["resampled_groups"].append(float(num_drawn))
        self.answers = answers
        return super()._generate_and_score_completions(rows)

    def _own_spares(self) -> Sequence[dict[str, Any]]:
        number = self._step // (self.args.steps_per_generation * self.num_iterations)
        first, count = number * self.spares_per_generation, self.spares_per_generation
        return [self.spares[index % len(self.spares)] for index in range(first, first + count)]

    def _answer(self, rows: Sequence[dict[str, Any]]) -> list[_Answer]:
        """Generate and score."""
        prompts = [row["prompt"] for row in rows]
        prompt_ids, ids, _, completions, logps, *_ = self._generate(prompts)
        # An aggregation by batch is for the batch that remains.
        rewards = GRPOTrainer._calculate_rewards(self, rows, prompts, completions, ids)
        is_flat = self._find_flat(rewards, torch.from_numpy(self._given_weights))
        each = [None] * len(rows) if logps is None else logps
        columns = (prompt_ids, ids, completions, each, rewards, is_flat.tolist())
        return [_Answer(*found) for found in zip(*columns, strict=True)]
