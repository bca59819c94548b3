"""Start, share and stop the child process that runs the embedded model."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from penstock.errors import ConfigurationError
from penstock.llm.embedded.openmp import child_environment
from penstock.llm.embedded.weights import get_weights
from penstock.settings import EMBEDDED_MODEL, Settings

SLOTS = 4
"""Requests that are answered at the same time; more wait in a queue."""
SLOT_TOKENS = 2048
"""The most tokens of one request, prompt and answer together."""

_START_SECONDS = 120.0  # a slow disk has to read a hundred megabytes
_STOP_SECONDS = 3.0
_CHILD = Path(__file__).with_name("child.py")
_LIBRARIES = {"libgomp": "libgomp1", "libstdc++": "libstdc++6"}  # file -> package of Debian and Ubuntu

_servers: dict[Path, EmbeddedServer] = {}
_lock = threading.Lock()


@dataclass(slots=True, eq=False)
class EmbeddedServer:
    """A running model: send OpenAI chat requests to ``base_url`` with ``api_key``."""

    base_url: str
    api_key: str = field(repr=False)
    weights: Path
    process: subprocess.Popen[bytes] = field(repr=False)
    _owner: int = field(default_factory=os.getpid, repr=False)

    @property
    def running(self) -> bool:
        """Whether its process is alive; true in a forked process, which cannot know."""
        return self._owner != os.getpid() or self.process.poll() is None

    def stop(self) -> None:
        """End the child process; does nothing in a process that was forked from the one that started it."""
        if self._owner != os.getpid():
            return
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


async def start(settings: Settings, model: str = EMBEDDED_MODEL) -> EmbeddedServer:
    """The server of ``model``, started if it is not running; concurrent callers get the same one.

    Raises ConfigurationError when the runtime or the weights are missing.
    """
    return await asyncio.to_thread(_start, settings, model)


def stop_all() -> None:
    """Stop every server of this process; called when it exits."""
    with _lock:
        for server in _servers.values():
            server.stop()
        _servers.clear()


def _start(settings: Settings, model: str) -> EmbeddedServer:
    with _lock:
        weights = get_weights(settings, model).resolve()
        server = _servers.get(weights)
        if server is None or not server.running:
            if not _servers:
                atexit.register(stop_all)
            server = _servers[weights] = _launch(weights)
        return server


def _launch(weights: Path) -> EmbeddedServer:
    api_key = secrets.token_urlsafe(24)
    configuration = {
        "model": str(weights),
        "name": weights.stem,
        "api_key": api_key,  # through the pipe: other users can read command lines and environments
        "slots": SLOTS,
        "context": SLOT_TOKENS,
        "threads": os.cpu_count() or 1,
    }
    with tempfile.TemporaryFile() as log, child_environment() as environment:
        process = subprocess.Popen(  # noqa: S603  our own file, run by this interpreter
            [sys.executable, "-P", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C must not end it while requests are in flight
        )
        try:
            answer = _send_configuration(process, configuration)
            if "address" not in answer:
                raise _failure(answer, log, weights)
        except BaseException:
            process.kill()
            process.wait()
            raise
    return EmbeddedServer(f"{answer['address']}/v1", api_key, weights, process)


def _send_configuration(process: subprocess.Popen[bytes], configuration: dict[str, object]) -> dict[str, str]:
    """Send the child its configuration and read its answer; empty when it died or took too long."""
    if process.stdin is None or process.stdout is None:
        return {}
    started = threading.Event()
    threading.Thread(target=_kill_late, args=(process, started), daemon=True).start()
    try:
        process.stdin.write(json.dumps(configuration).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        line = b""
    finally:
        started.set()
        process.stdout.close()
    answer = json.loads(line or b"{}")
    return answer if isinstance(answer, dict) else {}


def _kill_late(process: subprocess.Popen[bytes], started: threading.Event) -> None:
    """Kill a process that does not start; the time in which our own process stood still does not count."""
    for _ in range(int(_START_SECONDS)):
        if started.wait(1.0):
            return
    process.kill()


def _failure(answer: dict[str, str], log: IO[bytes], weights: Path) -> ConfigurationError:
    log.seek(0)
    lines = log.read(100_000).decode(errors="replace").strip().splitlines()
    message = answer.get("message", "")
    detail = {"weights": str(weights), "error": message, "output": lines[-5:]}
    for library, package in _LIBRARIES.items():
        if library in message:
            return ConfigurationError(
                f"The embedded model needs the system library {library}: apt-get install {package}",
                detail=detail,
            )
    if answer.get("error") == "ModuleNotFoundError":
        return ConfigurationError(
            "The embedded model's runtime is not installed: pip install 'penstock[embedded]'", detail=detail
        )
    return ConfigurationError(
        f"The embedded model did not start from {weights.name}: {message or 'its process ended'}",
        detail=detail,
    )
