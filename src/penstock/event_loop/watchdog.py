"""Says which code holds the event loop."""

from __future__ import annotations

import asyncio
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

HELD_SECONDS = 3.0
"""How long the loop may be held before that is reported."""
_BEAT_SECONDS = 1.0
WATCHED_AS = "watched_as"
"""A local variable of this name says what the code is that a function of penstock calls."""

_OWN = str(Path(__file__).parents[1])
_RUNNING = str(Path(__file__).with_name("running.py"))
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class Watchdog(threading.Thread):
    """A thread that asks the event loop for a sign of life every second, and reports when none comes."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        report: Callable[[str], None],
        held_seconds: float = HELD_SECONDS,
    ) -> None:
        """``report`` receives one sentence each time the loop is held; it is called in this thread."""
        super().__init__(name="penstock watchdog", daemon=True)
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._report = report
        self._held_seconds = held_seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        """Watch until ``stop`` is called."""
        while not self._stopped.wait(min(_BEAT_SECONDS, self._held_seconds)):
            beat = threading.Event()
            try:
                self._loop.call_soon_threadsafe(beat.set)
            except RuntimeError:  # the loop is closed
                return
            if beat.wait(self._held_seconds) or self._stopped.is_set():
                continue
            # Without such code the machine is busy, or the process stood still.
            if where := describe_thread(self._loop_thread):
                self._report(
                    f"{where} has held the event loop for {self._held_seconds:g} s, and everything else "
                    "waits; move blocking work to asyncio.to_thread."
                )
            while not (beat.wait(_BEAT_SECONDS) or self._stopped.is_set()):
                pass

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()


def describe_thread(thread: int) -> str:
    """What a thread is doing: the block or gate, and the line; empty when it only waits for events."""
    current = sys._current_frames()  # noqa: SLF001 (documented, and the only way to see another thread)
    frames = list(_walk(current.get(thread)))
    name, inner = None, frames
    for index, frame in enumerate(frames):
        if frame.f_code.co_filename.startswith(_OWN) and WATCHED_AS in frame.f_code.co_varnames:
            name, inner = frame.f_locals.get(WATCHED_AS), frames[:index]
            break
    place = _find_user_frame(inner) or (frames[0] if name else None)
    if place is None:
        return ""
    line = f"{place.f_code.co_filename}, line {place.f_lineno}, in {place.f_code.co_qualname}"
    return f"{name} ({line})" if name else line


def _walk(inner: FrameType | None) -> Iterator[FrameType]:
    """The frames from the innermost one to the event loop."""
    frame = inner
    while frame is not None and frame.f_code.co_filename != _RUNNING:
        yield frame
        frame = frame.f_back


def _find_user_frame(frames: list[FrameType]) -> FrameType | None:
    """The innermost frame of a file that is neither penstock's nor a library's."""
    for frame in frames:
        name = frame.f_code.co_filename
        if not name.startswith(("<", _OWN, *_LIBRARIES)):
            return frame
    return None
