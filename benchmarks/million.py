"""The service with a database of a million records: ``python -m benchmarks.million``.

The service makes a few hundred records itself, some for each job. These are copied in the database with
other texts, numbers and statuses, so that every row has the format that the service writes. Then requests are
sent to a service that has just been started.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import uvloop

from benchmarks.measure import BenchmarkError, Mock
from benchmarks.report import machine, table
from benchmarks.runners.penstock_run import PIPELINE
from benchmarks.served import Connection, Service
from benchmarks.service import make_upload, wait_for_records

RECORDS = 1_000_000
PIPELINES = 4
JOBS = 20
TEMPLATES = 25
"""Records that the service itself makes for each job."""
ROUNDS = 7
STATES = {"pending": 80, "accepted": 12, "rejected": 4, "edited": 1, "failed": 3}
"""How many of a hundred records."""
PAGE_MS = 100.0
EXPORT_MB = 300.0
SUBJECT = "subject number "
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "iris", "juniper", "kelp")
CAUSES = ("TextGenerator: timed out after N seconds", "StructuredGenerator: the answer is no JSON")


@dataclass(frozen=True)
class Question:
    """A request to the service."""

    what: str
    path: str
    target: float | None = None
    """The longest time, in ms."""


@dataclass(frozen=True)
class Answered:
    """How long the answers to a question took, in ms."""

    question: Question
    first: float
    usual: float
    size: int


@dataclass(frozen=True)
class Exported:
    """A whole export."""

    rows: int
    size: int
    seconds: float
    memory: float
    """Peak memory of the service, in MB."""
    meanwhile: list[float]
    """How long other clients waited for a page during the export, in ms."""


def main() -> int:
    """Fill, measure, and print the table; exits 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each request is sent")
    parser.add_argument("--folder", type=Path, help="keep the database in this folder, and use it again")
    parser.add_argument("--no-export", action="store_true", help="without the export")
    parser.add_argument("--output", type=Path, help="write the report to this file too")
    arguments = parser.parse_args()
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        return _run(arguments.folder, arguments)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return _run(Path(folder), arguments)


def _run(folder: Path, arguments: argparse.Namespace) -> int:
    with Mock(0) as mock:
        if not (folder / "filled").exists():
            started = time.monotonic()
            with Service(folder, mock.endpoint) as service:
                uvloop.run(_make_templates(service))
            _multiply(service.database, arguments.records)
            (folder / "filled").touch()
            print(f"filled in {time.monotonic() - started:.0f} s", file=sys.stderr)
        with Service(folder, mock.endpoint) as service:
            answered = uvloop.run(_ask(service, arguments.records, arguments.rounds))
            exported = None if arguments.no_export else uvloop.run(_export(service))
        size = service.database.stat().st_size
    text = _render(answered, exported, arguments.records, size)
    print(text)
    if arguments.output:
        arguments.output.write_text(text)
    missed = any(one.question.target and one.usual > one.question.target for one in answered)
    return int(missed or (exported is not None and exported.memory > EXPORT_MB))


async def _make_templates(service: Service) -> None:
    async with Connection(service.port) as admin:
        made = []
        for number in range(JOBS):
            if number < PIPELINES:
                created = await admin.post("/api/pipelines", PIPELINE | {"name": f"bench {number}"})
                made.append(created.data["id"])
            seeds = make_upload(number * TEMPLATES, TEMPLATES)
            job = await admin.begin_job(made[number % PIPELINES], "seeds.jsonl", seeds)
            await wait_for_records(admin, job, TEMPLATES)


def _multiply(database: Path, records: int) -> None:
    """Fill the database up to ``records``, the same number for each job, one job after another."""
    each = records // JOBS
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for pragma in ("synchronous=OFF", "cache_size=-500000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        connection.row_factory = sqlite3.Row
        columns = [row["name"] for row in connection.execute("PRAGMA table_info(records)")][1:]
        named = ", ".join(columns)
        values = ", ".join("?" * len(columns))
        jobs = [row["id"] for row in connection.execute("SELECT id FROM jobs ORDER BY id")]
        for job in jobs:
            query = f"SELECT {named} FROM records WHERE job_id = ? AND seed IS NOT NULL ORDER BY id"
            templates = [dict(row) for row in connection.execute(query, (job,))]
            connection.execute("BEGIN")
            connection.executemany(
                f"INSERT INTO records ({named}) VALUES ({values})", _rows(templates, each, columns)
            )
            connection.execute(
                "UPDATE jobs SET total_seeds = ?, current_seed = ?, records_generated = ? WHERE id = ?",
                (each, each, each, job),
            )
            connection.execute("COMMIT")
            print(f"job {job} of {len(jobs)} is filled", file=sys.stderr)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _rows(templates: list[dict[str, Any]], count: int, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of one job after its templates."""
    chance = random.Random(templates[0]["job_id"])
    states, weights = list(STATES), list(STATES.values())
    for number in range(len(templates), count):
        row = dict(templates[number % len(templates)])
        old = json.loads(row["metadata"])["topic"]
        new = f"{SUBJECT}{row['job_id']}-{number}, {chance.choice(WORDS)} and {chance.choice(WORDS)}"
        score = chance.randrange(11)
        for name in ("output", "metadata", "state", "trace"):
            row[name] = row[name].replace(old, new).replace('"score":5', f'"score":{score}')
        row["seed"] = number
        row["status"] = chance.choices(states, weights)[0]
        if row["status"] == "failed":
            row["cause"] = chance.choice(CAUSES)
            row["error"] = json.dumps({"error": row["cause"], "type": "LLMError", "detail": {}, "tries": 0})
        yield tuple(row[name] for name in columns)


def _questions(records: int) -> list[Question]:
    job, each = JOBS // 2, records // JOBS
    page = "/api/records?limit=100"
    lean = page + "&trace=false"
    score = "&field=generated.score"
    rare = f"{SUBJECT}{job}-{each // 2},".replace(" ", "%20")
    return [
        Question("first page, with traces", page, PAGE_MS),
        Question("first page", lean, PAGE_MS),
        Question("by status", lean + "&status=failed", PAGE_MS),
        Question("by two statuses", lean + "&status=rejected&status=edited", PAGE_MS),
        Question("by job", lean + f"&job_id={job}", PAGE_MS),
        Question("by job and status", lean + f"&job_id={job}&status=accepted", PAGE_MS),
        Question("by pipeline", lean + "&pipeline_id=1", PAGE_MS),
        Question("by pipeline and status", lean + "&pipeline_id=1&status=edited", PAGE_MS),
        Question("by job and cause", lean + f"&job_id={job}&cause=" + CAUSES[0].replace(" ", "%20"), PAGE_MS),
        Question("text in a job, on many", lean + f"&job_id={job}&text=birch", PAGE_MS),
        Question("text in a job, on one", lean + f"&job_id={job}&text={rare}", PAGE_MS),
        Question("score in a job, on many", lean + f"&job_id={job}{score}&min=9", PAGE_MS),
        Question("score in a job, on none", lean + f"&job_id={job}{score}&min=11", PAGE_MS),
        Question("text anywhere, on many", lean + "&text=birch", PAGE_MS),
        Question("text anywhere, on one", lean + f"&text={rare}"),
        Question("score anywhere, on many", lean + f"{score}&min=9", PAGE_MS),
        Question("score anywhere, on none", lean + f"{score}&min=11"),
        Question("a page from the middle, by id", lean + f"&before_id={records // 2}", PAGE_MS),
        Question("the last page, by id", lean + "&before_id=101", PAGE_MS),
        Question("the last page, by offset", lean + f"&offset={records - 100}"),
        Question("a job's records by score", lean + f"&job_id={job}&sort=-generated.score"),
        Question("all records by last change", lean + "&sort=-updated_at"),
        Question("counts by status", "/api/records/counts"),
        Question("… of a job", f"/api/records/counts?job_id={job}", PAGE_MS),
        Question("… of a pipeline", "/api/records/counts?pipeline_id=1"),
        Question("a job's failures", f"/api/jobs/{job}/failures", PAGE_MS),
        Question("one record", f"/api/records/{records // 2}", PAGE_MS),
        Question("preview of an export of a job", f"/api/export/preview?job_id={job}"),
        Question("/metrics", "/metrics"),
    ]


async def _ask(service: Service, records: int, rounds: int) -> list[Answered]:
    answered = []
    async with Connection(service.port) as admin:
        for question in _questions(records):
            taken = []
            size = 0
            for _ in range(rounds):
                answer = await admin.get(question.path)
                if answer.status != 200:
                    raise BenchmarkError(f"{question.path}: {answer.status} {answer.body[:300].decode()}")
                taken.append(answer.seconds * 1000)
                size = len(answer.body)
                if sum(taken) > 10_000 and len(taken) > 2:
                    break
            answered.append(Answered(question, taken[0], median(taken), size))
            one = answered[-1]
            print(f"{question.what}: {one.usual:.1f} ms, first {one.first:.1f} ms", file=sys.stderr)
    return answered


async def _export(service: Service) -> Exported:
    service.forget_peak()
    started = time.perf_counter()
    export = asyncio.create_task(asyncio.to_thread(_download, service.port))
    meanwhile = []
    async with Connection(service.port) as other:
        while not export.done():
            meanwhile.append((await other.get("/api/records?limit=20&trace=false")).seconds * 1000)
            await asyncio.sleep(0.2)
    rows, size = await export
    seconds = time.perf_counter() - started
    print(f"export: {rows / seconds:,.0f} rows/s, {service.peak_memory:.0f} MB", file=sys.stderr)
    return Exported(rows, size, seconds, service.peak_memory, meanwhile)


def _download(port: int) -> tuple[int, int]:
    """Rows and bytes of the export of all records."""
    rows = size = 0
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=600)) as connection:
        connection.request("GET", "/api/export")
        answer = connection.getresponse()
        while chunk := answer.read1(2**20):
            rows += chunk.count(b"\n")
            size += len(chunk)
    return rows, size


def _render(answered: list[Answered], exported: Exported | None, records: int, size: int) -> str:
    rows = [
        [
            one.question.what,
            f"{one.usual:.1f} ms",
            f"{one.first:.1f} ms",
            f"{one.size / 1024:,.0f} KB",
            f"< {one.question.target:.0f} ms" if one.question.target else "–",
            _met(one.usual, one.question.target),
        ]
        for one in answered
    ]
    what = (
        f"SQLite, {records:,} records in {JOBS} jobs of {PIPELINES} pipelines, {size / 2**30:.1f} GB. Pages "
        "of 100 records, without traces unless stated; the median of several requests, and the first."
    )
    parts = [
        machine(),
        what,
        table(["", "median", "first", "answer", "target", "met"], rows),
    ]
    if exported:
        parts.append(
            f"Export of {exported.rows:,} records as JSONL ({exported.size / 2**30:.2f} GB): "
            f"{exported.rows / exported.seconds:,.0f} rows/s, {exported.seconds:.0f} s; peak memory of the "
            f"service {exported.memory:.0f} MB (target < {EXPORT_MB:.0f} MB: "
            f"{_met(exported.memory, EXPORT_MB)}). During the export, a page of 20 records took other "
            f"clients {median(exported.meanwhile):.0f} ms, "
            f"p95 {quantiles(exported.meanwhile, n=20)[-1]:.0f} ms."
        )
    return "\n\n".join(parts) + "\n"


def _met(value: float, target: float | None) -> str:
    return "–" if target is None else "yes" if value < target else "no"


if __name__ == "__main__":
    sys.exit(main())
