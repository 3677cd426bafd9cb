"""Trials against vLLM itself, on a CPU: ``make test-vllm``. Figures go into the JUnit file."""

import contextlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import torch
from peft import PeftModel, get_peft_model
from processes import wait_for
from safetensors.torch import load_file, save_file
from tiny_sweep import environment

from strictune.config import TrialSpec, VllmSpec
from strictune.launch.vllm import free_port, serve_arguments, server_environment
from strictune.launch.vllm_process import ServerProcess
from strictune.records import read_metrics
from strictune.served import COMMAND_VARIABLE, vllm_command
from trainables.models import load_base_model, load_tokenizer, lora_config, resolve_model
from trainables.prompting import render_prompt
from trainables.ray_trainable import ServedModel
from trainables.rollouts.merged import MergedCopy
from trainables.rollouts.served_base import ServedBase, export_base
from trainables.rollouts.transformers_engine import Decoding, TransformersEngine
from trainables.rollouts.vllm_engine import VllmEngine
from trainables.rollouts.vllm_server import Adapter, VllmServer
from trainables.tasks import load_task

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(COMMAND_VARIABLE not in os.environ, reason="make test-vllm installs vLLM"),
]

MODEL = "package:smollm2-135m"
NUM_PROMPTS, NUM_TOKENS = 24, 48
MAX_TIE = {"float32": 0.01, "bfloat16": 0.5}
"""Logits between the two best tokens where greedy completions may part."""
MAX_P99 = {"float32": 1e-3, "bfloat16": 0.5}
"""Of the differences of log-probabilities."""

Record = Callable[[str, object], None]


def trial(dtype: str) -> TrialSpec:
    return TrialSpec.model_validate(
        {
            "task": {"kind": "strict_json", "num_train_prompts": 60, "num_eval_prompts": 12},
            "model": MODEL,
            "dtype": dtype,
            "lora": {"r": 8},
            "grpo": {"max_steps": 1, "max_completion_length": NUM_TOKENS},
            "evaluation": {"max_new_tokens": NUM_TOKENS},
            "rollouts": {"engine": "vllm"},
        }
    )


class Served(NamedTuple):
    """The trainer's model, and the server of its base."""

    dtype: str
    base: ServedBase
    model: PeftModel
    adapter: Path
    tokenizer: Any
    prompts: Sequence[str]
    process: ServerProcess

    @property
    def options(self) -> VllmSpec:
        return VllmSpec(base_url=self.process.url, timeout_s=600)

    def ids(self) -> list[list[int]]:
        found: list[list[int]] = self.tokenizer(list(self.prompts))["input_ids"]
        return found


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    torch.set_num_threads(1)
    folder, dtype = tmp_path_factory.mktemp("vllm"), request.param
    spec, source = trial(dtype), resolve_model(MODEL)
    base, tokenizer = ServedBase(source, "nf4", dtype), load_tokenizer(source)
    model = get_peft_model(
        load_base_model(source, quantization="nf4", dtype=dtype), lora_config(spec.lora)
    ).eval()
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.02)
    model.save_pretrained(folder / "adapter", save_embedding_layers=False)
    task = load_task(spec.task)
    prompts = [
        render_prompt(tokenizer, task.messages(prompt, thinking=False), thinking=False).text
        for prompt in task.prompts("train")[:NUM_PROMPTS]
    ]
    served_model, port = ServedModel(base.name, export_base(base), dtype), free_port()
    process = ServerProcess(
        [
            *vllm_command(None),
            *serve_arguments([spec], served_model, port=port, has_gpu=False, num_adapters=4),
        ],
        environment=server_environment(num_threads=1),
        url=f"http://127.0.0.1:{port}",
        log=folder / "vllm.log",
    )
    try:
        process.wait_until_up()
        yield Served(dtype, base, model, folder / "adapter", tokenizer, prompts, process)
    finally:
        process.stop()


def test_greedy_completions_agree_up_to_a_near_tie(served: Served, record_property: Record) -> None:
    greedy = Decoding(temperature=0.0, top_p=1.0, max_new_tokens=NUM_TOKENS)
    merged = MergedCopy(served.model).model
    engine = TransformersEngine(merged, served.tokenizer, batch_size=NUM_PROMPTS)
    expected = engine.generate(served.prompts, greedy, seed=0)
    found = VllmEngine(
        served.options, served.base, served.tokenizer, adapter=served.adapter, num_tokens=100
    ).generate(served.prompts, greedy, seed=0)
    margins, num_common = [], 0
    for prompt, one, other in zip(served.ids(), expected, found, strict=True):
        pairs = zip(one.ids, other.ids, strict=False)
        common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        num_common += common
        if common < max(len(one.ids), len(other.ids)):
            with torch.no_grad():
                logits = merged(torch.tensor([[*prompt, *one.ids[:common]]])).logits[0, -1]
            best = logits.float().topk(2).values
            margins.append(float(best[0] - best[1]))
    record_property(f"{served.dtype}/greedy/equal", NUM_PROMPTS - len(margins))
    record_property(f"{served.dtype}/greedy/common_tokens", num_common)
    record_property(f"{served.dtype}/greedy/largest_margin", max(margins, default=0.0))
    assert max(margins, default=0.0) < MAX_TIE[served.dtype]
    assert len(margins) < NUM_PROMPTS


def test_sampled_log_probabilities_are_the_trained_models(
    served: Served, record_property: Record
) -> None:
    temperature = 0.9
    server = VllmServer(served.options, model=served.base.name)
    cpu_s = cpu_seconds(served.process)
    sampled = server.complete(
        served.ids(),
        Decoding(temperature=temperature, top_p=1.0, max_new_tokens=NUM_TOKENS),
        stop_ids=[served.tokenizer.eos_token_id],
        seeds=range(NUM_PROMPTS),
        adapter=Adapter("one", served.adapter),
    )
    cpu_s = cpu_seconds(served.process) - cpu_s
    differences = []
    for prompt, one in zip(served.ids(), sampled, strict=True):
        with torch.no_grad():
            logits = served.model(torch.tensor([[*prompt, *one.ids]])).logits[0]
        logps = torch.log_softmax(logits[len(prompt) - 1 : -1].float() / temperature, dim=-1)
        trained = logps.gather(1, torch.tensor(one.ids)[:, None])[:, 0]
        differences += (trained - torch.tensor(one.logps)).abs().tolist()
    differences.sort()
    p99 = differences[int(0.99 * len(differences))]
    record_property(f"{served.dtype}/logps/tokens", len(differences))
    record_property(f"{served.dtype}/logps/median", statistics.median(differences))
    record_property(f"{served.dtype}/logps/mean", statistics.mean(differences))
    record_property(f"{served.dtype}/logps/p99", p99)
    record_property(f"{served.dtype}/logps/max", differences[-1])
    record_property(f"{served.dtype}/tokens_per_cpu_s", len(differences) / cpu_s)
    assert p99 < MAX_P99[served.dtype]


def test_adapters_at_the_same_time_do_not_mix(
    served: Served, tmp_path: Path, record_property: Record
) -> None:
    """One that changes nothing beside one that does: each writes what it writes alone."""
    nothing = shutil.copytree(served.adapter, tmp_path / "nothing")
    weights = load_file(nothing / "adapter_model.safetensors")
    none = {name: torch.zeros_like(value) for name, value in weights.items()}
    save_file(none, nothing / "adapter_model.safetensors", metadata={"format": "pt"})
    server = VllmServer(served.options, model=served.base.name)
    decoding = Decoding(temperature=0.0, top_p=1.0, max_new_tokens=8)

    def ids(adapter: Adapter | None) -> list[list[int]]:
        prompts = served.ids()[:4]
        found = server.complete(prompts, decoding, stop_ids=(), seeds=range(4), adapter=adapter)
        return [one.ids for one in found]

    alone, plain = ids(Adapter("alone", served.adapter)), ids(None)
    record_property(f"{served.dtype}/load_s", seconds_to_load(served))
    with ThreadPoolExecutor() as pool:
        some, others = pool.map(ids, [Adapter("some", served.adapter), Adapter("none", nothing)])
    assert alone != plain
    if served.dtype == "float32":  # Otherwise what else is in the batch decides near-ties.
        assert (some, others) == (alone, plain)


def seconds_to_load(served: Served) -> float:
    body = json.dumps({"lora_name": "timed", "lora_path": str(served.adapter)}).encode()
    request = urllib.request.Request(
        f"{served.process.url}/v1/load_lora_adapter",
        data=body,
        headers={"Content-Type": "application/json"},
    )
    started = time.monotonic()
    urllib.request.urlopen(request, timeout=60).close()
    return time.monotonic() - started


def cpu_seconds(process: ServerProcess) -> float:
    first = psutil.Process(process._process.pid)
    times = [each.cpu_times() for each in (first, *first.children(recursive=True))]
    return sum(each.user + each.system for each in times)


SWEEP = f"""
name: served
task: {{kind: strict_json, num_train_prompts: 60, num_eval_prompts: 12}}
trial:
  model: {MODEL}
  quantization: nf4
  lora: {{r: 8, lora_alpha: 16}}
  grpo:
    max_steps: 4
    num_generations: 4
    per_device_train_batch_size: 8
    max_completion_length: 24
    gradient_checkpointing: false
  checkpoint: {{save_steps: 1}}
  rollouts: {{engine: vllm}}
matrix: {{seed: [0, 1]}}
evaluation: {{samples_per_prompt: 1, max_new_tokens: 24}}
resources: {{cpus_per_trial: 0.5, memory_gib_per_trial: 2.5}}
"""


def test_two_trials_share_a_server_that_is_killed_in_the_middle(
    tmp_path: Path, record_property: Record
) -> None:
    (tmp_path / "served.yaml").write_text(SWEEP)
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "strictune", "run", "served.yaml", "--out", str(out)]
    own = {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))}
    with (tmp_path / "said.txt").open("w") as said:
        sweep = subprocess.Popen(
            command, cwd=tmp_path, env=environment(tmp_path) | own, stdout=said, stderr=said
        )
    folders = lambda: [*(out / "served" / "trials").glob("*")]  # noqa: E731
    try:
        wait_for(lambda: len(folders()) == 2 and all(map(steps, folders())), seconds=1800)
        [server] = [each for each in servers_of(sweep.pid) if "serve" in each.cmdline()]
        server.kill()
        killed = time.monotonic()
        wait_for(lambda: is_new_server(sweep.pid, server), seconds=120)
        record_property("sweep/killed_to_started_s", time.monotonic() - killed)
        before = {folder.name: max(steps(folder)) for folder in folders()}
        wait_for(
            lambda: any(max(steps(each)) > before[each.name] for each in folders()), seconds=1800
        )
        record_property("sweep/killed_to_next_step_s", time.monotonic() - killed)
        assert sweep.wait(1800) == 0, (tmp_path / "said.txt").read_text()
    finally:
        sweep.terminate()
        sweep.wait(120)
    for folder in folders():
        assert json.loads((folder / "outcome.json").read_text())["state"] == "FINISHED"
        assert steps(folder) == Counter([1, 2, 3, 4])
    [baseline] = (out / "served" / "baselines").glob("*/")
    assert json.loads((baseline / "lock.json").read_text())["evaluation_key"]["engine"] == "vllm"
    assert not psutil.pid_exists(server.pid)


def steps(folder: Path) -> Counter[int]:
    if not (folder / "metrics.jsonl").exists():
        return Counter()
    return Counter(step for step, found in read_metrics(folder) if "train/loss" in found)


def servers_of(pid: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # It has ended.
            if "--served-model-name" in child.cmdline():
                found.append(child)
    return found


def is_new_server(pid: int, old: psutil.Process) -> bool:
    return any(each.pid != old.pid for each in servers_of(pid))
