"""TRL's ``GRPOTrainer`` on prompts that an adaptive pool draws for each generation.

The data set says how many prompts a generation has; which ones they are the pool decides. What it
has counted is part of every checkpoint.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOTrainer

from strictune.records import write_json
from trainables.adaptive import AdaptivePool

__all__ = ["AdaptiveTrainer"]

STATE = "adaptive_pool.json"


class AdaptiveTrainer(GRPOTrainer):  # type: ignore[misc]
    """Takes the prompts of a pool in the place of the data set's, where it has one.

    Of several processes each draws the same, and takes its part of it.
    """

    pool: AdaptivePool | None = None
    pool_rows: Sequence[dict[str, Any]]
    """Of the pool's prompts, like those of the data set."""

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        if self.pool is not None:
            inputs = self._draw_rows(self.pool, num_here=len(inputs))
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        return batch

    def _draw_rows(self, pool: AdaptivePool, *, num_here: int) -> list[dict[str, Any]]:
        size, first = self.num_generations, self.accelerator.process_index * num_here
        self._num_drawn = num_here * self.accelerator.num_processes // size
        drawn = pool.draw(self._num_drawn)
        for name, value in pool.metrics(drawn).items():
            self._metrics["train"][f"adaptive/{name}"].append(value)
        return [self.pool_rows[drawn[row // size]] for row in range(first, first + num_here)]

    def _own_spares(self) -> Sequence[dict[str, Any]]:
        """Draw further prompts where flat groups are resampled, as many as are generated for."""
        if self.pool is None:
            spares: Sequence[dict[str, Any]] = super()._own_spares()
            return spares
        return [self.pool_rows[index] for index in self.pool.draw(self._num_drawn)]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.pool is not None and self.args.should_save:
            name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            state = {"counts": self.pool.counts.tolist()}
            write_json(Path(self._get_output_dir(trial=trial)) / name / STATE, state)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if self.pool is not None and checkpoint is not None:
            text = (Path(checkpoint) / STATE).read_text(encoding="utf-8")
            self.pool.counts = np.array(json.loads(text)["counts"])
