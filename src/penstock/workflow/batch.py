"""Running a pipeline over many seeds in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from penstock import llm
from penstock.entities import ExecutionResult
from penstock.errors import BadInputError, PipelineError
from penstock.lifecycle import undo_cancellation
from penstock.seeds.model import split_seed
from penstock.workflow.run_context import RunContext

Stream = Callable[[Mapping[str, Any], RunContext], AsyncIterator[ExecutionResult]]
"""The results of one seed's variables, as ``Pipeline.stream`` gives them."""


async def run_seeds(
    stream: Stream, seeds: Iterable[Mapping[str, Any]], concurrency: int, journal: llm.Journal | None
) -> list[ExecutionResult]:
    """The results of all seeds and their repetitions in order, ``concurrency`` of them made at a time.

    Raises BadInputError for a concurrency below 1, and StorageError when the journal cannot be kept.
    """
    if concurrency < 1:
        raise BadInputError(f"concurrency is {concurrency}; give 1 or more.")
    numbers = llm.SampleNumbers()
    samples = [
        (variables, first._replace(repetition=first.repetition + repetition))
        for variables, repetitions in map(split_seed, seeds)
        for first in (numbers.take(variables, repetitions),)
        for repetition in range(repetitions)
    ]
    results: list[list[ExecutionResult]] = [[] for _ in samples]
    waiting = iter(enumerate(samples))

    async def work() -> None:
        for index, (variables, sample) in waiting:
            context = RunContext(sample=sample, journal=journal)
            results[index] = [result async for result in stream(variables, context)]

    owner = asyncio.current_task()
    cancelled_before = owner.cancelling() if owner is not None else 0
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(samples))):
                group.create_task(work())
    except ExceptionGroup as errors:  # no except*: Python 3.11.2 puts what is raised there into a group again
        undo_cancellation(owner, cancelled_before)
        raise (errors.subgroup(PipelineError) or errors).exceptions[0] from None
    return [result for made in results for result in made]
