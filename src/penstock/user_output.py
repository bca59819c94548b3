"""Where the output of users' code goes: commands keep standard output for their results."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_diverted: list[bool] = [False]


def divert_user_output(*, on: bool) -> None:
    """Send what users' code prints to standard error from here on, or leave it where it goes."""
    _diverted[0] = on


@contextmanager
def user_output() -> Iterator[None]:
    """Run code of users: what it prints goes to standard error, if ``divert_user_output`` has said so.

    That includes what processes write which it starts, and libraries in C.
    """
    if not _diverted[0]:
        yield
        return
    stdout, saved = sys.stdout, None
    with suppress(OSError, ValueError):  # a stream that is no file, in tests
        if stdout.fileno() == 1 and sys.stderr.fileno() == 2:
            stdout.flush()
            saved = os.dup(1)
            os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = stdout
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)
