"""``penstock run --dry-run``."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from penstock.cli.output import money, print_json
from penstock.settings import get_settings

if TYPE_CHECKING:
    from penstock.jobs.dry_run import DryRun
    from penstock.seeds import SeedSource
    from penstock.workflow import Pipeline

_SHOWN = 2
"""How many seeds' prompts are printed."""
_REHEARSED = 50
"""How many seeds the estimate is judged by."""


def show_dry_run(pipeline: Pipeline, seeds: SeedSource, *, limit: int | None, as_json: bool) -> None:
    """Print the prompts of the first seeds, and what the whole run would take; no model is asked."""
    from penstock.jobs.dry_run import estimate

    rehearsals = asyncio.run(_rehearse(pipeline, seeds))
    records = min(limit or 10**12, seeds.total if seeds.total is not None else len(rehearsals))
    expected = estimate(pipeline, rehearsals, records, get_settings())
    if as_json:
        shown = [asdict(rehearsal) for rehearsal in rehearsals[:_SHOWN]]
        print_json({"seeds": shown, "estimate": asdict(expected)})
        return
    for number, rehearsal in enumerate(rehearsals[:_SHOWN], start=1):
        _show(number, rehearsal)
    click.echo(
        f"{expected.records} records: {expected.calls} calls"
        + (f" (at most {expected.most_calls} with healing)" if expected.most_calls > expected.calls else "")
        + f", about {expected.input_tokens:,} tokens in and at most {expected.most_output_tokens:,} out"
        + f", at most {money(expected.most_cost)}."
    )


async def _rehearse(pipeline: Pipeline, seeds: SeedSource) -> list[DryRun]:
    from penstock.jobs.dry_run import dry_run

    settings = get_settings()
    return [await dry_run(pipeline, variables, settings) for variables in seeds.head(_REHEARSED)]


def _show(number: int, rehearsal: DryRun) -> None:
    for prompt in rehearsal.prompts:
        heat = "" if prompt.temperature is None else f", temperature {prompt.temperature}"
        click.secho(
            f"Seed {number}, step {prompt.step}: {prompt.block_type} asks {prompt.model}{heat}", bold=True
        )
        for message in prompt.messages:
            click.echo(f"  {message['role']}: " + str(message["content"]).replace("\n", "\n    "))
    if rehearsal.stopped is not None:
        click.echo(f"  (what follows depends on answers: {rehearsal.stopped})")
    click.echo()
