"""What the children of one document take on disk (fault 9), and what still knows the document."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import BadInputError
from penstock.exports import export_dataset
from penstock.seeds import SeedSource
from penstock.settings import Settings
from penstock.storage.database import Storage
from penstock.storage.records import get_record, list_page, stream_records
from penstock.testing import ModelServer
from penstock.workflow import Pipeline
from support.runs import execute, read_lines, read_records, run

DOCUMENT = "\n\n".join(f"## Section {number}\n\n{'lorem ipsum ' * 20}" for number in range(120))
SEED = {"file_content": DOCUMENT, "topic": "t"}
SEEDS = [{"metadata": SEED}]


def split(prompt: str = "{{ chunk_index }}", **step: object) -> Pipeline:
    ask = {"type": "TextGenerator", "config": {"user_prompt": prompt, "temperature": 0}, **step}
    return Pipeline("split", [{"type": "MarkdownMultiplierBlock"}, ask])


def size(settings: Settings) -> int:
    path = settings.database_path
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


async def test_a_split_document_is_stored_once_and_is_not_in_the_lines_of_its_sections(
    settings: Settings, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"

    report = await run(split(), SeedSource.from_data(SEEDS), settings, output)

    assert report.generated == 120
    assert {"metadata": {"topic": "t"}}.items() <= read_lines(output)[0].items()
    assert output.stat().st_size < 4 * len(DOCUMENT)
    assert size(settings) < 30 * len(DOCUMENT)  # 120 copies and more, before


async def test_every_section_still_knows_its_document(settings: Settings) -> None:
    await run(split(), SeedSource.from_data(SEEDS), settings)

    async with Storage(settings.database_path) as storage:
        async with storage.reading() as session:
            one = await get_record(session, 7)
            page = await list_page(session, limit=3)
        streamed = [record async for record in stream_records(storage)]
    assert one.trace[0]["input"] == SEED
    assert "file_content" not in one.trace[0]["accumulated_state"]
    assert one.state == {**one.accumulated_state, "topic": "t"}
    assert all(record.metadata == SEED for record in (one, *page.records, *streamed))


async def test_an_export_leaves_the_document_out(settings: Settings, tmp_path: Path) -> None:
    await run(split(), SeedSource.from_data(SEEDS), settings)

    async with Storage(settings.database_path) as storage:
        await export_dataset(stream_records(storage), tmp_path / "out.jsonl", "jsonl", None, {})

    assert all(line["metadata"] == {"topic": "t"} for line in read_lines(tmp_path / "out.jsonl"))


@pytest.mark.parametrize("old", [False, True])
async def test_a_run_over_a_document_is_continued_and_its_failed_sections_are_retried(
    settings: Settings, tmp_path: Path, model: ModelServer, old: bool
) -> None:
    output, seeds = tmp_path / "out.jsonl", SeedSource.from_data(SEEDS)
    pipeline = split(gates=[{"type": "RegexGate", "config": {"pattern": r"^echo: (?!7$)"}}])

    await run(pipeline, seeds, settings, output, limit=50)
    if old:  # as a database has it that was written before the document was stored once
        record = (await read_records(settings))[0]
        document = record.metadata["file_content"].replace("\n", "\\n")
        await execute(settings, f'UPDATE records SET metadata = \'{{"file_content": "{document}"}}\'')
    await run(pipeline, seeds, settings, output)
    model.then("echo: 8")
    retried = await run(pipeline, seeds, settings, output, retry_failed=True)

    lines = read_lines(output)
    assert (retried.generated, retried.failed, len(lines)) == (120, 0, 120)
    assert [line["accumulated_state"]["chunk_index"] for line in lines] == list(range(120))
    assert len(model.requests) == 121
    assert all(record.metadata["file_content"] == DOCUMENT for record in await read_records(settings))


async def test_a_section_that_failed_is_told_without_the_whole_document(
    settings: Settings, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    gates = [{"type": "LengthGate", "config": {"min_length": 9_999}}]

    await run(split(gates=gates), SeedSource.from_data(SEEDS), settings, output, concurrency=4)

    assert output.with_name("out.failed.jsonl").stat().st_size < 6 * len(DOCUMENT)
    assert size(settings) < 30 * len(DOCUMENT)


@pytest.mark.parametrize("path", ["file_content", "metadata.file_content"])
async def test_an_export_finds_the_document_where_a_mapping_asks_for_it(
    settings: Settings, tmp_path: Path, path: str
) -> None:
    await run(split(), SeedSource.from_data(SEEDS), settings)
    mapping = {"source": path, "topic": "topic", "metadata": "metadata"}

    async with Storage(settings.database_path) as storage:
        for form in ("jsonl", "csv"):
            target = tmp_path / f"out.{form}"
            report = await export_dataset(stream_records(storage), target, form, mapping, {})
            assert (report.rows, report.skipped) == (120, 0)

    lines = read_lines(tmp_path / "out.jsonl")
    assert {line["source"] for line in lines} == {DOCUMENT}
    assert all(line["metadata"] == {"topic": "t"} for line in lines)


async def test_an_export_that_finds_a_field_nowhere_names_the_document_among_those_that_there_are(
    settings: Settings, tmp_path: Path
) -> None:
    await run(split(), SeedSource.from_data(SEEDS), settings)

    async with Storage(settings.database_path) as storage:
        with pytest.raises(BadInputError, match=r"No record has the field 'none'.*file_content"):
            await export_dataset(stream_records(storage), tmp_path / "out.jsonl", "jsonl", {"x": "none"}, {})


async def test_a_training_format_takes_the_document_where_a_mapping_asks_for_it(
    settings: Settings, tmp_path: Path
) -> None:
    await run(split(), SeedSource.from_data(SEEDS), settings)

    async with Storage(settings.database_path) as storage:
        target = tmp_path / "out.jsonl"
        await export_dataset(stream_records(storage), target, "alpaca", {"input": "file_content"}, {})

    assert {line["input"] for line in read_lines(target)} == {DOCUMENT}
