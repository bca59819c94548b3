"""The journal returns every call that was saved, and answers most look-ups without the database."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from penstock.errors import StorageError
from penstock.storage.database import Storage
from penstock.storage.journal import DurableJournal, KeyFilter
from penstock.storage.writer import Writer


async def test_the_journal_returns_what_was_saved(
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


async def test_a_look_up_fails_when_the_database_does(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(Storage(tmp_path / "a.db"))
        writer = await stack.enter_async_context(Writer(storage))
        journal = await stack.enter_async_context(DurableJournal(storage, writer))
        await journal.save(b"k" * 16, b"v")
        async with storage.session() as session:
            await session.execute(text("DROP TABLE journal"))

        with pytest.raises(StorageError, match="no such table"):
            await journal.find(b"k" * 16)
        assert await journal.find(b"q" * 16) is None


def test_the_filter_has_no_false_negatives_and_few_false_positives() -> None:
    def key(number: int) -> bytes:
        return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest()

    known = KeyFilter(0)
    for number in range(known.capacity):
        known.add(key(number))

    assert all(key(number) in known for number in range(0, known.capacity, 7))
    strange = range(known.capacity, known.capacity + 20_000)
    assert sum(key(number) in known for number in strange) < 200


async def test_a_value_that_is_damaged_is_given_as_one_that_nobody_can_read(
    storage: Storage, writer: Writer
) -> None:
    keys = [bytes([number]) * 16 for number in range(3)]
    async with DurableJournal(storage, writer) as journal:
        await asyncio.gather(*(journal.save(key, b"value") for key in keys))
        if not storage.is_postgres:  # which keeps bytes in such a column, whatever happens
            async with storage.session() as session:
                await session.execute(text("UPDATE journal SET value = 7 WHERE key = :key"), {"key": keys[1]})
                await session.execute(
                    text("UPDATE journal SET value = '{}' WHERE key = :key"), {"key": keys[2]}
                )
            found = await asyncio.gather(*(journal.find(key) for key in keys))

            assert found == [b"value", b"", b""]


async def test_nobody_waits_for_a_look_up_that_foreign_code_has_ended(
    storage: Storage, writer: Writer
) -> None:
    async with asyncio.timeout(60), DurableJournal(storage, writer) as journal:
        await journal.save(b"k" * 16, b"value")
        looking = asyncio.create_task(journal.find(b"k" * 16))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == "penstock journal"]
        task.cancel()

        with pytest.raises(StorageError, match="stopped"):
            await looking
        assert await journal.find(b"k" * 16) == b"value"
