"""``penstock doctor``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import click

from penstock.cli.output import ExitStatus, json_option, print_json, print_result
from penstock.errors import PipelineError
from penstock.settings import Settings, get_settings

State = Literal["found", "missing", "unavailable"]

_EXAMPLES = """\b
Examples:
  penstock doctor
  penstock doctor --ask
"""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that penstock needs, and whether it is there."""

    name: str
    state: State
    message: str


@click.command(epilog=_EXAMPLES)
@click.option("--ask", is_flag=True, help="Ask the configured model one question as well.")
@click.option("--repair", is_flag=True, help="Make failed records of damaged ones, to be made again.")
@json_option
def doctor(ask: bool, repair: bool, as_json: bool) -> None:
    """Show what is set up, what is missing or damaged, and the command that fixes it."""
    settings = get_settings()
    diagnostics = [*_check_all(settings, repair=repair)]
    if ask:
        diagnostics.append(asyncio.run(_ask_model(settings)))
    if as_json:
        print_json([asdict(diagnostic) for diagnostic in diagnostics])
    else:
        for diagnostic in diagnostics:
            print_result(f"{diagnostic.state:<12}{diagnostic.name:<20}{diagnostic.message}")
    is_missing = any(diagnostic.state == "missing" for diagnostic in diagnostics)
    sys.exit(ExitStatus.INCOMPLETE if is_missing else ExitStatus.OK)


def _check_all(settings: Settings, *, repair: bool) -> Iterator[Diagnostic]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Diagnostic("Python", "found", version)
    yield _check_model(settings)
    yield from _check_network(settings)
    yield from _check_embedded_model(settings)
    yield from asyncio.run(_check_database(settings, repair=repair))
    yield from _check_blocks()


def _check_model(settings: Settings) -> Diagnostic:
    from penstock.llm.providers import find_model_problem

    name = settings.model_line.removeprefix("Model: ")
    problem = find_model_problem(None, settings)
    return Diagnostic("Model", "found" if problem is None else "missing", problem or name)


def _check_network(settings: Settings) -> Iterator[Diagnostic]:
    """The proxy on the way to the model, and the trusted certificates, where either was set."""
    from penstock.llm.providers import resolve
    from penstock.llm.transports.proxy import describe_way, find_proxy
    from penstock.llm.transports.tls import describe_certificates, tls_context

    try:
        url = resolve(None, settings).url or ""
        if url and (way := describe_way(url, settings)):
            find_proxy(url, settings)
            yield Diagnostic("Proxy", "found", f"the model is reached {way}")
        if certificates := describe_certificates(settings):
            tls_context(settings)
            yield Diagnostic("Certificates", "found", certificates)
    except PipelineError as error:
        yield Diagnostic("Network", "missing", error.message)


def _check_embedded_model(settings: Settings) -> Iterator[Diagnostic]:
    """The parts of the embedded model; with another model configured, none of them is needed."""
    from penstock.llm import embedded

    unmet: State = "unavailable" if settings.model_configured else "missing"
    for need in embedded.check_requirements(settings):
        message = need.found if need.is_met else f"{need.found}: {need.advice}"
        yield Diagnostic(f"Embedded {need.name}", "found" if need.is_met else unmet, message)


async def _check_database(settings: Settings, *, repair: bool) -> list[Diagnostic]:
    from penstock.cli.database_check import check_content
    from penstock.storage.database import Storage

    where = settings.database_url or settings.database_path
    if settings.database_url is None and not settings.database_path.exists():
        message = f"{settings.database_path} is created by the first run"
        return [Diagnostic("Database", "found", message)]
    found: list[Diagnostic] = []
    try:
        async with Storage(where, reads_only=not repair) as storage:
            found.append(Diagnostic("Database", "found", storage.name))
            async for name, state, message in check_content(storage, repair=repair):
                found.append(Diagnostic(name, state, message))
    except PipelineError as error:
        found.append(Diagnostic("Database", "missing", error.message))
    return found


def _check_blocks() -> Iterator[Diagnostic]:
    from penstock.blocks.registry import default_registry

    registry = default_registry()
    yield Diagnostic("Blocks", "found", f"{len(registry.list_types())} blocks")
    for error in registry.errors:
        yield Diagnostic("Blocks", "missing", f"{error['file']}: {error['error']}")


async def _ask_model(settings: Settings) -> Diagnostic:
    from penstock import llm

    try:
        async with llm.Client(settings) as client:
            with llm.use_client(client):
                question = [{"role": "user", "content": "Say: ready"}]
                answer = await llm.complete(question, max_tokens=16, temperature=0.0)
        seconds = (answer.usage.end_time or 0.0) - (answer.usage.start_time or 0.0)
        return Diagnostic("Answer", "found", f"{answer.model} answered in {seconds:.1f} s")
    except PipelineError as error:
        return Diagnostic("Answer", "missing", error.message)
