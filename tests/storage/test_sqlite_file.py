"""The SQLite file deleted, replaced, moved or cut while it is open; and files that cannot be written."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from penstock.entities import RecordId
from penstock.errors import DatabaseGoneError, StorageError
from penstock.storage import jobs, pipelines
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.writer import Writer
from support.records import read_all


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """A database in a folder of its own, with job 1."""
    async with Storage(tmp_path / "data" / "a.db") as opened:
        async with opened.session() as session:
            await pipelines.save_pipeline(session, "P", {"name": "P"})
            await jobs.create_job(session, 1, total_seeds=10)
        yield opened


def new(seed: int) -> NewRecord:
    """A record of job 1."""
    return NewRecord(1, 1, RecordId(seed), {}, f"text {seed}")


def _delete(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()


def _replace(path: Path) -> None:
    other = path.with_name("other.db")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def _move_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def _delete_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def _cut_to_nothing(path: Path) -> None:
    os.truncate(path, 0)


def _cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


EVENTS: list[tuple[Callable[[Path], None], str]] = [
    (_delete, "deleted or moved"),
    (Path.unlink, "deleted or moved"),
    (_replace, "replaced by another file"),
    (_move_folder, "deleted or moved"),
    (_delete_log, "-wal was deleted"),
    (_cut_to_nothing, "was cut"),
    (_cut_in_half, "was cut"),
]


@pytest.mark.parametrize(("event", "sentence"), EVENTS)
async def test_what_happens_to_the_file_is_noticed_and_nothing_is_acknowledged(
    storage: Storage, event: Callable[[Path], None], sentence: str
) -> None:
    assert storage.path is not None
    async with Writer(storage) as writer:
        await asyncio.gather(*(writer.save_record(new(seed)) for seed in range(50)))
        _merge_log(storage.path)
        storage.check_file()

        event(storage.path)

        for attempt in (
            writer.save_record(new(99)),
            writer.save_call(b"k" * 16, b"v"),
            writer.flush(),
            _read(storage),
            _write(storage),
        ):
            with pytest.raises(DatabaseGoneError, match=sentence) as raised:
                await attempt
            assert len(str(raised.value).splitlines()) == 1
    if event in {_delete, Path.unlink, _move_folder}:
        assert not storage.path.exists(), "no empty database is made in its place"


async def test_a_file_that_is_moved_back_is_used_again(storage: Storage) -> None:
    assert storage.path is not None
    away = storage.path.parent.with_name("away")
    async with Writer(storage) as writer:
        await writer.save_record(new(1))
        storage.path.parent.rename(away)
        with pytest.raises(DatabaseGoneError):
            await writer.save_record(new(2))
        away.rename(storage.path.parent)
        await writer.save_record(new(3))

    assert {record.output for record in await read_all(storage)} == {"text 1", "text 3"}


async def test_the_log_that_was_deleted_is_written_into_the_file_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with Storage(path) as storage:
        async with storage.session() as session:
            await pipelines.save_pipeline(session, "kept", {"name": "P"})
        storage.check_file()
        _delete_log(path)
        with pytest.raises(DatabaseGoneError):
            await _read(storage)

    async with Storage(path) as storage, storage.reading() as session:
        assert [one.name for one in await pipelines.list_pipelines(session)] == ["kept"]


async def test_a_database_that_shrinks_by_itself_is_not_taken_for_cut(storage: Storage) -> None:
    assert storage.path is not None
    async with Writer(storage) as writer:
        await asyncio.gather(*(writer.save_record(new(seed)) for seed in range(300)))
        _merge_log(storage.path)
        before = storage.path.stat().st_size
        await _read(storage)
        other = sqlite3.connect(storage.path, isolation_level=None)
        other.execute("DELETE FROM records")
        other.execute("VACUUM")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()

        assert storage.path.stat().st_size < before
        await writer.save_record(new(1))
        await _read(storage)


async def test_a_database_can_be_reached_through_a_link_and_odd_names(tmp_path: Path) -> None:
    real = tmp_path / "a b%20?#é.db"
    link = tmp_path / "link.db"
    link.symlink_to(real)
    for path in (link, real):
        async with Storage(path) as storage:
            async with storage.session() as session:
                await pipelines.save_pipeline(session, "P", {"name": "P"})
            storage.check_file()
    async with Storage(real) as storage, storage.reading() as session:
        assert len(await pipelines.list_pipelines(session)) == 2


async def test_a_read_only_file_system_can_be_read(tmp_path: Path, storage: Storage) -> None:
    assert storage.path is not None
    await storage.aclose()
    folder = tmp_path / "mounted"
    folder.mkdir()
    if not _mount(["--bind", str(storage.path.parent), str(folder)]):
        pytest.skip("needs the right to mount")
    try:
        _mount(["-o", "remount,ro,bind", str(folder)])
        async with Storage(folder / "a.db", reads_only=True) as opened:
            async with opened.session() as session:
                assert (await jobs.get_job(session, 1)).total_seeds == 10
            with pytest.raises(StorageError):
                await _write(opened)
        with pytest.raises(StorageError, match="can be read and not be written"):
            await Storage(folder / "a.db").open()
    finally:
        await asyncio.to_thread(_unmount, folder)
    await storage.open()


async def test_a_file_whose_log_cannot_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "data" / "a.db"
    async with Storage(path) as storage:
        async with storage.session() as session:
            await pipelines.save_pipeline(session, "P", {"name": "P"})
        copy = tmp_path / "copy"
        copy.mkdir()
        for suffix in ("", "-wal"):
            (copy / f"a.db{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    if not _mount(["--bind", str(copy), str(copy)]):
        pytest.skip("needs the right to mount")
    try:
        _mount(["-o", "remount,ro,bind", str(copy)])
        with pytest.raises(StorageError, match=r"together with .*a\.db-wal"):
            await Storage(copy / "a.db", reads_only=True).open()
    finally:
        await asyncio.to_thread(_unmount, copy)


def _mount(arguments: list[str]) -> bool:
    if os.name != "posix" or os.geteuid() != 0:
        return False
    return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], check=False)


def _merge_log(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("PRAGMA wal_checkpoint(FULL)")
    other.close()


async def _read(storage: Storage) -> None:
    async with storage.reading() as session:
        await jobs.list_jobs(session)


async def _write(storage: Storage) -> None:
    async with storage.session() as session:
        await pipelines.save_pipeline(session, "Q", {"name": "Q"})
