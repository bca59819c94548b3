"""Pipelines: saved, changed, listed, versioned, deleted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock.entities import RecordStatus
from penstock.errors import NotFoundError
from penstock.storage import jobs, pipelines, records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from support.records import save_all

New = Callable[..., NewRecord]
DEFINITION = {"name": "P", "blocks": [{"type": "A", "config": {}}], "constraints": {"max_total_tokens": 25}}


@pytest.mark.row("A144", "A145", "A212", "A217")
async def test_a_pipeline_is_read_as_it_was_saved_and_the_newest_comes_first(storage: Storage) -> None:
    async with storage.session() as session:
        first = await pipelines.save_pipeline(session, "P", DEFINITION, source="# mine\nname: P\n")
        second = await pipelines.save_pipeline(session, "Q", {"name": "Q", "blocks": []})
        read = await pipelines.get_pipeline(session, first)
        listed = await pipelines.list_pipelines(session)

    assert read.to_dict().keys() >= {"id", "name", "definition", "created_at", "validation_config"}
    assert (read.name, read.definition, read.version) == ("P", DEFINITION, 1)
    assert read.source == "# mine\nname: P\n"
    assert [pipeline.id for pipeline in listed] == [second, first]


async def test_a_changed_pipeline_is_a_new_version_and_jobs_keep_theirs(
    storage: Storage, job_id: int
) -> None:
    async with storage.session() as session:
        version = await pipelines.update_pipeline(session, 1, "P2", {"name": "P2", "blocks": []})
        await pipelines.save_validation_config(session, 1, {"field_order": {"primary": ["a"]}})
        now = await pipelines.get_pipeline(session, 1)
        then = await pipelines.get_pipeline(session, 1, version=1)
        versions = await pipelines.list_versions(session, 1)
        job = await jobs.get_job(session, job_id)
        later = await jobs.get_job(session, await jobs.create_job(session, 1, 1))

    assert (version, now.version, now.name) == (2, 2, "P2")
    assert now.validation_config == {"field_order": {"primary": ["a"]}}
    assert (then.version, then.name) == (1, "P")
    assert [stored.version for stored in versions] == [2, 1]
    assert (job.pipeline_version, later.pipeline_version) == (1, 2)


@pytest.mark.row("A146", "A148")
async def test_an_unknown_pipeline_is_not_found(storage: Storage) -> None:
    async with storage.session() as session:
        with pytest.raises(NotFoundError, match=r"^pipeline not found$"):
            await pipelines.get_pipeline(session, 1)
        with pytest.raises(NotFoundError, match=r"^pipeline not found$"):
            await pipelines.update_pipeline(session, 1, "P", {})
        with pytest.raises(NotFoundError, match=r"^pipeline not found$"):
            await pipelines.list_versions(session, 1)
        with pytest.raises(NotFoundError, match=r"^pipeline not found$"):
            await pipelines.delete_pipeline(session, 1)
        with pytest.raises(NotFoundError, match=r"^pipeline not found$"):
            await pipelines.save_validation_config(session, 1, {})


@pytest.mark.row("A149")
async def test_deleting_a_pipeline_deletes_its_jobs_and_records(
    storage: Storage, job_id: int, new_record: New
) -> None:
    [record_id] = await save_all(storage, new_record(0))

    async with storage.session() as session:
        await records.update_record(session, record_id, status=RecordStatus.ACCEPTED)
        await pipelines.delete_pipeline(session, 1)

    async with storage.reading() as session:
        assert (await records.list_page(session)).records == []
        assert await jobs.list_jobs(session) == []
        assert await records.list_history(session, record_id) == []
