"""Values that a database cannot hold cost their record only, and nobody waits for a writer that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from penstock.entities import RecordId, RecordStatus, Usage
from penstock.errors import SerializationError, StorageError
from penstock.storage import jobs
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.records import rows
from penstock.storage.writer import Writer
from support.records import read_all
from support.watched_storage import WatchedStorage

New = Callable[..., NewRecord]
MOST = rows.MOST_TOKENS


class Untouchable:
    """Cannot be compared, printed or written."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compare\nme not")

    __hash__ = None  # type: ignore[assignment]  # as an array is

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    "usage",
    [
        Usage(1 << 63, 3, 0, 1, 0.5),
        Usage(7, 10**30, 10**30, 1, 0.5),
        Usage(-5, 3, -9, 1, 0.5),
        Usage(7, 3, 0, 1, float("nan")),
        Usage(7, 3, 0, 1, float("inf")),
    ],
    ids=["2**63", "10**30", "negative", "nan", "inf"],
)
async def test_usage_that_no_database_can_hold_is_unknown_and_the_record_is_kept(
    storage: Storage, writer: Writer, new_record: New, usage: Usage
) -> None:
    async with asyncio.timeout(60):
        await asyncio.gather(
            writer.save_record(new_record(1, usage=usage)), writer.save_record(new_record(2))
        )

    odd, other = await read_all(storage)
    assert odd.output == other.output == "text"
    assert odd.usage.to_dict()["total_tokens"] is None
    assert 0 <= odd.usage.input_tokens <= MOST
    assert other.usage.to_dict()["total_tokens"] == 0


@pytest.mark.parametrize(
    "value",
    [10**30, -(2**64), "nul \x00 here", "lone \ud83d", float("nan"), {"deep": [float("-inf"), "\udfff"]}],
    ids=["10**30", "-2**64", "nul", "surrogate", "nan", "nested"],
)
async def test_values_that_json_can_say_are_kept(
    storage: Storage, writer: Writer, new_record: New, value: Any
) -> None:
    error = {"error": f"wrong: {value}", "type": "ValueError", "detail": {"error": f"{value}"}, "tries": 0}
    failed = new_record(2, "", status=RecordStatus.FAILED, error=error)

    await asyncio.gather(writer.save_record(new_record(1, "x", {"v": value})), writer.save_record(failed))

    first, second = await read_all(storage)
    assert "v" in first.state
    assert second.error is not None
    if isinstance(value, int | str):
        assert first.state["v"] == value
        assert second.error["error"] == f"wrong: {value}"


async def test_a_value_that_cannot_be_kept_costs_its_record_only(
    storage: Storage, writer: Writer, new_record: New
) -> None:
    state = {"v": Untouchable()}

    outcomes = await asyncio.gather(
        writer.save_record(new_record(1)),
        writer.save_record(new_record(2, "x", state)),
        writer.save_record(new_record(3)),
        return_exceptions=True,
    )

    assert [type(outcome) for outcome in outcomes] == [type(None), SerializationError, type(None)]
    assert len(str(outcomes[1]).splitlines()) == 1
    assert len(await read_all(storage)) == 2


async def test_a_text_that_is_too_long_costs_its_record_only(
    storage: Storage, writer: Writer, new_record: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_LONGEST", 10_000)

    with pytest.raises(SerializationError, match=r"characters of text; 10,000 can be stored at most"):
        await writer.save_record(new_record(1, "x" * 20_000))
    await writer.save_record(new_record(2))

    assert len(await read_all(storage)) == 1


async def test_what_only_the_database_refuses_costs_its_record_only(watched: WatchedStorage) -> None:
    async with Writer(watched) as writer:
        watched.connection.setlimit(0, 100_000)  # SQLITE_LIMIT_LENGTH: a gigabyte otherwise
        outcomes = await asyncio.gather(
            *(writer.save_record(NewRecord(1, 1, RecordId(seed), {}, "x" * size))
              for seed, size in enumerate([10, 200_000, 10])),
            writer.save_call(b"k" * 16, b"v" * 200_000),
            writer.save_call(b"l" * 16, b"v"),
            writer.flush(),
            return_exceptions=True,
        )  # fmt: skip

    found = [type(outcome) for outcome in outcomes]
    none = type(None)
    assert found == [none, SerializationError, none, SerializationError, none, none]
    assert "too big" in str(outcomes[1])
    assert len(await read_all(watched)) == 2


async def test_numbers_of_an_earlier_version_can_be_summed_up(
    storage: Storage, writer: Writer, job_id: int, new_record: New
) -> None:
    await asyncio.gather(*(writer.save_record(new_record(seed)) for seed in range(3)))
    async with storage.session() as session:
        await session.execute(text(f"UPDATE records SET input_tokens = {2**63 - 1}, output_tokens = 5"))

    async with storage.reading() as session:
        usage = await jobs.usage_of_job(session, job_id)

    assert usage.input_tokens > 2**64
    assert usage.output_tokens == 15


async def test_nobody_waits_for_a_writer_that_foreign_code_has_ended(watched: WatchedStorage) -> None:
    async with asyncio.timeout(60), Writer(watched) as writer:
        await writer.save_record(NewRecord(1, 1, RecordId(0), {}))
        saving = asyncio.create_task(writer.save_record(NewRecord(1, 1, RecordId(1), {})))
        await asyncio.sleep(0)
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == "penstock writer"]
        task.cancel()

        with pytest.raises(StorageError, match=r"stopped") as raised:
            await saving
        await writer.save_record(NewRecord(1, 1, RecordId(2), {}))
        writer.update_job(1, progress=0.5)

    assert len(str(raised.value).splitlines()) == 1
    assert RecordId(2) in [record.identity for record in await read_all(watched)]
    async with watched.reading() as session:
        assert (await jobs.get_job(session, 1)).progress == 0.5
