"""A job server that speaks Ray's protocol, keeps what it is sent, and fails when it is told to."""

import asyncio
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray
from aiohttp import web


@dataclass
class FakeJobServer:
    """What the server answers, and what it was asked."""

    token: str | None = None
    statuses: list[str] = field(default_factory=lambda: ["RUNNING", "SUCCEEDED"])
    """One for each time the job is asked for; the last one stays."""
    details: dict[str, Any] = field(default_factory=dict)
    """Further fields of the job."""
    log: list[str] = field(default_factory=lambda: ["one\n", "two\n", "three\n"])
    breaks_after: list[int] = field(default_factory=list)
    """For each connection to the log, after how many pieces it breaks off; then none does."""
    refusal: tuple[int, str] | None = None
    """Status and text for every submission."""

    jobs: list[dict[str, Any]] = field(default_factory=list)
    packages: dict[str, bytes] = field(default_factory=dict)
    headers: list[str | None] = field(default_factory=list)
    """The Authorization header of each request."""
    address: str = ""

    def files(self) -> set[str]:
        """Return the names of all files in the packages."""
        names: set[str] = set()
        for package in self.packages.values():
            names |= set(zipfile.ZipFile(io.BytesIO(package)).namelist())
        return names


@contextmanager
def serving(server: FakeJobServer) -> Iterator[FakeJobServer]:
    """Serve on a free port of loopback, from a thread of its own."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(_application(server), shutdown_timeout=1)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> str:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    try:
        server.address = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _application(server: FakeJobServer) -> web.Application:
    @web.middleware
    async def authenticate(request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.headers.get("Authorization")
        server.headers.append(given)
        if server.token is None or given == f"Bearer {server.token}":
            return await handler(request)
        return web.Response(status=403 if given else 401, text="no")

    handlers = _Handlers(server)
    application = web.Application(middlewares=[authenticate], client_max_size=2**28)
    application.add_routes(
        [
            web.get("/api/version", handlers.version),
            web.get("/api/packages/gcs/{name}", handlers.has_package),
            web.put("/api/packages/gcs/{name}", handlers.put_package),
            web.post("/api/jobs/", handlers.submit),
            web.get("/api/jobs/{job}", handlers.details),
            web.get("/api/jobs/{job}/logs", handlers.logs),
            web.get("/api/jobs/{job}/logs/tail", handlers.tail),
        ]
    )
    return application


class _Handlers:
    def __init__(self, server: FakeJobServer) -> None:
        self._server = server

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "4", "ray_version": ray.__version__})

    async def has_package(self, request: web.Request) -> web.Response:
        is_there = request.match_info["name"] in self._server.packages
        return web.Response(status=200 if is_there else 404)

    async def put_package(self, request: web.Request) -> web.Response:
        self._server.packages[request.match_info["name"]] = await request.read()
        return web.Response()

    async def submit(self, request: web.Request) -> web.Response:
        if self._server.refusal:
            return web.Response(status=self._server.refusal[0], text=self._server.refusal[1])
        self._server.jobs.append(await request.json())
        job_id = self._server.jobs[-1].get("submission_id", "raysubmit_1")
        return web.json_response({"job_id": job_id, "submission_id": job_id})

    async def details(self, request: web.Request) -> web.Response:
        statuses = self._server.statuses
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        body = {
            "type": "SUBMISSION",
            "submission_id": request.match_info["job"],
            "entrypoint": "python",
            "status": status,
            "message": "Job has not started yet." if status == "PENDING" else None,
        }
        return web.json_response({**body, **self._server.details})

    async def logs(self, _: web.Request) -> web.Response:
        return web.json_response({"logs": "".join(self._server.log)})

    async def tail(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        breaks = self._server.breaks_after
        pieces = breaks.pop(0) if breaks else None
        for piece in self._server.log[:pieces]:
            await socket.send_str(piece)
        if pieces is None:
            await socket.close()
        else:
            await asyncio.sleep(0.05)
            assert request.transport is not None
            request.transport.abort()
        return socket
