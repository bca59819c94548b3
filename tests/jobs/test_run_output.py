"""A run that is started again makes no file worse, and touches none that shows all records already."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from penstock.entities import JobStatus, RecordStatus
from penstock.errors import BadInputError, StorageError
from penstock.jobs.options import RunOptions
from penstock.jobs.output_files import describe_beginning, hidden_name
from penstock.jobs.runs import open_run
from penstock.llm import JournalMode
from penstock.settings import Settings
from penstock.storage import records
from penstock.storage.database import Storage
from penstock.testing import ModelServer, last_user_message, refusal
from support.runs import ASK, build, execute, numbered, read_job, read_lines, run, until


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The file of the accepted records."""
    return tmp_path / "records.jsonl"


@pytest.fixture
def failed(output: Path) -> Path:
    """The file of the failed records."""
    return output.with_name("records.failed.jsonl")


def _identify(path: Path) -> tuple[int, int, bytes]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, path.read_bytes()


def _ids(path: Path) -> list[str]:
    return [line["id"] for line in read_lines(path)]


def _damage(settings: Settings, column: str, where: str) -> None:
    with sqlite3.connect(settings.database_path) as database:
        database.execute(f"update records set {column} = '{{bad' where {where}")


async def _run_until(settings: Settings, model: ModelServer, output: Path, made: int, count: int) -> None:
    """Run until so many records are made, and end at once, as a second Ctrl-C does."""
    model.hold_after = len(model.requests) + made
    async with open_run(
        build(ASK), numbered(count), RunOptions(output, concurrency=4), settings=settings
    ) as prepared:
        running = asyncio.create_task(prepared.process())
        await until(lambda: prepared.progress.made >= made and model.in_flight > 0)
        prepared.cancel()
        model.release()
        await running


async def _forget_what_was_written(settings: Settings) -> None:
    """Let the database know no more than it does of a run that was killed in its first seconds."""
    empty = describe_beginning(0, blake2b(digest_size=20))
    marks = json.dumps({"accepted": [empty], "failed": [empty]})
    await execute(settings, f"UPDATE jobs SET options = json_set(options, '$.files', json('{marks}'))")


# --- a run with nothing to do


async def test_a_finished_run_that_is_started_again_touches_no_file(
    settings: Settings, model: ModelServer, output: Path, failed: Path
) -> None:
    model.answer = lambda body: refusal(400) if last_user_message(body) == "q 1" else "fine"
    await run(build(ASK), numbered(20), settings, output)
    before = _identify(output), _identify(failed)
    ended = (await read_job(settings)).completed_at

    reports = [
        await run(build(ASK), numbered(20), settings, output, **options)
        for options in ({}, {"limit": 5}, {"mode": JournalMode.REPLAY})
    ]

    assert (_identify(output), _identify(failed)) == before
    assert [(report.status, report.generated, report.failed) for report in reports] == [
        (JobStatus.COMPLETED, 19, 1)
    ] * 3
    assert len(model.requests) == 20
    assert (await read_job(settings)).completed_at == ended


async def test_a_preview_that_is_started_again_touches_no_file(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await run(build(ASK), numbered(10), settings, output, limit=4)
    before = _identify(output)

    report = await run(build(ASK), numbered(10), settings, output, limit=4)

    assert _identify(output) == before
    assert (report.status, report.generated) == (JobStatus.PAUSED, 4)
    assert len(model.requests) == 4


async def test_what_a_killed_run_left_beside_its_output_is_removed(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await _run_until(settings, model, output, 10, 20)
    left = [output.with_name(hidden_name(output.name, purpose)) for purpose in ("draft", "ordered")]
    for path in left:
        path.write_text("part")

    await run(build(ASK), numbered(20), settings, output)

    assert not [path for path in left if path.exists()]


async def test_a_finished_run_does_not_read_its_seeds_again(settings: Settings, output: Path) -> None:
    await run(build(ASK), numbered(3), settings, output)
    seeds = numbered(3)
    seeds._read = lambda: pytest.fail("the seeds were read")

    report = await run(build(ASK), seeds, settings, output)

    assert report.generated == 3


@pytest.mark.parametrize("column", ["state", "metadata", "trace", "status"])
async def test_a_damaged_record_does_not_harm_the_output_of_a_finished_run(
    settings: Settings, output: Path, column: str
) -> None:
    await run(build(ASK), numbered(10), settings, output)
    before = _identify(output)
    _damage(settings, column, "seed = 3")

    report = await run(build(ASK), numbered(10), settings, output)

    assert (report.generated, report.failed) == ((9, 1) if column == "status" else (10, 0))

    assert _identify(output) == before
    assert not list(output.parent.glob(".records*"))


async def test_the_output_is_written_again_without_the_damaged_record_whose_number_is_said(
    settings: Settings, output: Path
) -> None:
    await run(build(ASK), numbered(10), settings, output)
    output.unlink()
    _damage(settings, "state", "seed = 3")

    report = await run(build(ASK), numbered(10), settings, output)
    again = await run(build(ASK), numbered(10), settings, output)

    assert _ids(output) == [f"{n}.0" for n in range(10) if n != 3]
    for said in (report.advice, again.advice):
        assert said is not None
        assert "1 of the records of job 1 cannot be read" in said
        assert "(record 4)" in said


# --- what happened to the database meanwhile


async def test_what_a_reviewer_changed_is_in_the_output_after_the_next_run(
    settings: Settings, output: Path
) -> None:
    await run(build(ASK), numbered(5), settings, output)
    async with Storage(settings.database_path) as storage, storage.session() as session:
        await records.update_record(session, 3, output="better", status=RecordStatus.EDITED)

    report = await run(build(ASK), numbered(5), settings, output)

    assert (report.new, report.calls) == (0, 0)
    assert _ids(output) == [f"{n}.0" for n in range(5)]
    assert [line["output"] for line in read_lines(output)].index("better") == 2


async def test_records_that_were_deleted_are_made_again_and_have_one_line(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await run(build(ASK), numbered(5), settings, output)
    await execute(settings, "DELETE FROM records WHERE seed IN (1, 4)")
    await execute(settings, "DELETE FROM journal")
    model.answer = lambda _: "new"

    report = await run(build(ASK), numbered(5), settings, output)

    assert report.new == 2
    assert _ids(output) == [f"{n}.0" for n in range(5)]
    assert [n for n, line in enumerate(read_lines(output)) if line["output"] == "new"] == [1, 4]


async def test_a_job_of_which_all_records_were_deleted_begins_again(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await run(build(ASK), numbered(4), settings, output)
    await execute(settings, "DELETE FROM records")

    report = await run(build(ASK), numbered(4), settings, output)

    assert (report.new, report.status) == (4, JobStatus.COMPLETED)
    assert _ids(output) == ["0.0", "1.0", "2.0", "3.0"]


# --- a run that was killed


async def test_a_file_of_failed_records_that_a_killed_run_has_just_made_is_continued(
    settings: Settings, model: ModelServer, output: Path, failed: Path
) -> None:
    model.answer = lambda body: refusal(400) if last_user_message(body) == "q 1" else "fine"
    await run(build(ASK), numbered(5), settings, output)
    await _forget_what_was_written(settings)
    await execute(settings, "UPDATE jobs SET status = 'running', options = json_remove(options, '$.shown')")
    before = failed.stat().st_ino

    report = await run(build(ASK), numbered(5), settings, output)

    assert (report.generated, report.failed, report.new) == (4, 1, 0)
    assert failed.stat().st_ino == before


async def test_a_killed_run_is_continued_in_the_same_file(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await _run_until(settings, model, output, 20, 40)
    left, inode = output.read_bytes(), output.stat().st_ino

    async with open_run(build(ASK), numbered(40), RunOptions(output), settings=settings) as prepared:
        opened = output.read_bytes(), output.stat().st_ino
        await prepared.process()

    assert opened == (left, inode)
    assert _ids(output) == [f"{n}.0" for n in range(40)]


async def test_lines_that_the_database_did_not_hear_of_are_known_by_their_records(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await _run_until(settings, model, output, 20, 40)
    await _forget_what_was_written(settings)
    requests = len(model.requests)

    report = await run(build(ASK), numbered(40), settings, output)

    assert (report.status, report.generated) == (JobStatus.COMPLETED, 40)
    assert _ids(output) == [f"{n}.0" for n in range(40)]
    assert len(model.requests) <= requests + 24


@pytest.mark.parametrize("cut", ["{", '{"id":"', '{"id":"3.', '{"id":"2.0","output":"ec'])
async def test_the_end_of_a_line_that_was_not_written_whole_is_cut_off(
    settings: Settings, model: ModelServer, output: Path, cut: str
) -> None:
    await _run_until(settings, model, output, 20, 30)
    await _forget_what_was_written(settings)
    lines = [line for line in output.read_bytes().splitlines(keepends=True) if b'"id":"2.0"' not in line]
    output.write_bytes(b"".join(lines) + cut.encode())

    report = await run(build(ASK), numbered(30), settings, output)

    assert report.generated == 30
    assert _ids(output) == [f"{n}.0" for n in range(30)]


def _add(lines: list[str]) -> list[str]:
    return [*lines, '{"id":"mine"}\n']


def _add_copy(lines: list[str]) -> list[str]:
    return [*lines, lines[0]]


def _add_text(lines: list[str]) -> list[str]:
    return [*lines, "to do: check number 7"]


def _remove(lines: list[str]) -> list[str]:
    return [*lines[:3], *lines[4:]]


def _reorder(lines: list[str]) -> list[str]:
    return [lines[1], lines[0], *lines[2:]]


def _change(lines: list[str]) -> list[str]:
    return [lines[0].replace("echo", "ECHO"), *lines[1:]]


@pytest.mark.parametrize("edit", [_add, _add_copy, _add_text, _remove, _reorder, _change])
@pytest.mark.parametrize("ended", ["finished", "killed", "killed early"])
async def test_what_a_user_did_to_the_output_is_not_lost_unasked(
    settings: Settings,
    model: ModelServer,
    output: Path,
    edit: Callable[[list[str]], list[str]],
    ended: str,
) -> None:
    if ended == "finished":
        await run(build(ASK), numbered(30), settings, output)
    else:
        await _run_until(settings, model, output, 20, 30)
    if ended == "killed early":
        await _forget_what_was_written(settings)
        if edit in (_remove, _reorder):  # cannot be told from lines that had not been written
            return
    edited = "".join(edit(output.read_text().splitlines(keepends=True)))
    with output.open("r+") as file:  # in the same file, as editors may do it
        file.write(edited)
        file.truncate()

    with pytest.raises(
        BadInputError, match=r"has been changed, or replaced, since a run wrote it.*--overwrite"
    ):
        await run(build(ASK), numbered(30), settings, output)

    assert output.read_text() == edited
    await run(build(ASK), numbered(30), settings, output, overwrite=True)
    assert _ids(output) == [f"{n}.0" for n in range(30)]


# --- what another run left


@pytest.mark.parametrize("other", ["another pipeline", "other seeds", "fresh", "edited"])
async def test_what_another_run_left_stays_until_its_successor_is_whole(
    settings: Settings, model: ModelServer, output: Path, other: str
) -> None:
    await run(build(ASK), numbered(30), settings, output)
    if other == "edited":
        output.write_text("mine\n")
    before = _identify(output)
    pipeline = build("Note", ASK) if other == "another pipeline" else build(ASK)
    count = 31 if other == "other seeds" else 30
    await execute(settings, "DELETE FROM journal")
    if other == "edited":
        await execute(settings, "DELETE FROM records WHERE seed > 3")
    options: dict[str, Any] = {"overwrite": other == "edited"}
    mode = JournalMode.FRESH if other == "fresh" else JournalMode.NORMAL
    model.hold_after = len(model.requests) + 10

    chosen = RunOptions(output, mode=mode, **options)
    async with open_run(pipeline, numbered(count), chosen, settings=settings) as prepared:
        running = asyncio.create_task(prepared.process())
        await until(lambda: prepared.progress.made >= 8)
        meanwhile = _identify(output)
        prepared.stop()
        model.release()
        report = await running

    assert (meanwhile, _identify(output)) == (before, before)
    assert report.status is JobStatus.PAUSED
    assert report.advice is not None
    assert "still has the records of an earlier run" in report.advice

    whole = await run(pipeline, numbered(count), settings, output, **options)

    assert (whole.status, whole.advice) == (JobStatus.COMPLETED, None)
    assert _ids(output) == [f"{n}.0" for n in range(count)]
    assert not list(output.parent.glob(".records*"))


async def test_a_preview_of_another_pipeline_replaces_the_output(settings: Settings, output: Path) -> None:
    await run(build(ASK), numbered(10), settings, output)

    await run(build("Note"), numbered(10), settings, output, limit=3)

    assert _ids(output) == ["0.0", "1.0", "2.0"]


# --- the end of a run


async def test_ctrl_c_is_heeded_while_the_lines_are_sorted(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await _run_until(settings, model, output, 20, 30)
    left = output.read_bytes()
    async with open_run(build(ASK), numbered(30), RunOptions(output), settings=settings) as prepared:
        prepared.cancel()
        await prepared.process()

    assert output.read_bytes() == left
    assert (await run(build(ASK), numbered(30), settings, output)).generated == 30
    assert _ids(output) == [f"{n}.0" for n in range(30)]


async def test_a_file_that_was_removed_while_a_run_wrote_it_is_written_at_its_end(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    async with open_run(build(ASK), numbered(5), RunOptions(output), settings=settings) as prepared:
        output.unlink()
        await prepared.process()

    assert _ids(output) == [f"{n}.0" for n in range(5)]


async def test_a_file_that_took_the_outputs_place_while_a_run_wrote_it_is_kept(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    async with open_run(build(ASK), numbered(5), RunOptions(output), settings=settings) as prepared:
        output.unlink()
        output.write_text("mine\n")
        with pytest.raises(StorageError, match="was replaced while the run wrote it"):
            await prepared.process()

    assert output.read_text() == "mine\n"
    output.rename(output.with_name("elsewhere.jsonl"))
    assert (await run(build(ASK), numbered(5), settings, output)).generated == 5
    assert _ids(output) == [f"{n}.0" for n in range(5)]


async def test_readers_never_see_a_part_of_a_line(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    model.answer = lambda _: "x" * 30_000
    seen = 0
    async with open_run(build(ASK), numbered(60), RunOptions(output), settings=settings) as prepared:
        running = asyncio.create_task(prepared.process())
        while not running.done():
            data = output.read_bytes()
            assert not data or data.endswith(b"\n")
            seen += len(data) > 0
            await asyncio.sleep(0.001)
        await running

    assert seen
    assert len(read_lines(output)) == 60


async def test_the_output_can_be_a_device_again_and_again(settings: Settings, model: ModelServer) -> None:
    for _ in range(2):
        report = await run(build(ASK), numbered(3), settings, Path(os.devnull))
        assert (report.status, report.generated) == (JobStatus.COMPLETED, 3)
    assert len(model.requests) == 3
