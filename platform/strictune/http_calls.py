"""A JSON call of a server over HTTP, and whether one that failed may pass when tried again."""

import json
import math
from http import HTTPStatus

import aiohttp

__all__ = ["MAX_PAUSE_S", "CallError", "call_json", "shown"]

MAX_PAUSE_S = 30.0
"""The longest pause before another try."""

_MAY_PASS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_SHOWN_CHARS = 200


class CallError(Exception):
    """A call failed."""

    def __init__(
        self, fault: str, message: str, *, may_pass: bool, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.fault = fault
        """A short name: ``timeout``, ``connection``, ``status``, ``unreadable``, or a caller's."""
        self.may_pass = may_pass
        self.status = status
        self.wait_s = 0.0
        """What the server asks to wait."""


async def call_json(
    http: aiohttp.ClientSession, url: str, content: bytes | None = None, *, secret: str = ""
) -> object:
    """Post JSON, or get where there is no content, and return what the answer's JSON holds.

    Args:
        http: The pool, with its time limit.
        url: Where to; redirects are not followed.
        content: The JSON to post.
        secret: A key to leave out of messages.

    Raises:
        CallError: There is no answer, or none of status 200, or it is not JSON.
    """
    try:
        async with http.request(
            "GET" if content is None else "POST",
            url,
            data=content,
            headers={"Content-Type": "application/json"},
            allow_redirects=False,
        ) as response:
            body = await response.read()
    except TimeoutError as error:
        limit = f"no answer within {http.timeout.total:g} s"
        raise CallError("timeout", limit, may_pass=True) from error
    except (aiohttp.ClientError, OSError) as error:
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        raise CallError("connection", reason, may_pass=True) from error
    said = body.decode("utf-8", "replace")
    if response.status != HTTPStatus.OK:
        wait = response.headers.get("Retry-After", "0")
        raise _status_error(response.status, shown(said, secret), wait)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        message = shown(f"the body is not JSON: {said}", secret)
        raise CallError("unreadable", message, may_pass=True) from error


def shown(said: str, secret: str = "") -> str:
    """Return what a server said, shortened to a line for logs, without a key in it."""
    # Some servers repeat the key that they refuse, some cut a character in half.
    said = said.replace(secret, "***") if secret else said
    return " ".join(said.encode("utf-8", "replace").decode().split())[:_SHOWN_CHARS]


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
