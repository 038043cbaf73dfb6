"""What every service's aiohttp app has: errors as RFC 9457 problems, probes, metrics, and declared access.

One middleware translates errors: Rejected → its 4xx, Transient → 503 with `Retry-After`, a bug → 500.
Every request has an id, which its answer, its problem document and its log lines share.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from prometheus_client import generate_latest
from structlog.contextvars import bound_contextvars

from shared.background import BACKGROUND, Background
from shared.crypto import make_id
from shared.errors import AppError, NotFoundError, RejectedError, TooLargeError, TransientError
from shared.listener import listening, note_header
from shared.log import Ration, get_logger
from shared.metrics import REGISTRY
from shared.readiness import Readiness, ReadyCheck
from shared.settings import Settings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PROBLEM = "application/problem+json"
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
REQUEST_ID_HEADER = "X-Request-Id"


class Access(StrEnum):
    """Who may call a route; every route declares it."""

    PROBE = "probe"  # the cluster: no data, no secret
    SIGNED = "signed"  # whoever can sign the body
    PUBLIC = "public"  # anyone: the sign-in page and static files
    READ = "read"
    MANAGE = "manage"
    ADMIN = "admin"


ROUTE_ACCESS: web.AppKey[dict[tuple[str, str], Access]] = web.AppKey("route_access", dict)
READINESS: web.AppKey[Readiness] = web.AppKey("readiness", Readiness)
RATION: web.AppKey[Ration] = web.AppKey("ration", Ration)


def make_app(
    *middlewares: Middleware,
    ready: Mapping[str, ReadyCheck],
    probe_port: int | None = None,
    max_body: int = 1024 * 1024,
) -> web.Application:
    """Return an app with probes, metrics and errors; `ready` names what `/readyz` asks.

    With a `probe_port`, probes and metrics are served there, by `serve`, and not by this app.
    """
    app = _make_bare_app(*middlewares, max_body=max_body)
    app[READINESS] = Readiness(ready)
    app.cleanup_ctx.append(_open_background)
    if probe_port is None:
        _add_probes(app)
    return app


def make_probe_app(served: web.Application) -> web.Application:
    """Return an app with the probes and metrics of one that is served."""
    app = _make_bare_app()
    app[READINESS], app[BACKGROUND] = served[READINESS], served[BACKGROUND]
    _add_probes(app)
    return app


def _make_bare_app(*middlewares: Middleware, max_body: int = 1024) -> web.Application:
    everywhere = (note_header, identify, translate_errors)
    app = web.Application(middlewares=[*everywhere, *middlewares], client_max_size=max_body)
    app.on_response_prepare.append(_add_request_id)
    app[ROUTE_ACCESS] = {}
    app[RATION] = Ration()
    return app


def _add_probes(app: web.Application) -> None:
    add_route(app, "GET", "/livez", livez, Access.PROBE)
    add_route(app, "GET", "/readyz", readyz, Access.PROBE)
    add_route(app, "GET", "/metrics", metrics, Access.PROBE)


def add_route(app: web.Application, method: str, path: str, handler: Handler, access: Access) -> None:
    """Add a route together with the declaration of who may call it."""
    app.router.add_route(method, path, handler)
    app[ROUTE_ACCESS][method, path] = access


def access_of(request: web.Request) -> Access | None:
    """Return what the matched route declares; `None` when no route matched."""
    resource = request.match_info.route.resource
    method = "GET" if request.method == "HEAD" else request.method
    return request.app[ROUTE_ACCESS].get((method, resource.canonical)) if resource else None


async def _open_background(app: web.Application) -> AsyncIterator[None]:
    app[BACKGROUND] = Background()
    yield


async def livez(request: web.Request) -> web.Response:
    """Alive: the event loop and the loops beside it turn. Dependencies don't count, a restart brings none back."""
    if stuck := request.app[BACKGROUND].heartbeats.stuck():
        get_logger().error("stuck", loops=stuck)
        return web.json_response({"stuck": stuck}, status=503)
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """Ready: what the service depends on answers within a second."""
    answers = await request.app[READINESS].answers()
    return web.json_response(answers, status=200 if all(answers.values()) else 503)


async def metrics(_request: web.Request) -> web.Response:
    """The metrics in Prometheus' text format."""
    return web.Response(body=generate_latest(REGISTRY), content_type="text/plain", charset="utf-8")


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id of ours; what a caller sends as one is not taken into logs."""
    request[REQUEST_ID] = make_id("req")
    with bound_contextvars(request_id=request[REQUEST_ID]):
        return await handler(request)


async def _add_request_id(request: web.Request, response: web.StreamResponse) -> None:
    if request_id := request.get(REQUEST_ID):
        response.headers[REQUEST_ID_HEADER] = request_id


@web.middleware
async def translate_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a problem document; a bug's traceback goes to the log, never to the caller."""
    try:
        return await handler(request)
    except AppError as error:
        return _refuse(request, error)
    except web.HTTPRequestEntityTooLarge:
        return _refuse(request, TooLargeError())
    except web.HTTPNotFound:
        return _refuse(request, NotFoundError("There is nothing at this address."))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        rejected = RejectedError(f"{error.reason}.")
        rejected.status = error.status  # type: ignore[misc]
        return _refuse(request, rejected)
    except Exception:
        get_logger().exception("request_failed", method=request.method, route=declared_route(request))
        return problem(
            AppError("This is an error of Tillstream; the log has its cause."), request_id=request[REQUEST_ID]
        )


def _refuse(request: web.Request, error: AppError) -> web.Response:
    unlogged = request.app[RATION].take(error.code)
    if unlogged is not None:
        get_logger().info(
            "request_refused",
            method=request.method,
            route=declared_route(request),
            status=error.status,
            code=error.code,
            unlogged=unlogged,
        )
    return problem(error, request_id=request[REQUEST_ID])


def declared_route(request: web.Request) -> str | None:
    """Return the path as it was declared: a real one can hold the secret of a sign-in link. `None` for no route."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else None


def problem(error: AppError, *, request_id: str) -> web.Response:
    """Render an error as a problem document. https://www.rfc-editor.org/rfc/rfc9457"""
    body = {
        "type": f"urn:tillstream:error:{error.code}",
        "title": (type(error).__doc__ or "").strip(),
        "status": error.status,
        "code": error.code,
        "detail": error.message,
        "request_id": request_id,
        **({"field": error.field} if error.field else {}),
    }
    headers = {}
    if isinstance(error, TransientError):
        headers[hdrs.RETRY_AFTER] = str(max(1, math.ceil(error.retry_after_seconds or 0)))
    return web.json_response(body, status=error.status, content_type=PROBLEM, headers=headers)


async def serve(app: web.Application, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let requests in flight finish and close what the app opened.

    Raises what ended a task of the app's background.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(listening(app, settings.host, settings.port))
        if settings.probe_port is not None:
            await stack.enter_async_context(listening(make_probe_app(app), settings.host, settings.probe_port))
        get_logger().info("listening", url=url, probe_port=settings.probe_port)
        if settings.address_file:
            _write_address(Path(settings.address_file), url)
        app[BACKGROUND].failed.add_done_callback(lambda _: stopping.set())
        await stopping.wait()
        if app[BACKGROUND].failed.done():
            app[BACKGROUND].failed.result()


def _write_address(path: Path, url: str) -> None:
    """Let a reader see the whole address or none."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    unfinished.replace(path)
