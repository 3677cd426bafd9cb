"""A vLLM server as a trial sees it: adapters are loaded by name, completions come by token ids.

All trials of a base share one server over HTTP. It serves the dequantized base (``served_base``),
so trainer and server hold the same weights. A server that is away, busy or new is asked again
until ``timeout_s`` is over, and gets the adapter again where it has forgotten it; what is wrong
for good fails the trial.
"""

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import aiohttp

from strictune.config import VllmSpec
from strictune.errors import TrialError, TrialPaused
from strictune.http_calls import MAX_PAUSE_S, CallError, call_json
from trainables.rollouts.transformers_engine import Decoding

__all__ = ["SERVERS_VARIABLE", "Adapter", "Sampled", "VllmServer"]

SERVERS_VARIABLE = "STRICTUNE_VLLM_SERVERS"
"""Environment variable: the file in which a sweep says where the servers are that it has started,
by the names of their models."""
PAUSE_S = 1.0
"""Before the second try; doubles up to ``MAX_PAUSE_S``."""
TOO_OLD = "vLLM 0.10.2 and newer give them"
ENGINE_DIED = "EngineCore"
"""In what a server says whose engine has died; otherwise it refuses the adapter."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Adapter(NamedTuple):
    """An adapter on the disk of this machine."""

    name: str
    """Of these weights alone: no other trial, stage or step has it."""
    folder: Path
    """In PEFT's format."""


class Sampled(NamedTuple):
    """One completion."""

    ids: list[int]
    """The tokens, with the stop token that ended it."""
    logps: list[float]
    """Their log-probabilities, of the distribution that they were drawn from."""


class VllmServer:
    """The server of one base."""

    def __init__(self, options: VllmSpec, *, model: str, pause_s: float = PAUSE_S) -> None:
        """Find the server; nothing is sent yet.

        Args:
            options: The sweep file's.
            model: The name of the base that it must serve.
            pause_s: Before the second try.

        Raises:
            TrialError: The file names none, and no sweep has started one.
        """
        url = options.base_url or _started_url(model)
        if url is None:
            raise TrialError(
                f"rollouts.engine = vllm: no server of {model} was started on this machine. Run "
                "the sweep with strictune run, or set rollouts.vllm.base_url."
            )
        self.url = url.rstrip("/").removesuffix("/v1")
        self.model = model
        self._options = options
        self._key = os.environ.get(options.api_key_env, "")
        self._pause_s = pause_s

    def check(self, *, num_tokens: int, location: str, is_patient: bool = True) -> str:
        """Refuse a server that cannot be used, and return its version.

        Args:
            num_tokens: Of the longest prompt with its completion.
            location: What it should serve.
            is_patient: Wait for one that is away.

        Raises:
            TrialError: It does not answer, wants another key, serves another base or fewer tokens,
                or is too old.
            TrialPaused: It gave no answer for ``timeout_s``.
        """
        check = partial(self._check, num_tokens, location)
        try:
            return asyncio.run(self._patiently(check) if is_patient else check())
        except CallError as error:
            raise self._failed(error) from error

    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        *,
        stop_ids: Sequence[int],
        seeds: Sequence[int],
        adapter: Adapter | None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Sampled]:
        """Return a completion of each prompt, in order.

        Args:
            prompts: Token ids.
            decoding: How tokens are chosen.
            stop_ids: Tokens that end a completion.
            seeds: One for each prompt: equal ones make equal prompts' completions equal.
            adapter: What is on top of the base; loaded for this call.
            on_progress: Told after each completion how many of how many there are.

        Raises:
            TrialError: The server refuses, or answers something else than was asked.
            TrialPaused: It gave no answer for ``timeout_s``.
        """
        model = self.model if adapter is None else adapter.name
        requests = [
            _request(model, prompt, decoding, stop_ids=stop_ids, seed=seed)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        return asyncio.run(self._complete(requests, adapter, on_progress))

    async def _complete(
        self,
        requests: Sequence[Mapping[str, Any]],
        adapter: Adapter | None,
        on_progress: Callable[[int, int], None] | None,
    ) -> list[Sampled]:
        found: dict[int, Sampled] = {}

        async def ask(index: int) -> None:
            found[index] = await self._ask(http, requests[index])

        async def ask_for_the_rest() -> None:
            if adapter is not None:
                await self._load(http, adapter)
            errors = []
            left = [index for index in range(len(requests)) if index not in found]
            for call in asyncio.as_completed(map(ask, left)):
                try:
                    await call
                except CallError as error:
                    errors.append(error)
                    continue
                self._note_answer()
                if on_progress is not None:
                    on_progress(len(found), len(requests))
            if errors:
                raise min(errors, key=lambda error: error.may_pass)

        async with self._session() as http:
            # A server that was started again has forgotten the adapter.
            passing = () if adapter is None else (HTTPStatus.NOT_FOUND,)
            await self._patiently(ask_for_the_rest, passing=passing)
            if adapter is not None:
                # One that is gone has forgotten it, and no name is used twice.
                with contextlib.suppress(CallError):
                    name = {"lora_name": adapter.name}
                    await self._call(http, "/v1/unload_lora_adapter", name)
        return [found[index] for index in range(len(requests))]

    async def _patiently(
        self, action: Callable[[], Awaitable[T]], *, passing: Collection[int] = ()
    ) -> T:
        """Repeat an action until it succeeds, fails for good, or nothing has answered for long.

        Args:
            action: Raises ``CallError`` where it fails.
            passing: Statuses that may pass too.
        """
        self._note_answer()
        while True:
            try:
                return await action()
            except CallError as error:
                if not error.may_pass and error.status not in passing:
                    raise self._failed(error) from error
                if time.monotonic() - self._last_answer >= self._options.timeout_s:
                    raise TrialPaused(
                        f"the vLLM server at {self.url} gave no answer for "
                        f"{self._options.timeout_s:g} s: {error}. Look at its log, then resume "
                        "the sweep.",
                        lacks="server",
                    ) from error
                logger.warning("vllm=%s failed and is asked again: %s", self.url, error)
                pause_s = min(MAX_PAUSE_S, self._pause_s * 2**self._tries)
                self._tries += 1
                await asyncio.sleep(max(pause_s, error.wait_s))

    def _note_answer(self) -> None:
        self._last_answer, self._tries = time.monotonic(), 0

    async def _check(self, num_tokens: int, location: str) -> str:
        async with self._session() as http:
            served = _served(await self._call(http, "/v1/models"))
            if self.model not in served:
                raise TrialError(
                    f"the vLLM server at {self.url} serves {', '.join(served)}, expected "
                    f"{self.model}. Start it with: vllm serve {location} --served-model-name "
                    f"{self.model} --enable-lora --logprobs-mode processed_logprobs"
                )
            limit = served[self.model]
            if limit is not None and limit < num_tokens:
                raise TrialError(
                    f"the vLLM server at {self.url} takes {limit} tokens, but a prompt and its "
                    f"completion may have {num_tokens}. Start it with --max-model-len {num_tokens}."
                )
            greedy = Decoding(temperature=0.0, top_p=1.0, max_new_tokens=1)
            await self._ask(http, _request(self.model, [0], greedy, stop_ids=(), seed=0))
            version: Any = await self._call(http, "/version")
        return str(version["version"])

    async def _load(self, http: aiohttp.ClientSession, adapter: Adapter) -> None:
        """Load an adapter; what has its name already has its weights."""
        content = {"lora_name": adapter.name, "lora_path": str(adapter.folder)}
        try:
            await self._call(http, "/v1/load_lora_adapter", content)
        except CallError as error:
            # Success is told in words, not in JSON.
            if error.fault == "unreadable" or "already been loaded" in str(error):
                return
            is_refused = error.status == HTTPStatus.INTERNAL_SERVER_ERROR
            if error.may_pass and not (is_refused and ENGINE_DIED not in str(error)):
                raise
            raise TrialError(
                f"the vLLM server at {self.url} does not load the adapter in {adapter.folder}: "
                f"{error}. It needs --enable-lora, a --max-lora-rank of trial.lora.r or more, "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment, and to read that folder."
            ) from error

    async def _ask(self, http: aiohttp.ClientSession, request: Mapping[str, Any]) -> Sampled:
        return _sampled(await self._call(http, "/v1/completions", request), request)

    async def _call(
        self, http: aiohttp.ClientSession, path: str, content: Mapping[str, Any] | None = None
    ) -> object:
        body = None if content is None else json.dumps(content).encode()
        return await call_json(http, self.url + path, body, secret=self._key)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=self._options.timeout_s),
        )

    def _failed(self, error: CallError) -> TrialError:
        cure = "Start it, or correct rollouts.vllm."
        if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            cure = f"Put its key into the environment variable {self._options.api_key_env}."
        return TrialError(f"the vLLM server at {self.url} cannot be used: {error}. {cure}")


def _started_url(model: str) -> str | None:
    """Return where the sweep serves a model on this machine, or None where it does not."""
    path = os.environ.get(SERVERS_VARIABLE)
    if path is None or not Path(path).is_file():
        return None
    urls: Mapping[str, str] = json.loads(Path(path).read_text(encoding="utf-8"))
    return urls.get(model)


def _request(
    model: str, prompt: Sequence[int], decoding: Decoding, *, stop_ids: Sequence[int], seed: int
) -> dict[str, Any]:
    return {
        "model": model,
        "prompt": list(prompt),
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "max_tokens": decoding.max_new_tokens,
        "stop_token_ids": list(stop_ids),
        "min_tokens": decoding.min_new_tokens,
        # Each in its own right: what the model's folder or the server would add is left out.
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "ignore_eos": True,
        "seed": seed,
        "skip_special_tokens": False,
        "logprobs": 0,
        "return_token_ids": True,
    }


def _served(listed: Any) -> dict[str, int | None]:
    """Return the names of models with the tokens that they take.

    Raises:
        CallError: It is no list of models.
    """
    try:
        return {card["id"]: card.get("max_model_len") for card in listed["data"]}
    except (AttributeError, KeyError, TypeError) as error:
        raise CallError("unreadable", "no list of models", may_pass=False) from error


def _sampled(answer: Any, request: Mapping[str, Any]) -> Sampled:
    """Read the answer to a request.

    Raises:
        CallError: It is of another model or prompt, or not what vLLM answers.
    """
    try:
        [choice] = answer["choices"]
        model, ids = answer["model"], choice["token_ids"]
        prompt, logps = choice["prompt_token_ids"], choice["logprobs"]["token_logprobs"]
    except (KeyError, TypeError, ValueError) as error:
        text = f"an answer without token ids and log-probabilities ({error!r}); {TOO_OLD}"
        raise CallError("unreadable", text, may_pass=False) from error
    if model != request["model"]:
        text = f"asked for {request['model']}, and {model} answered"
        raise CallError("wrong", text, may_pass=True)
    if prompt != request["prompt"] or len(logps) != len(ids) or not ids:
        raise CallError("wrong", "an answer to another prompt, or of no tokens", may_pass=True)
    return Sampled(ids, logps)
