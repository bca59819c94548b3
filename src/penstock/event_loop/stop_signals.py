"""Ctrl-C and SIGTERM: the first asks to finish, the second ends the process whatever the event loop does.

A signal's handler is Python code of the main thread, which runs even while a block sleeps or computes in
Python, because it need not wait for the event loop. Code in C that never returns to Python keeps it from
running; then the second signal does what the system does by default, which is to end the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import FrameType
from typing import Any

from penstock.event_loop.watchdog import describe_thread

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 5.0
"""How long everything may take to end after the second signal."""
EXIT_STATUS = 130
"""The status of a process that was ended by a signal."""

Handler = Callable[[signal.Signals], None]


class StopSignals:
    """The signals that this process has received, and what each of them does."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_first: Handler) -> None:
        """``on_first`` is called in the event loop by every signal, until ``handling`` says otherwise."""
        self.received: list[signal.Signals] = []
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._handler = on_first
        self._timer: threading.Timer | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals of this process, if this is its main thread.

        Handlers that somebody else has installed are left alone. When a signal has come, another one ends the
        process also after this, because something may keep it from ending by itself.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        own = {
            number: handler
            for number, handler in before.items()
            if handler in {signal.default_int_handler, signal.SIG_DFL, signal.SIG_IGN}
        }
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            own[signal.SIGHUP] = signal.SIG_DFL  # the terminal was closed; ``nohup`` ignores that
        for number in own:
            self._install(number)
        previous = _installed[:]
        _installed[:] = [self]
        try:
            yield
        finally:
            _installed[:] = previous
            for number, handler in own.items():
                signal.signal(number, signal.SIG_DFL if self.received else handler)

    @contextmanager
    def handling(self, handler: Handler) -> Iterator[list[signal.Signals]]:
        """Call ``handler`` for each signal instead; gives the list of those received."""
        before, self._handler = self._handler, handler
        try:
            yield self.received
        finally:
            self._handler = before

    def _install(self, number: int) -> None:
        signal.signal(number, self._receive)
        _reset_after_first(number)

    def _receive(self, number: int, _: FrameType | None) -> None:
        self._install(number)
        received = signal.Signals(number)
        self.received.append(received)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(lambda: self._handler(received))
        if len(self.received) > 1 and self._timer is None:
            self._timer = threading.Timer(GRACE_SECONDS, self._end)
            self._timer.daemon = True
            self._timer.start()

    def _end(self) -> None:
        """End the process; the database and the files are always in a state from which to continue."""
        where = describe_thread(self._loop_thread)
        with contextlib.suppress(OSError):
            os.write(2, f"Ended at once; {where or 'something'} still ran.\n".encode(errors="replace"))
        os._exit(EXIT_STATUS)


_installed: list[StopSignals] = []
"""The handling of signals in this process, if any."""


def current_stop_signals() -> StopSignals | None:
    """The handling of signals in this process; None when nobody has installed one."""
    return _installed[0] if _installed else None


def _reset_after_first(number: int) -> None:
    """Let the system forget the handler when the signal comes; Python's own handler installs it again.

    If Python never gets to it, because code in C holds the interpreter, the next signal ends the process.
    """
    if _libc is not None:
        _libc.sysv_signal(number, _find_python_handler(number))


@lru_cache(maxsize=1)
def _find_python_handler(number: int) -> int:
    """The address of the function by which Python learns of a signal, the same for all signals."""
    address: int = _libc.signal(number, None)
    return address


def _load_libc() -> Any:
    """The C library, where it has handlers for one signal only."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        for function in (libc.signal, libc.sysv_signal):
            function.argtypes, function.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
        return libc
    return None


_libc = _load_libc()
