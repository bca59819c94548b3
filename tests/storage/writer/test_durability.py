"""What the writer leaves on the disk: every acknowledged record, and little more than its text."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from penstock.entities import RecordId, Usage
from penstock.serialization import to_json
from penstock.storage import jobs, pipelines
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.journal import DurableJournal
from penstock.storage.trace_codec import _CALL
from penstock.storage.writer import Writer
from support.records import read_all
from support.watched_storage import WatchedStorage

_CHILD = """
import asyncio, sys
from penstock.entities import RecordId
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.writer import Writer

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

    read = {record.identity.seed: record for record in await read_all(storage) if record.identity}

    assert set(acknowledged) <= set(read)
    assert all(record.output == f"text {seed}" for seed, record in read.items())
    async with Writer(storage) as writer, DurableJournal(storage, writer) as journal:
        calls = await asyncio.gather(*(journal.find(seed.to_bytes(16, "big")) for seed in read))
    assert calls == [b"call %d" % seed for seed in read]


async def test_a_full_disk_fails_what_waits_and_writing_goes_on_when_there_is_space(
    watched: WatchedStorage,
) -> None:
    def record(seed: int, size: int) -> NewRecord:
        return NewRecord(1, 1, RecordId(seed), {}, "x" * size)

    async with Writer(watched) as writer:
        # SQLite's own way to have a full disk; the limit belongs to the connection.
        watched.connection.execute("PRAGMA max_page_count=1")
        large = (writer.save_record(record(seed, 100_000)) for seed in range(3))
        outcomes = await asyncio.gather(*large, return_exceptions=True)
        watched.connection.execute("PRAGMA max_page_count=1000000")
        await writer.save_record(record(9, 100_000))

    message = f"There is no room left on the disk for {watched.path}."
    assert [str(outcome) for outcome in outcomes] == [message] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3, "each waiter has an exception of its own"
    assert [record.identity for record in await read_all(watched)] == [RecordId(9)]


async def test_records_and_progress_wait_for_the_disk_and_calls_do_not(watched: WatchedStorage) -> None:
    waited = {}
    async with Writer(watched) as writer:
        await writer.save_call(b"1" * 16, b"")
        waited["call"] = watched.waits_for_disk()
        await writer.save_record(NewRecord(1, 1, RecordId(1), {}))
        waited["record"] = watched.waits_for_disk()
        await writer.save_call(b"2" * 16, b"")
        waited["call after a record"] = watched.waits_for_disk()
        writer.update_job(1, progress=0.5)
        await writer.flush()
        waited["progress"] = watched.waits_for_disk()

    assert waited == {"call": False, "record": True, "call after a record": False, "progress": True}


async def test_a_call_is_written_before_a_record_of_the_same_group(watched: WatchedStorage) -> None:
    async with Writer(watched) as writer:
        await asyncio.gather(
            writer.save_record(NewRecord(1, 1, RecordId(1), {})), writer.save_call(b"1" * 16, b"")
        )
        waited = watched.waits_for_disk()

    written = [statement.split("(")[0] for statement in watched.statements if "INSERT" in statement]
    assert [statement.strip() for statement in written] == ["INSERT INTO journal", "INSERT INTO records"]
    assert watched.count("COMMIT") == 2
    assert waited


async def test_a_large_group_takes_few_statements_and_one_wait(watched: WatchedStorage) -> None:
    async with Writer(watched) as writer:
        await asyncio.gather(
            *(writer.save_record(NewRecord(1, 1, RecordId(seed), {})) for seed in range(64 + 16 + 4 + 1))
        )

    assert watched.count("INSERT INTO records") == 4
    assert watched.count("COMMIT") == 1
    assert len(await read_all(watched)) == 85


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
