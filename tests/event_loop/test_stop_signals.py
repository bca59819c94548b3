"""Ctrl-C and SIGTERM while a block holds the event loop, in a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from support.command import start

BLOCK = """
import asyncio, time
from pathlib import Path
from penstock import BaseBlock

class Holder(BaseBlock):
    outputs = ["o"]
    async def execute(self, data):
        Path("started").touch()
        {act}
        return {{"o": "fine"}}
"""
SWALLOW = """while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass"""


async def run_until_it_holds(folder: Path, act: str) -> asyncio.subprocess.Process:
    """A run whose block has begun to do ``act``."""
    (folder / "user_blocks").mkdir()
    (folder / "user_blocks" / "holder.py").write_text(BLOCK.format(act=act))
    (folder / "p.yaml").write_text("name: P\nblocks:\n  - type: Holder\n")
    (folder / "s.jsonl").write_text('{"n": 1}\n')
    process = await start("run", "p.yaml", "s.jsonl", "-o", "o.jsonl", model=None, folder=folder)
    async with asyncio.timeout(60):
        while not (folder / "started").exists():
            await asyncio.sleep(0.05)
    return process


async def send_twice(process: asyncio.subprocess.Process, number: signal.Signals) -> tuple[int, str]:
    """Send a signal, and again until the process has ended; how it ended, and what it said."""
    assert process.stderr is not None
    process.send_signal(number)
    await asyncio.sleep(0.3)
    process.send_signal(number)
    try:
        _, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, err.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize(
    ("act", "number"),
    [
        ("time.sleep(3600)", signal.SIGTERM),
        ("exec('while True: pass')", signal.SIGINT),
        ("await asyncio.to_thread(time.sleep, 3600)", signal.SIGTERM),
    ],
    ids=["sleeps", "computes", "waits for a thread"],
)
async def test_the_second_signal_ends_the_process_whatever_the_loop_does(
    tmp_path: Path, act: str, number: signal.Signals
) -> None:
    process = await run_until_it_holds(tmp_path, act)

    status, err = await send_twice(process, number)

    assert status == 130
    assert "Ended at once" in err
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no handlers for one signal only")
async def test_the_second_signal_ends_the_process_although_c_code_holds_the_interpreter(
    tmp_path: Path,
) -> None:
    process = await run_until_it_holds(tmp_path, "sum(range(10**14))")

    status, _ = await send_twice(process, signal.SIGTERM)

    assert status == -signal.SIGTERM


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
async def test_a_block_that_swallows_its_cancellation_is_left_to_itself(tmp_path: Path) -> None:
    process = await run_until_it_holds(tmp_path, SWALLOW)

    status, err = await send_twice(process, signal.SIGTERM)

    assert status == 130
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
async def test_the_watchdog_names_the_block_that_holds_the_loop(tmp_path: Path) -> None:
    process = await run_until_it_holds(tmp_path, "time.sleep(3600)")
    assert process.stderr is not None

    said = await asyncio.wait_for(process.stderr.readuntil(b"has held the event loop"), 60)
    process.kill()
    await process.communicate()

    assert b"Block 'Holder' of step 1" in said
    assert b"holder.py, line 10, in Holder.execute" in said


async def run_with_hanging_file(folder: Path, *command: str) -> asyncio.subprocess.Process:
    """A command that has begun to import a file which never ends to be imported."""
    (folder / "user_blocks").mkdir()
    (folder / "user_blocks" / "hangs.py").write_text(
        "import time\nfrom pathlib import Path\nPath('started').touch()\ntime.sleep(3600)\n"
    )
    process = await start(*command, model=None, folder=folder)
    async with asyncio.timeout(60):
        while not (folder / "started").exists():
            await asyncio.sleep(0.05)
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
async def test_ctrl_c_ends_a_command_that_hangs_in_an_import(tmp_path: Path) -> None:
    process = await run_with_hanging_file(tmp_path, "blocks")

    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 60)

    assert process.returncode == 130
    assert "Traceback" not in err.decode()


async def test_the_service_names_a_file_that_hangs_in_its_import(tmp_path: Path) -> None:
    process = await run_with_hanging_file(tmp_path, "serve", "--port", "0")
    assert process.stderr is not None

    said = await asyncio.wait_for(process.stderr.readuntil(b"has held the event loop"), 60)
    process.kill()
    await process.communicate()

    assert b"hangs.py, line 4, in <module>" in said
