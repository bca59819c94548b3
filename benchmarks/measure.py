"""Start the mock, start a command, and measure what the command needs.

Only the standard library is imported here: a child's peak memory starts at the memory of its parent, so the
parent stays small. Linux only, for ``/proc`` and one monotonic clock for all processes.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.columns import Command
from benchmarks.peers import ROOT

_TICKS = os.sysconf("SC_CLK_TCK")


class BenchmarkError(Exception):
    """A run that cannot be counted: it failed, took too long, or did not do the work."""


@dataclass(frozen=True)
class Measurement:
    """What one run needed."""

    rows: int
    first_request: float
    """Seconds from the start of the process to its first call's arrival at the mock."""
    seconds: float
    """From that arrival to the end of the process, when everything has been stored."""
    cpu: float
    """CPU seconds of the process and its children over the same time."""
    startup_cpu: float
    max_rss: float
    """Peak memory of the largest process of the tree, in MB."""
    calls: int
    max_in_flight: int
    mock_cpu: float
    disk: dict[str, float] | None = None

    @property
    def rows_per_second(self) -> float:
        """Rows a second, without the start."""
        return self.rows / self.seconds

    @property
    def cpu_per_1000(self) -> float:
        """CPU seconds for a thousand rows, without the start."""
        return self.cpu / self.rows * 1000


class Mock:
    """The mock model, in a process of its own on the last core.

    With ``certificate`` (a PEM file with its key) clients are given its address for HTTPS.
    """

    def __init__(self, latency_ms: float = 0.0, *, certificate: Path | None = None, **flags: float) -> None:
        self.certificate = certificate
        extra = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        cpu = max(os.sched_getaffinity(0))
        self._argv = [sys.executable, "-m", "benchmarks.mock_server", "--until-stdin-closes"]
        self._argv += [f"--latency-ms={latency_ms}", f"--cpu={cpu}", *extra]
        if certificate is not None:
            self._argv.append(f"--certificate={certificate}")

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._argv, stdin=pipe, stdout=pipe, cwd=ROOT, text=True)
        assert self._process.stdout is not None
        ports = json.loads(self._process.stdout.readline())
        self.port = int(ports["port"])
        self._https_port = ports.get("https_port")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    @property
    def endpoint(self) -> str:
        """The base URL that clients are given."""
        if self._https_port is not None:
            return f"https://127.0.0.1:{self._https_port}/v1"
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def environment(self) -> dict[str, str]:
        """What clients need in order to trust its certificate."""
        if self.certificate is None:
            return {}
        return {name: str(self.certificate) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}

    def ask(self, method: str, path: str) -> dict[str, Any]:
        """The mock's answer at one of its own routes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer


def run(command: Command, mock: Mock, rows: int, *, timeout: float = 600.0) -> tuple[Measurement, str]:
    """Run the command to its end; returns what it needed and what it printed. Raises BenchmarkError."""
    mock.ask("POST", "/reset")
    printed, errors = command.cwd / "stdout.txt", command.cwd / "stderr.txt"
    with printed.open("wb") as stdout, errors.open("wb") as stderr:
        started = time.monotonic()
        process = subprocess.Popen(
            command.argv,
            cwd=command.cwd,
            env=command.env | mock.environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        killer = threading.Timer(timeout, os.killpg, (process.pid, signal.SIGKILL))
        killer.start()
        try:
            first = _wait_for_first_call(process, mock)
            startup_cpu = tree_cpu(process.pid)
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            killer.cancel()
        ended = time.monotonic()
    process.returncode = os.waitstatus_to_exitcode(status)
    stats = mock.ask("GET", "/stats")
    if process.returncode != 0 or first is None:
        raise BenchmarkError(_explain(command, process.returncode, errors, printed))
    measured = Measurement(
        rows=rows,
        first_request=first - started,
        seconds=ended - first,
        cpu=usage.ru_utime + usage.ru_stime - startup_cpu,
        startup_cpu=startup_cpu,
        max_rss=usage.ru_maxrss / 1024,
        calls=stats["calls"],
        max_in_flight=stats["max_in_flight"],
        mock_cpu=stats["cpu_seconds"],
    )
    return measured, printed.read_text(errors="replace")


def make_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, as a PEM file that ``openssl`` makes."""
    pem, key = folder / "mock.pem", folder / "mock.key"
    request = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        ["openssl", *request.split(), "-keyout", str(key), "-out", str(pem)], check=True, capture_output=True
    )
    with pem.open("a") as file:
        file.write(key.read_text())
    return pem


def time_command(argv: list[str], env: dict[str, str], cwd: Path) -> float:
    """How long a short command takes, in seconds."""
    started = time.monotonic()
    subprocess.run(argv, env=env, cwd=cwd, check=True, capture_output=True)
    return time.monotonic() - started


def _wait_for_first_call(process: subprocess.Popen[bytes], mock: Mock) -> float | None:
    while (first := mock.ask("GET", "/first")["first_call"]) is None:
        # WNOWAIT leaves the ended process, so that its usage can still be read.
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return None
    return float(first)


def tree_cpu(root: int) -> float:
    """CPU seconds so far of a process, its descendants, and those of them that have ended."""
    children: dict[int, list[int]] = {}
    spent: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # The name in parentheses may contain anything; the numbers come after it.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(folder.name)
        children.setdefault(int(fields[1]), []).append(pid)
        spent[pid] = sum(map(int, fields[11:15]))
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        total += spent.get(pid, 0)
        waiting += children.get(pid, [])
    return total / _TICKS


def _explain(command: Command, returncode: int, *files: Path) -> str:
    tails = (file.read_text(errors="replace")[-1500:].strip() for file in files)
    return f"{' '.join(command.argv[:4])} … ended with {returncode}\n" + "\n".join(filter(None, tails))
