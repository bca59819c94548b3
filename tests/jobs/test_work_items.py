"""Which records a run makes: seeds × repetitions × children, without those that exist already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock import llm
from penstock.entities import RecordId
from penstock.errors import BadInputError
from penstock.jobs.finished_records import FinishedRecords
from penstock.jobs.options import JobOptions
from penstock.jobs.progress import Progress
from penstock.jobs.work_items import EarlierWork, Retry, WorkItem, WorkItems
from penstock.seeds import Seed, SeedSource, UnusableSeed
from penstock.settings import Settings
from penstock.testing import ModelServer
from penstock.workflow import Pipeline
from support.runs import ASK, build, numbered, read_job, read_lines, read_records, run

ONE_STEP = build("Note")


def prepare(
    seeds: SeedSource, pipeline: Pipeline = ONE_STEP, earlier: EarlierWork | None = None, **options: Any
) -> WorkItems:
    """The work items of a run."""
    earlier = earlier or EarlierWork(Progress(total=seeds.total))
    earlier.progress.prepare_steps([step.type for step in pipeline.steps])
    return WorkItems(pipeline, seeds, JobOptions(**options), earlier, llm.MemoryJournal())


async def take_all(items: WorkItems) -> list[WorkItem]:
    """Every record of the run, in order."""
    taken: list[WorkItem] = []
    while await items.prepare_next():
        while items.ready:
            taken.append(items.ready.popleft())
    return taken


async def identities(items: WorkItems) -> list[str]:
    """The identities of every record of the run, in order."""
    return [str(item.identity) for item in await take_all(items)]


def texts(*texts: str) -> SeedSource:
    """Seeds with the variable ``text``, of which ``Split`` makes one child a word; none without it."""
    return SeedSource.from_data([{"metadata": {"text": text} if text else {"n": 1}} for text in texts])


def earlier_work(*finished: str, total: int = 3, **fields: Any) -> EarlierWork:
    """Earlier runs that have made the records with these identities."""
    return EarlierWork(
        Progress(total=total), finished=FinishedRecords.of_identities(map(parse, finished)), **fields
    )


def parse(identity: str) -> RecordId:
    """``"0.1.2"`` as a record's identity."""
    seed, repetition, *child = identity.split(".")
    return RecordId(int(seed), int(repetition), ".".join(child))


# --- seeds and repetitions


async def test_each_repetition_of_each_seed_is_a_record_in_the_order_of_the_seeds() -> None:
    assert await identities(prepare(numbered(2, repetitions=3))) == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]


async def test_one_seed_is_prepared_at_a_time() -> None:
    items = prepare(numbered(3))

    await items.prepare_next()

    assert [str(item.identity) for item in items.ready] == ["0.0"]


async def test_an_item_has_the_seeds_variables_and_a_state_of_its_own() -> None:
    (item,) = await take_all(prepare(numbered(1, notes=["a"])))

    item.child.state["notes"].append("b")

    assert item.metadata == {"n": 0, "notes": ["a"]}
    assert (item.share, item.failure, item.retried) == (1.0, None, False)


async def test_the_calls_of_an_item_are_those_of_its_seed_and_repetition_whatever_its_place() -> None:
    first, second = await take_all(prepare(numbered(1, repetitions=2)))
    moved = (await take_all(prepare(SeedSource.from_data([{"metadata": {"n": n}} for n in (5, 0)]))))[1]

    assert first.context.sample == llm.Sample(llm.seed_digest({"n": 0}), 0)
    assert second.context.sample == llm.Sample(llm.seed_digest({"n": 0}), 1)
    assert moved.context.sample == first.context.sample


async def test_an_item_uses_the_journal_in_the_mode_of_the_run_and_counts_its_steps() -> None:
    items = prepare(numbered(2), mode=llm.JournalMode.REPLAY)
    items.on_call = called = lambda: None

    await items.prepare_next()
    items.on_call = None
    await items.prepare_next()

    before, after = items.ready
    assert isinstance(before.context.journal, llm.MemoryJournal)
    assert before.context.mode is llm.JournalMode.REPLAY
    assert before.context.on_step is not None
    assert (before.context.on_call, after.context.on_call) == (called, None)


# --- records that exist


async def test_records_that_exist_are_skipped_and_counted_as_progress() -> None:
    items = prepare(numbered(3), earlier=(earlier := earlier_work("0.0", "2.0")))

    assert await identities(items) == ["1.0"]
    assert earlier.progress.seeds_done == 2.0
    assert not items.incomplete


async def test_when_all_records_exist_there_is_nothing_to_do() -> None:
    items = prepare(numbered(2), earlier=earlier_work("0.0", "1.0"))

    assert not await items.prepare_next()
    assert not items.incomplete


# --- the limit


@pytest.mark.parametrize(
    ("limit", "made", "incomplete"),
    [(None, ["0.0", "1.0", "2.0"], False), (3, ["0.0", "1.0", "2.0"], False), (2, ["0.0", "1.0"], True)],
)
async def test_a_limit_counts_records_from_the_start_of_the_seeds(
    limit: int | None, made: list[str], incomplete: bool
) -> None:
    items = prepare(numbered(3), limit=limit)

    assert await identities(items) == made
    assert items.incomplete is incomplete


@pytest.mark.parametrize("pipeline", [ONE_STEP, build("Split")])
async def test_seeds_beyond_the_limit_are_not_read(pipeline: Pipeline) -> None:
    read = 0

    def count_seeds() -> Iterator[Seed]:
        nonlocal read
        for text in "abcdef":
            read += 1
            yield Seed({"text": text})

    options, earlier = JobOptions(limit=2), EarlierWork(Progress())
    earlier.progress.prepare_steps([step.type for step in pipeline.steps])
    items = WorkItems(pipeline, count_seeds(), options, earlier, None)

    for _ in range(2):
        assert await items.prepare_next()
        items.ready.clear()
    assert not await items.prepare_next()
    assert read == 3  # the third shows that the run is incomplete
    assert items.incomplete


async def test_records_that_exist_count_towards_the_limit() -> None:
    items = prepare(numbered(3), earlier=earlier_work("0.0"), limit=2)

    assert await identities(items) == ["1.0"]
    assert items.incomplete


@pytest.mark.parametrize(
    ("limit", "made", "incomplete"),
    [
        (1, ["0.0.0"], True),
        (2, ["0.0.0", "0.0.1"], True),
        (3, ["0.0.0", "0.0.1", "1.0.0"], False),
    ],
)
async def test_a_limit_counts_the_children_of_a_multiplier(
    limit: int, made: list[str], incomplete: bool
) -> None:
    items = prepare(texts("a b", "c"), build("Split"), limit=limit)

    assert await identities(items) == made
    assert items.incomplete is incomplete


async def test_a_limit_counts_the_failed_record_of_a_multiplier() -> None:
    items = prepare(texts("a b", "", "c"), build("Split"), limit=2)

    assert await identities(items) == ["0.0.0", "0.0.1"]
    assert items.incomplete


async def test_a_failed_multiplier_beyond_the_limit_makes_no_record() -> None:
    items = prepare(texts("a b", ""), build("Split"), limit=3, earlier=earlier_work("0.0.0"))

    assert await identities(items) == ["0.0.1", "1.0"]
    assert not items.incomplete


# --- children


async def test_children_are_items_of_their_own_which_share_their_seed() -> None:
    items = await take_all(prepare(texts("a b c d"), build("Split")))

    assert [str(item.identity) for item in items] == ["0.0.0", "0.0.1", "0.0.2", "0.0.3"]
    assert [item.share for item in items] == [0.25] * 4
    assert [item.child.state["word"] for item in items] == ["a", "b", "c", "d"]
    assert [item.context.sample.child for item in items] == ["0", "1", "2", "3"]
    assert all(item.metadata == {"text": "a b c d"} for item in items)


async def test_children_that_exist_are_skipped_and_counted_by_their_share() -> None:
    items = prepare(texts("a b c d"), build("Split"), earlier=(earlier := earlier_work("0.0.1", "0.0.2")))

    assert await identities(items) == ["0.0.0", "0.0.3"]
    assert earlier.progress.seeds_done == 0.5


async def test_a_seed_without_children_is_done() -> None:
    items = prepare(texts(" ", "a"), build("Split"))

    assert await identities(items) == ["1.0.0"]
    assert items._progress.seeds_done == 1.0


async def test_a_multiplier_that_fails_is_one_failed_item_with_its_trace() -> None:
    (item,) = await take_all(prepare(texts(""), build("Split", "Note")))

    assert str(item.identity) == "0.0"
    assert item.share == 1.0
    assert item.failure is not None
    assert item.failure.error is not None
    assert [step["block_type"] for step in item.failure.trace] == ["Split"]


@pytest.mark.parametrize("pipeline", [ONE_STEP, build("Split", "Note")])
async def test_a_seed_that_cannot_be_used_is_one_failed_item_in_its_place(pipeline: Pipeline) -> None:
    entries: list[Seed | UnusableSeed] = [
        Seed({"text": "a"}),
        UnusableSeed(BadInputError("row 2: no")),
        Seed({"text": "c"}),
    ]
    seeds = SeedSource("s", "parquet", lambda: iter(entries), digest="", total=3)
    earlier = EarlierWork(Progress(total=3))
    earlier.progress.prepare_steps([step.type for step in pipeline.steps])

    items = await take_all(WorkItems(pipeline, seeds.entries(), JobOptions(), earlier, None))

    assert [item.identity.seed for item in items] == [0, 1, 2]
    assert [item.failure and str(item.failure.error) for item in items] == [None, "row 2: no", None]


async def test_the_multipliers_own_runs_are_counted() -> None:
    items = prepare(texts("a b", "", "c"), build("Split", "Note"))

    await take_all(items)

    multiplier = items._progress.steps[0]
    assert (multiplier.started, multiplier.finished) == (3, 2)


async def test_two_workers_that_ask_at_once_split_one_seed_only() -> None:
    items = prepare(texts("a b", "c d"), build("Split"))

    both = await asyncio.gather(items.prepare_next(), items.prepare_next())

    assert all(both)
    assert [str(item.identity) for item in items.ready] == ["0.0.0", "0.0.1"]


# --- retrying


async def test_a_retry_makes_only_the_failed_records_from_where_they_failed() -> None:
    retries = {parse("0.0"): Retry(2, from_step=3), parse("2.0"): Retry(1, from_step=None)}
    earlier = earlier_work("0.0", "1.0", "2.0", retries=retries)

    refused, broken = await take_all(prepare(numbered(3), earlier=earlier))

    assert [str(refused.identity), str(broken.identity)] == ["0.0", "2.0"]
    assert (refused.context.retry_from, refused.context.round, refused.retried) == (3, 2, True)
    assert (broken.context.retry_from, broken.context.round, broken.retried) == (None, 1, True)
    assert earlier.progress.seeds_done == 1.0


async def test_a_retry_leaves_missing_records_for_another_run() -> None:
    items = prepare(numbered(2), earlier=earlier_work("0.0", retries={}))

    assert await identities(items) == []
    assert items.incomplete


async def test_a_retry_makes_all_children_of_a_seed_whose_multiplier_failed() -> None:
    unsplit = frozenset({parse("1.0")})
    earlier = earlier_work("0.0.0", retries={}, unsplit_seeds=unsplit)

    items = await take_all(prepare(texts("a", "b c"), build("Split"), earlier=earlier))

    assert [str(item.identity) for item in items] == ["1.0.0", "1.0.1"]
    assert not any(item.retried for item in items)


async def test_a_retry_keeps_the_failed_record_of_a_multiplier_that_fails_again() -> None:
    earlier = earlier_work(retries={}, unsplit_seeds=frozenset({parse("0.0")}))

    (item,) = await take_all(prepare(texts(""), build("Split"), earlier=earlier))

    assert item.failure is not None


async def test_a_multiplier_that_fails_in_a_run_about_other_records_makes_none() -> None:
    items = prepare(texts(""), build("Split"), earlier=earlier_work("0.0.0", retries={}))

    assert await identities(items) == []
    assert items.incomplete


async def test_a_multiplier_that_failed_before_is_skipped() -> None:
    items = prepare(texts(""), build("Split"), earlier=(earlier := earlier_work("0.0")))

    assert await identities(items) == []
    assert earlier.progress.seeds_done == 1.0


# --- through the database


@pytest.mark.row("A167", "A168", "A170", "A190")
async def test_repetitions_are_samples_of_their_own_and_zero_means_none(
    settings: Settings, model: ModelServer
) -> None:
    seeds = SeedSource.from_data(
        [
            {"repetitions": 3, "metadata": {"n": 1, "notes": []}},
            {"repetitions": 0, "metadata": {"n": 2, "notes": []}},
            {"metadata": {"n": 3, "notes": []}},
        ]
    )

    await run(build("Mutate", "Note", "Ask"), seeds, settings)

    records = await read_records(settings)
    assert sorted(str(record.identity) for record in records) == ["0.0", "0.1", "0.2", "2.0"]
    assert all(record.metadata["notes"] == [] for record in records)
    assert all(record.state["notes"] == ["x"] for record in records)
    assert len(model.requests) == 4


@pytest.mark.row("A35", "A36", "A37", "A91")
async def test_children_are_records_of_their_own_and_one_that_fails_is_alone(settings: Settings) -> None:
    seeds = SeedSource.from_data([{"metadata": {"text": "a b boom c d", "topic": "t"}}])

    report = await run(build("Split", "BoomBlock"), seeds, settings)

    records = await read_records(settings)
    assert (report.generated, report.failed) == (4, 1)
    assert sorted(str(record.identity) for record in records) == ["0.0.0", "0.0.1", "0.0.2", "0.0.3", "0.0.4"]
    assert all(record.metadata == {"text": "a b boom c d", "topic": "t"} for record in records)
    assert {record.state["word"] for record in records} == {"a", "b", "boom", "c", "d"}
    assert (await read_job(settings)).progress == 1.0


@pytest.mark.row("A92", "A224")
async def test_a_multiplier_that_fails_is_one_failed_record_in_the_database(settings: Settings) -> None:
    seeds = SeedSource.from_data([{"metadata": {"topic": "t"}}, {"metadata": {"text": "a b"}}])

    report = await run(build("Split", "Note"), seeds, settings)

    records = {str(record.identity): record for record in await read_records(settings)}
    assert (report.generated, report.failed) == (2, 1)
    assert [entry["block_type"] for entry in records["0.0"].trace] == ["Split"]
    assert records["0.0"].status == "failed"


async def test_the_calls_of_a_multiplier_are_in_the_jobs_usage(settings: Settings) -> None:
    report = await run(build("AskedSplit"), numbered(2), settings)

    assert report.generated == 6
    assert report.usage.llm_calls == 2


async def test_a_multiplier_that_calls_the_model_is_answered_from_the_journal_of_the_run(
    settings: Settings, script: Callable[..., ModelServer]
) -> None:
    model = script("a b")
    await run(build("AskedSplit", "Note"), numbered(1), settings, limit=1)

    report = await run(build("AskedSplit", "Note"), numbered(1), settings)

    assert report.generated == 2
    assert len(model.requests) == 1


# --- equal seeds


async def test_equal_seeds_get_answers_of_their_own(
    settings: Settings, model: ModelServer, tmp_path: Path
) -> None:
    """Fault 11."""
    model.answer = lambda _: f"answer {len(model.requests)}"
    seeds = [{"metadata": {"n": n}} for n in (1, 1, 2, 1)]
    first = await run(build(ASK), SeedSource.from_data(seeds), settings, tmp_path / "a.jsonl")

    grown = SeedSource.from_data([*seeds, {"metadata": {"n": 1}}])
    second = await run(build(ASK), grown, settings, tmp_path / "b.jsonl")
    repeated = SeedSource.from_data([{"metadata": {"n": 1}, "repetitions": 4}, {"metadata": {"n": 2}}])
    third = await run(build(ASK), repeated, settings, tmp_path / "c.jsonl")

    outputs = [{line["output"] for line in read_lines(tmp_path / f"{name}.jsonl")} for name in "abc"]
    assert len(outputs[0]) == 4
    assert (first.calls, second.calls, third.calls) == (4, 1, 0)
    assert outputs[0] < outputs[1] == outputs[2]
