"""An event loop that goes on whatever users' code does to it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

import pytest

from penstock import event_loop
from penstock.event_loop.watchdog import Watchdog


def test_the_result_of_the_coroutine_is_returned() -> None:
    async def work() -> int:
        return 3

    assert event_loop.run(work(), print) == 3


def test_a_task_of_a_block_that_exits_does_not_end_the_process() -> None:
    said: list[str] = []

    async def leave() -> None:
        sys.exit(7)

    async def work() -> str:
        with pytest.raises(SystemExit):
            await asyncio.create_task(leave())
        return "done"

    assert event_loop.run(work(), said.append) == "done"
    assert said in ([], ["A task that some code has started raised SystemExit: 7; penstock goes on."])


def test_a_callback_that_exits_does_not_end_the_process() -> None:
    said: list[str] = []

    async def work() -> str:
        asyncio.get_running_loop().call_soon(sys.exit, 3)
        await asyncio.sleep(0.01)
        return "done"

    assert event_loop.run(work(), said.append) == "done"
    assert "raised SystemExit: 3" in said[0]


def test_a_block_that_stops_the_loop_does_not_end_the_run() -> None:
    said: list[str] = []

    async def work() -> str:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)
        return "done"

    assert event_loop.run(work(), said.append) == "done"
    assert said == ["Some code has stopped the event loop; penstock goes on."]


def test_an_error_of_the_coroutine_is_raised() -> None:
    async def work() -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        event_loop.run(work(), print)


def test_a_task_that_cannot_be_cancelled_keeps_nobody_waiting() -> None:
    async def go_on() -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    left: list[asyncio.Task[None]] = []

    async def work() -> str:
        left.append(asyncio.create_task(go_on()))
        await asyncio.sleep(0)
        return "done"

    assert event_loop.run(work(), print) == "done"


async def test_the_watchdog_names_the_block_and_the_line_that_hold_the_loop() -> None:
    said: list[str] = []
    watchdog = Watchdog(asyncio.get_running_loop(), said.append, held_seconds=0.05)
    watchdog.start()

    def hold() -> None:
        watched_as = "Block 'Slow' of step 1"  # noqa: F841 (read by the watchdog)
        for _ in range(1000):
            if said:
                return
            time.sleep(0.01)

    hold()
    watchdog.stop()
    watchdog.join(10)

    assert len(said) == 1
    assert f"{__file__}, line " in said[0]
    assert "in test_the_watchdog_names_the_block_and_the_line_that_hold_the_loop.<locals>.hold" in said[0]
    assert "has held the event loop for 0.05 s" in said[0]
    assert "move blocking work to asyncio.to_thread" in said[0]


async def test_a_loop_that_waits_for_events_is_not_held() -> None:
    said: list[str] = []
    watchdog = Watchdog(asyncio.get_running_loop(), said.append, held_seconds=30)
    watchdog.start()

    await asyncio.sleep(0.05)
    watchdog.stop()
    watchdog.join(40)

    assert said == []
