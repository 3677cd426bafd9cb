"""A chat-completions endpoint on loopback that behaves as badly as it is told to."""

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

Request = dict[str, Any]


class Response(NamedTuple):
    """What the server does with one request."""

    body: bytes | None
    """None closes the connection without a word."""
    status: int = 200
    delay_s: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()
    drip_s: float = 0.0
    """Pause between the bytes of the body."""


Behaviour = Callable[[Request, int], Response]
"""From a request, and how many equal ones came before, to a response."""


def said(content: object, finish_reason: str | None = None, **message: object) -> bytes:
    """Return a chat completion with this message."""
    whole = {"role": "assistant", "content": content, **message}
    body = {
        "choices": [{"message": whole, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }
    return json.dumps(body).encode()


def asked(request: Request) -> str:
    return str(request["messages"][-1]["content"])


def is_check(request: Request) -> bool:
    return "When was the tower opened?" in asked(request)


def true_scores(request: Request) -> dict[str, float]:
    """Return what an honest judge says: a function of the question, and right for the check."""
    text = asked(request)
    shape = text.rpartition("Reply with {")[2].removesuffix("}.")
    keys = json.loads(f"[{shape.replace(': number', '')}]")
    if is_check(request):
        return {"score": 0.0 if "1932" in text else 1.0}
    digest = hashlib.sha256(text.encode()).digest()
    return {key: digest[index] / 255 for index, key in enumerate(keys)}


def honest(request: Request, before: int) -> Response:
    return Response(said(json.dumps(true_scores(request))))


class FakeJudge:
    """The server, and what it saw."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.base_url = ""
        self.requests: list[Request] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._open_now = 0
        self._seen: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until either side closes it."""
        try:
            while await self._serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        pairs = (line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        request = json.loads(await reader.readexactly(int(headers["content-length"])))
        response = self._take(request, headers)
        await asyncio.sleep(response.delay_s)
        self._open_now -= 1
        if response.body is None:
            return False
        lines = [
            f"HTTP/1.1 {response.status} X",
            f"Content-Length: {len(response.body)}",
            *(f"{name}: {value}" for name, value in response.headers),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        size = 1 if response.drip_s else max(1, len(response.body))
        for first in range(0, len(response.body), size):
            writer.write(response.body[first : first + size])
            await writer.drain()
            await asyncio.sleep(response.drip_s)
        return True

    def _take(self, request: Request, headers: dict[str, str]) -> Response:
        self.requests.append(request)
        self.headers.append(headers)
        self._open_now += 1
        self.most_at_once = max(self.most_at_once, self._open_now)
        key = json.dumps(request["messages"])
        response = self.behave(request, self._seen[key])
        self._seen[key] += 1
        return response


@contextmanager
def serving(behave: Behaviour = honest) -> Iterator[FakeJudge]:
    """Serve on a free port of loopback from a thread of its own."""
    judge = FakeJudge(behave)
    loop = asyncio.new_event_loop()

    def run() -> None:
        loop.run_forever()
        loop.close()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(judge.serve, "127.0.0.1", 0, backlog=1024)

    async def stop(server: asyncio.Server) -> None:
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result()
    judge.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield judge
    finally:
        asyncio.run_coroutine_threadsafe(stop(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
