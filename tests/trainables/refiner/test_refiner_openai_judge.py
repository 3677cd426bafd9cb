"""The judge over HTTP, against a server on loopback that misbehaves on purpose."""

import json
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_judge_server import (
    Behaviour,
    FakeJudge,
    Request,
    Response,
    asked,
    honest,
    is_check,
    said,
    serving,
    true_scores,
)
from pydantic import ValidationError

from strictune.errors import TrialError, TrialStopped
from trainables.tasks.refiner import openai_judge
from trainables.tasks.refiner.judge import Question, RubricQuestion, SupportQuestion
from trainables.tasks.refiner.judge_prompt import chat_question
from trainables.tasks.refiner.openai_judge import OpenAiJudge
from trainables.tasks.refiner.rows import Rubric
from trainables.tasks.refiner.settings import OpenAiSettings

KEY = "sk-very-secret"


@contextmanager
def judging(
    server: FakeJudge, *, cache_file: Path | None = None, pulse_s: float = 0.05, **settings: Any
) -> Iterator[OpenAiJudge]:
    defaults = {"max_retries": 3, "call_timeout_s": 5.0, "startup_timeout_s": 0.0}
    values = {"base_url": server.base_url, **defaults, **settings}
    spec = OpenAiSettings(kind="openai", model="judge", **values)
    judge = OpenAiJudge(
        spec, cache_file=cache_file, pause_s=0.01, check_pause_s=0.05, pulse_s=pulse_s
    )
    try:
        yield judge
    finally:
        judge.close()


def claims(number: int, prefix: str = "claim") -> list[Question]:
    return [SupportQuestion(claim=f"{prefix} {n}", evidence=(("S1", "x"),)) for n in range(number)]


def truth(questions: Sequence[Question]) -> list[tuple[float, ...]]:
    requests = ({"messages": chat_question(question).messages} for question in questions)
    return [tuple(true_scores(request).values()) for request in requests]


def unless_check(behave: Behaviour) -> Behaviour:
    return lambda request, before: (honest if is_check(request) else behave)(request, before)


def picky(request: Request, before: int) -> Response:
    """Take no schema."""
    if request.get("response_format", {}).get("type") == "json_schema":
        return Response(b"response_format is not supported", status=400)
    return honest(request, before)


def test_scores_come_back_in_the_order_of_the_questions() -> None:
    several = SupportQuestion(claim="a", evidence=(("S1", "x"), ("S2", "y")))
    joint = RubricQuestion(
        question="q",
        answer="a",
        evidence=(),
        allowed_ids=("S1",),
        rubrics=(Rubric("A", "a"), Rubric("B", "b", is_negative=True)),
    )
    questions: list[Question] = [*claims(20), several, joint]
    with serving() as server, judging(server) as judge:
        answers, health = judge.judge(questions)
        assert answers == truth(questions)
        assert judge.judge(claims(3)).answers == truth(claims(3))
    assert health["calls"] == 22
    assert health["failure_frac"] == health["parse_failure_frac"] == health["retries"] == 0
    assert (health["prompt_tokens"], health["completion_tokens"]) == (2200, 220)
    assert 0 < health["latency_p50_s"] <= health["latency_p95_s"] < 5


def test_a_request_says_what_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    extra = {"chat_template_kwargs": {"enable_thinking": False}}
    with (
        serving() as server,
        judging(server, api_key_env="MY_KEY", extra_body=extra, max_tokens=64) as judge,
    ):
        judge.judge(claims(1))
    request, headers = server.requests[-1], server.headers[-1]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("judge", 0.0, 64)
    assert request["chat_template_kwargs"] == {"enable_thinking": False}
    assert request["response_format"]["json_schema"]["schema"]["required"] == ["score"]


def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRICTUNE_JUDGE_API_KEY", raising=False)
    with serving() as server, judging(server) as judge:
        judge.judge(claims(1))
    assert all("authorization" not in headers for headers in server.headers)


FAILURES: dict[str, Response] = {
    "500": Response(b"oops", status=500),
    "429": Response(b"slow down", status=429, headers=(("Retry-After", "0.05"),)),
    "close": Response(None),
    "garbage": Response(b"\xff\xfe<html>"),
    "no-gzip": Response(b"plain", headers=(("Content-Encoding", "gzip"),)),
    "redirect": Response(b"", status=302, headers=(("Location", "http://127.0.0.1:1/"),)),
    "no-choices": Response(b"{}"),
    "empty": Response(said("")),
    "null": Response(said(None)),
    "prose": Response(said("I would rate this a solid 5 out of 5!")),
    "five": Response(said('{"score": 5}')),
    "bool": Response(said('{"score": true}')),
    "slow": Response(said('{"score": 1}'), delay_s=5),
    "drip": Response(said('{"score": 1}'), drip_s=0.05),
    "cut-off": Response(said("", "length", reasoning_content='perhaps {"score": 0.5}? Let me')),
    "error-200": Response(b'{"error": {"message": "Insufficient credits", "code": 402}}'),
    "refusal": Response(said(None, refusal="I cannot grade this.")),
}


@pytest.mark.parametrize(
    "denied",
    [Response(b'{"error": "bad key"}', status=401), FAILURES["redirect"]],
    ids=["401", "302"],
)
def test_what_will_not_pass_is_not_tried_again(denied: Response) -> None:
    with (
        serving(unless_check(lambda request, before: denied)) as server,
        judging(server, max_failure_frac=1) as judge,
    ):
        answers, health = judge.judge(claims(3))
    assert (answers, health["retries"]) == ([None] * 3, 0)


def test_a_mixture_of_everything_invents_no_score_and_counts_right() -> None:
    """What passes is tried again; what stays is missing, and counted by its kind."""
    rng = random.Random(0)
    names = [name for name in FAILURES if name != "redirect"]
    plan = {
        f"claim {n}": [rng.choice([*names, "good", "good"]) for _ in range(4)] for n in range(200)
    }
    questions = claims(200)

    def behave(request: Request, before: int) -> Response:
        name = plan[asked(request).partition("<claim_to_grade>\n")[2].partition("\n")[0]][before]
        return honest(request, before) if name == "good" else FAILURES[name]

    with (
        serving(unless_check(behave)) as server,
        judging(server, call_timeout_s=2, max_concurrent_calls=200, max_failure_frac=1) as judge,
    ):
        answers, health = judge.judge(questions)
    fine = [
        next((n for n, name in enumerate(tries) if name == "good"), None) for tries in plan.values()
    ]
    expected = [
        None if index is None else scores
        for index, scores in zip(fine, truth(questions), strict=True)
    ]
    assert list(answers) == expected
    assert health["failure_frac"] == fine.count(None) / 200 > 0
    assert health["retries"] == sum(3 if index is None else index for index in fine)
    assert len(server.requests) == 2 + health["calls"] + health["retries"]
    last = [tries[3] for tries, index in zip(plan.values(), fine, strict=True) if index is None]
    unread = FAILURES.keys() - {"500", "429", "close", "no-gzip", "slow", "drip"}
    assert health["parse_failure_frac"] == sum(name in unread for name in last) / 200
    assert health["off_scale_frac"] == last.count("five") / 200
    assert health["timeout_frac"] == sum(name in ("slow", "drip") for name in last) / 200


def test_what_is_late_for_the_whole_batch_is_missing() -> None:
    def some_hang(request: Request, before: int) -> Response:
        hangs = "claim 1" in asked(request)
        return honest(request, before)._replace(delay_s=90 if hangs else 0)

    started = time.monotonic()
    with (
        serving(unless_check(some_hang)) as server,
        judging(server, call_timeout_s=60, batch_deadline_s=1, max_failure_frac=1) as judge,
    ):
        answers, health = judge.judge(claims(10))
        assert [answer is None for answer in answers] == [n == 1 for n in range(10)]
        assert health["timeout_frac"] == 0.1
        assert judge.judge(claims(1, "other")).answers == truth(claims(1, "other"))
    assert time.monotonic() - started < 60


def slowly(delay_s: float) -> Behaviour:
    return unless_check(lambda request, n: honest(request, n)._replace(delay_s=delay_s))


def test_an_evaluation_may_take_as_long_as_answers_come() -> None:
    beats: list[float] = []
    with (
        serving(slowly(0.05)) as server,
        judging(server, max_concurrent_calls=4, batch_deadline_s=0.6) as judge,
    ):
        answers, health = judge.judge(
            claims(120), on_progress=lambda: beats.append(time.monotonic())
        )
        assert answers == truth(claims(120))
        sent = [asked(request) for request in server.requests if not is_check(request)]
        assert len(sent) == len(set(sent)) == 120
        assert (health["calls"], health["failure_frac"], health["retries"]) == (120, 0, 0)
        assert health["batch_s"] > 1.2 and len(beats) >= 5
        # A training step cannot wait: what is late is missing, and that is too much here.
        with pytest.raises(TrialError, match=r"deadline; e\.g\. not answered within 0\.6 s"):
            judge.judge(claims(120, "other"))


def test_an_evaluation_gives_up_a_judge_that_stops_answering() -> None:
    def dies(request: Request, before: int) -> Response:
        number = int(asked(request).partition("claim ")[2].split()[0])
        return honest(request, before)._replace(delay_s=90 if number >= 60 else 0)

    started = time.monotonic()
    with (
        serving(unless_check(dies)) as server,
        judging(server, call_timeout_s=60, batch_deadline_s=0.5) as judge,
        pytest.raises(TrialError, match="40 of the latest 100 calls") as error,
    ):
        judge.judge(claims(100), on_progress=lambda: None)
    assert time.monotonic() - started < 60
    message = str(error.value)
    assert "(in this batch: 40 deadline;" in message
    assert "raise task.judge.batch_deadline_s" in message and "step_timeout_s" in message
    assert "call_timeout_s" not in message


def test_an_evaluation_of_a_judge_that_fails_too_often_is_not_asked_to_its_end() -> None:
    def even_fails(request: Request, before: int) -> Response:
        number = int(asked(request).partition("claim ")[2].split()[0])
        return FAILURES["empty"] if number % 2 else honest(request, before)

    with (
        serving(unless_check(even_fails)) as server,
        judging(server, max_retries=0, max_concurrent_calls=8, max_failure_frac=0.4) as judge,
        pytest.raises(TrialError, match="unreadable"),
    ):
        judge.judge(claims(4000), on_progress=lambda: None)
    assert 512 <= len(server.requests) < 3000


def test_a_stopped_evaluation_leaves_its_answers_and_no_call(tmp_path: Path) -> None:
    cache = tmp_path / "scores.db"

    def stop() -> None:
        if len(server.requests) > 22:
            raise TrialStopped("enough")

    with (
        serving(slowly(0.05)) as server,
        judging(server, cache_file=cache, max_concurrent_calls=4) as judge,
    ):
        with pytest.raises(TrialStopped, match="enough"):
            judge.judge(claims(200), on_progress=stop)
        num_sent = len(server.requests)
        time.sleep(0.2)
        assert len(server.requests) == num_sent < 100
        assert judge.judge(claims(16)).health["cache_hit_frac"] == 1


def test_the_trial_stops_once_too_many_calls_have_failed() -> None:
    def third_fails(request: Request, before: int) -> Response:
        number = int(asked(request).partition("claim ")[2].split()[0])
        return FAILURES["empty"] if number % 3 == 0 else honest(request, before)

    with (
        serving(unless_check(third_fails)) as server,
        judging(server, max_retries=0, max_failure_frac=0.2) as judge,
    ):
        assert list(judge.judge(claims(12)).answers).count(None) == 4
        with pytest.raises(TrialError) as error:
            judge.judge(claims(36))
    assert "16 of the latest 48 calls of the judge judge failed" in str(error.value)
    assert "max_failure_frac = 0.2" in str(error.value)
    assert "12 unreadable" in str(error.value)


def test_no_more_calls_are_open_than_allowed() -> None:
    slow = unless_check(lambda request, n: honest(request, n)._replace(delay_s=0.02))
    with serving(slow) as server, judging(server, max_concurrent_calls=7) as judge:
        judge.judge(claims(60))
    assert server.most_at_once == 7


def waited_at_256(num_calls: int, *, latency_s: float) -> float:
    """Return the seconds in which this process, client and server, computed nothing."""
    slow = unless_check(lambda request, n: honest(request, n)._replace(delay_s=latency_s))
    with serving(slow) as server, judging(server, max_concurrent_calls=256) as judge:
        judge.judge(claims(1))
        started = time.monotonic() - time.process_time()
        answers = judge.judge(claims(num_calls, "load")).answers
        seconds = time.monotonic() - time.process_time() - started
    assert None not in answers
    assert server.most_at_once == 256
    return seconds


def test_256_calls_are_open_at_once() -> None:
    waited_at_256(300, latency_s=1.5)


@pytest.mark.slow
def test_256_calls_at_once_come_near_the_limit() -> None:
    # Eight rounds of a second are the limit.
    assert waited_at_256(2048, latency_s=1.0) < 8 / 0.6


def test_a_budget_of_requests_is_kept() -> None:
    with serving() as server, judging(server, requests_per_minute=600) as judge:
        judge.judge(claims(1))
        started = time.monotonic()
        judge.judge(claims(60, "more"))
        seconds = time.monotonic() - started
    assert 0.8 < seconds < 60


def test_answers_are_asked_for_once_whoever_asks(tmp_path: Path) -> None:
    cache = tmp_path / "scores.db"
    with serving() as server:
        with judging(server, cache_file=cache) as judge:
            first = judge.judge(claims(10))
        num_requests = len(server.requests)
        with judging(server, cache_file=cache) as judge:
            second = judge.judge(claims(10))
            assert len(server.requests) == num_requests
            mixed = judge.judge(claims(15))
    assert first.answers == second.answers == truth(claims(10))
    assert (second.health["calls"], second.health["cache_hit_frac"]) == (0, 1)
    assert (mixed.health["calls"], mixed.health["cache_hit_frac"]) == (5, pytest.approx(2 / 3))


def test_two_servers_of_one_name_do_not_share_answers(tmp_path: Path) -> None:
    cache = tmp_path / "scores.db"
    low = unless_check(lambda request, before: Response(said('{"score": 0.125}')))
    with serving() as first, serving(low) as second:
        with judging(first, cache_file=cache) as judge, judging(second, cache_file=cache) as other:
            assert judge.judge(claims(3)).answers == truth(claims(3))
            assert other.judge(claims(3)).answers == [(0.125,)] * 3
        with judging(first, cache_file=cache, base_url=first.base_url + "/") as judge:
            assert judge.judge(claims(3)).health["calls"] == 0


def test_answers_are_kept_by_how_json_was_in_fact_asked_for(tmp_path: Path) -> None:
    cache = tmp_path / "scores.db"

    def num_calls(number: int, **settings: Any) -> float:
        with judging(server, cache_file=cache, **settings) as judge:
            return judge.judge(claims(number)).health["calls"]

    with serving(picky) as server:
        assert [num_calls(3), num_calls(3)] == [3, 0]
        assert num_calls(3, structured_output="json_object") == 0
        assert num_calls(3, structured_output="none") == 3
        # From now on the server takes a schema.
        server.behave = honest
        assert [num_calls(4), num_calls(4, structured_output="json_schema")] == [4, 0]


def test_answers_that_were_read_otherwise_are_asked_for_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as server:
        for reading, num_calls in ((1, 3), (2, 3), (2, 0)):
            monkeypatch.setattr(openai_judge, "READING", reading)
            with judging(server, cache_file=tmp_path / "scores.db") as judge:
                assert judge.judge(claims(3)).health["calls"] == num_calls


def test_failures_and_other_judges_answers_are_not_cached(tmp_path: Path) -> None:
    cache = tmp_path / "scores.db"
    fails = {"now": True}

    def behave(request: Request, before: int) -> Response:
        return FAILURES["empty"] if fails["now"] else honest(request, before)

    with serving(unless_check(behave)) as server:
        with judging(server, cache_file=cache, max_retries=0) as judge:
            assert judge.judge(claims(3)).answers == [None] * 3
            fails["now"] = False
            assert judge.judge(claims(3)).answers == truth(claims(3))
        with judging(server, cache_file=cache, temperature=0.5) as judge:
            assert judge.judge(claims(3)).health["calls"] == 3


def test_tokens_cost_what_they_cost() -> None:
    prices = {"usd_per_million_prompt_tokens": 2.0, "usd_per_million_completion_tokens": 10.0}
    with serving() as server, judging(server, **prices) as judge:
        assert judge.judge(claims(5)).health["cost_usd"] == pytest.approx(500 * 2e-6 + 50 * 1e-5)


def test_the_check_finds_out_how_json_can_be_asked_for() -> None:
    with serving(picky) as server, judging(server) as judge:
        assert judge.judge(claims(2)).answers == truth(claims(2))
    assert [r["response_format"]["type"] for r in server.requests[-2:]] == ["json_object"] * 2
    with (
        serving(picky) as server,
        judging(server, structured_output="json_schema") as judge,
        pytest.raises(TrialError, match="HTTP 400: response_format is not supported"),
    ):
        judge.judge(claims(1))


@pytest.mark.parametrize(
    ("behave", "message"),
    [
        pytest.param(
            lambda r, n: Response(said('{"score": 0.5}')), "0.5 and a wrong one 0.5", id="noise"
        ),
        pytest.param(
            lambda r, n: Response(b"no such model", status=404), "HTTP 404: no such", id="404"
        ),
        pytest.param(lambda r, n: FAILURES["five"], "a score of 5, expected 0 to 1", id="scale"),
        pytest.param(
            lambda r, n: FAILURES["cut-off"],
            r"cut off \(finish_reason length\) .* task\.judge\.max_tokens",
            id="cut-off",
        ),
        pytest.param(
            lambda r, n: FAILURES["error-200"], "the server said: Insufficient", id="error-200"
        ),
        pytest.param(
            lambda r, n: FAILURES["refusal"], "refused: I cannot grade this", id="refusal"
        ),
        pytest.param(
            lambda r, n: Response(b"<html>Log in first"), "not JSON: <html>Log in", id="page"
        ),
        pytest.param(
            lambda r, n: Response(b'{"error": "half \\ud83d"}'), r"said: half \?", id="half-emoji"
        ),
    ],
)
def test_a_judge_that_cannot_judge_is_refused_before_the_first_batch(
    behave: Behaviour, message: str
) -> None:
    with (
        serving(behave) as server,
        judging(server, max_retries=0) as judge,
        pytest.raises(TrialError, match=message) as error,
    ):
        judge.judge(claims(1))
    assert server.base_url in str(error.value)
    assert all(is_check(request) for request in server.requests)


def test_a_trial_waits_for_a_judge_that_is_still_starting() -> None:
    def starting(request: Request, before: int) -> Response:
        return Response(b"loading", status=503) if before < 3 else honest(request, before)

    with serving(starting) as server, judging(server, max_retries=0, startup_timeout_s=20) as judge:
        assert judge.judge(claims(1, "late")) is not None


def test_a_judge_that_is_not_there_is_named() -> None:
    with serving() as server:
        pass
    refused = pytest.raises(TrialError, match="cannot be used: ClientConnectorError")
    with judging(server, max_retries=0) as judge, refused as error:
        judge.judge(claims(1))
    assert "Start its server" in str(error.value)


def test_the_key_is_in_no_message_and_no_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STRICTUNE_JUDGE_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    behaviours: list[Callable[[Request, int], Response]] = [
        lambda r, n: FAILURES["500"],
        lambda r, n: FAILURES["close"],
        lambda r, n: Response(f"Incorrect API key: {KEY}.".encode(), status=401),
        lambda r, n: Response(json.dumps({"error": {"message": f"No {KEY}."}}).encode()),
        lambda r, n: Response(f"<html>{'x' * 180} {KEY}".encode()),
        unless_check(lambda r, n: FAILURES["garbage"]),
    ]
    for behave in behaviours:
        with (
            serving(behave) as server,
            judging(server, max_retries=0) as judge,
            pytest.raises(TrialError) as error,
        ):
            judge.judge(claims(40))
        assert KEY not in str(error.value) + repr(error.value.__cause__)
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    "url", ["http://me:pw@host/v1", "http://host/v1?key=abc", "host/v1", "ftp://host/v1"]
)
def test_an_address_with_a_secret_or_without_a_scheme_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        OpenAiSettings(kind="openai", base_url=url, model="m")
