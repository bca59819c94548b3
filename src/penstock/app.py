"""Composes the service and starts it: settings, services, routers, middleware, server.

``python -m penstock.app`` listens as the environment says.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial

import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware

from penstock import __version__, event_loop
from penstock.api import (
    blocks,
    exports,
    health,
    job_events,
    jobs,
    openapi,
    pipeline_checks,
    pipeline_runs,
    pipelines,
    records,
    sessions,
    templates,
)
from penstock.api.connections import Connections
from penstock.api.deps import ExecutionObserver, Services
from penstock.api.errors import COMMON_STATUSES, ErrorShield, add_error_handlers, error_responses
from penstock.api.logging import set_up_logging
from penstock.api.metrics import Metrics, Observer
from penstock.api.openapi import Application
from penstock.api.pages import add_pages
from penstock.api.security import Guard, Policy, is_loopback, require_token_for_public_bind
from penstock.api.telemetry import Telemetry
from penstock.api.wrong_tokens import WrongTokens
from penstock.blocks.registry import default_registry as default_blocks
from penstock.descriptors import count_for_connections, open_standard_streams, raise_limit
from penstock.errors import ConfigurationError, PipelineError
from penstock.event_loop import current_stop_signals
from penstock.gates import default_registry as default_gates
from penstock.jobs.deletions import ending_pipeline
from penstock.jobs.queue import JobQueue
from penstock.jobs.runtime import open_runtime
from penstock.redaction import register_secrets
from penstock.settings import Settings, get_settings
from penstock.templates import TemplateRegistry
from penstock.user_output import divert_user_output

logger = logging.getLogger("penstock.app")

ROUTERS = (
    health.router,
    sessions.router,
    blocks.router,
    templates.router,
    pipelines.router,
    pipeline_checks.router,
    pipeline_runs.router,
    jobs.router,
    job_events.router,
    records.router,
    exports.router,
)
"""All routers, in the order of the pages that describe them."""

_SWITCH_SECONDS = 0.0005
"""How long one thread may keep the interpreter while another one waits for it.

A thread that reads from SQLite needs the interpreter for each row. With Python's default of 5 ms, a page of
records takes 0.1 s while a job keeps the event loop busy.
"""
_SHUTDOWN_SECONDS = 5
"""How long running requests may take when the service is stopped."""
_MOST_CONNECTIONS = 4096


@asynccontextmanager
async def open_services(settings: Settings, metrics: Metrics | None = None) -> AsyncIterator[Services]:
    """Open everything that lives as long as the service; raises StorageError, ConfigurationError."""
    async with AsyncExitStack() as stack:
        telemetry = Telemetry()
        if settings.otel:
            telemetry.start()
            stack.callback(telemetry.shut_down)
        runtime = await stack.enter_async_context(open_runtime(settings))
        observer = ExecutionObserver(metrics or Metrics(), telemetry)
        queue = await stack.enter_async_context(JobQueue(runtime, observer.observe))
        yield Services(
            runtime=runtime,
            observer=observer,
            blocks=default_blocks(settings),
            gates=default_gates(settings),
            templates=TemplateRegistry(user_dir=settings.user_templates),
            queue=queue,
            before_delete=[partial(ending_pipeline, queue)],
        )


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; its lifespan opens and closes the services."""
    chosen = settings or get_settings()
    register_secrets(*chosen.secret_values())
    metrics = Metrics()
    wrong_tokens = WrongTokens()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(chosen, metrics) as services:
            app.state.services = services
            yield

    app = Application(
        title="penstock",
        version=__version__,
        summary="LLM generation that can be trusted.",
        description=openapi.DESCRIPTION,
        contact=openapi.CONTACT,
        license_info=openapi.LICENSE,
        servers=openapi.SERVERS,
        openapi_tags=openapi.TAGS,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=error_responses(*COMMON_STATUSES),
        generate_unique_id_function=_operation_id,
        middleware=[
            Middleware(Observer, metrics=metrics),
            Middleware(Guard, policy=Policy.of(chosen), wrong_tokens=wrong_tokens),
            Middleware(ErrorShield),
        ],
    )
    app.state.metrics = metrics
    app.state.wrong_tokens = wrong_tokens
    add_error_handlers(app, [route for router in ROUTERS for route in router.routes])
    for router in ROUTERS:
        app.include_router(router)
    add_pages(app, chosen)
    return app


def _operation_id(route: APIRoute) -> str:
    """The operation is named like its function, which gives generated clients readable names."""
    return route.name


class _Server(uvicorn.Server):
    """Announces its address once it listens; returns after a signal instead of ending the process."""

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
        """Like uvicorn's, but does not raise the signal again, because the database must still be closed."""
        signals = current_stop_signals()
        if signals is None:  # not in the main thread, which alone receives signals
            yield
            return
        with signals.handling(lambda number: self.handle_exit(number, None)):
            yield


def serve(settings: Settings | None = None) -> None:
    """Listen until a signal stops it; raises ConfigurationError when the settings forbid or prevent it."""
    settings = settings or get_settings()
    require_token_for_public_bind(settings)
    set_up_logging(settings)
    divert_user_output(on=False)  # the log is on standard error
    raise_limit()
    sys.setswitchinterval(_SWITCH_SECONDS)
    with _listen(settings.host, settings.port) as listener:
        event_loop.run(_serve(settings, listener), logger.warning)


async def _serve(settings: Settings, listener: socket.socket) -> None:
    app = create_app(settings)
    connections = Connections(min(_MOST_CONNECTIONS, count_for_connections()))
    config = uvicorn.Config(
        app,
        http=connections.protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
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
        watching = asyncio.create_task(connections.watch())
        try:
            await _Server(config, announce, services.closing).serve([listener])
        finally:
            watching.cancel()


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


def main() -> None:
    """Start the service as the environment says; an error is one sentence on standard error."""
    open_standard_streams()
    try:
        serve()
    except PipelineError as error:
        sys.stderr.write(f"Error: {error.message}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
