"""The memory probe: measures what a trial takes at its worst lengths, in two steps.

It does what a trial does, in the trial's order: two optimizer steps on the longest prompts,
whose completions are forced to their full token limit, then one evaluation batch of the same
kind on a fresh base. Rewards are computed and thrown away. Supervised training is on the prompts
that are longest with their gold completions; a trial of both methods does both. On a GPU it does
all that again, limited to the share that such a trial would be granted. It belongs into a process
of its own (``measure_trial``), because a process cannot reset its peak.
"""

import json
import logging
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NamedTuple, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from strictune.config import CheckpointSpec, StageSpec, TrialSpec, dump_yaml
from strictune.errors import BudgetError, TrialError
from strictune.records import write_json
from trainables.context import TrialContext
from trainables.curriculum import PlannedStage
from trainables.devices import allocator_environment
from trainables.failures import is_out_of_memory
from trainables.grpo import build_grpo_trainer
from trainables.memory.measured import Probe, trained_difficulties
from trainables.memory.process import PeakMeter, free_gpu, gpu_size_gib, repeat_in_shares
from trainables.models import load_tokenizer, resolve_adapter, resolve_model
from trainables.precision import resolve_dtype
from trainables.prompting import render_prompt
from trainables.provenance import device_name
from trainables.records import TrialRecords
from trainables.rollouts.merged import load_for_generation
from trainables.rollouts.transformers_engine import Decoding, TransformersEngine
from trainables.sft import SftData, gold_of, sft_trainer
from trainables.tasks import load_task
from trainables.tasks.selection import select_prompts
from trainables.tasks.task import Prompt, Split, Task

__all__ = ["measure_trial", "probe", "run_in_this_process"]

logger = logging.getLogger(__name__)

NUM_STEPS = 2
"""The first step warms up; the second is timed, with the optimizer's states in place."""
TIMEOUT_S = 3600.0
OUTPUT = "output.txt"


def measure_trial(spec: TrialSpec, *, num_threads: int) -> Probe:
    """Run ``probe`` in a process of its own, which ends with this one.

    Raises:
        BudgetError: The trial needs more memory than there is.
        TrialError: It cannot run for another reason.
    """
    with tempfile.TemporaryDirectory(prefix="strictune-probe-") as work:
        folder = Path(work)
        (folder / "trial.yaml").write_text(dump_yaml(spec), encoding="utf-8")
        environment = (
            os.environ
            | allocator_environment(os.environ)
            | {
                "OMP_NUM_THREADS": str(num_threads),
                # A Ray worker's own search path does not reach its children.
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            }
        )
        status = _wait([sys.executable, "-m", "trainables.memory", work], folder, environment)
        return _result(spec, folder, status=status)


def _wait(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int | None:
    """Run a command to its end and return its exit status, or None when it took too long.

    Its standard input stays open as long as this process lives, so that it notices the end.
    """
    with (folder / OUTPUT).open("w") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, env=environment
        )
        try:
            return process.wait(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None
        finally:
            process.kill()
            process.wait()
            cast(IO[bytes], process.stdin).close()


def _result(spec: TrialSpec, folder: Path, *, status: int | None) -> Probe:
    path = folder / "probe.json"
    if status == 0:
        return Probe(**json.loads(path.read_text(encoding="utf-8")))
    if status is None:
        raise TrialError(
            f"measuring the memory of {spec.cell} took more than {TIMEOUT_S:g} s. Give numbers "
            "instead of auto under resources."
        )
    if status == -signal.SIGKILL or path.exists():
        raise BudgetError(
            f"{spec.cell} needs more memory at its worst lengths than this machine has. Lower "
            f"trial.{spec.method}.per_device_train_batch_size (and raise "
            "gradient_accumulation_steps), trial.grpo.max_completion_length, max_think_length or "
            f"evaluation.batch_size, or set trial.{spec.method}.gradient_checkpointing=true."
        )
    said = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = said[-1] if said else f"exit status {status}"
    raise TrialError(f"the memory of {spec.cell} could not be measured: {reason}")


def run_in_this_process(folder: Path, spec: TrialSpec) -> int:
    """Probe, and leave ``probe.json`` in ``folder``; returns the exit status."""
    try:
        result = probe(spec, folder)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        write_json(folder / "probe.json", {"out_of_memory": str(error)})
        return 1
    write_json(folder / "probe.json", asdict(result))
    return 0


def probe(spec: TrialSpec, folder: Path) -> Probe:
    """Measure this process while it runs a trial at its worst lengths; ``folder`` is scratch."""
    started = time.monotonic()
    has_gpu = torch.cuda.is_available()
    meter = PeakMeter(is_alone=True)
    work = _Work(spec)
    times = work.do(folder)
    peaks = meter.read()
    failed_gib = None
    if has_gpu:
        free_gpu()
        failed_gib = repeat_in_shares(
            lambda: work.do(Path(tempfile.mkdtemp(dir=folder))), gpu_gib=peaks["gpu/peak_gib"]
        )
    return Probe(
        device=device_name(),
        gpu_gib=peaks.get("gpu/peak_gib"),
        gpu_reserved_gib=peaks.get("gpu/peak_reserved_gib"),
        gpu_failed_gib=failed_gib,
        gpu_size_gib=gpu_size_gib() if has_gpu else None,
        memory_gib=peaks["memory/peak_gib"],
        step_s=times.step_s,
        evaluation_s=times.evaluation_s,
        prompt_tokens=work.prompt_tokens,
        num_threads=torch.get_num_threads(),
        seconds=time.monotonic() - started,
    )


class _Times(NamedTuple):
    """Seconds of an optimizer step, and of one evaluation of the final split."""

    step_s: float
    evaluation_s: float


class _Work:
    """The work of a trial at its worst lengths; can be repeated."""

    def __init__(self, spec: TrialSpec) -> None:
        self._spec = spec
        self._task = load_task(spec.task)
        self._source = resolve_model(spec.model, trust_remote_code=spec.trust_remote_code)
        self._tokenizer = load_tokenizer(self._source)
        self._dtype = resolve_dtype(spec.dtype, quantization=spec.quantization)
        self._lengths = _PromptLengths(self._task, self._tokenizer, thinking=spec.thinking)
        self._parts = [(part, self._longest(part)) for part in spec.parts]

    @property
    def prompt_tokens(self) -> int:
        """The longest prompt of the training."""
        return max(self._lengths(prompt) for _, prompts in self._parts for prompt in prompts)

    def do(self, folder: Path) -> _Times:
        """Train and evaluate, with records and checkpoints in an empty ``folder``."""
        num_steps, seconds = self._spec.method_steps, 0.0
        for part, prompts in self._parts:
            method, steps = part.method, _StepTimes()
            only = self._task if method == "sft" else cast(Task, _OnlyPrompts(self._task, prompts))
            with closing(TrialRecords(folder / method)) as records:
                context = TrialContext(
                    spec=_every_step(part),
                    folder=folder / method,
                    dtype=self._dtype,
                    task=only,
                    source=self._source,
                    tokenizer=self._tokenizer,
                    records=records,
                    report=steps,
                    beat=lambda: None,
                )
                adapter = _train(context, prompts)
            free_gpu()
            seconds += num_steps[method] * _mean_step_s(part, steps.seconds)
        evaluation_s = _evaluate(context, adapter, self._lengths, task=self._task)
        return _Times(step_s=seconds / sum(num_steps.values()), evaluation_s=evaluation_s)

    def _longest(self, spec: TrialSpec) -> Sequence[Prompt]:
        is_supervised = spec.method == "sft"
        num_trained = (
            NUM_STEPS * spec.sft.completions_per_step
            if is_supervised
            else spec.grpo.num_dealt_steps(NUM_STEPS) * spec.prompts_per_step
        )
        return self._lengths.longest(
            _trained_on(spec, self._task),
            num_trained,
            with_gold=is_supervised and not spec.task.draws_golds,
        )


def _mean_step_s(spec: TrialSpec, seconds: Sequence[float]) -> float:
    """Return a step's time: the last one's, or the mean where only the first has generated."""
    each = 1 if spec.method == "sft" else spec.grpo.optimizer_steps_per_generation
    return seconds[-1] if each == 1 else (seconds[0] + (each - 1) * seconds[-1]) / each


class _PromptLengths:
    """Counts the tokens of prompts as the model sees them."""

    def __init__(self, task: Task, tokenizer: PreTrainedTokenizerBase, *, thinking: bool) -> None:
        self._task = task
        self._tokenizer = tokenizer
        self._thinking = thinking

    def __call__(self, prompt: Prompt) -> int:
        messages = self._task.messages(prompt, thinking=self._thinking)
        text = render_prompt(self._tokenizer, messages, thinking=self._thinking).text
        return len(self._tokenizer(text)["input_ids"])

    def longest(
        self, prompts: Sequence[Prompt], count: int, *, with_gold: bool = False
    ) -> list[Prompt]:
        """Return the longest prompts that the task allows, longest first.

        With gold, those that are longest together with their gold completions.
        """
        counted = [(self(prompt), index) for index, prompt in enumerate(prompts)]
        allowed = [pair for pair in counted if pair[0] <= self._task.max_prompt_tokens]
        if with_gold:
            allowed = [
                (length + self._gold_tokens(prompts[index]), index) for length, index in allowed
            ]
        return [prompts[index] for _, index in sorted(allowed, reverse=True)[:count]]

    def _gold_tokens(self, prompt: Prompt) -> int:
        gold = gold_of(self._task, prompt, thinking=self._thinking)
        return len(self._tokenizer(gold)["input_ids"])


class _OnlyPrompts:
    """A task whose training split is a few given prompts."""

    def __init__(self, task: Task, prompts: Sequence[Prompt]) -> None:
        self._task = task
        self._prompts = prompts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def prompts(self, split: Split) -> Sequence[Prompt]:
        return self._prompts


class _StepTimes:
    """Takes the seconds of each optimizer step from what a trial reports."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        if "time/step_s" in metrics:
            self.seconds.append(metrics["time/step_s"])


def _every_step(spec: TrialSpec) -> TrialSpec:
    """Report every step, and write the checkpoint that holds the adapter."""
    return spec.model_copy(
        update={
            "checkpoint": CheckpointSpec(save_steps=NUM_STEPS),
            "grpo": spec.grpo.model_copy(update={"logging_steps": 1}),
            "sft": spec.sft.model_copy(update={"logging_steps": 1}),
        }
    )


def _trained_on(spec: TrialSpec, task: Task) -> list[Prompt]:
    dealt = trained_difficulties(spec)
    return [prompt for prompt in task.prompts("train") if prompt.difficulty in dealt]


def _train(context: TrialContext, prompts: Sequence[Prompt]) -> Path:
    stage = PlannedStage(
        index=0, spec=StageSpec(name="probe", steps_frac=1.0), num_steps=NUM_STEPS, first_step=0
    )
    checkpoints, sft = context.folder / "checkpoints", context.spec.sft
    if context.spec.method == "sft":
        golds = {}
        if context.spec.task.draws_golds:
            # They may reach the limit, where what is longer is cut.
            golds = dict.fromkeys(
                (prompt.id for prompt in prompts), "0 " * context.spec.max_completion_tokens
            )
        data = SftData(prompts, NUM_STEPS * sft.completions_per_step, golds)
        trainer = sft_trainer(context, stage, checkpoints, data=data, adapter=None)
    else:
        trainer = build_grpo_trainer(context, stage, checkpoints, adapter=None)
        _force_length(trainer, context.spec)
    trainer.train()
    return checkpoints / f"checkpoint-{NUM_STEPS}"


def _force_length(trainer: Any, spec: TrialSpec) -> None:
    """Let no completion end before its limit; those of a server, which is not here, are made up."""
    tokens = spec.max_completion_tokens
    if spec.rollouts.engine == "vllm":
        # Imported here: a machine without an HTTP client can be probed for the other engines.
        from trainables.rollouts.vllm_server import Sampled

        answer = [Sampled([0] * tokens, [0.0] * tokens)]
        trainer.engine.server = SimpleNamespace(
            complete=lambda asked, *_, **__: answer * len(asked)
        )
    elif trainer.use_transformers_continuous_batching:
        # It has no minimum length, but -1 is never generated as the end token.
        trainer.generation_config.eos_token_id = -1
    else:
        trainer.generation_kwargs["min_new_tokens"] = tokens
        trainer.generation_config.min_new_tokens = tokens


def _evaluate(
    context: TrialContext, adapter: Path, lengths: _PromptLengths, *, task: Task
) -> float:
    """Generate one batch of full length and return the time of a whole evaluation like it."""
    spec, sampling = context.spec, context.spec.evaluation
    if spec.rollouts.evaluation_engine == "vllm":
        return 0.0
    prompts = select_prompts(
        task.prompts(sampling.final_split), per_difficulty=sampling.num_prompts_per_difficulty
    )
    num_completions = len(prompts) * sampling.samples_per_prompt
    batch = min(sampling.batch_size, num_completions)
    model = load_for_generation(
        context.source,
        adapter=resolve_adapter(adapter),
        quantization=spec.quantization,
        dtype=context.dtype,
        attn_implementation=spec.attn_implementation,
        weights=spec.rollouts.weights,
    )
    tokens = spec.max_evaluation_tokens
    started = time.monotonic()
    longest = lengths.longest(prompts, math.ceil(batch / sampling.samples_per_prompt))
    _generate(context, model, longest, batch=batch, tokens=tokens)
    return (time.monotonic() - started) * math.ceil(num_completions / batch)


def _generate(
    context: TrialContext,
    model: PreTrainedModel,
    prompts: Sequence[Prompt],
    *,
    batch: int,
    tokens: int,
) -> None:
    thinking, sampling = context.spec.thinking, context.spec.evaluation
    texts = [
        render_prompt(
            context.tokenizer, context.task.messages(prompt, thinking=thinking), thinking=thinking
        ).text
        for prompt in prompts
    ]
    engine = TransformersEngine(model, context.tokenizer, batch_size=batch)
    decoding = Decoding(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
    )
    # As in an evaluation, a batch holds all samples of a prompt.
    repeated = [texts[index // sampling.samples_per_prompt] for index in range(batch)]
    engine.generate(repeated, decoding, seed=sampling.seed)
