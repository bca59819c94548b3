"""Which records of a job are in the code of a user's block, written where it outlives the process.

When the process dies without a word, the next one finds here what was running: a record that was in such a
block both times when the process died is not tried a third time. A record that waits for a model, or is in a
built-in block, is not suspected: processes are also killed from outside, at any moment.
"""

from __future__ import annotations

import mmap
import struct
import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from penstock.entities import RecordId
from penstock.storage.database import Storage
from penstock.storage.job_locks import find_lock_folder
from penstock.workflow import Pipeline, RunContext, StepEvent

_PLACE = struct.Struct("<Bqq47p")
"""Whether a record is in a block, then the record: seed, repetition, child."""
_MULTIPLIER = RecordId(-1)
_PLACES = 2048
_SIZE = _PLACE.size * _PLACES


class InFlight:
    """A place for each worker of a job: the record that it makes, and whether that is in a block's code."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    def follow(
        self, worker: int, record: RecordId, context: RunContext, foreign_steps: Container[int]
    ) -> None:
        """Note the worker's record, and from now on when it is in one of ``foreign_steps``."""
        if worker >= _PLACES:
            return
        memory, place = self._memory, worker * _PLACE.size
        seed, repetition, child = record
        _PLACE.pack_into(memory, place, 0, seed, repetition, child.encode("utf-8", "replace"))
        on_step, on_call = context.on_step, context.on_call

        is_foreign = False

        def see_step(event: StepEvent) -> None:
            nonlocal is_foreign
            is_foreign = event.kind == "started" and event.number in foreign_steps
            memory[place] = is_foreign
            if on_step is not None:
                on_step(event)

        def see_call() -> None:
            memory[place] = 0
            if on_call is not None:
                on_call()

        def see_answer() -> None:
            memory[place] = is_foreign

        context.on_step, context.on_call, context.on_answer = see_step, see_call, see_answer

    def enter_multiplier(self, worker: int) -> None:
        """The worker is about to let the multiplier take a seed apart, whichever it is."""
        if worker < _PLACES:
            _PLACE.pack_into(self._memory, worker * _PLACE.size, 1, *_MULTIPLIER[:2], b"")

    def clear(self, worker: int) -> None:
        """The worker's record is in no block any more."""
        if worker < _PLACES:
            self._memory[worker * _PLACE.size] = 0


def find_foreign_steps(pipeline: Pipeline) -> frozenset[int]:
    """The numbers of the steps whose block or gates are not penstock's own."""
    return frozenset(
        step.number
        for step in pipeline.steps
        if any(not type(part).__module__.startswith("penstock.") for part in (step.block, *step.gates))
    )


@contextmanager
def open_in_flight(storage: Storage, job_id: int) -> Iterator[InFlight | None]:
    """The places of a job, inside the ``with``; None where no file can be made for them."""
    path = _find_path(storage, job_id)
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("w+b") as file:
            file.truncate(_SIZE)
            memory = mmap.mmap(file.fileno(), _SIZE)
    except OSError:
        yield None
        return
    try:
        yield InFlight(memory)
    finally:
        memory.close()
        path.unlink(missing_ok=True)


def take_suspects(storage: Storage, job_id: int) -> list[str]:
    """What was in a block when the process died that worked on the job, in words; it is told once."""
    path = _find_path(storage, job_id)
    try:
        content = path.read_bytes()
        path.unlink(missing_ok=True)
    except OSError:
        return []
    places = _PLACE.iter_unpack(content[: len(content) // _PLACE.size * _PLACE.size])
    found = [
        RecordId(seed, repetition, child.decode("utf-8", "replace"))
        for is_in_block, seed, repetition, child in places
        if is_in_block
    ]
    return ["the multiplier" if record == _MULTIPLIER else f"record {record}" for record in found]


def _find_path(storage: Storage, job_id: int) -> Path:
    if storage.path is not None:
        return find_lock_folder(storage.path) / f"job-{job_id}.in-flight"
    name = blake2b(storage.name.encode(), digest_size=6).hexdigest()
    return Path(tempfile.gettempdir()) / f"penstock-{name}-job-{job_id}.in-flight"
