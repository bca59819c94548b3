"""Healing and provider errors in whole runs."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.entities import JobStatus
from penstock.settings import Settings
from penstock.testing import (
    HANG,
    MALFORMED,
    Answer,
    ModelServer,
    Reply,
    last_user_message,
    refusal,
)
from support.runs import ASK_TWICE, build, numbered, read_lines, read_records, run

SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string", "minLength": 1}, "body": {"type": "string"}},
    "required": ["title", "body"],
}
GENERATE: dict[str, Any] = {
    "type": "StructuredGenerator",
    "config": {"json_schema": SCHEMA, "user_prompt": "Write about {{ n }}."},
    "heal": {"max_attempts": 3, "entropy": {"kind": "schedule", "temperatures": [0, 0.3, 0.5]}},
}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The file of the accepted records."""
    return tmp_path / "out" / "records.jsonl"


async def test_an_answer_that_is_wrong_twice_becomes_a_good_record_with_its_attempts(
    settings: Settings, script: Callable[..., ModelServer], output: Path
) -> None:
    model = script("no JSON at all", '{"title": "", "body": "b"}', '{"title": "T", "body": "b"}')

    report = await run(build(GENERATE), numbered(1), settings, output)

    (line,) = read_lines(output)
    (record,) = await read_records(settings)
    attempts = record.trace[0]["attempts"]
    assert report.generated == 1
    assert line["accumulated_state"]["generated"] == {"title": "T", "body": "b"}
    assert line["attempts"] == record.attempts == 3
    assert [attempt["number"] for attempt in attempts] == [1, 2, 3]
    assert [attempt["temperature"] for attempt in attempts] == [0, 0.3, 0.5]
    assert [bool(attempt["findings"]) for attempt in attempts] == [True, True, False]
    assert attempts[0]["parts"]["generated"] == {"raw_response": "no JSON at all"}
    assert attempts[1]["findings"][0]["part"] == "generated.title"
    assert [body["temperature"] for body in model.bodies] == [0, 0.3, 0.5]
    assert "Fix these problems:" in model.asked[1][-1]
    assert record.usage.llm_calls == 3


async def test_only_the_wrong_part_is_made_again(
    settings: Settings, script: Callable[..., ModelServer]
) -> None:
    gate = {"type": "RegexGate", "config": {"part": "right", "pattern": "^good$"}}
    model = script("left", "bad", "good")
    step = {"type": "Pair", "gates": [gate], "heal": {"max_attempts": 3}}

    await run(build(step), numbered(1), settings)

    (record,) = await read_records(settings)
    assert [last_user_message(body) for body in model.bodies] == ["left", "right", "right"]
    assert (record.state["left"], record.state["right"]) == ("left", "good")
    assert list(record.trace[0]["attempts"][1]["temperatures"]) == ["right"]


@pytest.mark.row("A88")
async def test_an_answer_that_never_becomes_json_is_refused_and_its_text_is_kept_in_the_trace(
    settings: Settings, model: ModelServer
) -> None:
    model.answer = lambda _: "never JSON"

    report = await run(build(GENERATE), numbered(1), settings)

    (record,) = await read_records(settings)
    assert (report.generated, report.failed) == (0, 1)
    assert record.trace[0]["output"] == {"generated": {"raw_response": "never JSON"}}
    assert len(model.requests) == len(record.trace[0]["attempts"]) == 3


# --- errors of the provider


async def test_errors_of_a_provider_lose_no_record_and_repeat_no_finished_call(
    settings: Settings, model: ModelServer
) -> None:
    failures = [refusal(429, "slow down", Retry_After="0.05"), refusal(500), HANG, MALFORMED]
    random.Random(11).shuffle(failures)

    def answer(body: dict[str, Any]) -> Answer:
        if len(model.requests) % 20 == 0:  # every twentieth request fails, each way in turn
            return failures[len(model.requests) // 20 % len(failures)]
        return Reply(f"echo: {last_user_message(body)}")

    model.answer = answer
    with_timeout = settings.model_copy(update={"llm_timeout": 5.0})

    report = await run(build(*ASK_TWICE), numbered(300), with_timeout, concurrency=32)

    records = await read_records(settings)
    assert (report.status, report.generated, report.failed) == (JobStatus.COMPLETED, 300, 0)
    assert len({record.identity for record in records}) == 300
    assert all(record.state["second"] == f"echo: second {record.metadata['n']}" for record in records)
    assert model.answered == 600
    assert len(model.requests) > 620
