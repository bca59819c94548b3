"""Which records a run of a job makes: seeds × repetitions × children, without those that exist already."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock import llm
from penstock.entities import ExecutionResult, RecordId, Usage
from penstock.errors import (
    BadInputError,
    BlockExecutionError,
    PipelineError,
    SerializationError,
    ValidationError,
)
from penstock.jobs.finished_records import FinishedRecords
from penstock.jobs.options import JobOptions
from penstock.jobs.progress import Progress
from penstock.seeds import Seed, UnusableSeed
from penstock.workflow import Child, Pipeline, RunContext, snapshot

_SKIPPED_PER_TURN = 500
"""Existing records after which other tasks of the event loop get their turn."""

_Identity = tuple[RecordId, Mapping[str, Any], llm.Sample, BadInputError | None]
"""A record before a multiplier: identity, variables, sample, and why its seed cannot be used, if so."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How a failed record is to be made again."""

    round: int
    """How often it will have been retried, this time included."""
    from_step: int | None
    """The step whose gates refused it. None when an error stopped it: then its finished calls are reused."""


@dataclass(frozen=True, slots=True)
class EarlierWork:
    """What earlier runs of a job have made and used."""

    progress: Progress
    seconds: float = 0.0
    """How long they took."""
    finished: FinishedRecords = field(default_factory=FinishedRecords)
    """Records that need not be made again."""
    retries: Mapping[RecordId, Retry] | None = None
    """The failed records to make again; None in a run that makes the missing records instead."""
    unsplit_seeds: Container[RecordId] = frozenset()
    """Seeds whose multiplier failed: a run that retries makes all of their children."""


@dataclass(slots=True)
class WorkItem:
    """One record to make."""

    identity: RecordId
    metadata: Mapping[str, Any]
    """The seed's variables."""
    child: Child
    context: RunContext
    share: float = 1.0
    """The part of its seed that this record stands for."""
    failure: ExecutionResult | None = None
    """The record itself, when its seed or its multiplier failed and nothing is left to run."""

    @property
    def retried(self) -> bool:
        """Whether the record replaces a failed one."""
        return self.context.round > 0


class WorkItems:
    """Prepares the records of a run, one seed at a time, in the order of the seeds.

    Records that exist already are counted in the progress and skipped. A seed whose multiplier fails becomes
    one failed record.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        seeds: Iterable[Seed | UnusableSeed],
        options: JobOptions,
        earlier: EarlierWork,
        journal: llm.Journal | None,
    ) -> None:
        self.ready: deque[WorkItem] = deque()
        """Records that can be made now."""
        self.incomplete = False
        """Whether records are missing that this run was not asked to make."""
        self.on_call: Callable[[], None] | None = None
        """Called when a record is about to call a model."""
        self._pipeline = pipeline
        self._identities = _list_identities(seeds)
        self._pending: _Identity | None = None
        """The next record, while it is not known yet whether it exists."""
        self._mode = options.mode
        self._left = sys.maxsize if options.limit is None else options.limit
        self._earlier = earlier
        self._progress = earlier.progress
        self._journal = journal
        self._preparing = asyncio.Lock()

    async def prepare_next(self) -> bool:
        """Prepare the next records; False when there are no more seeds, or the limit is reached.

        After True there may still be no record ready: then ask again.
        """
        async with self._preparing:
            if not self._pipeline.is_multiplier:
                return await self._prepare_one()
            if self.ready:  # another worker has prepared some meanwhile
                return True
            return await self._prepare_children()

    async def _prepare_one(self) -> bool:
        skipped = 0
        while (following := await self._take_next()) is not None:
            identity, metadata, sample, error = following
            if not self._is_within_limit():
                return False
            if self._is_to_be_made(identity):
                if error is not None:
                    self._progress.steps[0].started += 1
                    self._add_failure(identity, metadata, sample, error, Usage())
                else:
                    self._add(identity, metadata, sample, Child(snapshot(dict(metadata))))
                return True
            self._skip(identity, 1.0)
            skipped += 1
            if skipped % _SKIPPED_PER_TURN == 0:
                await asyncio.sleep(0)
        return False

    async def _prepare_children(self) -> bool:
        following = await self._take_next()
        if following is None or self._left <= 0:
            self.incomplete |= following is not None
            return False
        await self._split(*following)
        return True

    async def _take_next(self) -> _Identity | None:
        """The next record before a multiplier, once it is known whether its seed's records exist.

        A worker that is cancelled meanwhile leaves it to the next.
        """
        if self._pending is None:
            self._pending = next(self._identities, None)
        following = self._pending
        if following is not None and not self._earlier.finished.knows(following[0].seed):
            await self._earlier.finished.read_on(following[0].seed)
        self._pending = None
        return following

    async def _split(
        self,
        identity: RecordId,
        metadata: Mapping[str, Any],
        sample: llm.Sample,
        unusable: BadInputError | None,
    ) -> None:
        """Let the multiplier make the children of one seed."""
        context = RunContext(sample=sample, journal=self._journal, mode=self._mode)
        count = self._progress.steps[0]
        count.started += 1
        try:
            if unusable is not None:
                raise unusable
            children = await self._pipeline.expand(metadata, context)
        except (BadInputError, BlockExecutionError, ValidationError, SerializationError) as error:
            if not self._is_within_limit():
                return
            if not self._is_to_be_made(identity):
                self._skip(identity, 1.0)
                return
            self._add_failure(identity, metadata, sample, error, context.usage)
            return
        count.finished += 1
        if not children:
            self._progress.seeds_done += 1.0
        for child in children:
            own = identity._replace(child=child.name)
            if not self._is_within_limit():
                return
            if self._is_to_be_made(own):
                self._add(own, metadata, sample, child, share=1.0 / len(children))
            else:
                self._skip(own, 1.0 / len(children))

    def _is_within_limit(self) -> bool:
        """Count one record, and say whether the limit still covers it."""
        self._left -= 1
        if self._left < 0:
            self.incomplete = True
        return self._left >= 0

    def _is_to_be_made(self, identity: RecordId) -> bool:
        earlier = self._earlier
        if earlier.retries is None:
            return identity not in earlier.finished
        return identity in earlier.retries or identity._replace(child="") in earlier.unsplit_seeds

    def _skip(self, identity: RecordId, share: float) -> None:
        if identity in self._earlier.finished:
            self._progress.seeds_done += share
        else:
            self.incomplete = True

    def _add_failure(
        self,
        identity: RecordId,
        metadata: Mapping[str, Any],
        sample: llm.Sample,
        error: PipelineError,
        usage: Usage,
    ) -> None:
        failure = self._pipeline.fail(metadata, error, usage)
        self._add(identity, metadata, sample, Child(failure.result), failure=failure)

    def _add(
        self,
        identity: RecordId,
        metadata: Mapping[str, Any],
        sample: llm.Sample,
        child: Child,
        *,
        share: float = 1.0,
        failure: ExecutionResult | None = None,
    ) -> None:
        context = RunContext(
            sample=sample._replace(child=identity.child),
            journal=self._journal,
            mode=self._mode,
            on_step=self._progress.count_step,
            on_call=self.on_call,
        )
        retry = self._earlier.retries.get(identity) if self._earlier.retries else None
        if retry is not None:
            context.retry_from, context.round = retry.from_step, retry.round
        self.ready.append(WorkItem(identity, metadata, child, context, share, failure))


def _list_identities(
    seeds: Iterable[Seed | UnusableSeed],
) -> Iterator[_Identity]:
    numbers = llm.SampleNumbers()
    for index, seed in enumerate(seeds):
        if isinstance(seed, UnusableSeed):
            yield RecordId(index, 0), {}, llm.Sample(), seed.error
            continue
        first = numbers.take(seed.metadata, seed.repetitions)
        for repetition in range(seed.repetitions):
            sample = first._replace(repetition=first.repetition + repetition)
            yield RecordId(index, repetition), seed.metadata, sample, None
