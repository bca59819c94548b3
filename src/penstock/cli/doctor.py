"""``penstock doctor``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import click

from penstock.cli.output import FOUND, WELL, describe_model, json_option, print_json
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
    """One thing that penstock needs, and how it stands."""

    name: str
    state: State
    message: str


@click.command(epilog=_EXAMPLES)
@click.option("--ask", is_flag=True, help="Ask the configured model one question as well.")
@json_option
def doctor(ask: bool, as_json: bool) -> None:
    """Say what is set up, what is missing, and the line that mends it."""
    settings = get_settings()
    facts = [*_look(settings)]
    if ask:
        facts.append(asyncio.run(_ask(settings)))
    if as_json:
        print_json([asdict(fact) for fact in facts])
    else:
        for fact in facts:
            click.echo(f"{fact.state:<12}{fact.name:<20}{fact.message}")
    sys.exit(FOUND if any(fact.state == "missing" for fact in facts) else WELL)


def _look(settings: Settings) -> Iterator[Diagnostic]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Diagnostic("Python", "found", version)
    yield Diagnostic("Model", "found", describe_model(settings).removeprefix("Model: "))
    yield from _look_at_embedded(settings)
    yield asyncio.run(_look_at_database(settings))
    yield from _look_at_blocks()


def _look_at_embedded(settings: Settings) -> Iterator[Diagnostic]:
    """The embedded model's pieces; with another model configured, none of them is needed."""
    from penstock.llm import embedded

    unmet: State = "unavailable" if settings.model_configured else "missing"
    for need in embedded.check_requirements(settings):
        message = need.found if need.is_met else f"{need.found}: {need.advice}"
        yield Diagnostic(f"Embedded {need.name}", "found" if need.is_met else unmet, message)


async def _look_at_database(settings: Settings) -> Diagnostic:
    from penstock.storage.database import Storage

    try:
        where = settings.database_url or settings.database_path
        if settings.database_url is None and not settings.database_path.exists():
            return Diagnostic("Database", "found", f"{settings.database_path} will be made by the first run")
        async with Storage(where) as storage:
            return Diagnostic("Database", "found", storage.name)
    except PipelineError as error:
        return Diagnostic("Database", "missing", error.message)


def _look_at_blocks() -> Iterator[Diagnostic]:
    from penstock.blocks.registry import default_registry

    registry = default_registry()
    yield Diagnostic("Blocks", "found", f"{len(registry.list_types())} blocks")
    for error in registry.errors:
        yield Diagnostic("Blocks", "missing", f"{error['file']}: {error['error']}")


async def _ask(settings: Settings) -> Diagnostic:
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
