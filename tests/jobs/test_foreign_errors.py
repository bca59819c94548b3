"""Whatever a block raises or cancels: every seed is accounted for, and the run goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import text

from penstock.blocks.base import BaseBlock
from penstock.entities import JobStatus
from penstock.errors import PipelineError, StorageError
from penstock.jobs.runs import RunOptions, open_run
from penstock.settings import Settings
from penstock.storage.database import Storage
from penstock.storage.records import stream_records
from penstock.workflow import Pipeline
from support.runs import numbered, read_job, read_lines, read_records, run
from support.trial_blocks import trial_registry


class Panic(BaseException):
    """As PyO3's."""


class MuteError(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Unkeepable:
    """Has no JSON, no text, and cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compare me not")

    __hash__ = None  # type: ignore[assignment]  # as an array is

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def _cancel_own_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def _cancel_own_task_later() -> None:
    task = asyncio.current_task()
    assert task is not None
    for delay in (0.0, 0.001, 0.01):
        asyncio.get_running_loop().call_later(delay, task.cancel)


def _raise(error: BaseException) -> None:
    raise error


DEEDS: Mapping[str, Callable[[], Any]] = {
    "cancel": _cancel_own_task,
    "cancel later": _cancel_own_task_later,
    "cancelled": lambda: _raise(asyncio.CancelledError()),
    "panic": lambda: _raise(Panic("rust")),
    "generator exit": lambda: _raise(GeneratorExit()),
    "exit": lambda: _raise(SystemExit(3)),
    "group": lambda: _raise(BaseExceptionGroup("many", [Panic("one"), ValueError("two")])),
    "mute": lambda: _raise(MuteError()),
    "surrogate": lambda: _raise(ValueError("bad \ud800")),
    "keys": lambda: {(1, 2): 3},
    "digits": lambda: 10**5000,
    "big": lambda: 10**30,
    "lone": lambda: "\ud83d",
    "unkeepable": Unkeepable,
    "storage": lambda: _raise(StorageError("not the run's")),
}
HARMLESS = {"big", "lone", "digits", "cancel later", "cancel"}


class Odd(BaseBlock):
    """Does a deed for the seeds whose ``n`` is even."""

    outputs: ClassVar[list[str]] = ["o"]

    def __init__(self, deed: str) -> None:
        self.deed = deed

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        value = DEEDS[self.deed]() if data["n"] % 2 == 0 else "fine"
        await asyncio.sleep(0)
        return {"o": value if value is not None else "fine"}


def odd(deed: str) -> Pipeline:
    """A pipeline of one such block."""
    registry = trial_registry()
    registry.register(Odd)
    return Pipeline("odd", [{"type": "Odd", "config": {"deed": deed}}], block_registry=registry)


@pytest.mark.parametrize("concurrency", [None, 4])
@pytest.mark.parametrize("deed", [deed for deed in DEEDS if deed != "storage"])
async def test_every_seed_is_accounted_for_whatever_its_block_does(
    settings: Settings,
    tmp_path: Path,
    deed: str,
    concurrency: int | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "penstock")  # a lone surrogate in a log line stops pytest-xdist
    output = tmp_path / "o.jsonl"
    async with asyncio.timeout(100):
        report = await run(odd(deed), numbered(6), settings, output, concurrency=concurrency)

    kept = await read_records(settings)
    assert sorted(record.identity.seed for record in kept if record.identity) == [0, 1, 2, 3, 4, 5]
    assert (report.generated + report.failed, report.status) == (6, JobStatus.COMPLETED)
    assert report.generated >= 3
    if deed not in HARMLESS:
        assert report.failed == 3
        assert all(record.error for record in kept if record.identity and record.identity.seed % 2 == 0)
    assert len(read_lines(output)) == report.generated
    assert (await read_job(settings)).status is JobStatus.COMPLETED


async def test_a_run_whose_tasks_are_all_cancelled_by_a_block_does_not_end_as_completed(
    settings: Settings, tmp_path: Path
) -> None:
    class CancelAll(BaseBlock):
        """Cancels whatever runs."""

        outputs: ClassVar[list[str]] = ["o"]

        async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
            if data["n"] == 2:
                for task in asyncio.all_tasks() - {test}:
                    task.cancel()
            await asyncio.sleep(0)
            return {"o": 1}

    test = asyncio.current_task()
    registry = trial_registry()
    registry.register(CancelAll)
    pipeline = Pipeline("all", [{"type": "CancelAll"}], block_registry=registry)

    async with asyncio.timeout(100):
        attempt = asyncio.create_task(run(pipeline, numbered(6), settings, tmp_path / "o.jsonl"))
        outcome = (await asyncio.gather(attempt, return_exceptions=True))[0]

    job = await read_job(settings)
    assert job.status is not JobStatus.RUNNING
    if job.status is JobStatus.COMPLETED:
        assert len(await read_records(settings)) == 6
    else:
        assert isinstance(outcome, BaseException)


async def test_the_output_has_only_what_the_database_has_accepted(settings: Settings, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    pipeline = Pipeline("p", [{"type": "Note"}], block_registry=trial_registry())
    async with open_run(
        pipeline, numbered(200), RunOptions(output, concurrency=50), settings=settings
    ) as run_:
        async with Storage(settings.database_path) as storage, storage.session() as session:
            await session.execute(
                text(
                    "CREATE TRIGGER full BEFORE INSERT ON records WHEN NEW.seed >= 60 "
                    "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
                )
            )
        with pytest.raises(StorageError):
            await run_.process()

    async with Storage(settings.database_path) as storage:
        kept = {str(record.identity) async for record in stream_records(storage)}
    written = {line["id"] for line in read_lines(output)}
    assert written <= kept
    job = await read_job(settings)
    assert job.status is JobStatus.PAUSED
    assert job.error


async def test_the_death_of_an_internal_task_ends_the_run_with_its_sentence(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline("p", [{"type": "Slow", "config": {"seconds": 60}}], block_registry=trial_registry())
    options = RunOptions(tmp_path / "o.jsonl")
    async with asyncio.timeout(50), open_run(pipeline, numbered(3), options, settings=settings) as run_:
        running = asyncio.create_task(run_.process())
        await asyncio.sleep(0.05)
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == "output file"]
        task.cancel()

        with pytest.raises(PipelineError, match="output file"):
            await running

    job = await read_job(settings)
    assert job.status is JobStatus.PAUSED
    assert job.error is not None
    assert "output file" in job.error
