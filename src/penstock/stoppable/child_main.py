"""The child process: calls ``answer`` of the module that is its argument, see ``child_process``."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from contextlib import suppress

from penstock.stoppable.messages import frame, read_message

_MOST_MEMORY = 1_000_000_000
"""Bytes of addresses; what is used is a few hundred MB at most."""


def main() -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the parent
    answer = importlib.import_module(sys.argv[1]).answer
    _limit_memory()
    _write(frame(b""))  # ready
    while True:
        try:
            request = read_message(lambda size: os.read(0, size))
        except EOFError:
            return
        _write(frame(answer(request)))


def _write(message: bytes) -> None:
    rest = memoryview(message)
    while rest:
        rest = rest[os.write(1, rest) :]


def _limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))


if __name__ == "__main__":
    main()
