"""What every training engine gives, through the trainer that trials use, on the tiny model."""

import copy
import functools
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from fake_vllm import Body, FakeVllm, Generate, serving
from peft import PeftModel
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, GenerationConfig

from strictune.config import TrialSpec
from trainables.context import trial_context
from trainables.curriculum import plan_stages
from trainables.grpo import build_grpo_trainer
from trainables.models import (
    load_adapter,
    load_base_model,
    load_tokenizer,
    resolve_adapter,
    resolve_model,
)
from trainables.prompting import render_prompt
from trainables.rollouts.completion import Completion
from trainables.rollouts.decoding import TokenLogps, generate_batch
from trainables.rollouts.served_base import ServedBase
from trainables.rollouts.transformers_engine import Decoding, TransformersEngine
from trainables.rollouts.vllm_server import SERVERS_VARIABLE
from trainables.tasks import load_task
from trainables.tasks.task import Prompt

GROUP = 4
NUM_PROMPTS = 2
MAX_TOKENS = 48
"""Some of the tiny model's answers are shorter, some are not."""


DIFFERENCE = "train/sampling/sampling_logp_difference"


class Rollout(NamedTuple):
    """One optimizer step: what was generated for it, and what it left."""

    prompts: Sequence[Prompt]
    completions: Sequence[Completion]
    metrics: Mapping[str, float]
    trained_dtypes: frozenset[torch.dtype]
    is_adapter_moved: bool


def trial(engine: str, **changes: Any) -> TrialSpec:
    fields: dict[str, Any] = {
        "task": {"kind": "strict_json", "num_train_prompts": 60, "num_eval_prompts": 12},
        "model": "builtin:tiny",
        "quantization": "none",
        "dtype": "float32",
        "grpo": {
            "max_steps": 1,
            "num_generations": GROUP,
            "per_device_train_batch_size": GROUP * NUM_PROMPTS,
            "max_completion_length": MAX_TOKENS,
            "learning_rate": 1e-3,
            "lr_scheduler_type": "constant",
            "optim": "adamw_torch",
            "gradient_checkpointing": False,
            **changes.pop("grpo", {}),
        },
        "rollouts": {"engine": engine},
    }
    return TrialSpec.model_validate(fields | changes)


class HeardRecords:
    """Takes what a trial would write to its folder."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self.completions: list[Completion] = []
        self.metrics: dict[str, float] = {}
        self.completion_tokens = 0

    def count_tokens(self, completion_tokens: int) -> None:
        self.completion_tokens += completion_tokens

    def add_rewards(
        self, step: int, prompts: list[Prompt], completions: list[Completion], *_: Any, **__: Any
    ) -> None:
        self.prompts += prompts
        self.completions += completions

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.metrics.update(metrics)

    def commit(self, **_: Any) -> None:
        pass


def one_step(spec: TrialSpec, folder: Path) -> Rollout:
    torch.set_num_threads(1)
    heard = HeardRecords()
    context = trial_context(spec, folder, heard)  # type: ignore[arg-type]
    trainer = build_grpo_trainer(
        context, plan_stages(spec)[0], folder / "checkpoints", adapter=None
    )
    trainer.train()
    trained = {name: p for name, p in trainer.model.named_parameters() if p.requires_grad}
    return Rollout(
        prompts=heard.prompts,
        completions=heard.completions,
        metrics=heard.metrics,
        trained_dtypes=frozenset(parameter.dtype for parameter in trained.values()),
        is_adapter_moved=all(p.abs().max() > 0 for name, p in trained.items() if "lora_B" in name),
    )


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Rollout]:
    @functools.cache
    def run(engine: str, seed: int) -> Rollout:
        return one_step(trial(engine, seed=seed), tmp_path_factory.mktemp("step"))

    return run


class RolloutContract:
    """Inherited by one class for each engine."""

    engine: ClassVar[str]
    dtype: ClassVar[str] = "float32"
    agreement_frac: ClassVar[float] = 1.0
    """Of greedy completions that equal those of ``transformers`` outside the trainer."""

    @pytest.fixture
    def step(self, steps: Callable[[str, int], Rollout]) -> Callable[[int], Rollout]:
        return functools.partial(steps, self.engine)

    def test_every_prompt_gets_its_group(self, step: Callable[[int], Rollout]) -> None:
        rollout = step(0)
        ids = [prompt.id for prompt in rollout.prompts]
        assert len(rollout.completions) == len(ids) == GROUP * NUM_PROMPTS
        assert ids == [ids[start] for start in range(0, len(ids), GROUP) for _ in range(GROUP)]
        assert len(set(ids)) == NUM_PROMPTS

    def test_a_completion_is_cut_off_at_the_limit_and_nowhere_else(
        self, step: Callable[[int], Rollout]
    ) -> None:
        completions = step(0).completions
        assert {completion.is_truncated for completion in completions} == {True, False}
        for completion in completions:
            assert 1 <= completion.num_tokens <= MAX_TOKENS
            assert completion.num_tokens == MAX_TOKENS or not completion.is_truncated

    def test_the_stop_token_ends_the_text_and_is_no_part_of_it(
        self, step: Callable[[int], Rollout]
    ) -> None:
        tokenizer = load_tokenizer(resolve_model("builtin:tiny"))
        for completion in step(0).completions:
            assert tokenizer.eos_token not in completion.text
            assert tokenizer.pad_token not in completion.text
            tokens = len(tokenizer(completion.text, add_special_tokens=False)["input_ids"])
            if not completion.is_truncated:
                assert tokens <= completion.num_tokens - 1

    def test_the_same_seed_draws_the_same_completions(
        self, step: Callable[[int], Rollout], tmp_path: Path
    ) -> None:
        again = one_step(trial(self.engine, seed=0), tmp_path)
        assert again.completions == step(0).completions
        assert again.prompts == step(0).prompts

    def test_what_a_model_brings_beside_its_weights_draws_the_same(
        self, step: Callable[[int], Rollout], tmp_path: Path
    ) -> None:
        """Generation defaults, and a tokenizer that ends every text."""
        model = shutil.copytree(resolve_model("builtin:tiny").location, tmp_path / "model")
        defaults = {"eos_token_id": 2, "min_p": 1.0, "do_sample": True, "num_return_sequences": 2}
        (model / "generation_config.json").write_text(json.dumps(defaults))
        tokenizer = AutoTokenizer.from_pretrained(model)
        end = tokenizer.eos_token
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"$A {end}", special_tokens=[(end, tokenizer.eos_token_id)]
        )
        tokenizer.save_pretrained(model)
        rollout = one_step(trial(self.engine, seed=0, model=str(model)), tmp_path)
        assert rollout.completions == step(0).completions

    def test_another_seed_draws_others(self, step: Callable[[int], Rollout]) -> None:
        assert step(1).completions != step(0).completions

    def test_the_step_trains_the_adapter_in_float32(self, step: Callable[[int], Rollout]) -> None:
        rollout = step(0)
        assert rollout.trained_dtypes == {torch.float32}
        assert rollout.is_adapter_moved
        assert rollout.metrics["train/grad_norm"] > 0
        assert 0 < rollout.metrics[f"{DIFFERENCE}/mean"] < rollout.metrics[f"{DIFFERENCE}/p99"]
        assert rollout.metrics[f"{DIFFERENCE}/p99"] < rollout.metrics[f"{DIFFERENCE}/max"] < 1e-3
        assert rollout.metrics["train/completions/clipped_ratio"] == pytest.approx(
            sum(completion.is_truncated for completion in rollout.completions) / GROUP / NUM_PROMPTS
        )

    def test_almost_greedy_it_writes_what_transformers_writes(self, tmp_path: Path) -> None:
        """Which also shows that completions come in the order of their prompts."""
        spec = trial(self.engine, dtype=self.dtype, grpo={"temperature": 1e-3})
        rollout = one_step(spec, tmp_path)
        source = resolve_model(spec.model)
        tokenizer, task = load_tokenizer(source), load_task(spec.task)
        known = {prompt.id: prompt for prompt in task.prompts("train")}
        texts = [
            render_prompt(
                tokenizer, task.messages(known[prompt.id], thinking=False), thinking=False
            ).text
            for prompt in rollout.prompts
        ]
        base = load_base_model(source, quantization="none", dtype=spec.dtype)
        expected = TransformersEngine(base, tokenizer, batch_size=8).generate(
            texts, Decoding(temperature=0, top_p=1, max_new_tokens=MAX_TOKENS), seed=0
        )
        equal = [a == b for a, b in zip(rollout.completions, expected, strict=True)]
        assert sum(equal) >= self.agreement_frac * len(equal)


class TestTransformers(RolloutContract):
    engine = "transformers"


class TestContinuousBatching(RolloutContract):
    engine = "continuous_batching"


class TestVllm(RolloutContract):
    """A server that generates with transformers, so that what differs is ours."""

    engine = "vllm"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def served(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeVllm]:
        fake = FakeVllm(model="base")
        fake.generate = generating(fake)
        servers = tmp_path_factory.mktemp("servers") / "servers.json"
        with pytest.MonkeyPatch.context() as patch, serving(fake):
            servers.write_text(json.dumps({"base": fake.url}))
            patch.setenv(SERVERS_VARIABLE, str(servers))
            patch.setattr(ServedBase, "name", "base")  # Of any model of these tests.
            yield fake

    def test_what_is_trained_is_corrected_for_the_servers_rounding(
        self, step: Callable[[int], Rollout]
    ) -> None:
        ratio = "train/sampling/importance_sampling_ratio"
        assert 0.999 < step(0).metrics[f"{ratio}/min"] < 1 < step(0).metrics[f"{ratio}/max"]

    def test_adapters_have_names_of_their_own(
        self, step: Callable[[int], Rollout], served: FakeVllm
    ) -> None:
        step(0), step(1)
        assert len(set(served.loaded)) == len(served.loaded) > 1
        assert served.adapters == {}
        name = trial("vllm", seed=1).trial_id
        assert any(each.startswith(f"{name}-checkpoints-step-0-") for each in served.loaded)


def generating(fake: FakeVllm) -> Generate:
    """Return a server's generation: the tiny model, with whatever adapter is asked for."""
    base = load_base_model(resolve_model("builtin:tiny"), quantization="none", dtype="float32")
    models: dict[str, Any] = {fake.model: base}
    lock = threading.Lock()

    def generate(request: Body) -> tuple[list[int], list[float]]:
        with lock, torch.random.fork_rng():
            if request["model"] not in models:
                source = resolve_adapter(Path(fake.adapters[request["model"]]))
                models[request["model"]] = load_adapter(copy.deepcopy(base), source)
            return generate_one(models[request["model"]], request)

    return generate


def generate_one(model: Any, request: Body) -> tuple[list[int], list[float]]:
    torch.manual_seed(request["seed"])
    prompt = torch.tensor([request["prompt"]])
    logps = TokenLogps(1, temperature=request["temperature"] or 1.0)
    with torch.no_grad():
        written = generate_batch(
            model.eval().get_base_model() if isinstance(model, PeftModel) else model.eval(),
            prompt,
            torch.ones_like(prompt),
            GenerationConfig(
                max_new_tokens=request["max_tokens"],
                do_sample=request["temperature"] > 0,
                temperature=request["temperature"] or None,
                top_k=0,
                eos_token_id=request["stop_token_ids"],
                pad_token_id=0,
            ),
            token_logps=logps,
        )
    ids = written[0, prompt.shape[1] :].tolist()
    ends = [index + 1 for index, token in enumerate(ids) if token in request["stop_token_ids"]]
    length = min([*ends, request["max_tokens"]])
    return ids[:length], logps.rows[0][:length]
