"""What a route can ask for: the services that run as long as the process, and a session of the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from penstock import llm
from penstock.api.metrics import Metrics
from penstock.api.telemetry import Telemetry
from penstock.blocks.registry import BlockRegistry
from penstock.entities import ExecutionResult
from penstock.gates import GateRegistry
from penstock.jobs.queue import JobQueue
from penstock.jobs.runtime import Runtime
from penstock.settings import Settings
from penstock.storage.database import Session, Storage
from penstock.templates import TemplateRegistry


@dataclass(frozen=True, slots=True)
class Observations:
    """Where executions are counted, and sent on as spans, whoever asked for them."""

    metrics: Metrics
    telemetry: Telemetry

    def note(self, pipeline: str, result: ExecutionResult) -> None:
        """Note an execution of the pipeline of that name."""
        self.metrics.count_usage(result.usage, failed=result.error is not None)
        self.telemetry.record(pipeline, result)


@dataclass(slots=True)
class Services:
    """Everything that lives as long as the service."""

    runtime: Runtime
    blocks: BlockRegistry
    gates: GateRegistry
    templates: TemplateRegistry
    observed: Observations
    queue: JobQueue
    before_delete: list[Callable[[int], Awaitable[None]]] = field(default_factory=list)
    """Called with a pipeline's id before it is deleted; jobs end there what is still running."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the service is told to stop: whoever listens to a job is sent away."""

    @property
    def settings(self) -> Settings:
        """The settings that the service was started with."""
        return self.runtime.settings

    @property
    def storage(self) -> Storage:
        """The open database."""
        return self.runtime.storage

    @property
    def metrics(self) -> Metrics:
        """The counters behind ``/metrics``."""
        return self.observed.metrics

    @property
    def client(self) -> llm.Client:
        """The client for models that all of the service shares."""
        return self.runtime.client


async def get_services(request: Request) -> Services:
    """The services of the application that was asked.

    Like all that routes depend on it is ``async``: FastAPI sends whatever is not to a thread.
    """
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


async def _open_session(services: ServicesDep) -> AsyncIterator[Session]:
    async with services.storage.session() as session:
        yield session


async def _open_reading(services: ServicesDep) -> AsyncIterator[Session]:
    async with services.storage.reading() as session:
        yield session


SessionDep = Annotated[Session, Depends(_open_session, scope="function")]
"""A transaction that may write, committed before the answer goes out."""
ReadingDep = Annotated[Session, Depends(_open_reading, scope="function")]
"""A transaction that only reads."""
