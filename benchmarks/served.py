"""The service in a process of its own, and a client for it that needs little CPU."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.columns import base_environment
from benchmarks.measure import BenchmarkError, tree_cpu
from benchmarks.work import MODEL

_STOP_SECONDS = 30.0
_KEPT_ALIVE = 3.0
"""Seconds after which an idle connection is not used again, because servers close it."""


class Service:
    """``python -m penstock.app`` on a free port of the loopback, with a database in ``folder``."""

    def __init__(self, folder: Path, endpoint: str, **settings: str) -> None:
        self.database = folder / "penstock.db"
        self._folder = folder
        self._environment = base_environment(folder) | {
            "LLM_ENDPOINT": endpoint,
            "LLM_MODEL": MODEL,
            "LLM_API_KEY": "none",
            "DATABASE_PATH": str(self.database),
            "HOST": "127.0.0.1",
            "PORT": "0",
            **settings,
        }

    def __enter__(self) -> Self:
        self._log = (self._folder / "service.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "penstock.app"],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        first = self._process.stdout.readline().strip()
        if not first.rpartition(":")[2].isdigit():
            self.__exit__(None, None, None)
            raise BenchmarkError("the service did not start:\n" + self.log[-1500:])
        self.port = int(first.rpartition(":")[2])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    @property
    def log(self) -> str:
        """The standard error of the service."""
        return (self._folder / "service.log").read_text(errors="replace")

    @property
    def cpu(self) -> float:
        """CPU seconds so far."""
        return tree_cpu(self._process.pid)

    @property
    def peak_memory(self) -> float:
        """Peak memory in MB, since the start or ``forget_peak``."""
        return self._memory("VmHWM")

    @property
    def memory(self) -> float:
        """Memory now, in MB."""
        return self._memory("VmRSS")

    def forget_peak(self) -> None:
        """Measure the peak memory from now on."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def _memory(self, name: str) -> float:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
        raise BenchmarkError(f"/proc has no {name}")


@dataclass(frozen=True)
class Answer:
    """An answer of the service, and how long it took."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def data(self) -> Any:
        """The body as JSON; raises BenchmarkError unless the status is 200."""
        if self.status != 200:
            raise BenchmarkError(f"the service answered {self.status}: {self.body[:500].decode()}")
        return json.loads(self.body)


class Connection:
    """One keep-alive connection, for one request after another."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def _open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        self._used = time.perf_counter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def get(self, path: str) -> Answer:
        """Get ``path``."""
        return await self.ask("GET", path)

    async def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> Answer:
        """Send a request and read the whole answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
        if body:
            head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        if time.perf_counter() - self._used > _KEPT_ALIVE:
            self._writer.close()
            await self._open()
        started = time.perf_counter()
        self._writer.write(head.encode() + b"\r\n" + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(": ") for line in lines[1:] if line)
        headers = {name.lower(): value for name, _, value in pairs}
        content = await self._reader.readexactly(int(headers.get("content-length", 0)))
        self._used = time.perf_counter()
        return Answer(int(lines[0].split()[1]), headers, content, self._used - started)

    async def post(self, path: str, value: Any) -> Answer:
        """Send ``value`` as JSON."""
        return await self.ask("POST", path, json.dumps(value).encode())

    async def begin_job(self, pipeline_id: int, name: str, seeds: bytes, **fields: str) -> int:
        """Upload a seed file and return the id of its job."""
        boundary = "benchmark-" + os.urandom(8).hex()
        fields["pipeline_id"] = str(pipeline_id)
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
            for field, value in fields.items()
        ]
        disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"'
        parts.append(f"--{boundary}\r\n{disposition}\r\n\r\n".encode() + seeds)
        parts.append(f"\r\n--{boundary}--\r\n".encode())
        kind = f"multipart/form-data; boundary={boundary}"
        answer = await self.ask("POST", "/api/generate", b"".join(parts), kind)
        return int(answer.data["job_id"])
