"""The whole application with a database for each test, and an HTTP client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from penstock.app import create_app, open_services
from penstock.settings import Settings

BLOCKS = '''
import asyncio

from penstock.blocks.base import BaseBlock

class CountingBlock(BaseBlock):
    """Counts how often it ran."""
    outputs = ["count"]
    runs = 0
    async def execute(self, data):
        type(self).runs += 1
        return {"count": type(self).runs}

class PauseBlock(BaseBlock):
    """Waits 50 ms."""
    outputs = ["slept"]
    async def execute(self, data):
        await asyncio.sleep(0.05)
        return {"slept": True}

class BoomBlock(BaseBlock):
    """Always fails."""
    async def execute(self, data):
        raise RuntimeError("Connection timeout")

class QuotingBlock(BaseBlock):
    """Fails with the state in its message."""
    async def execute(self, data):
        raise LookupError(f"no entry for {data}")

class BadBlock(BaseBlock):
    """Returns what it did not declare."""
    outputs = ["ok"]
    async def execute(self, data):
        return {"ok": 1, "zzz": 2}

class LeakBlock(BaseBlock):
    """Returns something secret."""
    outputs = ["leak"]
    def __init__(self, secret: str = "") -> None:
        self.secret = secret
    async def execute(self, data):
        return {"leak": self.secret}
'''


@asynccontextmanager
async def _open_client(app: FastAPI, **options: Any) -> AsyncIterator[AsyncClient]:
    transport = ASGITransport(app=app)
    async with AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", **options) as client:
        yield client


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """The shared settings, and user blocks that count, wait and fail."""
    folder = tmp_path / "user_blocks"
    folder.mkdir()
    (folder / "trial.py").write_text(BLOCKS)
    (folder / "broken.py").write_text("def broken(:")
    return settings.model_copy(update={"user_blocks": folder, "user_templates": tmp_path / "user_templates"})


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application with its services open."""
    made = create_app(settings)
    async with open_services(settings, made.state.metrics) as services:
        made.state.services = services
        yield made


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """An HTTP client of the application."""
    async with _open_client(app) as opened:
        yield opened


@pytest.fixture
def create(client: AsyncClient) -> Callable[..., Awaitable[int]]:
    """``await create({"type": …}, …)``: the id of a new pipeline of these steps."""

    async def _create(*blocks: dict[str, Any], **extra: Any) -> int:
        answer = await client.post("/api/pipelines", json={"name": "P", "blocks": list(blocks), **extra})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["id"])

    return _create


@pytest.fixture
async def guarded(settings: Settings) -> AsyncIterator[AsyncClient]:
    """An HTTP client of an application that needs the token ``open-sesame-42``."""
    locked = Settings.model_validate({**settings.model_dump(), "api_token": "open-sesame-42"})
    made = create_app(locked)
    async with open_services(locked, made.state.metrics) as services:
        made.state.services = services
        async with _open_client(made) as opened:
            yield opened
