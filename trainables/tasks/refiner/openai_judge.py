"""A judge behind an OpenAI-compatible endpoint.

All calls of a process run in one event loop on a separate thread, so that training and evaluation
share one connection pool and one limit. Before the first batch a check waits for the judge, finds
out how it can be asked for JSON, and tests that it can tell a right answer from a wrong one. There
is no fallback to another judge.

A training batch has a deadline. An evaluation may take as long as answers arrive; it is given up
only if none arrives for that time.
"""

import asyncio
import atexit
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from strictune.cache import cache_folder
from strictune.errors import TrialError
from strictune.http_calls import CallError
from trainables.tasks.refiner.judge import Judgement, Question, RubricQuestion
from trainables.tasks.refiner.judge_cache import JudgeCache, cache_key
from trainables.tasks.refiner.judge_calls import EndedCalls, OpenCalls
from trainables.tasks.refiner.judge_client import PAUSE_S, JudgeClient, OutputMode
from trainables.tasks.refiner.judge_health import BatchHealth, FailureWatch
from trainables.tasks.refiner.judge_prompt import ChatQuestion, chat_question
from trainables.tasks.refiner.replies import READING
from trainables.tasks.refiner.rows import Rubric
from trainables.tasks.refiner.settings import OpenAiSettings

__all__ = ["OpenAiJudge", "shared_judge"]

logger = logging.getLogger(__name__)

CHECK_MARGIN = 0.2
"""How much the right answer of the check must score above the wrong one."""
CHECK_PAUSE_S = 2.0
"""Seconds between two attempts to reach a judge that does not answer yet."""

PULSE_S = 5.0
"""Seconds between two progress reports while an evaluation's calls are open."""

_MODES: Sequence[OutputMode] = get_args(OutputMode)
_WEAKER: Mapping[OutputMode, OutputMode] = {"json_schema": "json_object", "json_object": "none"}
_REFUSED_FORMAT = frozenset({400, 415, 422, 501})
_CHECK_EVIDENCE = (("S1", "The tower was opened in 1887."),)
_CHECK_RUBRIC = Rubric("Right year", "Says that the tower was opened in 1887.")

T = TypeVar("T")


class OpenAiJudge:
    """Asks an endpoint, caches its answers, and counts failures."""

    def __init__(
        self,
        settings: OpenAiSettings,
        *,
        cache_file: Path | None = None,
        pause_s: float = PAUSE_S,
        check_pause_s: float = CHECK_PAUSE_S,
        pulse_s: float = PULSE_S,
    ) -> None:
        """Create a judge; nothing is sent before the first batch.

        Args:
            settings: The endpoint and its limits.
            cache_file: Where to store answers; None stores none.
            pause_s: Base of the pauses between retries, in seconds.
            check_pause_s: Seconds between two attempts to reach a judge that does not answer.
            pulse_s: Seconds between two progress reports of an evaluation.
        """
        self._settings = settings
        self._cache_file = cache_file
        self._cache: JudgeCache | None = None
        self._pause_s = pause_s
        self._check_pause_s = check_pause_s
        self._pulse_s = pulse_s
        self._watch = FailureWatch(settings.max_failure_frac)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: JudgeClient | None = None

    def judge(
        self, questions: Sequence[Question], *, on_progress: Callable[[], None] | None = None
    ) -> Judgement:
        """Answer a batch from the cache where possible, otherwise from the endpoint.

        Args:
            questions: The questions.
            on_progress: Called every few seconds while calls are open. If given, the deadline
                applies to the next answer, otherwise to all answers.

        Raises:
            TrialError: The judge cannot be used, or failed too often.
            StorageError: The cache file is not a cache.
        """
        started = time.monotonic()
        health = BatchHealth()
        calls = [chat_question(question) for question in questions]
        if self._cache is None and self._cache_file is not None:
            self._cache = JudgeCache(self._cache_file)
        keys = self._keys(calls, self._mode_of(calls))
        known = self._cache.get(keys) if self._cache else {}
        open_calls = {k: call for k, call in zip(keys, calls, strict=True) if k not in known}
        health.num_calls = len(open_calls)
        health.num_cache_hits = sum(key in known for key in keys)
        answered = self._ask(open_calls, health, on_progress) if open_calls else {}
        scores = known | answered
        health.seconds = time.monotonic() - started
        prices = (
            self._settings.usd_per_million_prompt_tokens,
            self._settings.usd_per_million_completion_tokens,
        )
        return Judgement([scores.get(key) for key in keys], health.metrics(usd_per_million=prices))

    def close(self) -> None:
        """Close the connections and end the thread; the next batch opens both again."""
        if self._loop is None:
            return
        if self._client is not None:
            self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._loop, self._client = None, None

    def _keys(self, calls: Sequence[ChatQuestion], mode: OutputMode) -> list[bytes]:
        """Return the cache keys of calls, which include the endpoint's address."""
        who = {
            **self._settings.identity(),
            "structured_output": mode,
            "base_url": self._settings.base_url.rstrip("/"),
            "reading": READING,
        }
        return [cache_key({**who, "messages": call.messages}) for call in calls]

    def _mode_of(self, calls: Sequence[ChatQuestion]) -> OutputMode:
        """Return how these calls ask for JSON."""
        asked = self._settings.structured_output
        if asked != "auto":
            return asked
        if self._client is None and self._cache:
            # Does not contact the judge if the cache answers everything.
            for mode in _MODES:
                keys = set(self._keys(calls, mode))
                if len(self._cache.get(list(keys))) == len(keys):
                    return mode
        return self._opened_client().mode

    def _ask(
        self,
        calls: Mapping[bytes, ChatQuestion],
        health: BatchHealth,
        on_progress: Callable[[], None] | None,
    ) -> dict[bytes, tuple[float, ...]]:
        """Return the scores of the calls that were answered in time, by cache key."""
        client = self._opened_client()
        found: dict[bytes, tuple[float, ...]] = {}
        open_calls = OpenCalls(
            deadline_s=self._settings.batch_deadline_s, is_patient=on_progress is not None
        )
        self._run(open_calls.start(client, calls, health))
        try:
            while open_calls:
                within_s = self._pulse_s if on_progress else math.inf
                ended = self._run(open_calls.look(within_s=within_s))
                if self._cache and ended.scores:
                    self._cache.put(ended.scores)
                found |= ended.scores
                self._count_failures(ended, health)
                self._watch.refuse(
                    health,
                    num_answered=len(found),
                    is_over=not open_calls,
                    judge=self._settings.model,
                )
                if on_progress:
                    on_progress()
        finally:
            self._run(open_calls.give_up())
        return found

    def _count_failures(self, ended: EndedCalls, health: BatchHealth) -> None:
        if not ended.errors:
            return
        health.faults.update(error.fault for error in ended.errors)
        health.example = health.example or str(ended.errors[0])
        logger.warning(
            "judge=%s failed %d of %d calls, e.g. %s",
            self._settings.model,
            len(ended.errors),
            len(ended.errors) + len(ended.scores),
            ended.errors[0],
        )

    def _opened_client(self) -> JudgeClient:
        """Return the client, opened and checked once."""
        if self._client is None:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_run_loop, args=(self._loop,), name="judge", daemon=True
                ).start()
            client = self._run(self._open())
            try:
                self._check(client)
            except TrialError:
                self._run(client.close())
                raise
            self._client = client
        return self._client

    async def _open(self) -> JudgeClient:
        key = os.environ.get(self._settings.api_key_env)
        return JudgeClient(self._settings, api_key=key, pause_s=self._pause_s)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _check(self, client: JudgeClient) -> None:
        """Raise an error if the judge does not answer, or cannot tell right from wrong.

        Raises:
            TrialError: It does not answer, or its two scores are too close.
        """
        right, wrong = (
            self._check_score(client, f"<snippet id=S1>It was opened in {year}.</snippet>")
            for year in ("1887", "1932")
        )
        if right - wrong < CHECK_MARGIN:
            raise TrialError(
                f"the judge {self._settings.model} at {self._settings.base_url} scored a right "
                f"answer {right:g} and a wrong one {wrong:g}; its rewards would be noise. Choose "
                "another model for task.judge, or check its chat template."
            )

    def _check_score(self, client: JudgeClient, answer: str) -> float:
        question = RubricQuestion(
            question="When was the tower opened?",
            answer=answer,
            evidence=_CHECK_EVIDENCE,
            allowed_ids=("S1",),
            rubrics=(_CHECK_RUBRIC,),
        )
        give_up = time.monotonic() + self._settings.startup_timeout_s
        while True:
            try:
                [score] = self._run(client.ask(chat_question(question), BatchHealth()))
                return score
            except CallError as error:
                if self._lower_mode(client, error):
                    continue
                may_pass = error.fault in ("connection", "timeout") or error.status == 503
                if not may_pass or time.monotonic() >= give_up:
                    raise TrialError(
                        f"the judge {self._settings.model} at {self._settings.base_url} cannot be "
                        f"used: {error}. Start its server, or fix task.judge; its key comes from "
                        f"the environment variable {self._settings.api_key_env}."
                    ) from error
            time.sleep(self._check_pause_s)

    def _lower_mode(self, client: JudgeClient, error: CallError) -> bool:
        """Ask for JSON in a weaker way if the server refused the current one."""
        weaker = _WEAKER.get(client.mode)
        if (
            self._settings.structured_output != "auto"
            or weaker is None
            or error.status not in _REFUSED_FORMAT
        ):
            return False
        logger.info("judge=%s refused %s: %s", self._settings.model, client.mode, error)
        client.mode = weaker
        return True


def shared_judge(settings: OpenAiSettings) -> OpenAiJudge:
    """Return this process's judge with these settings, created once."""
    return _shared_judge(settings.model_dump_json())


@cache
def _shared_judge(settings_json: str) -> OpenAiJudge:
    settings = OpenAiSettings.model_validate_json(settings_json)
    cache_file = cache_folder() / "judge" / "scores.db" if settings.use_cache else None
    judge = OpenAiJudge(settings, cache_file=cache_file)
    atexit.register(judge.close)
    return judge


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
