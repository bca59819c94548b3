"""Dependencies of the routes: the services of the process, and sessions of the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from penstock import llm
from penstock.api.metrics import Metrics
from penstock.api.telemetry import Telemetry
from penstock.blocks.registry import BlockRegistry
from penstock.entities import ExecutionResult
from penstock.errors import NotFoundError
from penstock.gates import GateRegistry
from penstock.jobs.queue import JobQueue
from penstock.jobs.runtime import Runtime
from penstock.settings import Settings
from penstock.storage.database import Session, Storage
from penstock.templates import TemplateRegistry


@dataclass(frozen=True, slots=True)
class ExecutionObserver:
    """Counts executions and sends their spans, for routes and jobs alike."""

    metrics: Metrics
    telemetry: Telemetry

    def observe(
        self, pipeline: str, result: ExecutionResult, headers: Mapping[str, str] | None = None
    ) -> None:
        """Count and send one execution of the pipeline with this name, for the request with ``headers``."""
        self.metrics.count_usage(result.usage, failed=result.error is not None)
        self.telemetry.record(pipeline, result, headers)


@dataclass(slots=True)
class Services:
    """Everything that lives as long as the service."""

    runtime: Runtime
    blocks: BlockRegistry
    gates: GateRegistry
    templates: TemplateRegistry
    observer: ExecutionObserver
    queue: JobQueue
    before_delete: list[Callable[[int], AbstractAsyncContextManager[None]]] = field(default_factory=list)
    """Entered with a pipeline's id while it is deleted, to end what still runs."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the service begins to stop: answers that wait for a job's progress end then."""

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
        return self.observer.metrics

    @property
    def client(self) -> llm.Client:
        """The client for models, shared by all requests and jobs."""
        return self.runtime.client


async def get_services(request: Request) -> Services:
    """The services of the application.

    It is ``async``, like all dependencies here, because FastAPI runs other functions on a thread.
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
"""A transaction that may write, committed before the answer is sent."""
ReadingDep = Annotated[Session, Depends(_open_reading, scope="function")]
"""A transaction that only reads."""


async def _get_template(template_id: str, services: ServicesDep) -> dict[str, Any]:
    definition = services.templates.get_template(template_id)
    if definition is None:
        raise NotFoundError(
            "template not found",
            detail={
                "template_id": template_id,
                "available_templates": [one["id"] for one in services.templates.list_templates()],
            },
        )
    return definition


TemplateDep = Annotated[dict[str, Any], Depends(_get_template)]
"""The definition of the template in the address; a 404 when there is none."""
