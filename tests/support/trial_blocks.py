"""Small blocks for tests: some return, some fail, some wait, some call a model, some multiply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from penstock import llm
from penstock.blocks.base import BaseBlock, BaseMultiplierBlock
from penstock.blocks.registry import BlockRegistry
from penstock.entities import Attempt


class Note(BaseBlock):
    """Adds its word to ``notes``."""

    outputs: ClassVar[list[str]] = ["notes"]

    def __init__(self, word: str = "x") -> None:
        self.word = word

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"notes": [*data.get("notes", []), self.word]}


class Give(BaseBlock):
    """Returns ``values`` unchanged, even those that ``outputs`` does not declare."""

    outputs: ClassVar[list[str]] = ["r", "s", "pipeline_output", "assistant"]

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        return self.values


class Copy(BaseBlock):
    """Copies the field ``source`` to ``s``."""

    outputs: ClassVar[list[str]] = ["s"]

    def __init__(self, source: str) -> None:
        self.source = source

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"s": data[self.source]}


class Mutate(BaseBlock):
    """Changes everything that it is given, and later what it returned, to show that states are copied."""

    outputs: ClassVar[list[str]] = ["r"]
    kept: ClassVar[list[dict[str, Any]]] = []

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        for earlier in self.kept:
            earlier["spoiled"] = True
        for value in data.values():
            if isinstance(value, list):
                value.append("spoiled")
            if isinstance(value, dict):
                value["spoiled"] = True
        data["extra"] = "spoiled"
        returned: dict[str, Any] = {"fine": True}
        self.kept.append(returned)
        return {"r": returned}


class BadBlock(BaseBlock):
    """Returns more than it declares."""

    outputs: ClassVar[list[str]] = ["ok"]

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"ok": 1, "zzz": 2}


class BoomBlock(BaseBlock):
    """Fails when the state's ``boom`` is true or missing."""

    outputs: ClassVar[list[str]] = ["r"]

    def __init__(self, message: str = "Connection timeout") -> None:
        self.message = message

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        if data.get("boom", True):
            raise RuntimeError(self.message)
        return {"r": "calm"}


class Odd(BaseBlock):
    """Returns something that is not a dict, or raises something that is not an Exception."""

    outputs: ClassVar[list[str]] = ["r"]

    def __init__(self, kind: str) -> None:
        self.kind = kind

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        match self.kind:
            case "none":
                return None  # type: ignore[return-value]  # on purpose
            case "list":
                return ["r"]  # type: ignore[return-value]  # on purpose
            case "numbers":
                return {1: "x"}  # type: ignore[dict-item]  # on purpose
            case "cancelled":
                raise asyncio.CancelledError
            case "exit":
                raise SystemExit(3)
            case "timeout":
                raise TimeoutError
            case _:
                return {"r": object()}


class Generator(BaseBlock):
    """An ``execute`` that yields instead of returning."""

    outputs: ClassVar[list[str]] = ["r"]

    async def execute(self, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:  # type: ignore[override]  # on purpose
        yield {"r": 1}


class Plain(BaseBlock):
    """An ``execute`` that is not asynchronous."""

    outputs: ClassVar[list[str]] = ["r"]

    def execute(self, data: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]  # on purpose
        return {"r": 1}


class Silent(BaseBlock):
    """Declares nothing and returns nothing."""

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        return {}


class Slow(BaseBlock):
    """Waits."""

    outputs: ClassVar[list[str]] = ["slept"]

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds = seconds

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(self.seconds)
        return {"slept": True}


class Ask(BaseBlock):
    """Asks the model ``<prompt> <n>`` with the seed's ``n``; the answer is in the field ``into``."""

    outputs: ClassVar[list[str]] = ["answer", "first", "second"]

    def __init__(self, prompt: str = "q", into: str = "answer") -> None:
        self.prompt = prompt
        self.into = into

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        question = f"{self.prompt} {data.get('n', '')}".strip()
        answer = await llm.complete([{"role": "user", "content": question}], temperature=0.0)
        return {self.into: answer.text}


class Pair(BaseBlock):
    """Two parts, one model call each; ``regenerate`` makes only the named ones again."""

    outputs: ClassVar[list[str]] = ["left", "right"]

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        return {part: await self._ask(part, 0.0) for part in self.outputs}

    async def regenerate(self, data: dict[str, Any], attempt: Attempt) -> dict[str, Any]:
        targets = attempt.targets.items()
        return {part: await self._ask(part, target.temperature) for part, target in targets}

    async def _ask(self, part: str, temperature: float) -> str:
        answer = await llm.complete([{"role": "user", "content": part}], temperature=temperature)
        return answer.text


class Split(BaseMultiplierBlock):
    """One child for each word of ``text``; fails when there is no ``text``."""

    outputs: ClassVar[list[str]] = ["word", "boom"]
    consumes: ClassVar[list[str]] = ["text"]

    async def multiply(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"word": word, "boom": word == "boom"} for word in data["text"].split()]


class AskedSplit(BaseMultiplierBlock):
    """Asks the model for words, and makes one child of each."""

    outputs: ClassVar[list[str]] = ["word"]

    async def multiply(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        answer = await llm.complete([{"role": "user", "content": "a b c"}])
        return [{"word": word} for word in answer.text.removeprefix("echo: ").split()]


ALL: tuple[type[BaseBlock], ...] = (
    Note,
    Give,
    Copy,
    Mutate,
    BadBlock,
    BoomBlock,
    Odd,
    Generator,
    Plain,
    Silent,
    Slow,
    Ask,
    Pair,
    Split,
    AskedSplit,
)


def trial_registry() -> BlockRegistry:
    """The built-in blocks and those of this module."""
    registry = BlockRegistry()
    for cls in ALL:
        registry.register(cls)
    return registry
