"""Fixtures of all tests, and what isolates tests from the machine that they run on."""

from __future__ import annotations

import logging
import os

os.environ["DATABASE_PATH"] = "data/test_qa_records.db"  # before penstock is imported
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from pydantic import SecretStr

from penstock.llm import Client, use_client
from penstock.settings import Settings, get_settings
from penstock.testing import Answer, ModelServer

# How long an example takes says nothing on a busy machine.
hypothesis.settings.register_profile("penstock", deadline=None)
hypothesis.settings.load_profile("penstock")

_KEPT = {"database_path"}

for _field in Settings.model_fields.keys() - _KEPT:
    for _name in (_field, _field.upper()):
        os.environ.pop(_name, None)


@pytest.fixture(scope="session", autouse=True)
def _test_database() -> Iterator[None]:
    """Delete the database of the tests before the first and after the last one."""
    database = Path(os.environ["DATABASE_PATH"]).absolute()
    for end in ("", "-wal", "-shm"):
        database.with_name(database.name + end).unlink(missing_ok=True)
    yield
    for end in ("", "-wal", "-shm"):
        database.with_name(database.name + end).unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run each test in an empty folder of its own, without the ``.env`` and ``data/`` of the developer."""
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture
async def model() -> AsyncIterator[ModelServer]:
    """A provider that answers ``echo: <last user message>`` unless a test scripts it."""
    async with ModelServer() as server:
        yield server


@pytest.fixture
def script(model: ModelServer) -> Callable[..., ModelServer]:
    """``script("x = 1", "def broken(:")``: the model gives these answers in order, then echoes."""

    def _script(*replies: Answer) -> ModelServer:
        return model.then(*replies)

    return _script


@pytest.fixture
def settings(model: ModelServer, tmp_path: Path) -> Settings:
    """Settings with the scripted model and a database of the test's own."""
    return Settings(
        llm_endpoint=model.url,
        llm_model="gpt-x",
        llm_api_key=SecretStr("sk-test-0123456789"),
        database_path=tmp_path / "test_qa_records.db",
    )


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    """A client of the scripted model, which ``llm.complete`` uses."""
    async with Client(settings) as client:
        with use_client(client):
            yield client


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """Undo what a command did to the log of this process, so that later tests see log records."""
    log = logging.getLogger("penstock")
    before = log.propagate, log.level, list(log.handlers)
    yield
    log.propagate, log.level, log.handlers = before
