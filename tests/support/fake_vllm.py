"""A vLLM server on loopback, as far as trials talk to one, that behaves as badly as it is told to.

Its completions are a function of prompt and seed, unless a test generates them otherwise.
"""

import itertools
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

Body = dict[str, Any]


class Reply(NamedTuple):
    """What the server says."""

    body: Any
    status: int = 200


Generate = Callable[[Body], tuple[list[int], list[float]]]
"""From a request to token ids and log-probabilities."""


def drawn(request: Body) -> tuple[list[int], list[float]]:
    """Draw some tokens by the seed, the last one a stop token where there is room."""
    draws = random.Random(f"{request['prompt']} {request['seed']}")
    ids = [draws.randrange(4, 200) for _ in range(draws.randint(1, request["max_tokens"]))]
    if len(ids) < request["max_tokens"] and request["stop_token_ids"]:
        ids[-1] = request["stop_token_ids"][0]
    return ids, [-0.5] * len(ids)


class FakeVllm:
    """The server's state, and what it saw."""

    def __init__(
        self, *, model: str, key: str = "", max_rank: int = 16, generate: Generate = drawn
    ) -> None:
        self.model = model
        self.key = key
        self.max_rank = max_rank
        self.generate = generate
        self.version = "0.32.0"
        self.max_model_len = 4096
        self.url = ""
        self.adapters: dict[str, str] = {}
        self.loaded: list[str] = []
        self.requests: list[Body] = []
        self.faults: list[Callable[[str, Reply], Reply | None]] = []
        """Each is asked once, in turn, what becomes of a completion's reply; None hangs up."""

    def answer(self, path: str, body: Body) -> Reply | None:
        if path == "/health":
            return Reply("")
        if path == "/version":
            return Reply({"version": self.version})
        if path == "/v1/models":
            names = [self.model, *self.adapters]
            return Reply({"data": [{"id": n, "max_model_len": self.max_model_len} for n in names]})
        if path == "/v1/load_lora_adapter":
            return self._load(body["lora_name"], Path(body["lora_path"]))
        if path == "/v1/unload_lora_adapter":
            if self.adapters.pop(body["lora_name"], None) is None:
                return error("NotFoundError", "cannot be found", 404)
            return Reply("Success: removed")
        if path == "/v1/completions":
            reply = self._complete(body)
            return self.faults.pop(0)(body["model"], reply) if self.faults else reply
        return Reply({"detail": "Not Found"}, 404)

    def _load(self, name: str, folder: Path) -> Reply:
        if name in self.adapters:
            return error("InvalidUserInput", f"'{name}' has already been loaded.", 400)
        if not (folder / "adapter_model.safetensors").is_file():
            return error("NotFoundError", f"No adapter found for {folder}", 404)
        rank = json.loads((folder / "adapter_config.json").read_text())["r"]
        if rank > self.max_rank:
            text = f"LoRA rank {rank} is greater than max_lora_rank {self.max_rank}."
            return error("InternalServerError", text, 500)
        self.adapters[name] = str(folder)
        self.loaded.append(name)
        return Reply("Success: added")

    def _complete(self, body: Body) -> Reply:
        self.requests.append(body)
        if body["model"] not in (self.model, *self.adapters):
            return error("NotFoundError", f"The model `{body['model']}` does not exist.", 404)
        ids, logps = self.generate(body)
        choice = {
            "index": 0,
            "text": "",
            "finish_reason": "stop" if ids[-1] in body["stop_token_ids"] else "length",
            "logprobs": {"token_logprobs": logps},
            "token_ids": ids,
            "prompt_token_ids": body["prompt"],
        }
        return Reply({"model": body["model"], "choices": [choice]})


def error(kind: str, message: str, status: int) -> Reply:
    return Reply({"error": {"message": message, "type": kind, "code": status}}, status)


def serve(fake: FakeVllm, *, port: int = 0) -> ThreadingHTTPServer:
    """Bind the server; the caller runs it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.respond(b"")

        def do_POST(self) -> None:
            self.respond(self.rfile.read(int(self.headers["Content-Length"])))

        def respond(self, content: bytes) -> None:
            is_open = self.path in ("/health", "/version")
            if fake.key and not is_open and self.headers["Authorization"] != f"Bearer {fake.key}":
                reply: Reply | None = Reply({"error": "Unauthorized"}, 401)
            else:
                try:
                    reply = fake.answer(self.path, json.loads(content) if content else {})
                except Exception as broken:  # noqa: BLE001  A test's fault is no fault that passes.
                    reply = Reply({"error": repr(broken)}, 400)
            if reply is None:
                self.close_connection = True
                return
            is_text = isinstance(reply.body, str)
            said = (reply.body if is_text else json.dumps(reply.body)).encode()
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    return server


@contextmanager
def serving(fake: FakeVllm) -> Iterator[FakeVllm]:
    """Serve on a free port of loopback, from a thread."""
    server = serve(fake)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main(arguments: list[str]) -> None:
    """Stand for the command ``vllm``: ``serve LOCATION --served-model-name NAME ...``."""
    if arguments[:1] == ["--version"]:
        sys.stdout.write("0.32.0+fake\n")
        return
    given = dict(itertools.pairwise(arguments))
    sys.stdout.write(f"serving {arguments[1]} with {arguments[2:]}\n")
    sys.stdout.flush()
    if "--fail" in arguments:
        raise SystemExit("ValueError: no room on this GPU")
    fake = FakeVllm(
        model=given["--served-model-name"],
        key=os.environ.get("VLLM_API_KEY", ""),
        max_rank=int(given["--max-lora-rank"]),
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = serve(fake, port=int(given["--port"]))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    while True:
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1:])
