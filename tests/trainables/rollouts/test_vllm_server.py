"""What is asked of a vLLM server, and what becomes of one that fails."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_vllm import FakeVllm, Reply, error, serving

from strictune.config import VllmSpec
from strictune.errors import TrialError, TrialPaused
from trainables.rollouts.transformers_engine import Decoding
from trainables.rollouts.vllm_server import Adapter, Sampled, VllmServer

DECODING = Decoding(temperature=0.9, top_p=1.0, max_new_tokens=8)
PROMPTS = [[5, 6], [5, 6], [7, 8, 9]]
SEEDS = [1, 2, 3]
KEY = "STRICTUNE_VLLM_API_KEY"


@pytest.fixture
def fake() -> Iterator[FakeVllm]:
    with serving(FakeVllm(model="base")) as server:
        yield server


@pytest.fixture
def adapter(tmp_path: Path) -> Adapter:
    return written(tmp_path, rank=8)


def written(folder: Path, *, rank: int) -> Adapter:
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    (folder / "adapter_model.safetensors").write_text("")
    return Adapter("trial-stage-0-step-7", folder)


def server_of(fake: FakeVllm, *, timeout_s: float = 30.0, model: str = "base") -> VllmServer:
    options = VllmSpec(base_url=fake.url, timeout_s=timeout_s)
    return VllmServer(options, model=model, pause_s=0.01)


def complete(fake: FakeVllm, adapter: Adapter | None = None, **options: Any) -> list[Sampled]:
    server = server_of(fake, **options)
    return server.complete(PROMPTS, DECODING, stop_ids=(2,), seeds=SEEDS, adapter=adapter)


def test_each_prompt_is_asked_with_its_seed_and_answered_in_order(fake: FakeVllm) -> None:
    found = complete(fake)
    by_seed = {request["seed"]: request for request in fake.requests}
    assert [by_seed[seed]["prompt"] for seed in SEEDS] == PROMPTS
    assert found == [Sampled(*fake.generate(by_seed[seed])) for seed in SEEDS]
    assert found[0] != found[1]
    assert {key: by_seed[1][key] for key in by_seed[1] if key not in ("prompt", "seed")} == {
        "model": "base",
        "temperature": 0.9,
        "top_p": 1.0,
        "max_tokens": 8,
        "min_tokens": 0,
        "stop_token_ids": [2],
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "ignore_eos": True,
        "skip_special_tokens": False,
        "logprobs": 0,
        "return_token_ids": True,
    }


def test_an_adapter_answers_under_its_name_and_is_unloaded(
    fake: FakeVllm, adapter: Adapter
) -> None:
    complete(fake, adapter)
    assert {request["model"] for request in fake.requests} == {adapter.name}
    assert fake.loaded == [adapter.name]
    assert fake.adapters == {}


def hang_up(model: str, reply: Reply) -> None:
    return None


def busy(model: str, reply: Reply) -> Reply:
    return error("ServiceUnavailable", "too many requests", 503)


def dead_engine(model: str, reply: Reply) -> Reply:
    return error("InternalServerError", "EngineCore encountered an issue.", 500)


def other_adapter(model: str, reply: Reply) -> Reply:
    return Reply({**reply.body, "model": "another-trial-stage-0-step-7"})


def other_prompt(model: str, reply: Reply) -> Reply:
    [choice] = reply.body["choices"]
    return Reply({**reply.body, "choices": [{**choice, "prompt_token_ids": [1]}]})


def no_json(model: str, reply: Reply) -> Reply:
    return Reply("<html>")


FAULTS = [hang_up, busy, dead_engine, other_adapter, other_prompt, no_json]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_that_passes_changes_no_completion(
    fake: FakeVllm, adapter: Adapter, fault: Callable[[str, Reply], Reply | None]
) -> None:
    expected = complete(fake, adapter)
    num_asked = len(fake.requests)
    fake.faults = [fault, fault]
    assert complete(fake, adapter) == expected
    # What was answered before the fault is not asked for again.
    assert len(fake.requests) == 2 * num_asked + 2


def test_a_server_that_was_started_again_gets_the_adapter_again(
    fake: FakeVllm, adapter: Adapter
) -> None:
    expected = complete(fake, adapter)

    def restart(model: str, reply: Reply) -> None:
        fake.adapters.clear()

    fake.loaded, fake.faults = [], [restart]
    assert complete(fake, adapter) == expected
    assert fake.loaded == [adapter.name, adapter.name]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_server_that_stays_away_pauses_the_trial(
    fake: FakeVllm, fault: Callable[[str, Reply], Reply | None]
) -> None:
    fake.faults = [fault] * 1000
    with pytest.raises(
        TrialPaused, match=r"gave no answer for 0\.2 s: .* resume the sweep"
    ) as seen:
        complete(fake, timeout_s=0.2)
    assert seen.value.lacks == "server"


def no_ids(model: str, reply: Reply) -> Reply:
    [choice] = reply.body["choices"]
    del choice["token_ids"]
    return Reply({**reply.body, "choices": [choice]})


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        pytest.param(
            lambda fake: setattr(fake, "model", "smollm"),
            r"serves smollm, expected base\. Start it with: vllm serve /cache/base "
            r"--served-model-name base --enable-lora",
            id="other-base",
        ),
        pytest.param(
            lambda fake: setattr(fake, "max_model_len", 99),
            r"takes 99 tokens, but .* may have 100\. Start it with --max-model-len 100",
            id="short",
        ),
        pytest.param(
            lambda fake: setattr(fake, "key", "secret"),
            rf"HTTP 401: .* Put its key into the environment variable {KEY}\.",
            id="guarded",
        ),
        pytest.param(
            lambda fake: fake.faults.append(no_ids),
            r"without token ids .*; vLLM 0\.10\.2 and newer give them",
            id="too-old",
        ),
        pytest.param(
            lambda fake: setattr(fake, "answer", lambda *_: Reply({}, 404)),
            r"HTTP 404: .* Start it, or correct rollouts\.vllm\.",
            id="no-vllm",
        ),
        pytest.param(
            lambda fake: setattr(fake, "answer", lambda *_: Reply({"models": []})),
            r"no list of models\. Start it, or correct rollouts\.vllm\.",
            id="another-service",
        ),
        pytest.param(
            lambda fake: setattr(fake, "url", "http://127.0.0.1:1/v1"),
            r"127\.0\.0\.1:1 cannot be used: ClientConnectorError: .* Start it",
            id="nobody",
        ),
    ],
)
def test_a_server_that_cannot_be_used_is_refused_in_one_line(
    fake: FakeVllm,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[FakeVllm], None],
    message: str,
) -> None:
    monkeypatch.delenv(KEY, raising=False)
    prepare(fake)
    with pytest.raises(TrialError, match=message) as seen:
        server_of(fake).check(num_tokens=100, location="/cache/base", is_patient=False)
    assert "\n" not in str(seen.value)


def test_a_key_is_sent_and_never_shown(fake: FakeVllm, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.key = "open sesame"
    monkeypatch.setenv(KEY, fake.key)
    assert server_of(fake).check(num_tokens=1, location="") == "0.32.0"
    fake.faults = [lambda model, reply: error("BadRequest", f"key {fake.key}", 400)]
    with pytest.raises(TrialError, match=r"key \*\*\*"):
        complete(fake)


def test_a_rank_above_the_servers_is_refused_with_what_to_do(
    fake: FakeVllm, tmp_path: Path
) -> None:
    with pytest.raises(TrialError, match=r"LoRA rank 32 is greater .* It needs .*--max-lora-rank"):
        complete(fake, written(tmp_path, rank=32))
    assert fake.requests == []


def test_a_folder_that_the_server_cannot_read_is_refused(fake: FakeVllm, tmp_path: Path) -> None:
    with pytest.raises(TrialError, match=r"No adapter found .* to read that folder"):
        complete(fake, Adapter("unseen", tmp_path / "elsewhere"))


def test_an_unpatient_refusal_is_no_pause(fake: FakeVllm) -> None:
    fake.faults = [lambda model, reply: error("BadRequest", "max_tokens too large", 400)]
    with pytest.raises(TrialError, match="max_tokens too large"):
        complete(fake)


def test_without_a_server_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRICTUNE_VLLM_SERVERS", raising=False)
    with pytest.raises(
        TrialError, match=r"no server of base was started .* rollouts\.vllm\.base_url"
    ):
        VllmServer(VllmSpec(), model="base")
