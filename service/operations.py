"""The listener for operators: health, metrics and jobs over HTTP.

Owns the routes, who may use them, and how errors look. What the routes show belongs to the parts
that are handed in; further routes (rules, alerts, pages) are handed in as well.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import SecretStr

from alerts.clock import Clock
from alerts.errors import AlertsError
from service.codec import encode
from service.config.settings import OperationsAuth
from service.errors import GatewatchError
from service.health.push_api import PUSH_PATH
from service.jobs import JobBusyError, JobError, JobSnapshot, UnknownJobError
from service.scheduler import Scheduler

Readiness = Callable[[], Sequence[str]]
"""Returns why the process is not ready, one reason each; nothing: it is ready."""

RenderMetrics = Callable[[str], Awaitable[tuple[str, bytes]]]
"""Takes an Accept header; returns content type and body of the exposition."""

Reload = Callable[[], Awaitable[str]]
"""Reads the configuration again and returns what changed; raises what is wrong with it."""

_OPEN_PATHS = frozenset(("/health/live",))
_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class OperationsParts:
    """What the operations listener shows and steers.

    Attributes:
        scheduler: The jobs.
        readiness: Why the process is not ready.
        render_metrics: The exposition.
        clock: The time of day.
        reload: Reads the configuration again.
    """

    scheduler: Scheduler
    readiness: Readiness
    render_metrics: RenderMetrics
    clock: Clock
    reload: Reload | None = None


def create_operations_app(
    parts: OperationsParts,
    *,
    auth: OperationsAuth,
    routes: Iterable[web.AbstractRouteDef] = (),
    middlewares: Iterable[Middleware] = (),
) -> web.Application:
    """Build the application of the operations listener.

    Every path asks for credentials when ``auth`` has some, but ``/health/live``, and
    ``/health/push/``, which has its own. Requests that change something are refused when a browser
    sends them from another site.

    Args:
        parts: What is shown and steered.
        auth: Who may come in.
        routes: More routes; they are protected the same way.
        middlewares: Put around everything, such as spans and metrics of requests.
    """
    app = web.Application(
        middlewares=[*middlewares, _guard(auth), _explain_routing],
        client_max_size=4 * 1024 * 1024,
    )
    handlers = _Handlers(parts)
    app.router.add_routes(
        [
            web.get("/health/live", handlers.live),
            web.get("/health/ready", handlers.ready),
            web.get("/-/healthy", handlers.healthy),
            web.get("/-/ready", handlers.ready_text),
            web.post("/-/reload", handlers.reload),
            web.put("/-/reload", handlers.reload),
            web.get("/metrics", handlers.metrics),
            web.get("/jobs", handlers.jobs),
            web.post("/jobs/{id}/run", handlers.run_job),
            web.post("/jobs/{id}/pause", handlers.pause_job),
            web.post("/jobs/{id}/resume", handlers.resume_job),
            *routes,
        ]
    )
    return app


class _Handlers:
    """The handlers of the routes, with the parts they show."""

    def __init__(self, parts: OperationsParts) -> None:
        self._parts = parts

    async def live(self, _request: web.Request) -> web.Response:
        return _json({"status": "alive"})

    async def ready(self, _request: web.Request) -> web.Response:
        reasons = list(self._parts.readiness())
        if reasons:
            return _json({"status": "not ready", "reasons": reasons}, status=503)
        return _json({"status": "ready", "reasons": []})

    async def healthy(self, _request: web.Request) -> web.Response:
        return web.Response(text="gatewatch is healthy.\n")

    async def ready_text(self, _request: web.Request) -> web.Response:
        reasons = self._parts.readiness()
        if reasons:
            return web.Response(status=503, text=f"gatewatch is not ready: {'; '.join(reasons)}\n")
        return web.Response(text="gatewatch is ready.\n")

    async def reload(self, _request: web.Request) -> web.Response:
        """Answer as Prometheus does: 200, or 500 and what is wrong, as text."""
        reasons = self._parts.readiness()
        if self._parts.reload is None or reasons:
            why = "; ".join(reasons) or "nothing can be reloaded"
            return web.Response(status=503, text=f"not reloaded: {why}\n")
        try:
            report = await self._parts.reload()
        except (GatewatchError, AlertsError) as error:
            return web.Response(
                status=500, text=f"failed to reload config, nothing changed:\n{error}\n"
            )
        return web.Response(text=f"reloaded: {report}\n")

    async def metrics(self, request: web.Request) -> web.Response:
        content_type, body = await self._parts.render_metrics(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def jobs(self, _request: web.Request) -> web.Response:
        jobs = [job_body(job) for job in self._parts.scheduler.jobs()]
        return _json({"now": self._parts.clock.time(), "jobs": jobs})

    async def run_job(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        try:
            return _json(job_body(await self._parts.scheduler.run_now(name)))
        except JobError as error:
            return _job_error(error)

    async def pause_job(self, request: web.Request) -> web.Response:
        return self._steer_job(request, self._parts.scheduler.pause)

    async def resume_job(self, request: web.Request) -> web.Response:
        return self._steer_job(request, self._parts.scheduler.resume)

    def _steer_job(self, request: web.Request, act: Callable[[str], None]) -> web.Response:
        name = request.match_info["id"]
        try:
            act(name)
            return _json(job_body(self._parts.scheduler.job(name)))
        except JobError as error:
            return _job_error(error)


def job_body(job: JobSnapshot) -> dict[str, object]:
    """Return a job as JSON shows it; times are Unix seconds."""
    body = dataclasses.asdict(job)
    name = body.pop("name")
    return {
        "id": name,
        "next_run": body.pop("next_run_s"),
        "last_run": body.pop("last_run_s"),
        **body,
    }


def _job_error(error: JobError) -> web.Response:
    if isinstance(error, UnknownJobError):
        return _json({"error": str(error)}, status=404)
    return _json({"error": str(error)}, status=409 if isinstance(error, JobBusyError) else 503)


def _guard(auth: OperationsAuth) -> Middleware:
    """Return a middleware that lets in only whom ``auth`` names, and no other site's pages."""
    credentials = _Credentials(auth)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _is_open(request.path) and not credentials.accept(request):
            return _json(
                {"error": f"this path needs credentials: {credentials.wanted}"},
                status=401,
                headers=credentials.challenges,
            )
        origin = request.headers.get("Origin")
        changes = request.method not in _SAFE_METHODS
        if changes and origin is not None and not _same_site(origin, request.host):
            return _json(
                {"error": f"a page of {origin} may not change anything on {request.host}"},
                status=403,
            )
        return await handler(request)

    return guard


def _is_open(path: str) -> bool:
    """Whether a path needs none of the listener's credentials; that of reports has its own."""
    return path in _OPEN_PATHS or path.startswith(PUSH_PATH)


class _Credentials:
    """Compares what a request brings with what is set, in constant time."""

    def __init__(self, auth: OperationsAuth) -> None:
        self._required = auth.required
        self._bearer = _digest(_secret(auth.bearer_token)) if auth.bearer_token else None
        self._basic = (
            _digest(f"{auth.username}:{_secret(auth.password)}".encode()) if auth.password else None
        )
        schemes = []
        if self._basic is not None:
            schemes.append('Basic realm="gatewatch", charset="UTF-8"')
        if self._bearer is not None:
            schemes.append('Bearer realm="gatewatch"')
        self.challenges = {"WWW-Authenticate": ", ".join(schemes)}
        self.wanted = " or ".join(
            text
            for text, digest in (
                ("user name and password (HTTP basic)", self._basic),
                ("Authorization: Bearer with the token", self._bearer),
            )
            if digest is not None
        )

    def accept(self, request: web.Request) -> bool:
        """Return whether a request may come in."""
        if not self._required:
            return True
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        value = text.strip().encode(errors="surrogateescape")  # the bytes as they arrived
        if scheme.lower() == "bearer":
            return _matches(self._bearer, value)
        if scheme.lower() == "basic":
            try:
                return _matches(self._basic, base64.b64decode(value, validate=True))
            except binascii.Error:
                return False
        return False


def _secret(value: SecretStr | None) -> str:
    return "" if value is None else value.get_secret_value()


def _digest(value: bytes | str) -> bytes:
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).digest()


def _matches(expected: bytes | None, given: bytes) -> bool:
    # Digests have one length, so the comparison tells nothing about the length of the secret.
    return expected is not None and hmac.compare_digest(expected, _digest(given))


def _same_site(origin: str, host: str) -> bool:
    """Return whether an Origin header names the host and port of a Host header."""
    try:
        parsed = urlsplit(origin)
        port = parsed.port or _DEFAULT_PORTS.get(parsed.scheme)
        ours = urlsplit(f"{parsed.scheme}://{host}")
        return bool(parsed.hostname) and (parsed.hostname, port) == (
            ours.hostname,
            ours.port or _DEFAULT_PORTS.get(parsed.scheme),
        )
    except ValueError:
        return False


@web.middleware
async def _explain_routing(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer unknown paths and methods in JSON, with what would be right."""
    problem = request.match_info.http_exception
    if isinstance(problem, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(problem.allowed_methods))
        return _json(
            {"error": f"{request.path} takes {allowed}, not {request.method}"},
            status=405,
            headers={"Allow": allowed},
        )
    if problem is not None:
        paths = sorted({resource.canonical for resource in request.app.router.resources()})
        return _json({"error": f"there is nothing at {request.path}", "paths": paths}, status=404)
    return await handler(request)


def _json(
    body: object, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=encode(body),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
