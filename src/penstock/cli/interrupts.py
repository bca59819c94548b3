"""Ctrl-C before a command's event loop handles it.

Python raises KeyboardInterrupt wherever it is, and drops it inside a callback, of which imports have many. So
the interrupt is noted as well, and taken up when the command begins its work.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_noted: list[int] = []


@contextmanager
def noting_interrupts() -> Iterator[None]:
    """Note each Ctrl-C, until the block ends or ``raise_noted_interrupt`` is called."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, or another's
        yield
        return
    _noted.clear()
    hook = sys.unraisablehook
    signal.signal(signal.SIGINT, _note)
    sys.unraisablehook = _report_others
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, signal.default_int_handler)


def raise_noted_interrupt() -> None:
    """Raise KeyboardInterrupt if Ctrl-C came; from now on Python's own handler is in place."""
    if signal.getsignal(signal.SIGINT) is _note:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if _noted:
        raise KeyboardInterrupt


def _note(number: int, frame: FrameType | None) -> None:
    _noted.append(number)
    raise KeyboardInterrupt


def _report_others(unraisable: Any) -> None:
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
