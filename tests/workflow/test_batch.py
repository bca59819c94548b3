"""Running a pipeline over many seeds in memory."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import llm
from penstock.errors import (
    BadInputError,
)
from penstock.llm import Client
from penstock.testing import ModelServer
from support.trial_pipelines import build


async def test_run_keeps_the_order_of_the_seeds_and_their_repetitions(client: Client) -> None:
    seeds: list[dict[str, Any]] = [
        {"metadata": {"n": 1}, "repetitions": 2},
        {"n": 2},
        {"metadata": {"n": 3}, "repetitions": 0},
        {"metadata": {"n": 4}, "repetitions": "many"},
    ]

    results = await build("Ask").run(seeds, concurrency=3)

    assert [result.result["answer"] for result in results] == [
        "echo: q 1",
        "echo: q 1",
        "echo: q 2",
        "echo: q 4",
    ]


async def test_run_without_seeds_gives_nothing() -> None:
    assert await build("Slow").run([]) == []


async def test_run_refuses_a_concurrency_of_zero() -> None:
    with pytest.raises(BadInputError):
        await build("Slow").run([{}], concurrency=0)


async def test_run_takes_the_calls_that_a_journal_has(client: Client, model: ModelServer) -> None:
    journal = llm.MemoryJournal()
    seeds: list[dict[str, Any]] = [{"metadata": {"n": 1}, "repetitions": 2}, {"n": 2}]

    await build("Ask").run(seeds, journal=journal)
    again = await build("Ask").run(seeds, journal=journal)

    assert len(model.requests) == 3
    assert sum(result.usage.journal_hits for result in again) == 3


async def test_equal_seeds_are_samples_of_their_own_with_a_journal_too(
    client: Client, model: ModelServer
) -> None:
    journal = llm.MemoryJournal()

    await build("Ask").run([{"n": 1}, {"n": 1}, {"n": 1}], journal=journal)
    await build("Ask").run([{"metadata": {"n": 1}, "repetitions": 3}], journal=journal)

    assert len(model.requests) == 3


@pytest.mark.row("D6")
async def test_a_result_as_plain_data_carries_its_usage_and_its_error(client: Client) -> None:
    good, bad = await build("Ask", "BoomBlock").run([{"boom": False}, {"boom": True}])

    assert good.to_dict().keys() == {"result", "trace", "trace_id", "usage"}
    assert good.to_dict()["usage"]["llm_calls"] == 1
    assert bad.to_dict()["error"]["error"] == "Block 'BoomBlock' failed at step 2: Connection timeout"
