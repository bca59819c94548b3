"""One server process for each module, with a scripted model server and an HTTP client."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import penstock
from penstock.testing import ModelServer, echo

_SOURCES = Path(penstock.__file__).parents[1]
"""Where the tests import penstock from; the server must be the same one."""
TIMEOUT = 60.0
"""Seconds after which a test fails; no test measures anything against it."""

USER_BLOCKS = '''
import asyncio
from pathlib import Path
from penstock.blocks.base import BaseBlock

class SlowBlock(BaseBlock):
    """Waits."""
    outputs = ["slept"]
    def __init__(self, seconds: float = 0.01) -> None:
        self.seconds = seconds
    async def execute(self, data):
        await asyncio.sleep(self.seconds)
        return {"slept": True}

class BoomBlock(BaseBlock):
    """Fails if the state has the word, or always without one."""
    outputs = []
    def __init__(self, word: str = "") -> None:
        self.word = word
    async def execute(self, data):
        if self.word in str(data):
            raise RuntimeError("Connection timeout")
        return {}

class MutatingBlock(BaseBlock):
    """Changes a list inside its input."""
    outputs = ["seen"]
    async def execute(self, data):
        data["tags"].append("x")
        return {"seen": len(data["tags"])}

class WaitBlock(BaseBlock):
    """Waits until the file that the state names exists."""
    outputs = ["waited"]
    async def execute(self, data):
        while not Path(data["file"]).exists():
            await asyncio.sleep(0.01)
        return {"waited": True}

class MarkBlock(BaseBlock):
    """Leaves a file that shows that it ran."""
    outputs = ["marked"]
    async def execute(self, data):
        Path(data["file"] + ".ran").touch()
        return {"marked": True}

class ScoreBlock(BaseBlock):
    """Returns the seed's number."""
    outputs = ["score"]
    async def execute(self, data):
        return {"score": data["n"]}

class BadBlock(BaseBlock):
    """Returns what it did not declare."""
    outputs = ["ok"]
    async def execute(self, data):
        return {"ok": 1, "zzz": 2}
'''


class Model:
    """The scripted model server on its own thread, so that several tests can share it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.server = ModelServer()
        self._run(self.server.__aenter__())

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT)

    def close(self) -> None:
        self._run(self.server.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT)
        self._loop.close()


class Server:
    """``python -m penstock.app`` in its own folder, on a free port."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "SYSTEMROOT", "TMPDIR"}}
        self.environment = {
            **kept,
            "HOME": str(folder),
            "PYTHONPATH": str(_SOURCES),
            "NO_PROXY": "*",
            "PORT": "0",
            "DATABASE_PATH": str(folder / "data" / "test_qa_records.db"),
            **environment,
        }
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.client = httpx.Client()

    def start(self) -> Server:
        """Start the process, and return once it has printed its address."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "penstock.app"],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        match = re.search(r"http://\S+", line)
        assert match, f"The server did not start: {self.log.read_text()}"
        self.url = match[0]
        self.client.close()
        self.client = httpx.Client(base_url=self.url, timeout=TIMEOUT, trust_env=False)
        return self

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self._process is not None
        return self._process.pid

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the process, wait for its end, and return its exit status."""
        assert self._process is not None
        self.client.close()
        self._process.send_signal(how)
        try:
            status = self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status

    def create(self, *blocks: dict[str, Any], name: str = "P", **extra: Any) -> int:
        """Create a pipeline and return its id."""
        answer = self.client.post("/api/pipelines", json={"name": name, "blocks": list(blocks), **extra})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["id"])

    def execute(self, pipeline_id: int, state: dict[str, Any]) -> httpx.Response:
        """Run a pipeline once."""
        return self.client.post(f"/api/pipelines/{pipeline_id}/execute", json=state)

    def upload(self, pipeline_id: int, seeds: Any, name: str = "seeds.json", **fields: Any) -> httpx.Response:
        """Start a job; seeds that are not bytes are sent as JSON."""
        content = seeds if isinstance(seeds, bytes) else json.dumps(seeds).encode()
        form = {"pipeline_id": pipeline_id, **fields}
        return self.client.post("/api/generate", files={"file": (name, content)}, data=form)

    def begin(self, pipeline_id: int, seeds: Any, name: str = "seeds.json", **fields: Any) -> int:
        """Start a job and return its id."""
        answer = self.upload(pipeline_id, seeds, name, **fields)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["job_id"])

    def job(self, job_id: int) -> dict[str, Any]:
        """The job as it is now."""
        answer = self.client.get(f"/api/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(self, job_id: int, *statuses: str, until: Callable[[dict[str, Any]], bool] | None = None) -> Any:
        """The job, once it is in one of ``statuses`` (or has ended), or ``until`` holds."""
        targets = statuses or ("completed", "failed", "cancelled", "stopped")
        deadline = time.monotonic() + TIMEOUT
        while True:
            job = self.job(job_id)
            if until(job) if until else job["status"] in targets:
                return job
            assert time.monotonic() < deadline, job
            time.sleep(0.02)

    def run(self, pipeline_id: int, seeds: Any, name: str = "seeds.json", **fields: Any) -> Any:
        """Run a job to its end and return it."""
        return self.wait(self.begin(pipeline_id, seeds, name, **fields))

    def records(self, job_id: int, **params: Any) -> list[dict[str, Any]]:
        """The job's records, the newest first."""
        answer = self.client.get("/api/records", params={"job_id": job_id, "limit": 1000, **params})
        assert answer.status_code == 200, answer.text
        return list(answer.json())

    def wait_for_log(self, text: str) -> str:
        """The log, once it contains ``text``."""
        deadline = time.monotonic() + TIMEOUT
        while text not in (log := self.log.read_text()):
            assert time.monotonic() < deadline, f"{text!r} is not in the log:\n{log}"
            time.sleep(0.02)
        return log


@pytest.fixture(scope="module")
def provider() -> Iterator[Model]:
    """The model of a module's server: ``provider.server`` is a ModelServer."""
    model = Model()
    yield model
    model.close()


@pytest.fixture(scope="module")
def server(provider: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The module's server process, with a few user blocks and a log at level DEBUG."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "user_blocks").mkdir()
    (folder / "user_blocks" / "trial.py").write_text(USER_BLOCKS)
    (folder / "user_blocks" / "broken.py").write_text("def broken(:")
    made = Server(
        folder,
        LLM_ENDPOINT=provider.server.url,
        LLM_MODEL="gpt-x",
        LLM_API_KEY="sk-test-0123456789",
        DEBUG="Yes",
    ).start()
    yield made
    made.stop()


@pytest.fixture
def client(server: Server) -> httpx.Client:
    """An HTTP client of the module's server."""
    return server.client


@pytest.fixture
def asked(provider: Model) -> Iterator[list[dict[str, Any]]]:
    """What the model was asked in this test; afterwards it echoes again."""
    server = provider.server
    server.requests.clear()
    yield server.requests
    server.script.clear()
    server.answer, server.latency = echo, 0.0
