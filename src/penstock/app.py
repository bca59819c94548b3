"""The service: puts the pieces together, and listens. ``python -m penstock.app`` starts it."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware

from penstock import __version__
from penstock.api import blocks, exports, health, jobs, pipelines, records, templates
from penstock.api.deps import Observations, Services
from penstock.api.errors import EVERYWHERE, ErrorShield, add_error_handlers, error_responses
from penstock.api.logging import set_up_logging
from penstock.api.metrics import Metrics, Observer
from penstock.api.pages import add_pages
from penstock.api.security import COOKIE, Guard, Policy, is_loopback, require_token_for_public_bind
from penstock.api.telemetry import Telemetry
from penstock.blocks.registry import default_registry as default_blocks
from penstock.errors import ConfigurationError, PipelineError
from penstock.gates import default_registry as default_gates
from penstock.jobs.queue import JobQueue
from penstock.jobs.runtime import open_runtime
from penstock.redaction import register_secrets
from penstock.settings import Settings, get_settings
from penstock.templates import TemplateRegistry

ROUTERS = (
    health.router,
    blocks.router,
    templates.router,
    pipelines.router,
    jobs.router,
    records.router,
    exports.router,
)
"""All routes. A new router is one more name here."""

_TURN_SECONDS = 0.0005
"""How long one thread may keep the interpreter while another waits for it.

A thread that reads from SQLite asks for the interpreter once a row. At Python's 5 ms a page of records takes
a tenth of a second while a job keeps the event loop busy.
"""
_GOODBYE_SECONDS = 5
"""How long requests that are under way may take when the service is told to stop."""


@asynccontextmanager
async def open_services(settings: Settings, metrics: Metrics | None = None) -> AsyncIterator[Services]:
    """Open everything that lives as long as the service; raises StorageError, ConfigurationError."""
    async with AsyncExitStack() as stack:
        telemetry = Telemetry()
        if settings.otel:
            telemetry.start()
            stack.callback(telemetry.shut_down)
        runtime = await stack.enter_async_context(open_runtime(settings))
        observed = Observations(metrics or Metrics(), telemetry)
        queue = await stack.enter_async_context(JobQueue(runtime, observed.note))
        yield Services(
            runtime=runtime,
            observed=observed,
            blocks=default_blocks(settings),
            gates=default_gates(settings),
            templates=TemplateRegistry(user_dir=settings.user_templates),
            queue=queue,
            before_delete=[queue.cancel_jobs_of],
        )


_TOKENS: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer API_TOKEN`"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Token"},
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "`POST /api/session` sets it.",
    },
}


class _Application(FastAPI):
    """Says in its description that a token may be needed: the guard asks for it, and no route does."""

    def openapi(self) -> dict[str, Any]:
        schema = super().openapi()
        schema["components"].setdefault("securitySchemes", _TOKENS)
        schema.setdefault("security", [{}, *({name: []} for name in _TOKENS)])
        return schema


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; its lifespan opens and closes the services, unless ``app.state`` has them already."""
    chosen = settings or get_settings()
    register_secrets(*chosen.secret_values())
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(chosen, metrics) as services:
            app.state.services = services
            yield

    app = _Application(
        title="penstock",
        version=__version__,
        summary="LLM generation that can be trusted.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=error_responses(*EVERYWHERE),
        generate_unique_id_function=_operation_id,
        middleware=[
            Middleware(Observer, metrics=metrics),
            Middleware(Guard, policy=Policy.of(chosen)),
            Middleware(ErrorShield),
        ],
    )
    app.state.metrics = metrics
    add_error_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    add_pages(app, chosen)
    return app


def _operation_id(route: APIRoute) -> str:
    """A route is called what its function is called, so that a generated client reads well."""
    return route.name


class _Server(uvicorn.Server):
    """Says where it listens once it does, and leaves the process alive when it is told to stop."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None], closing: asyncio.Event) -> None:
        super().__init__(config)
        self._announce = announce
        self._closing = closing

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._closing.set()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, which raises the signal again at the end: then nobody would close the database."""
        earlier = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)


def serve(settings: Settings | None = None) -> None:
    """Listen until told to stop; raises ConfigurationError when this may not or cannot be done."""
    settings = settings or get_settings()
    require_token_for_public_bind(settings)
    set_up_logging(settings)
    sys.setswitchinterval(_TURN_SECONDS)
    with _listen(settings.host, settings.port) as listener, asyncio.Runner(loop_factory=_loop()) as runner:
        runner.run(_serve(settings, listener))


async def _serve(settings: Settings, listener: socket.socket) -> None:
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
    )

    def announce() -> None:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        sys.stdout.write(f"penstock {__version__} at http://{shown}:{port}\n{settings.model_line}\n")
        if not is_loopback(host):
            sys.stdout.write("Other machines can reach it; they need the token.\n")
        sys.stdout.flush()

    async with open_services(settings, app.state.metrics) as services:
        app.state.services = services
        await _Server(config, announce, services.closing).serve([listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        listener = socket.socket(family, kind)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigurationError(f"HOST {host} is no address of this machine.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"Cannot listen at {host}:{port}: {reason}. Choose another with PORT (0 takes a free one)."
        ) from error
    return listener


def _loop() -> Callable[[], Any] | None:
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop


def main() -> None:
    """Start the service as the environment says; a failure is one sentence on standard error."""
    try:
        serve()
    except PipelineError as error:
        sys.stderr.write(f"Error: {error.message}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
