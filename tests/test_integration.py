"""Whole runs in processes of their own, ended in every way that a process can end."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sqlite3
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.testing import Answer, ModelServer, last_user_message
from support.command import start
from support.runs import read_lines, until

PIPELINE: dict[str, Any] = {
    "name": "two calls",
    "blocks": [
        {"type": "TextGenerator", "config": {"user_prompt": "Write about {{ n }}."}},
        {
            "type": "StructuredGenerator",
            "config": {
                "user_prompt": "Title for: {{ assistant }}",
                "json_schema": {
                    "type": "object",
                    "properties": {"title": {"type": "string", "minLength": 1}},
                    "required": ["title"],
                },
            },
            "gates": [{"type": "RegexGate", "config": {"part": "generated.title", "pattern": "^On "}}],
            "heal": {"max_attempts": 2},
        },
    ],
}


def answer(body: dict[str, Any]) -> Answer:
    """Text, or JSON where a schema was asked for."""
    asked = last_user_message(body)
    if "response_format" in body:
        return json.dumps({"title": f"On {asked.removeprefix('Title for: ')}"})
    return f"text on {asked.removeprefix('Write about ').rstrip('.')}"


@pytest.fixture
def files(tmp_path: Path, model: ModelServer) -> tuple[str, str]:
    """The pipeline, and a thousand seeds."""
    model.answer = answer
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(PIPELINE))
    seeds = "".join(json.dumps({"metadata": {"n": n}}) + "\n" for n in range(1000))
    (tmp_path / "seeds.jsonl").write_text(seeds)
    return "pipeline.yaml", "seeds.jsonl"


async def finish(process: Process) -> tuple[int, str, str]:
    """The exit status of a process, and what it said on standard output and standard error."""
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.slow
@pytest.mark.row("D14")
async def test_a_run_killed_twenty_times_makes_every_record_once_and_repeats_no_finished_call(
    model: ModelServer, tmp_path: Path, files: tuple[str, str]
) -> None:
    kills, concurrency = 20, 16
    dice = random.Random(20)
    model.latency = 0.01
    options = ("-o", "out.jsonl", "--concurrency", str(concurrency), "-q")

    for number in range(kills):
        before = len(model.requests)
        process = await start("run", *files, *options, model=model, folder=tmp_path)
        goal = dice.randrange(1, 130)
        if number % 5 == 4:  # while it starts, or takes up what is there
            await asyncio.sleep(dice.uniform(0.2, 0.9))
        else:
            await until(lambda: len(model.requests) >= before + goal or process.returncode is not None)  # noqa: B023  waited for at once
            await asyncio.sleep(dice.uniform(0, 0.03))
        assert process.returncode is None
        process.send_signal(signal.SIGKILL)
        await process.wait()
    interrupted = len(read_lines(tmp_path / "out.jsonl")) if (tmp_path / "out.jsonl").exists() else 0
    process = await start("run", *files, "-o", "out.jsonl", "--json", "-q", model=model, folder=tmp_path)
    status, out, err = await finish(process)

    assert status == 0, err
    assert interrupted < 1000
    report = json.loads(out)
    assert (report["records_generated"], report["records_failed"]) == (1000, 0)
    lines = read_lines(tmp_path / "out.jsonl")
    assert [line["id"] for line in lines] == [f"{n}.0" for n in range(1000)]
    assert all(
        line["accumulated_state"]["generated"]["title"] == f"On text on {n}" for n, line in enumerate(lines)
    )
    with sqlite3.connect(tmp_path / "records.db") as database:
        query = "SELECT count(*), count(DISTINCT seed || '.' || repetition || '.' || child) FROM records"
        assert database.execute(query).fetchone() == (1000, 1000)
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len({last_user_message(body) for body in model.bodies}) == 2000
    assert len(model.requests) <= 2000 + concurrency * kills


async def test_ctrl_c_finishes_the_records_in_flight_and_tells_how_to_continue(
    model: ModelServer, tmp_path: Path, files: tuple[str, str]
) -> None:
    model.hold_after = 10
    command = ("run", *files, "-o", "out.jsonl", "--concurrency", "4", "--limit", "40")
    process = await start(*command, model=model, folder=tmp_path)
    await until(lambda: model.in_flight == 4)

    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    message = await asyncio.wait_for(process.stderr.readuntil(b"Ctrl-C again"), 60)
    model.release()
    status, _, err = await finish(process)
    asked, left = len(model.requests), len(read_lines(tmp_path / "out.jsonl"))
    again = await finish(await start(*command, model=model, folder=tmp_path))

    assert b"Finishing 4 records in flight" in message
    assert status == 130
    assert "run the same command again to continue" in err
    assert "Traceback" not in err
    assert model.in_flight == 0
    assert 0 < left < 40
    assert asked == 2 * left
    assert again[0] == 0
    assert len(read_lines(tmp_path / "out.jsonl")) == 40
    assert len(model.requests) == 80


async def test_ctrl_c_twice_stops_at_once(model: ModelServer, tmp_path: Path, files: tuple[str, str]) -> None:
    model.hold_after = 0
    process = await start("run", *files, "-o", "out.jsonl", model=model, folder=tmp_path)
    await until(lambda: model.in_flight > 0)

    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    message = await asyncio.wait_for(process.stderr.readuntil(b"Ctrl-C again"), 60)
    process.send_signal(signal.SIGINT)
    status, _, err = await finish(process)

    assert b"in flight" in message
    assert status == 130
    assert "Traceback" not in err


async def test_two_processes_on_the_same_run_do_not_interfere(
    model: ModelServer, tmp_path: Path, files: tuple[str, str]
) -> None:
    model.hold_after = 0
    command = ("run", *files, "-o", "out.jsonl", "--limit", "20", "--concurrency", "2")
    first = await start(*command, model=model, folder=tmp_path)
    await until(lambda: model.in_flight > 0)

    status, _, err = await finish(await start(*command, model=model, folder=tmp_path))
    model.release()
    first_status, _, _ = await finish(first)

    assert status == 2
    assert "already running in another process" in err
    assert first_status == 0
    assert len(read_lines(tmp_path / "out.jsonl")) == 20


async def test_seeds_from_a_pipe_are_recognised_as_the_same_run(
    model: ModelServer, tmp_path: Path, files: tuple[str, str]
) -> None:
    seeds = b'{"metadata": {"n": 1}}\n{"metadata": {"n": 2}}\n'
    reports = []
    for _ in range(2):
        process = await start("run", files[0], "-", "-o", "out.jsonl", "--json", model=model, folder=tmp_path)
        out, err = await process.communicate(seeds)
        assert process.returncode == 0, err
        reports.append(json.loads(out))

    assert [report["new_records"] for report in reports] == [2, 0]
    assert len(model.requests) == 4


@pytest.mark.embedded
@pytest.mark.slow
async def test_a_small_pipeline_runs_on_the_embedded_model(tmp_path: Path) -> None:
    blocks = [
        {
            "type": "TextGenerator",
            "config": {"user_prompt": "Say hello to {{ name }}.", "max_tokens": 12, "allow_incomplete": True},
        }
    ]
    (tmp_path / "hello.yaml").write_text(yaml.safe_dump({"name": "hello", "blocks": blocks}))
    (tmp_path / "seeds.json").write_text('[{"metadata": {"name": "Ada"}}, {"metadata": {"name": "Alan"}}]')

    process = await start(
        "run", "hello.yaml", "seeds.json", "-o", "out.jsonl", "--json", model=None, folder=tmp_path
    )
    status, out, err = await finish(process)

    assert status == 0, err
    report = json.loads(out)
    assert report["model"] == "embedded/smollm2-135m"
    assert report["usage"]["total_output_tokens"] > 0
    assert all(line["output"] for line in read_lines(tmp_path / "out.jsonl"))
