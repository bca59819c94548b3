"""How the service answers while it works: ``python -m benchmarks.service``.

Fifty clients watch a job as a web page does: each has a keep-alive connection and reads the job, the active
job and the newest records in turn, each about once a second. First the service is idle, then it runs a job as
fast as it can. The clients and the mock model share the machine with the service.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

import uvloop

from benchmarks.measure import BenchmarkError, Mock, tree_cpu
from benchmarks.report import machine, table
from benchmarks.runners.penstock_run import PIPELINE
from benchmarks.served import Connection, Service
from benchmarks.work import make_seeds

CLIENTS = 50
INTERVAL = 1.0
"""Seconds in which a client reads everything once."""
CONCURRENCY = 64
WARM_UP = 2.0
TARGET_MS = 100.0
LATENCIES = (0.0, 200.0)
"""Latencies of the model, in ms."""
EARLIER = 500
"""Records in the database before the measurement."""
SEEDS = 30_000


@dataclass
class Reads:
    """How long the clients waited, by what they read, in ms."""

    waited: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, what: str, seconds: float) -> None:
        """Add one answer."""
        self.waited[what].append(seconds * 1000)

    def percentiles(self, what: str | None = None) -> tuple[float, float, float]:
        """p50, p95 and p99 of one kind of read, or of all."""
        values = self.waited[what] if what else [one for some in self.waited.values() for one in some]
        cuts = quantiles(values, n=100, method="inclusive")
        return cuts[49], cuts[94], cuts[98]


@dataclass
class Run:
    """One period with one kind of load."""

    name: str
    reads: Reads | None = None
    rows_per_second: float | None = None
    cpu: float = 0.0
    """CPU seconds of the service per second."""
    others: float = 0.0
    """The same of everything outside this benchmark; it should be near zero."""


def main() -> int:
    """Measure, and print the tables; exits 1 when the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each period is")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument(
        "--latency",
        type=float,
        action="append",
        help="latency of the model in ms; may be repeated (0 and 200)",
    )
    parser.add_argument("--output", type=Path, help="write the report to this file too")
    arguments = parser.parse_args()
    runs = [
        run
        for latency in arguments.latency or LATENCIES
        for run in uvloop.run(_measure(latency, arguments.seconds, arguments.clients))
    ]
    text = _render(runs, arguments.clients)
    print(text)
    if arguments.output:
        arguments.output.write_text(text)
    loaded = [run for run in runs if run.reads and run.rows_per_second]
    return int(any(run.reads and run.reads.percentiles()[1] > TARGET_MS for run in loaded))


async def _measure(latency: float, seconds: float, clients: int) -> list[Run]:
    """All periods with a model that takes ``latency`` ms."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Mock(latency) as mock,
        Service(Path(folder), mock.endpoint, LLM_CONCURRENCY=str(CONCURRENCY)) as service,
    ):
        async with Connection(service.port) as admin:
            created = await admin.post("/api/pipelines", PIPELINE)
            pipeline_id = created.data["id"]
            earlier = await admin.begin_job(pipeline_id, "earlier.jsonl", make_upload(0, EARLIER))
            await wait_for_records(admin, earlier, EARLIER)
            idle = await _measure_period("idle", service, admin, None, seconds, clients, watched=earlier)

            job = await admin.begin_job(pipeline_id, "seeds.jsonl", make_upload(EARLIER, SEEDS))
            await wait_for_records(admin, job, 1)
            await asyncio.sleep(WARM_UP)
            name = f"a job, the model at {latency:.0f} ms"
            alone = await _measure_period(name + ", no readers", service, admin, job, seconds, 0, watched=job)
            loaded = await _measure_period(name, service, admin, job, seconds, clients, watched=job)
            await admin.ask("DELETE", f"/api/jobs/{job}")
    return [idle, alone, loaded]


async def _measure_period(
    name: str,
    service: Service,
    admin: Connection,
    job: int | None,
    seconds: float,
    clients: int,
    *,
    watched: int,
) -> Run:
    loop = asyncio.get_running_loop()
    reads = Reads()
    before = await _made(admin, job)
    cpu, others, started = service.cpu, _others(), loop.time()
    watchers = [asyncio.create_task(_watch(service.port, watched, reads, seconds)) for _ in range(clients)]
    if watchers:
        await asyncio.gather(*watchers)
    else:
        await asyncio.sleep(seconds)
    after = await _made(admin, job)
    took = loop.time() - started
    run = Run(
        name,
        reads if clients else None,
        (after - before) / took if job is not None else None,
        (service.cpu - cpu) / took,
        (_others() - others) / took,
    )
    print(_progress(run), file=sys.stderr)
    return run


def _others() -> float:
    """CPU seconds that this machine has spent outside this benchmark."""
    user, nice, system, _, _, *interrupts = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK") - tree_cpu(os.getpid())


async def wait_for_records(admin: Connection, job: int, least: int) -> None:
    """Wait until the job has at least this many records."""
    async with asyncio.timeout(60):
        while (await admin.get(f"/api/jobs/{job}")).data["records_generated"] < least:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.1)


async def _made(admin: Connection, job: int | None) -> int:
    if job is None:
        return 0
    state = (await admin.get(f"/api/jobs/{job}")).data
    if state["status"] != "running":
        raise BenchmarkError(f"the job is {state['status']} during the measurement: {state['error']}")
    return int(state["records_generated"])


async def _watch(port: int, job: int, reads: Reads, seconds: float) -> None:
    """One client, for ``seconds``."""
    routes = {
        "the job": f"/api/jobs/{job}",
        "the active job": "/api/jobs/active",
        "20 records, with traces": "/api/records?limit=20",
        "20 records of the job": f"/api/records?limit=20&job_id={job}&trace=false",
    }
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    await asyncio.sleep(random.random() * INTERVAL)
    async with Connection(port) as connection:
        while loop.time() < end:
            for what, path in routes.items():
                due = loop.time() + INTERVAL / len(routes) * random.uniform(0.8, 1.2)
                answer = await connection.get(path)
                if answer.status not in {200, 404}:
                    raise BenchmarkError(f"{path}: {answer.status} {answer.body[:300].decode()}")
                reads.add(what, answer.seconds)
                await asyncio.sleep(due - loop.time())


def make_upload(first: int, count: int) -> bytes:
    """A seed file of the common work, from the seed ``first`` on."""
    rows = list(make_seeds(first + count))[first:]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _progress(run: Run) -> str:
    parts = [f"{run.name}: the service uses {run.cpu:.0%} of a core, others {run.others:.0%}"]
    if run.reads:
        parts.append("p50 {:.1f}, p95 {:.1f}, p99 {:.1f} ms".format(*run.reads.percentiles()))
    if run.rows_per_second:
        parts.append(f"{run.rows_per_second:.0f} rows/s")
    return ", ".join(parts)


def _render(runs: list[Run], clients: int) -> str:
    each = next(len(run.reads.waited) for run in runs if run.reads)
    rows = []
    idle: Run | None = None
    for run in runs:
        if run.reads and not run.rows_per_second:
            idle = run
        cells = ["–"] * 4
        if run.reads and idle and idle.reads:
            own = run.reads.percentiles()
            cells = [f"{value:.1f} ms" for value in own]
            cells.append(f"{own[1] / idle.reads.percentiles()[1]:.1f}")
        rate = f"{run.rows_per_second:,.0f}" if run.rows_per_second else "–"
        rows.append([run.name, *cells, rate, f"{run.cpu:.0%}"])
    heads = ["", "p50", "p95", "p99", "p95 ÷ idle", "the job's rows/s", "of a core"]
    what = (
        f"{clients} clients, {clients * each / INTERVAL:.0f} reads a second; a job of two model calls a "
        f"record, {CONCURRENCY} in flight. Target: p95 of reads while a job runs < {TARGET_MS:.0f} ms."
    )
    return "\n\n".join(
        [
            machine(),
            what,
            table(heads, rows),
            "By what was read:",
            table(["", "", "p50", "p95", "p99"], list(_by_route(runs))),
            "",
        ]
    )


def _by_route(runs: list[Run]) -> list[list[str]]:
    return [
        [run.name, what, *(f"{value:.1f} ms" for value in run.reads.percentiles(what))]
        for run in runs
        if run.reads
        for what in run.reads.waited
    ]


if __name__ == "__main__":
    sys.exit(main())
