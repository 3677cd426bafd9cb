"""Calls a chat-completions endpoint: one pool, a limit on open calls, retries, budgets.

Temporary failures (a busy server, a lost connection, a reply without scores) are retried after a
random pause that doubles; others (a wrong key, a wrong request) are not. A call that fails for good
raises ``CallError``; no score is made up.

The client is aiohttp, not httpx: at 256 open calls httpx takes so long to find a free connection
that its pool becomes the bottleneck.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import aiohttp

from strictune.http_calls import MAX_PAUSE_S, CallError, call_json, shown
from trainables.tasks.refiner.judge_health import BatchHealth
from trainables.tasks.refiner.judge_prompt import ChatQuestion, reply_schema
from trainables.tasks.refiner.replies import ReplyError, scores_in_body
from trainables.tasks.refiner.settings import OpenAiSettings

__all__ = ["Budget", "JudgeClient", "OutputMode"]

OutputMode = Literal["json_schema", "json_object", "none"]
"""How a request asks for JSON."""

PAUSE_S = 0.5
"""The first pause is random, up to twice this; none is longer than ``MAX_PAUSE_S``."""
BURST_S = 5.0
"""Seconds of the budget that may be spent at once."""
CHARS_PER_TOKEN = 4
"""Estimate for the budget, until the server reports the number of tokens."""


class JudgeClient:
    """Sends questions to one endpoint; belongs to one event loop."""

    def __init__(
        self, settings: OpenAiSettings, *, api_key: str | None, pause_s: float = PAUSE_S
    ) -> None:
        """Open the pool, inside the loop that will use it; nothing is sent yet."""
        self._settings = settings
        self._secret = api_key or ""
        self._pause_s = pause_s
        self._turns = asyncio.Semaphore(settings.max_concurrent_calls)
        self._requests = Budget(settings.requests_per_minute)
        self._tokens = Budget(settings.tokens_per_minute)
        self._http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            connector=aiohttp.TCPConnector(limit=settings.max_concurrent_calls),
            timeout=aiohttp.ClientTimeout(total=settings.call_timeout_s),
            # Use the environment's proxies, as other programs do.
            trust_env=True,
        )
        self._url = settings.base_url.rstrip("/") + "/chat/completions"
        self.mode: OutputMode = (
            "json_schema" if settings.structured_output == "auto" else settings.structured_output
        )
        """How requests ask for JSON; the check before the first batch may weaken it."""

    async def ask(self, question: ChatQuestion, health: BatchHealth) -> tuple[float, ...]:
        """Return the scores of one call, in the order of its keys.

        Raises:
            CallError: It failed, and retries did not help.
        """
        for tries in range(self._settings.max_retries + 1):
            try:
                return await self._try(question, health)
            except CallError as error:
                if not error.may_pass or tries == self._settings.max_retries:
                    raise
                longest = min(MAX_PAUSE_S, self._pause_s * 2 ** (tries + 1))
                pause_s = max(random.uniform(0, longest), error.wait_s)
            health.num_retries += 1
            await asyncio.sleep(pause_s)
        raise AssertionError("the last try returns or raises")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _try(self, question: ChatQuestion, health: BatchHealth) -> tuple[float, ...]:
        content = json.dumps(self._request(question)).encode()
        estimate = len(content) / CHARS_PER_TOKEN + self._settings.max_tokens
        async with self._turns:
            await asyncio.sleep(max(self._requests.reserve(1), self._tokens.reserve(estimate)))
            started = time.monotonic()
            body = await call_json(self._http, self._url, content, secret=self._secret)
            health.latencies_s.append(time.monotonic() - started)
        used = self._count_tokens(body, health)
        self._tokens.correct(used - estimate if used else 0.0)
        try:
            return scores_in_body(body, question.keys)
        except ReplyError as error:
            message = shown(str(error), self._secret)
            raise CallError(error.fault, message, may_pass=True) from error

    def _request(self, question: ChatQuestion) -> dict[str, Any]:
        settings = self._settings
        request: dict[str, Any] = {
            "model": settings.model,
            "messages": list(question.messages),
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens,
        }
        if self.mode == "json_schema":
            schema = {"name": "scores", "strict": True, "schema": reply_schema(question.keys)}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.mode == "json_object":
            request["response_format"] = {"type": "json_object"}
        return request | settings.extra_body

    def _count_tokens(self, body: object, health: BatchHealth) -> int:
        usage = body.get("usage") if isinstance(body, Mapping) else None
        if not isinstance(usage, Mapping):
            return 0
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        prompt, completion = (n if isinstance(n, int) and n > 0 else 0 for n in counts)
        health.prompt_tokens += prompt
        health.completion_tokens += completion
        return prompt + completion


class Budget:
    """Spends a budget per minute evenly: a caller that asks for more than is left must wait.

    Not thread-safe: it belongs to one event loop.
    """

    def __init__(
        self, per_minute: float | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = None if per_minute is None else per_minute / 60
        self._clock = clock
        self._spent_until = -float("inf")

    def reserve(self, amount: float) -> float:
        """Take an amount, and return how many seconds to wait before using it."""
        if self._per_s is None:
            return 0.0
        now = self._clock()
        start = max(self._spent_until, now - BURST_S)
        self._spent_until = start + amount / self._per_s
        return max(0.0, start - now)

    def correct(self, amount: float) -> None:
        """Correct the amount taken: more if positive, less if negative."""
        if self._per_s is not None:
            self._spent_until += amount / self._per_s
