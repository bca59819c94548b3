"""``penstock run --dry-run``."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

from penstock.cli.output import format_money, print_json, print_result
from penstock.settings import get_settings
from penstock.user_output import user_output

if TYPE_CHECKING:
    from penstock.jobs.dry_run import DryRun
    from penstock.seeds import SeedSource
    from penstock.workflow import Pipeline

_SHOWN_SEEDS = 2
"""How many seeds' prompts are printed."""
_SAMPLED_SEEDS = 50
"""How many seeds the estimate is based on."""


def show_dry_run(pipeline: Pipeline, seeds: SeedSource, *, limit: int | None, as_json: bool) -> None:
    """Print the prompts of the first seeds and an estimate of the whole run; no model is called."""
    from penstock.jobs.dry_run import estimate

    with user_output():
        dry_runs = asyncio.run(_run_samples(pipeline, seeds))
    records = min(limit or 10**12, seeds.total if seeds.total is not None else len(dry_runs))
    expected = estimate(pipeline, dry_runs, records, get_settings())
    if as_json:
        shown = [asdict(sample) for sample in dry_runs[:_SHOWN_SEEDS]]
        print_json({"seeds": shown, "estimate": asdict(expected)})
        return
    for number, sample in enumerate(dry_runs[:_SHOWN_SEEDS], start=1):
        _show_prompts(number, sample)
    print_result(
        f"{expected.records} records: {expected.calls} calls"
        + (f" (at most {expected.most_calls} with healing)" if expected.most_calls > expected.calls else "")
        + f", about {expected.input_tokens:,} tokens in and at most {expected.most_output_tokens:,} out"
        + f", at most {format_money(expected.most_cost)}."
    )


async def _run_samples(pipeline: Pipeline, seeds: SeedSource) -> list[DryRun]:
    from penstock.jobs.dry_run import dry_run

    settings = get_settings()
    return [await dry_run(pipeline, variables, settings) for variables in seeds.head(_SAMPLED_SEEDS)]


def _show_prompts(number: int, sample: DryRun) -> None:
    for prompt in sample.prompts:
        temperature = "" if prompt.temperature is None else f", temperature {prompt.temperature}"
        print_result(
            f"Seed {number}, step {prompt.step}: {prompt.block_type} asks {prompt.model}{temperature}",
            bold=True,
        )
        for message in prompt.messages:
            print_result(f"  {message['role']}: " + str(message["content"]).replace("\n", "\n    "))
    if sample.stopped is not None:
        print_result(f"  (the following prompts depend on answers: {sample.stopped})")
    print_result()
