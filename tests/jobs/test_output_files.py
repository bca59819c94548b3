"""A run replaces only files that a run has written, and nothing before its successor is whole."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

import penstock
from penstock.errors import BadInputError, ConflictError, StorageError
from penstock.jobs.output_files import find_output_files, lock_files
from penstock.jobs.runs import RunOptions, open_run
from penstock.seeds import open_seeds
from penstock.settings import Settings
from penstock.testing import ModelServer, last_user_message, refusal
from support.runs import ASK, build, numbered, read_lines, run, until


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The file of the accepted records."""
    return tmp_path / "records.jsonl"


@pytest.fixture
def failed(output: Path) -> Path:
    """The file of the failed records."""
    return output.with_name("records.failed.jsonl")


def _fail_the_second(model: ModelServer) -> None:
    model.answer = lambda body: refusal(400) if last_user_message(body) == "q 1" else "fine"


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*record*")} | {path.name for path in folder.glob(".*")}


async def test_the_failed_records_of_a_run_can_be_seeds_of_another_but_not_into_the_same_file(
    settings: Settings, model: ModelServer, output: Path, failed: Path
) -> None:
    """Fault 1."""
    _fail_the_second(model)
    await run(build(ASK), numbered(2), settings, output)
    before = output.read_bytes(), failed.read_bytes()

    with (
        open_seeds(failed) as seeds,
        pytest.raises(BadInputError, match=r"failed\.jsonl is read by this run"),
    ):
        await run(build("Note"), seeds, settings, output)

    assert (output.read_bytes(), failed.read_bytes()) == before
    with open_seeds(failed) as seeds:
        assert (await run(build("Note"), seeds, settings, output.with_name("again.jsonl"))).generated == 1


@pytest.mark.parametrize("name", ["symbolic", "hard", "failed"])
async def test_seeds_are_not_replaced_by_whichever_path_the_output_names_them(
    settings: Settings, tmp_path: Path, name: str
) -> None:
    seeds_file = tmp_path / "seeds.jsonl"
    seeds_file.write_text('{"n": 1}\n')
    output = tmp_path / "link.jsonl"
    if name == "symbolic":
        output.symlink_to(seeds_file)
    elif name == "hard":
        output.hardlink_to(seeds_file)
    else:
        (tmp_path / "link.failed.jsonl").symlink_to(seeds_file)

    with open_seeds(seeds_file) as seeds, pytest.raises(BadInputError, match="is read by this run"):
        await run(build(ASK), seeds, settings, output, overwrite=True)

    assert seeds_file.read_text() == '{"n": 1}\n'


async def test_python_callers_cannot_replace_the_pipeline_or_the_database(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_PATH", str(settings.database_path))
    definition = tmp_path / "p.json"
    definition.write_text(json.dumps({"name": "p", "blocks": [{"type": "ValidatorBlock"}]}))
    await penstock.run(str(definition), [{"text": "x"}], tmp_path / "o.jsonl")

    for target in (definition, settings.database_path):
        with pytest.raises(BadInputError, match="is read by this run"):
            await penstock.run(str(definition), [{"text": "x"}], target, overwrite=True)


async def test_a_file_beside_the_output_that_no_run_has_written_is_kept(
    settings: Settings, model: ModelServer, output: Path, failed: Path
) -> None:
    failed.write_text("mine\n")

    with pytest.raises(BadInputError, match=r"records\.failed\.jsonl exists and was not written by a run"):
        await run(build(ASK), numbered(2), settings, output)
    await run(build(ASK), numbered(2), settings, output, overwrite=True)

    assert failed.read_text() == "mine\n"  # no record failed, so nothing takes its place
    assert len(read_lines(output)) == 2


async def test_a_file_that_appears_beside_the_output_after_a_run_is_kept_by_the_next(
    settings: Settings, output: Path, failed: Path
) -> None:
    await run(build(ASK), numbered(2), settings, output)
    failed.write_text("mine\n")

    with pytest.raises(BadInputError, match="--overwrite"):
        await run(build(ASK), numbered(2), settings, output)

    assert failed.read_text() == "mine\n"


async def test_an_output_that_was_edited_by_hand_is_not_made_anew(settings: Settings, output: Path) -> None:
    await run(build(ASK), numbered(2), settings, output)
    edited = output.read_text().replace("q 1", "question one")
    output.write_text(edited)

    with pytest.raises(BadInputError, match="has been changed, or replaced, since a run wrote it"):
        await run(build(ASK), numbered(2), settings, output)

    assert output.read_text() == edited
    await run(build(ASK), numbered(2), settings, output, overwrite=True)
    assert "question one" not in output.read_text()


async def test_an_output_that_was_copied_back_is_still_known(settings: Settings, output: Path) -> None:
    await run(build(ASK), numbered(2), settings, output, limit=1)
    content = output.read_bytes()
    output.unlink()
    output.write_bytes(content)

    assert (await run(build(ASK), numbered(2), settings, output)).generated == 2


async def test_another_run_into_the_same_file_replaces_what_a_run_wrote(
    settings: Settings, model: ModelServer, output: Path, failed: Path
) -> None:
    _fail_the_second(model)
    await run(build(ASK), numbered(2), settings, output)
    model.answer = lambda _: "fine"

    await run(build(ASK), numbered(3, repetitions=2), settings, output)

    assert len(read_lines(output)) == 6
    assert _names(output.parent) == {"records.jsonl", "test_qa_records.db", "test_qa_records.db.claims"}


async def test_the_old_file_stays_whole_until_the_new_one_has_as_many_records(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await run(build(ASK), numbered(30), settings, output, limit=20)
    seen = []

    model.hold_after = 20
    async with open_run(build(ASK), numbered(30), RunOptions(output), settings=settings) as prepared:
        seen.append(len(read_lines(output)))
        running = asyncio.create_task(prepared.process())
        await until(lambda: model.in_flight > 0)
        seen.append(len(read_lines(output)))
        model.release()
        await running

    assert seen == [20, 20]
    assert len(read_lines(output)) == 30


async def test_a_run_that_was_abandoned_at_any_moment_is_continued_by_the_same_call(
    settings: Settings, model: ModelServer, output: Path, failed: Path
) -> None:
    _fail_the_second(model)
    model.hold_after = 4
    async with open_run(build(ASK), numbered(8), RunOptions(output), settings=settings) as prepared:
        running = asyncio.create_task(prepared.process())
        await until(lambda: failed.exists() and output.exists() and len(read_lines(output)) == 3)
        left = output.read_bytes()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert left.count(b"\n") == 3

    model.release()
    report = await run(build(ASK), numbered(8), settings, output)

    assert (report.generated, report.failed) == (7, 1)
    assert (len(read_lines(output)), len(read_lines(failed))) == (7, 1)


async def test_a_retry_that_is_cut_short_keeps_the_lines_of_the_failed_records(
    settings: Settings, model: ModelServer, output: Path, failed: Path
) -> None:
    model.answer = lambda _: refusal(400)
    await run(build(ASK), numbered(4), settings, output)
    model.answer = lambda body: refusal(400) if last_user_message(body) == "q 1" else "fine"

    report = await run(build(ASK), numbered(4), settings, output, retry_failed=True, limit=2)

    assert (report.generated, report.failed) == (1, 3)
    assert [line["id"] for line in read_lines(output)] == ["0.0"]
    assert [line["id"] for line in read_lines(failed)] == ["1.0", "2.0", "3.0"]


async def test_a_symbolic_link_as_output_stays_a_link(settings: Settings, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "target.jsonl"
    target.parent.mkdir()
    output = tmp_path / "link.jsonl"
    output.symlink_to(target)

    await run(build(ASK), numbered(3), settings, output)
    await run(build(ASK), numbered(3), settings, output)

    assert output.is_symlink()
    assert len(read_lines(target)) == 3


async def test_the_permissions_of_the_output_are_kept(settings: Settings, output: Path) -> None:
    await run(build(ASK), numbered(3), settings, output, limit=2)
    output.chmod(0o640)

    await run(build(ASK), numbered(3), settings, output)

    assert output.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("kind", ["folder", "pipe", "dash"])
async def test_an_output_that_is_no_file_is_refused_before_anything_is_made(
    settings: Settings, model: ModelServer, output: Path, kind: str
) -> None:
    if kind == "folder":
        output.mkdir()
    elif kind == "pipe":
        os.mkfifo(output)
    else:
        output = Path("-")

    with pytest.raises(BadInputError, match="-o"):
        await run(build(ASK), numbered(1), settings, output)

    assert not model.requests
    assert not settings.database_path.exists()


async def test_a_device_takes_the_records_and_gets_no_file_beside_it(
    settings: Settings, model: ModelServer
) -> None:
    _fail_the_second(model)

    report = await run(build(ASK), numbered(2), settings, Path("/dev/null"))

    assert (report.generated, report.failed, report.failed_output) == (1, 1, None)
    assert not Path("/dev/null.failed.jsonl").exists()


async def test_another_run_into_a_file_is_refused_while_the_first_works_on_it(
    settings: Settings, model: ModelServer, output: Path, tmp_path: Path
) -> None:
    """Fault 14."""
    elsewhere = settings.model_copy(update={"database_path": tmp_path / "b" / "other_qa_records.db"})
    link = tmp_path / "link.jsonl"
    link.symlink_to(output)
    model.hold_after = 0
    async with open_run(build(ASK), numbered(2), RunOptions(output), settings=settings) as first:
        running = asyncio.create_task(first.process())
        await until(lambda: model.in_flight > 0)

        for chosen in (settings, elsewhere):
            for path in (output, link, output.with_name("records.failed.jsonl")):
                with pytest.raises(ConflictError, match="already running"):
                    await run(build(ASK), numbered(3), chosen, path, overwrite=True)

        model.release()
        await running
    assert len(read_lines(output)) == 2
    assert not list(tmp_path.glob(".*"))
    link.unlink()
    await run(build(ASK), numbered(3), settings, output)
    assert len(read_lines(output)) == 3


async def test_a_lock_that_a_killed_run_left_is_taken(output: Path) -> None:
    files = find_output_files(output)
    async with lock_files(files):
        left = next(output.parent.glob(".*.penstock-lock"))
    left.touch()

    async with lock_files(files):
        assert left.exists()
    assert not left.exists()


async def test_a_folder_that_cannot_be_written_is_named_before_anything_is_made(
    settings: Settings, model: ModelServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageError, match="cannot be written"):
        await run(build(ASK), numbered(1), settings, tmp_path / "file" / "out.jsonl")

    assert not model.requests


async def test_a_file_of_another_database_is_refused_and_no_database_is_created(
    settings: Settings, output: Path, tmp_path: Path
) -> None:
    """Fault 27."""
    await run(build(ASK), numbered(1), settings, output)
    other = settings.model_copy(update={"database_path": tmp_path / "b" / "data" / "qa_records.db"})

    with pytest.raises(BadInputError, match="in the folder of that run"):
        await run(build(ASK), numbered(1), other, output)

    assert not (tmp_path / "b").exists()


async def test_a_name_that_is_not_utf_8_can_be_written_and_continued(
    settings: Settings, tmp_path: Path
) -> None:
    output = Path(os.fsdecode(os.fsencode(tmp_path) + b"/out\xff.jsonl"))

    first = await run(build(ASK), numbered(3), settings, output, limit=2)
    second = await run(build(ASK), numbered(3), settings, output)

    assert (second.job_id, second.generated) == (first.job_id, 3)
