"""Pipelines of the trial blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.entities import ExecutionResult
from penstock.workflow import Pipeline
from support.trial_blocks import trial_registry


def build(*blocks: Mapping[str, Any] | str, **extra: Any) -> Pipeline:
    """A pipeline of the trial blocks; a string is the type of a block without config."""
    steps = [{"type": block} if isinstance(block, str) else block for block in blocks]
    return Pipeline("trial", steps, block_registry=trial_registry(), **extra)


def give(**values: Any) -> dict[str, Any]:
    """A step that returns ``values``."""
    return {"type": "Give", "config": {"values": values}}


def note(word: str) -> dict[str, Any]:
    """A step that adds ``word`` to the notes."""
    return {"type": "Note", "config": {"word": word}}


async def run_one(pipeline: Pipeline, data: Mapping[str, Any]) -> ExecutionResult:
    """The only result."""
    made = await pipeline.execute(data)
    assert isinstance(made, ExecutionResult)
    return made


async def run_children(pipeline: Pipeline, data: Mapping[str, Any]) -> list[ExecutionResult]:
    """The results of a multiplier's children."""
    made = await pipeline.execute(data)
    assert isinstance(made, list)
    return made
