"""The vLLM servers of a sweep: started for the time of its trials, watched, restarted, stopped.

They run on this machine, in an environment of their own, and answer on loopback alone, guarded by
a key. A sweep on a cluster of several machines takes a server by its ``base_url``.
"""

import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from strictune.config import TrialSpec
from strictune.errors import BudgetError, SpecError, TrialError
from strictune.hardware import this_machine
from strictune.launch.driver import repeating
from strictune.launch.folder import SweepFolder
from strictune.launch.vllm_process import ServerProcess
from strictune.records import Grant, write_json
from strictune.served import KV_CACHE_GIB, server_gib, vllm_command, vllm_groups
from trainables.devices import GIB
from trainables.ray_trainable import ServedModel, serve_base_of
from trainables.rollouts.vllm_server import SERVERS_VARIABLE, VllmServer
from trainables.tasks import load_task

__all__ = ["free_port", "prepare_servers", "serve_arguments", "server_environment", "vllm_servers"]

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as ``--max-lora-rank``."""
MAX_LORAS = 8
"""Adapters that a server computes at the same time."""
POLL_S = 5.0
"""Between two looks at a server."""
RESERVE_TIMEOUT_S = 60.0


def prepare_servers(trials: Sequence[TrialSpec], folder: SweepFolder) -> None:
    """Tell the processes of a sweep where its servers will be named, before Ray starts them.

    Raises:
        SpecError: There is no such command.
    """
    groups = vllm_groups(trials, is_given=False)
    for trial, *_ in groups:
        options = trial.rollouts.vllm_options
        vllm_command(options.command)
        os.environ.setdefault(options.api_key_env, secrets.token_hex(32))
    if groups:
        servers = folder.path / "vllm" / "servers.json"
        servers.unlink(missing_ok=True)  # Of a run that was killed.
        os.environ[SERVERS_VARIABLE] = str(servers)


@contextmanager
def vllm_servers(
    trials: Sequence[TrialSpec],
    folder: SweepFolder,
    *,
    grants: Mapping[str, Grant],
    say: Callable[[str], None],
) -> Iterator[None]:
    """Run the servers of the trials' bases while the context is open, and check given ones.

    Args:
        trials: Their specs are in ``folder``.
        folder: The sweep's, or that of its cells.
        grants: What a process of each cell is granted, by the cell's name.
        say: Takes a line for the terminal.

    Raises:
        SpecError: A given server cannot be used, or the cluster has several machines.
        BudgetError: A server does not start.
    """
    for members in vllm_groups(trials, is_given=True):
        say(_check_given(members, _export(members[0], folder, grants)))
    groups = vllm_groups(trials, is_given=False)
    if not groups:
        yield
        return
    _refuse_several_machines()
    logs = folder.path / "vllm"
    logs.mkdir(exist_ok=True)
    num_adapters = min(MAX_LORAS, max(grant.at_once for grant in grants.values()))
    exported = [_export(members[0], folder, grants) for members in groups]
    with contextlib.ExitStack() as stack:
        environment = stack.enter_context(
            _reserved(
                [members[0] for members in groups],
                num_threads=_num_threads(grants.values(), num_servers=len(groups)),
            )
        )
        processes = {}
        for members, model in zip(groups, exported, strict=True):
            say(f"starting vLLM for {model.name}")
            process = _start(members, model, logs, environment, num_adapters=num_adapters)
            stack.callback(process.stop)
            processes[model.name] = process
        for name, process in processes.items():
            seconds = process.wait_until_up()
            say(f"vLLM serves {name} at {process.url}; it was up after {seconds:.0f} s")
            stack.enter_context(repeating(process.look, every_s=POLL_S))
        write_json(logs / "servers.json", {name: each.url for name, each in processes.items()})
        stack.callback((logs / "servers.json").unlink, missing_ok=True)
        yield


def serve_arguments(
    members: Sequence[TrialSpec], model: ServedModel, *, port: int, has_gpu: bool, num_adapters: int
) -> list[str]:
    """Return what follows the command, for the trials of a base.

    Args:
        members: The trials.
        model: What is served.
        port: On loopback.
        has_gpu: It runs on a GPU.
        num_adapters: What it computes at the same time.
    """
    options = members[0].rollouts.vllm_options
    rank = max(trial.lora.r for trial in members)
    return [
        *("serve", model.location, "--served-model-name", model.name),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", model.dtype, "--max-model-len", str(_num_tokens(members))),
        *("--enable-lora", "--max-lora-rank", str(min(r for r in RANKS if r >= rank))),
        *("--max-loras", str(num_adapters)),
        # What is sampled is decided by the requests alone, and by the same temperature.
        *("--generation-config", "vllm", "--logprobs-mode", "processed_logprobs"),
        *(("--gpu-memory-utilization", f"{options.gpu_frac:g}") if has_gpu else _ON_CPU),
        *(["--trust-remote-code"] if members[0].trust_remote_code else []),
        *options.arguments,
    ]


_ON_CPU = ("--enforce-eager", "--no-enable-chunked-prefill")
"""Compiled graphs need a compiler, and pay on a GPU. Where a request with a seed is read in two
parts, vLLM 0.32 dies on a CPU (``CPU Generator does not use offset``)."""


def _start(
    members: Sequence[TrialSpec],
    model: ServedModel,
    folder: Path,
    environment: Mapping[str, str],
    *,
    num_adapters: int,
) -> ServerProcess:
    options, port = members[0].rollouts.vllm_options, free_port()
    arguments = serve_arguments(
        members,
        model,
        port=port,
        has_gpu="CUDA_VISIBLE_DEVICES" in environment,
        num_adapters=num_adapters,
    )
    return ServerProcess(
        [*vllm_command(options.command), *arguments],
        environment={**environment, "VLLM_API_KEY": os.environ.get(options.api_key_env, "")},
        url=f"http://127.0.0.1:{port}",
        log=folder / f"{model.name}.log",
    )


@contextmanager
def _reserved(bases: Sequence[TrialSpec], *, num_threads: int) -> Iterator[Mapping[str, str]]:
    """Reserve what the servers take with Ray, and yield their environment."""
    has_gpu = ray.cluster_resources().get("GPU", 0) > 0
    taken = sum(
        trial.rollouts.vllm_options.gpu_frac if has_gpu else server_gib(trial) * GIB
        for trial in bases
    )
    group = placement_group([{"GPU": taken} if has_gpu else {"memory": int(taken)}])
    try:
        ray.get(group.ready(), timeout=RESERVE_TIMEOUT_S)
        environment = server_environment(num_threads)
        if has_gpu:
            where = PlacementGroupSchedulingStrategy(group)
            ask = ray.remote(max_calls=1)(_visible_gpus).options(
                num_cpus=0, num_gpus=taken, scheduling_strategy=where
            )
            environment["CUDA_VISIBLE_DEVICES"] = ray.get(ask.remote())
        yield environment
    except ray.exceptions.GetTimeoutError as error:
        unit = f"{taken:g} of a GPU" if has_gpu else f"{taken / GIB:.1f} GiB of main memory"
        raise BudgetError(
            f"rollouts.engine = vllm: the servers take {unit}, and the cluster has not so much "
            "left. Lower rollouts.vllm.gpu_memory_utilization, or wait for what runs beside."
        ) from error
    finally:
        remove_placement_group(group)


def server_environment(num_threads: int) -> dict[str, str]:
    """Return a server's environment: that of its own command, not of this one's Python."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    cpu = {
        "VLLM_CPU_KVCACHE_SPACE": str(KV_CACHE_GIB),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(num_threads),
    }
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return cpu | kept | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_NO_USAGE_STATS": "1"}


def _num_threads(grants: Iterable[Grant], *, num_servers: int) -> int:
    """Return a server's threads: where they share cores with trials, each waits for the slowest."""
    taken = max(grant.cpus * grant.num_workers * grant.at_once for grant in grants)
    return max(1, int((this_machine().cpus - taken) / num_servers))


def _visible_gpus() -> str:
    return os.environ["CUDA_VISIBLE_DEVICES"]


def _refuse_several_machines() -> None:
    num_machines = sum(node["Alive"] for node in ray.nodes())
    if num_machines > 1:
        raise SpecError(
            f"rollouts.engine = vllm starts its server on this machine alone, and the cluster has "
            f"{num_machines}. Start one yourself that all of them reach, with a folder for "
            "temporary files that all of them share (TMPDIR), and give it as "
            "rollouts.vllm.base_url."
        )


def _check_given(members: Sequence[TrialSpec], model: ServedModel) -> str:
    """Return a line about the server of ``base_url``, which the members share."""
    try:
        server = VllmServer(members[0].rollouts.vllm_options, model=model.name)
        version = server.check(
            num_tokens=_num_tokens(members), location=model.location, is_patient=False
        )
    except TrialError as error:
        raise SpecError(f"rollouts.vllm.base_url: {error}") from error
    return f"vLLM {version} at {server.url} serves {model.name}"


def _num_tokens(trials: Sequence[TrialSpec]) -> int:
    """Return the tokens of the longest prompt with its completion, in training or evaluation."""
    return max(
        load_task(trial.task).max_prompt_tokens
        + max(trial.max_completion_tokens, trial.max_evaluation_tokens)
        for trial in trials
    )


def _export(trial: TrialSpec, folder: SweepFolder, grants: Mapping[str, Grant]) -> ServedModel:
    """Write the base that is served, in a process that has what a trial has."""
    resources = grants[trial.cell].ray_resources()
    task = ray.remote(max_calls=1)(serve_base_of).options(
        num_cpus=resources["cpu"], num_gpus=resources.get("gpu", 0), max_retries=1
    )
    try:
        return ServedModel(*ray.get(task.remote(folder.trial(trial.trial_id))))
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        raise SpecError(f"the base of {trial.cell} could not be served: {cause}") from error


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
