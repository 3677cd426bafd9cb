"""Calls of a chat-completions endpoint: one pool, one limit, retries, budgets.

What may pass (a busy server, a lost connection, a reply without scores) is tried again after
a random pause that doubles; what will not (a wrong key, a wrong request) is not. A call that
fails for good raises ``CallError``; no score is made up.

The client is aiohttp, not httpx: at 256 open calls httpx's pool spends so long on finding a
free connection that it becomes the limit.
"""

import asyncio
import json
import math
import random
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Literal

import aiohttp

from trainables.tasks.refiner.judge_health import BatchHealth, CallFault
from trainables.tasks.refiner.judge_prompt import ChatQuestion, reply_schema
from trainables.tasks.refiner.replies import ReplyError, scores_in_body
from trainables.tasks.refiner.settings import OpenAiSettings

__all__ = ["Budget", "CallError", "JudgeClient", "OutputMode"]

OutputMode = Literal["json_schema", "json_object", "none"]
"""How a request asks for JSON."""

PAUSE_S = 0.5
"""The first pause is up to twice this long..."""
MAX_PAUSE_S = 30.0
"""... and none is longer."""
BURST_S = 5.0
"""Seconds of the budget that may be spent at once."""
CHARS_PER_TOKEN = 4
"""For the budget, until the server says how many tokens there were."""

_MAY_PASS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_SHOWN_CHARS = 200


class CallError(Exception):
    """A call failed."""

    def __init__(
        self, fault: CallFault, message: str, *, may_pass: bool, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.fault: CallFault = fault
        self.may_pass = may_pass
        self.status = status
        self.wait_s = 0.0
        """What the server asks to wait."""


class JudgeClient:
    """Asks one endpoint; lives in one event loop."""

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
            # Proxies of the environment, as other programs use them.
            trust_env=True,
        )
        self._url = settings.base_url.rstrip("/") + "/chat/completions"
        self.mode: OutputMode = (
            "json_schema" if settings.structured_output == "auto" else settings.structured_output
        )
        """How requests ask for JSON; the check may lower it."""

    async def ask(self, question: ChatQuestion, health: BatchHealth) -> tuple[float, ...]:
        """Return the scores of one call, in the order of its keys.

        Raises:
            CallError: It failed, and trying again did not help.
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
            body = await self._post(content)
            health.latencies_s.append(time.monotonic() - started)
        used = self._count_tokens(body, health)
        self._tokens.correct(used - estimate if used else 0.0)
        try:
            return scores_in_body(body, question.keys)
        except ReplyError as error:
            raise CallError(error.fault, self._shown(str(error)), may_pass=True) from error

    def _shown(self, said: str) -> str:
        """Return what a server said, shortened to a line for logs, without a key in it."""
        # Some servers repeat the key that they refuse, some cut a character in half.
        said = said.replace(self._secret, "***") if self._secret else said
        return " ".join(said.encode("utf-8", "replace").decode().split())[:_SHOWN_CHARS]

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

    async def _post(self, content: bytes) -> object:
        try:
            async with self._http.post(
                self._url,
                data=content,
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
            ) as response:
                body = await response.read()
        except TimeoutError as error:
            limit = f"no answer within {self._settings.call_timeout_s:g} s"
            raise CallError("timeout", limit, may_pass=True) from error
        except (aiohttp.ClientError, OSError) as error:
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            raise CallError("connection", reason, may_pass=True) from error
        if response.status != HTTPStatus.OK:
            said = self._shown(body.decode("utf-8", "replace"))
            raise _status_error(response.status, said, response.headers.get("Retry-After", "0"))
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            said = self._shown(f"the body is not JSON: {body.decode('utf-8', 'replace')}")
            raise CallError("unreadable", said, may_pass=True) from error

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
    """Spends a budget per minute evenly; who wants more than there is waits.

    Not locked: it belongs to one event loop.
    """

    def __init__(
        self, per_minute: float | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = None if per_minute is None else per_minute / 60
        self._clock = clock
        self._spent_until = -float("inf")

    def reserve(self, amount: float) -> float:
        """Take an amount and return how many seconds to wait before using it."""
        if self._per_s is None:
            return 0.0
        now = self._clock()
        start = max(self._spent_until, now - BURST_S)
        self._spent_until = start + amount / self._per_s
        return max(0.0, start - now)

    def correct(self, amount: float) -> None:
        """Take more, or give back (below 0), after the fact."""
        if self._per_s is not None:
            self._spent_until += amount / self._per_s


def _status_error(status: int, said: str, retry_after: str) -> CallError:
    error = CallError(
        "status", f"HTTP {status}: {said}", may_pass=status in _MAY_PASS, status=status
    )
    try:
        wait_s = float(retry_after)
    except ValueError:
        wait_s = 0.0
    if math.isfinite(wait_s):
        error.wait_s = min(MAX_PAUSE_S, max(0.0, wait_s))
    return error
