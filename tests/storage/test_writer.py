"""Group commit: what is acknowledged is on disk, whatever happens next."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from penstock.entities import JobStatus, RecordId, RecordStatus, Usage
from penstock.errors import StorageError
from penstock.serialization import to_json
from penstock.storage import jobs, pipelines, records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord, Record
from penstock.storage.journal import DurableJournal, KeyFilter
from penstock.storage.trace_codec import _CALL
from penstock.storage.writer import Writer, _SqliteSink

New = Callable[..., NewRecord]


@pytest.fixture
async def writer(storage: Storage, job_id: int) -> AsyncIterator[Writer]:
    """A writer into ``storage``."""
    async with Writer(storage) as opened:
        yield opened


async def _all(storage: Storage) -> list[Record]:
    return [record async for record in records.stream_records(storage)]


async def test_an_acknowledged_record_is_there_for_others(
    where: str | Path, writer: Writer, new_record: New
) -> None:
    await asyncio.gather(*(writer.save_record(new_record(seed)) for seed in range(100)))

    async with Storage(where) as other:
        read = await _all(other)

    assert sorted(record.identity or () for record in read) == [(seed, 0, "") for seed in range(100)]
    assert read[0].trace == list(new_record((read[0].identity or RecordId(0)).seed).trace)


async def test_a_record_is_never_written_twice(storage: Storage, writer: Writer, new_record: New) -> None:
    await writer.save_record(new_record(1, "first"))

    await asyncio.gather(*(writer.save_record(new_record(1, "again")) for _ in range(3)))

    assert [record.output for record in await _all(storage)] == ["first"]


@pytest.mark.parametrize("status", [RecordStatus.PENDING, RecordStatus.FAILED])
async def test_a_failed_record_is_replaced_when_it_is_retried(
    storage: Storage, writer: Writer, new_record: New, status: RecordStatus
) -> None:
    spent = Usage(7, 3, 1, 2, 0.25, 10.0, 11.0, 0)
    failed = new_record(1, "", status=RecordStatus.FAILED, error={"error": "no"}, attempts=6, usage=spent)
    await writer.save_record(failed)
    [before] = await _all(storage)

    again = Usage(7, 3, 0, 2, 0.5, 20.0, 21.0, 1)
    await writer.save_record(new_record(1, "good", status=status, usage=again))

    [record] = await _all(storage)
    assert (record.id, record.status, record.output, record.error) == (before.id, status, "good", None)
    assert (record.cause, record.attempts, record.created_at) == (None, 1, before.created_at)
    assert record.usage == Usage(14, 6, 1, 4, 0.75, 10.0, 21.0, 1)


async def test_progress_goes_with_the_next_group_and_the_latest_wins(
    storage: Storage, writer: Writer, job_id: int, new_record: New
) -> None:
    for number in range(100):
        writer.update_job(job_id, records_generated=number, status=JobStatus.RUNNING, nonsense=1)
    writer.update_job(job_id, usage=Usage(1, 2), completed_at=1767225600.0)
    writer.update_job(job_id + 7, records_generated=1)

    await writer.save_record(new_record(1))

    async with storage.reading() as session:
        job = await jobs.get_job(session, job_id)
    assert (job.records_generated, job.status, job.usage) == (99, "running", Usage(1, 2).to_dict())
    assert job.to_dict()["completed_at"] == "2026-01-01T00:00:00.000000Z"


async def test_progress_alone_is_written_by_itself(storage: Storage, writer: Writer, job_id: int) -> None:
    writer.update_job(job_id, progress=0.5)

    async with asyncio.timeout(20):
        while True:
            async with storage.reading() as session:
                if (await jobs.get_job(session, job_id)).progress == 0.5:
                    break
            await asyncio.sleep(0.02)


async def test_closing_writes_what_is_left(storage: Storage, job_id: int, new_record: New) -> None:
    async with Writer(storage) as writer:
        waiting = [asyncio.create_task(writer.save_record(new_record(seed))) for seed in range(20)]
        await asyncio.sleep(0)
        writer.update_job(job_id, progress=1.0)

    await asyncio.gather(*waiting)
    async with storage.reading() as session:
        assert (await jobs.get_job(session, job_id)).progress == 1.0
    assert len(await _all(storage)) == 20
    with pytest.raises(StorageError, match="writer is closed"):
        await writer.save_record(new_record(99))
    with pytest.raises(StorageError, match="writer is closed"):
        await writer.flush()


async def test_one_bad_record_fails_alone(
    storage: Storage, writer: Writer, job_id: int, new_record: New
) -> None:
    stray = NewRecord(job_id + 50, 1, RecordId(0), {})

    outcomes = await asyncio.gather(
        writer.save_record(new_record(1)),
        writer.save_record(stray),
        writer.save_call(b"k" * 16, b"value"),
        writer.save_record(new_record(2)),
        writer.flush(),
        return_exceptions=True,
    )

    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        StorageError,
        type(None),
        type(None),
        type(None),
    ]
    assert len(await _all(storage)) == 2


async def test_who_stops_waiting_takes_nobody_along(
    storage: Storage, writer: Writer, new_record: New
) -> None:
    impatient = asyncio.create_task(writer.save_record(new_record(1)))
    patient = asyncio.create_task(writer.save_record(new_record(2)))
    await asyncio.sleep(0)
    impatient.cancel()

    await patient

    assert len(await _all(storage)) == 2


async def test_a_full_disk_fails_those_who_wait_and_writing_goes_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    async with Storage(tmp_path / "a.db") as storage:
        async with storage.session() as session:
            pipeline_id = await pipelines.save_pipeline(session, "P", {})
            job_id = await jobs.create_job(session, pipeline_id, 1)

        def record(seed: int, size: int) -> NewRecord:
            return NewRecord(job_id, pipeline_id, RecordId(seed), {}, "x" * size)

        async with Writer(storage) as writer:
            await _set_most_pages(writer, 1)
            large = (writer.save_record(record(seed, 100_000)) for seed in range(3))
            outcomes = await asyncio.gather(*large, return_exceptions=True)
            await _set_most_pages(writer, 1_000_000)
            await writer.save_record(record(9, 100_000))

        said = f"There is no room left on the disk for {storage.path}."
        assert [str(outcome) for outcome in outcomes] == [said] * 3
        assert [record.identity for record in await _all(storage)] == [RecordId(9)]


async def _set_most_pages(writer: Writer, pages: int) -> None:
    """SQLite's own way to have a full disk; the limit belongs to the connection that writes."""
    sink = writer._sink
    assert isinstance(sink, _SqliteSink)

    def limit() -> None:
        assert sink._connection is not None
        sink._connection.execute(f"PRAGMA max_page_count={pages}")

    await asyncio.get_running_loop().run_in_executor(sink._thread, limit)


async def test_a_lock_that_is_let_go_in_time_is_waited_for_and_one_that_is_not_is_an_error(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.db"
    async with Storage(path, lock_seconds=0.3) as storage:
        async with storage.session() as session:
            pipeline_id = await pipelines.save_pipeline(session, "P", {})
            job_id = await jobs.create_job(session, pipeline_id, 1)
        async with Writer(storage) as writer:
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(writer.save_record(NewRecord(job_id, 1, RecordId(1), {})))
            await asyncio.sleep(0.05)
            other.execute("ROLLBACK")
            await waiting

            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageError, match="locked"):
                await writer.save_record(NewRecord(job_id, 1, RecordId(2), {}))
            other.execute("ROLLBACK")
            await writer.save_record(NewRecord(job_id, 1, RecordId(2), {}))
            other.close()

        assert len(await _all(storage)) == 2


_CHILD = """
import asyncio, sys
from penstock.entities import RecordId
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.writer import Writer, _SqliteSink

async def main(where, job_id):
    async with Storage(where) as storage, Writer(storage) as writer:
        async def save(lane):
            for seed in range(lane, 1_000_000, 8):
                key = seed.to_bytes(16, "big")
                await writer.save_call(key, b"call %d" % seed)
                await writer.save_record(NewRecord(job_id, 1, RecordId(seed), {"n": seed}, f"text {seed}"))
                sys.stdout.write(f"{seed}\\n")
                sys.stdout.flush()
        await asyncio.gather(*(save(lane) for lane in range(8)))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.parametrize("lines", [1, 150])
async def test_every_acknowledged_record_survives_a_kill(
    where: str | Path, storage: Storage, job_id: int, lines: int
) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CHILD, str(where), str(job_id), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    acknowledged = [int(await child.stdout.readline()) for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    rest = await child.stdout.read()
    acknowledged += [int(line) for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]
    await child.wait()

    read = {record.identity.seed: record for record in await _all(storage) if record.identity}

    assert set(acknowledged) <= set(read)
    assert all(record.output == f"text {seed}" for seed, record in read.items())
    async with Writer(storage) as writer, DurableJournal(storage, writer) as journal:
        calls = await asyncio.gather(*(journal.find(seed.to_bytes(16, "big")) for seed in read))
    assert calls == [b"call %d" % seed for seed in read]


async def test_the_journal_gives_back_what_it_was_given(
    where: str | Path, storage: Storage, writer: Writer
) -> None:
    keys = [bytes([number]) * 32 for number in range(5)]
    async with DurableJournal(storage, writer) as journal:
        await asyncio.gather(*(journal.save(key, b"\x00\xff" + key) for key in keys))
        await journal.save(keys[0], b"newer")
        found = await asyncio.gather(*(journal.find(key) for key in [*keys, b"z" * 32, keys[1]]))

    async with Storage(where) as other, Writer(other) as again, DurableJournal(other, again) as journal:
        later = await journal.find(keys[2])

    assert found == [b"newer", *(b"\x00\xff" + key for key in keys[1:]), None, b"\x00\xff" + keys[1]]
    assert later == b"\x00\xff" + keys[2]


async def test_a_large_journal_answers_while_its_keys_are_loading(
    where: str | Path, storage: Storage
) -> None:
    keys = [hashlib.sha256(b"%d" % number).digest() for number in range(12_000)]
    async with Writer(storage) as writer:
        await asyncio.gather(*(writer.save_call(key, key[:4]) for key in keys))
        async with DurableJournal(storage, writer) as journal:
            await journal.save(b"new" * 8, b"new")
            early = await asyncio.gather(*(journal.find(key) for key in keys[::500]))
            assert journal._loader is not None
            await journal._loader
            late = await asyncio.gather(
                *(journal.find(key) for key in [*keys[::500], b"new" * 8, b"not" * 8])
            )
        async with DurableJournal(storage, writer):
            pass  # closing does not wait for the loading to end

    assert early == [key[:4] for key in keys[::500]]
    assert late == [*early, b"new", None]


async def test_a_question_fails_when_the_database_does(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(Storage(tmp_path / "a.db"))
        writer = await stack.enter_async_context(Writer(storage))
        journal = await stack.enter_async_context(DurableJournal(storage, writer))
        await journal.save(b"k" * 16, b"v")
        async with storage.session() as session:
            await session.exec_driver_sql("DROP TABLE journal")

        with pytest.raises(StorageError, match="no such table"):
            await journal.find(b"k" * 16)
        assert await journal.find(b"q" * 16) is None


def test_the_filter_forgets_no_key_and_seldom_knows_a_strange_one() -> None:
    def key(number: int) -> bytes:
        return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest()

    known = KeyFilter(0)
    for number in range(known.capacity):
        known.add(key(number))

    assert all(key(number) in known for number in range(0, known.capacity, 7))
    strange = range(known.capacity, known.capacity + 20_000)
    assert sum(key(number) in known for number in strange) < 200


async def test_a_record_costs_at_most_three_kilobytes_on_disk_beyond_its_own_text(tmp_path: Path) -> None:
    count = 1_000
    path = tmp_path / "a.db"
    async with Storage(path) as storage:
        async with storage.session() as session:
            pipeline_id = await pipelines.save_pipeline(session, "P", {})
            job_id = await jobs.create_job(session, pipeline_id, count)
        async with Writer(storage) as writer:
            made = [_two_step_record(job_id, pipeline_id, seed) for seed in range(count)]
            await asyncio.gather(*(writer.save_record(record) for record, _ in made))
            answer = b"a model's answer, with its usage " * 10
            keys = (hashlib.sha256(b"%d" % number).digest() for number in range(2 * count))
            await asyncio.gather(*(writer.save_call(key, answer) for key in keys))
        own = sum(size for _, size in made)

    await asyncio.to_thread(_empty_the_log, path)

    assert (path.stat().st_size - own) / count < 3 * 1024


def _empty_the_log(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _two_step_record(job_id: int, pipeline_id: int, seed: int) -> tuple[NewRecord, int]:
    """A record as a text call and a checked JSON call leave it, and the size of its texts."""
    answer = f"{seed} " + "an answer " * 30
    metadata = {"topic": f"topic {seed}", "content": f"{seed} " + "words of the source " * 12}
    first = {"system": "You are a teacher.", "user": f"Explain {seed}", "assistant": answer}
    second = {"generated": {"title": f"Title {seed}", "description": "of the thing " * 4, "score": 0.7}}
    middle = {**metadata, **first}
    last = {**middle, **second, "pipeline_output": answer}
    usage = Usage(123, 45, 0, 1, 0.000123, 1764010000.123, 1764010001.456)
    call = dict.fromkeys(_CALL, 12345) | {"model": "openai/gpt-4o-mini", "finish_reason": "stop"}
    verdicts = [{"gate": "JSON schema", "passed": True}]
    more = {"execution_time": 0.0123, "usage": usage.to_dict(), "calls": [call], "verdicts": verdicts}
    text = {"block_type": "TextGenerator", "input": metadata, "output": first, "accumulated_state": middle}
    data = {"block_type": "StructuredGenerator", "input": middle, "output": second, "accumulated_state": last}
    trace = [{**text, **more}, {**data, **more}]
    own = len(to_json(metadata)) + len(to_json(first)) + len(to_json(second))
    return NewRecord(job_id, pipeline_id, RecordId(seed), metadata, answer, trace, usage=usage), own
