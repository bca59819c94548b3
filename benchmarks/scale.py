"""How penstock behaves with many records: ``python -m benchmarks.scale --records 100000``.

A run, the same run again, its continuation at half, its exports, its deletion, and what each needs. CPU
seconds (user and system, of the process) stand next to the wall time: on a machine with other work they are
the figure to compare. How fast the machine is shows in what a loop of five million additions takes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.columns import base_environment
from benchmarks.measure import BenchmarkError, Mock, tree_cpu
from benchmarks.report import machine, table
from benchmarks.served import Connection, Service
from benchmarks.work import MODEL

RECORDS = 100_000
FEW = 10_000
LARGE_SEEDS = 200_000
"""Seeds of 1 KB each, of which 100 are used."""
_ADDITIONS = 5_000_000
_VACUUM_SECONDS = 60.0
_PIPELINE = {"name": "scale", "blocks": [{"type": "TextGenerator", "config": {"user_prompt": "{{ text }}"}}]}


@dataclass(frozen=True)
class Needed:
    """What a command needed."""

    what: str
    wall: float
    cpu: float
    memory: float
    """Peak memory in MB."""
    note: str = ""


class Commands:
    """Commands of penstock in a folder with a pipeline."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        self._environment = base_environment(folder) | {
            "LLM_ENDPOINT": endpoint,
            "LLM_MODEL": MODEL,
            "LLM_API_KEY": "none",
            "DATABASE_PATH": str(self.database),
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pipeline.yaml").write_text(json.dumps(_PIPELINE))

    @property
    def database(self) -> Path:
        """The database of the commands, and of a service in the folder."""
        return self.folder / "penstock.db"

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start ``penstock ARGUMENTS``."""
        return subprocess.Popen(
            [sys.executable, "-m", "penstock", *arguments],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def measure(self, what: str, *arguments: str) -> Needed:
        """Run ``penstock ARGUMENTS`` to its end; raises BenchmarkError when it fails."""
        started = time.monotonic()
        process = self.start(*arguments)
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise BenchmarkError(f"{' '.join(arguments)}: {errors[-1000:].decode(errors='replace')}")
        needed = Needed(
            what, time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
        )
        print(f"{what}: {needed.wall:.1f} s, {needed.cpu:.1f} s of CPU", file=sys.stderr)
        return needed

    def run(self, what: str, seeds: str, output: str, *options: str) -> Needed:
        """Measure a run."""
        return self.measure(what, "run", "pipeline.yaml", seeds, "-o", output, "-q", *options)


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--folder", type=Path, help="keep the files in this folder")
    parser.add_argument("--output", type=Path, help="write the report to this file too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = arguments.folder or Path(temporary)
        with Mock(0) as mock:
            measured = list(_measure(folder, mock, arguments.records))
    text = _render(measured, arguments.records)
    print(text)
    if arguments.output:
        arguments.output.write_text(text)
    return 0


def _measure(folder: Path, mock: Mock, records: int) -> Iterator[Needed]:
    few = Commands(folder / "few", mock.endpoint)
    _write_seeds(few.folder / "seeds.jsonl", min(FEW, records))
    yield few.run(f"run of {min(FEW, records):,}", "seeds.jsonl", "records.jsonl")
    _write_seeds(few.folder / "large.jsonl", LARGE_SEEDS, "x" * 1000)
    yield few.run(
        "run of 100 of 200,000 seeds (200 MB)", "large.jsonl", "large-records.jsonl", "--limit", "100"
    )

    half = Commands(folder / "half", mock.endpoint)
    _write_seeds(half.folder / "seeds.jsonl", records)
    yield half.run(f"run of {records // 2:,}", "seeds.jsonl", "records.jsonl", "--limit", str(records // 2))
    yield _continue(half, mock)

    whole = Commands(folder / "whole", mock.endpoint)
    _write_seeds(whole.folder / "seeds.jsonl", records)
    made = whole.run(f"run of {records:,}", "seeds.jsonl", "records.jsonl")
    size = whole.database.stat().st_size / records
    output = whole.folder / "records.jsonl"
    note = f"{records / made.wall:,.0f} records/s; per record {size:,.0f} bytes in the database"
    yield Needed(made.what, made.wall, made.cpu, made.memory, note)
    before = _identify(output)
    again = whole.run("the same run again", "seeds.jsonl", "records.jsonl")
    note = "the output is not touched" if _identify(output) == before else "the output was written again"
    yield Needed(again.what, again.wall, again.cpu, again.memory, note)
    output.unlink()
    yield whole.run("the same run again, its output deleted", "seeds.jsonl", "records.jsonl")
    for form in ("jsonl", "csv", "parquet"):
        needed = whole.measure(
            f"export as {form}", "export", "1", "--format", form, "-o", f"export.{form}", "--overwrite"
        )
        note = f"{records / needed.wall:,.0f} records/s"
        yield Needed(needed.what, needed.wall, needed.cpu, needed.memory, note)
    yield asyncio.run(_delete(whole.folder, mock.endpoint))


def _identify(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def _write_seeds(path: Path, count: int, text: str = "of a run") -> None:
    with path.open("w") as file:
        file.writelines(json.dumps({"text": f"seed number {n} {text}"}) + "\n" for n in range(count))


def _continue(commands: Commands, mock: Mock) -> Needed:
    """What passes until a continued run makes its first new call; it is then interrupted."""
    mock.ask("POST", "/reset")
    started = time.monotonic()
    process = commands.start("run", "pipeline.yaml", "seeds.jsonl", "-o", "records.jsonl", "-q")
    try:
        while (first := mock.ask("GET", "/first")["first_call"]) is None:
            if process.poll() is not None:
                raise BenchmarkError("the continued run ended without a call")
        cpu = tree_cpu(process.pid)
        process.send_signal(signal.SIGINT)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
    note = "until its first new call"
    return Needed("its continuation", float(first) - started, cpu, usage.ru_maxrss / 1024, note)


async def _delete(folder: Path, endpoint: str) -> Needed:
    """Delete the job's records through the service, and see what the files take afterwards."""
    with Service(folder, endpoint) as service:
        before = _size(service.database)
        cpu = service.cpu
        async with Connection(service.port) as client:
            started = time.monotonic()
            answer = await client.ask("DELETE", "/api/records?job_id=1")
            seconds = time.monotonic() - started
            if answer.status >= 300:
                raise BenchmarkError(answer.body.decode()[:500])
            after, deadline = _size(service.database), time.monotonic() + _VACUUM_SECONDS
            while after > before / 2 and time.monotonic() < deadline:
                await asyncio.sleep(1)
                after = _size(service.database)
        note = f"files of the database: {before / 2**20:,.0f} MB, then {after / 2**20:,.0f} MB"
        return Needed("deletion by the API", seconds, service.cpu - cpu, service.peak_memory, note)


def _size(database: Path) -> int:
    return sum(file.stat().st_size for file in database.parent.glob(f"{database.name}*") if file.is_file())


def _render(measured: list[Needed], records: int) -> str:
    rows = [
        [one.what, f"{one.wall:.1f} s", f"{one.cpu:.1f} s", f"{one.memory:.0f} MB", one.note]
        for one in measured
    ]
    started, total = time.process_time(), 0
    for number in range(_ADDITIONS):
        total += number
    speed = time.process_time() - started
    what = f"One model call a record, {records:,} records. Five million additions: {speed:.2f} s of CPU."
    return "\n\n".join([machine(), what, table(["", "wall", "CPU", "peak memory", ""], rows)]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
