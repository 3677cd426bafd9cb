"""A trial that trains on given completions, and what its losses and gradients were.

``python recorded_rank.py FOLDER`` is one rank of several, as torchrun would start it: its trial
and the completions lie in the folder, and rank 0 leaves there what it saw.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pretended_gpus import PRETENDING, pretend_gpus
from torch import distributed
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from strictune.config import TrialSpec, load_trial
from strictune.records import Progress
from trainables.context import trial_context
from trainables.curriculum import plan_stages
from trainables.grpo import build_grpo_trainer
from trainables.ranks import Ranks
from trainables.records import FollowedRecords, TrialRecords
from trainables.sft import build_sft_trainer

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 600

Rollouts = dict[str, list[list[int]]]
"""Token ids of a prompt, as JSON, to those of the completions of its group."""


class Seen(NamedTuple):
    """What happened at each optimizer step."""

    losses: list[float]
    gradients: list[torch.Tensor]
    """Of all trained weights, one after the other; none with DeepSpeed."""


class Watch(TrainerCallback):  # type: ignore[misc]
    """Notes the loss and the gradient of each step."""

    def __init__(self) -> None:
        self.seen = Seen([], [])

    def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
        """Take the gradient that the optimizer is about to use."""
        gradients = [weights.grad for weights in model.parameters() if weights.requires_grad]
        if None in gradients:
            return  # DeepSpeed has used them already.
        whole = [g.full_tensor() if isinstance(g, DTensor) else g for g in gradients]
        self.seen.gradients.append(torch.cat([gradient.flatten() for gradient in whole]))

    def on_log(self, *_: Any, logs: Mapping[str, float], **__: Any) -> None:
        """Take the loss."""
        if "loss" in logs:
            self.seen.losses.append(logs["loss"])


def train(spec: TrialSpec, folder: Path, *, rollouts: Rollouts, is_recording: bool = False) -> Seen:
    """Train on completions, which are taken from ``rollouts``, or generated and put there."""
    ranks = Ranks.of_this_process()
    records = TrialRecords(folder) if ranks.is_first else FollowedRecords(folder, Progress())
    context = trial_context(spec, folder, records, ranks=ranks)
    build = build_sft_trainer if spec.method == "sft" else build_grpo_trainer
    trainer = build(context, plan_stages(spec)[0], folder / "checkpoints", adapter=None)
    watch, generate = Watch(), getattr(trainer, "_generate_single_turn", None)

    def replay(prompts: list[list[int]], *rest: Any, **options: Any) -> Any:
        if is_recording:
            completions, logprobs = generate(prompts, *rest, **options)
            for prompt, completion in zip(prompts, completions, strict=True):
                rollouts.setdefault(json.dumps(prompt), []).append(completion)
            return completions, logprobs
        first = ranks.rank * len(prompts)
        size = spec.grpo.num_generations
        places = range(first, first + len(prompts))
        given = [rollouts[json.dumps(p)][i % size] for p, i in zip(prompts, places, strict=True)]
        return given, None

    trainer._generate_single_turn = replay
    trainer.add_callback(watch)
    trainer.train()
    if ranks.is_first:
        records.close()
    return watch.seen


def train_in_ranks(spec: TrialSpec, folder: Path, *, rollouts: Rollouts) -> Seen:
    """Train in as many processes as the trial has workers; returns what rank 0 saw.

    Where they hold the model in shards, each pretends to have a GPU.
    """
    (folder / "trial.yaml").write_text(spec.model_dump_json())
    (folder / "rollouts.json").write_text(json.dumps(rollouts))
    count = spec.distributed.num_workers
    common = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "OMP_NUM_THREADS": "1",
        **({} if spec.distributed.strategy == "ddp" else PRETENDING),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
    }
    logs = [(folder / f"rank-{rank}.log").open("w") for rank in range(count)]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, str(folder)],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        for rank, log in enumerate(logs)
    ]
    until = time.monotonic() + TIMEOUT_S
    try:
        # One that fails ends the others, as with Ray Train.
        while set(states := [rank.poll() for rank in ranks]) <= {None, 0} and None in states:
            assert time.monotonic() < until, f"no end after {TIMEOUT_S} s"
            time.sleep(0.1)
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
        for log in logs:
            log.close()
    said = "\n".join(Path(log.name).read_text(errors="replace") for log in logs)
    assert [rank.returncode for rank in ranks] == [0] * count, said
    return Seen(*torch.load(folder / "seen.pt"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(folder: Path) -> None:
    """Be the rank that the environment says."""
    torch.set_num_threads(1)
    spec = load_trial(folder / "trial.yaml")
    if spec.distributed.strategy != "ddp":
        pretend_gpus(spec.distributed.strategy)
    distributed.init_process_group("gloo", timeout=timedelta(seconds=TIMEOUT_S))
    rollouts = json.loads((folder / "rollouts.json").read_text())
    seen = train(spec, folder, rollouts=rollouts)
    if distributed.get_rank() == 0:
        torch.save(tuple(seen), folder / "seen.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
