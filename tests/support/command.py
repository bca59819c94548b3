"""The command line as a separate process, with a scripted model as its provider."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import penstock
from penstock.testing import ModelServer

_SOURCES = Path(penstock.__file__).parents[1]
"""Where this process imports penstock from; the command must be the same one."""
_PASSED_ON = ("PATH", "LANG", "NO_PROXY", "SYSTEMROOT")


def environment(model: ModelServer | None, folder: Path) -> dict[str, str]:
    """The environment of the process: none of the developer's settings, and ``model`` if there is one."""
    variables = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    variables |= {"HOME": str(folder), "DATABASE_PATH": str(folder / "records.db"), "COLUMNS": "100"}
    variables["PYTHONPATH"] = str(_SOURCES)
    if model is not None:
        variables |= {
            "LLM_ENDPOINT": model.url,
            "LLM_MODEL": "gpt-x",
            "LLM_API_KEY": "sk-secret-0123456789",
        }
    return variables


async def start(*arguments: str | Path, model: ModelServer | None, folder: Path, **variables: str) -> Process:
    """Start ``penstock`` with these arguments and environment variables in ``folder``."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "penstock",
        *map(str, arguments),
        cwd=folder,
        env={**environment(model, folder), **variables},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
