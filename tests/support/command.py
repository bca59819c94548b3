"""The command line as a process of its own, with a scripted model as its provider."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from support.model_server import ModelServer


def environment(model: ModelServer | None, folder: Path) -> dict[str, str]:
    """What the command sees: nothing of the developer's, and ``model`` if there is one."""
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "NO_PROXY", "SYSTEMROOT") if name in os.environ
    }
    told = {"HOME": str(folder), "DATABASE_PATH": str(folder / "records.db"), "COLUMNS": "100"}
    if model is not None:
        told |= {"LLM_ENDPOINT": model.url, "LLM_MODEL": "gpt-x", "LLM_API_KEY": "sk-secret-0123456789"}
    return kept | told


async def start(*arguments: str | Path, model: ModelServer | None, folder: Path) -> Process:
    """``penstock`` with these arguments, running in ``folder``."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "penstock",
        *map(str, arguments),
        cwd=folder,
        env=environment(model, folder),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
