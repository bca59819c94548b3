"""The command line in this process, and a scripted model in another thread."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock.cli import main
from penstock.settings import get_settings
from penstock.testing import ModelServer

SECRET = "sk-secret-0123456789"


@dataclass(frozen=True)
class Outcome:
    """A command's exit status and output."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, read as JSON."""
        return json.loads(self.out)


Cli = Callable[..., Outcome]


@contextmanager
def serving_model() -> Iterator[ModelServer]:
    """A scripted provider in a separate thread, since commands run an event loop themselves."""
    server = ModelServer()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    yield server
    asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def model() -> Iterator[ModelServer]:
    """A scripted provider in a separate thread."""
    with serving_model() as server:
        yield server


@pytest.fixture
def cli(
    model: ModelServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Cli]:
    """``cli("run", "p.yaml", "seeds.jsonl")`` runs the command against the scripted model."""
    monkeypatch.setenv("LLM_ENDPOINT", model.url)
    monkeypatch.setenv("LLM_MODEL", "gpt-x")
    monkeypatch.setenv("LLM_API_KEY", SECRET)
    monkeypatch.setenv("DATABASE_PATH", str(tmp_path / "data" / "test_qa_records.db"))
    monkeypatch.setenv("COLUMNS", "120")

    def _cli(*arguments: str | Path, stdin: bytes = b"") -> Outcome:
        get_settings.cache_clear()
        monkeypatch.setattr("sys.argv", ["penstock", *map(str, arguments)])
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert SECRET not in printed.out + printed.err
        return Outcome(int(ended.value.code or 0), printed.out, printed.err)

    thresholds = gc.get_threshold()
    yield _cli
    gc.set_threshold(*thresholds)
    gc.unfreeze()
