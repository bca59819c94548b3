"""Blocks and gates that cancel their task, raise what is no Exception, or return what cannot be kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any, ClassVar

import numpy as np
import pytest

from penstock.blocks.base import BaseBlock, BaseMultiplierBlock
from penstock.blocks.registry import BlockRegistry
from penstock.entities import ExecutionResult, Finding, Parts, Verdict
from penstock.errors import BlockExecutionError, StorageError
from penstock.gates import BaseGate, GateRegistry
from penstock.workflow import Pipeline

Act = Callable[[dict[str, Any]], Awaitable[Any]]


class Actor(BaseBlock):
    """Does what a test says, with a record that is to fail."""

    outputs: ClassVar[list[str]] = ["o"]
    act: ClassVar[Act]

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        if data.get("fine"):
            return {"o": "fine"}
        made: Any = await type(self).act(data)
        return {"o": made}


class Splitter(BaseMultiplierBlock):
    outputs: ClassVar[list[str]] = ["o"]
    act: ClassVar[Act]

    async def multiply(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        if data.get("fine"):
            return [{"o": "fine"}]
        made: list[dict[str, Any]] = await type(self).act(data)
        return made


class Judge(BaseGate):
    act: ClassVar[Act]

    async def check(self, parts: Parts) -> Verdict:
        if parts.state.get("fine"):
            return self.verdict()
        made: Verdict = await type(self).act(dict(parts.state))
        return made


class Looker(BaseGate):
    act: ClassVar[Callable[[], Any]]

    def look(self, parts: Parts) -> Verdict:
        made: Verdict = type(self).act()
        return made


class PanicError(BaseException):
    """As libraries in Rust raise it."""


class SilentError(Exception):
    def __str__(self) -> str:
        raise PanicError

    __repr__ = __str__


async def cancel_itself(_: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def cancel_itself_and_return(_: Any) -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return "x"


async def leak_a_cancellation(_: Any) -> None:
    task = asyncio.current_task()
    assert task is not None

    def again() -> None:  # as a cancel scope that is never left
        if not task.done():
            task.cancel()
            asyncio.get_running_loop().call_soon(again)

    asyncio.get_running_loop().call_soon(again)
    await asyncio.sleep(3600)


def raising(error: BaseException) -> Act:
    async def act(_: Any) -> None:
        raise error

    return act


BAD: dict[str, tuple[Act, str]] = {
    "cancels its task": (cancel_itself, "it was cancelled (CancelledError), but not by penstock"),
    "leaks a cancellation": (leak_a_cancellation, "it was cancelled (CancelledError)"),
    "raises CancelledError": (raising(asyncio.CancelledError()), "it was cancelled (CancelledError)"),
    "panics": (raising(PanicError("rust")), "it raised PanicError: rust"),
    "exits": (raising(SystemExit(3)), "it raised SystemExit: 3"),
    "interrupts": (raising(KeyboardInterrupt()), "it raised KeyboardInterrupt"),
    "closes": (raising(GeneratorExit()), "it raised GeneratorExit"),
    "raises a group": (raising(BaseExceptionGroup("g", [PanicError("a")])), "g: PanicError: a"),
    "has no text": (raising(SilentError()), "SilentError without a text"),
    "has half a character": (raising(ValueError("bad \ud800")), "bad \\ud800"),
    "has a huge text": (raising(ValueError("x" * 10_000_000)), "xxx…"),
    "claims that the database failed": (raising(StorageError("no disk")), "no disk"),
}


def pipeline_of(step: dict[str, Any]) -> Pipeline:
    blocks, gates = BlockRegistry(), GateRegistry()
    for block in (Actor, Splitter):
        blocks.register(block)
    for gate in (Judge, Looker):
        gates.register(gate)
    return Pipeline("trial", [step], block_registry=blocks, gate_registry=gates)


async def fail_first(step: dict[str, Any]) -> ExecutionResult:
    """The result of a record that does what the test says; two others beside it are made."""
    results = await pipeline_of(step).run([{"fine": True}, {}, {"fine": True}], concurrency=1)
    assert [result.result.get("o") for result in (results[0], results[2])] == ["fine", "fine"]
    return results[1]


@pytest.mark.parametrize(("act", "reason"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("samples", [1, 3])
async def test_a_block_that_misbehaves_fails_its_record_and_nothing_else(
    act: Act, reason: str, samples: int
) -> None:
    Actor.act = staticmethod(act)

    result = await fail_first({"type": "Actor", "samples": samples})

    assert isinstance(result.error, BlockExecutionError)
    assert result.error.message.startswith("Block 'Actor' failed at step 1: ")
    assert reason in result.error.message
    assert len(result.error.message) < 5000
    assert result.trace[0]["error"] == result.error.message
    result.error.message.encode()


@pytest.mark.parametrize(("act", "reason"), BAD.values(), ids=BAD)
async def test_a_gate_that_misbehaves_fails_its_record_and_nothing_else(act: Act, reason: str) -> None:
    Actor.act = staticmethod(lambda _: asyncio.sleep(0, "made"))
    Judge.act = staticmethod(act)

    result = await fail_first({"type": "Actor", "gates": [{"type": "Judge"}]})

    assert result.error is not None
    assert "Block 'Actor' failed at step 1: " in result.error.message
    assert reason in result.error.message
    if act is not BAD["claims that the database failed"][0]:
        assert "The gate Judge could not run" in result.error.message


@pytest.mark.parametrize(("act", "reason"), BAD.values(), ids=BAD)
async def test_a_multiplier_that_misbehaves_fails_its_seed_and_nothing_else(act: Act, reason: str) -> None:
    Splitter.act = staticmethod(act)

    result = await fail_first({"type": "Splitter"})

    assert isinstance(result.error, BlockExecutionError)
    assert reason in result.error.message


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (None, "it returned NoneType, not a Verdict"),
        (Verdict("Looker", ("wrong",)), "a finding is str, not a Finding"),  # type: ignore[arg-type]
        (Verdict("Looker", (Finding("o", "half \ud800"),)), "Looker: half \\ud800"),
        (Verdict("Looker", (Finding("o", 5),)), "Looker: 5"),  # type: ignore[arg-type]
    ],
)
async def test_a_verdict_that_is_none_fails_its_record(verdict: Any, reason: str) -> None:
    Looker.act = staticmethod(lambda: verdict)

    result = (await pipeline_of({"type": "Actor", "gates": [{"type": "Looker"}]}).run([{"fine": True}]))[0]

    assert result.error is not None
    assert reason in result.error.message


async def test_a_cancellation_from_outside_ends_the_record_although_its_block_goes_on() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def go_on(_: Any) -> str:
        started.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await ended.wait()
        return "too late"

    Actor.act = staticmethod(go_on)
    task = asyncio.create_task(pipeline_of({"type": "Actor"}).run([{}]))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    ended.set()


async def test_a_block_may_limit_its_own_time() -> None:
    async def limited(_: Any) -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(3600)
        except TimeoutError:
            return "late"
        return "in time"

    Actor.act = staticmethod(limited)

    results = await pipeline_of({"type": "Actor"}).run([{}])

    assert results[0].result["o"] == "late"


async def test_a_block_that_cancels_its_task_and_returns_fails_its_record() -> None:
    Actor.act = staticmethod(cancel_itself_and_return)

    result = await fail_first({"type": "Actor"})

    assert result.error is not None
    assert "it was cancelled (CancelledError), but not by penstock" in result.error.message


async def test_an_error_that_is_its_own_cause_fails_its_record() -> None:
    async def act(_: Any) -> None:
        error = ValueError("round")
        raise error from error

    Actor.act = staticmethod(act)

    result = await fail_first({"type": "Actor"})

    assert result.error is not None
    assert result.error.__cause__ is not None
    assert result.error.__cause__.__cause__ is None


async def test_what_a_block_returns_is_the_same_everywhere() -> None:
    Actor.act = staticmethod(lambda _: asyncio.sleep(0, {"n": np.float64(1.5), "day": date(2020, 1, 2)}))

    results = await pipeline_of({"type": "Actor"}).run([{}])

    plain = {"n": 1.5, "day": "2020-01-02"}
    entry = results[0].trace[0]
    assert results[0].result == {"o": plain, "pipeline_output": plain}
    assert (entry["output"], entry["accumulated_state"]["o"]) == ({"o": plain}, plain)
    assert type(entry["output"]["o"]["n"]) is float


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"deep": [object()]}, "the output 'o.deep[0]' is an object of the class object"),
        (float("nan"), "the output 'o' is nan, which JSON cannot hold"),
        ([10**5000], "the output 'o[0]' is an integer of more than 4,000 digits"),
        ({(1, 2): 3}, "the output 'o' has a key that is a tuple"),
    ],
    ids=["object", "nan", "integer", "key"],
)
async def test_what_has_no_form_in_json_fails_the_record_with_block_and_field(
    value: Any, reason: str
) -> None:
    Actor.act = staticmethod(lambda _: asyncio.sleep(0, value))

    result = await fail_first({"type": "Actor"})

    assert result.error is not None
    assert result.error.message.startswith(f"Block 'Actor' failed at step 1: {reason}")


async def test_a_child_that_has_no_form_in_json_is_named() -> None:
    Splitter.act = staticmethod(lambda _: asyncio.sleep(0, [{"o": 1}, {"o": [object()]}]))

    result = await fail_first({"type": "Splitter"})

    assert result.error is not None
    assert "the output '[1].o[0]' is an object" in result.error.message


async def test_a_multiplier_must_return_a_list() -> None:
    Splitter.act = staticmethod(lambda _: asyncio.sleep(0, iter([])))

    result = await fail_first({"type": "Splitter"})

    assert result.error is not None
    assert "multiply must return a list of dicts, not list_iterator" in result.error.message
