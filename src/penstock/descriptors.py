"""The file descriptors of this process: the three standard streams, and how many others there may be."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from penstock.errors import ConfigurationError

_OWN = 36
"""Descriptors for the database, the files of runs and exports, the event loop and the standard streams."""
_FEWEST = 40
"""With fewer, some file could not be opened in the middle of a run."""
_MOST = 65_536
"""As many as are asked for; some systems allow a billion, which tools that start processes then all close."""


def open_standard_streams() -> None:
    """Open the null device in place of each standard stream that the parent has closed.

    Called before anything else is opened, since that would get the number of a standard stream.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        _open_if_closed(number)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def raise_limit() -> None:
    """Allow this process as many open files as the system lets it have, within reason.

    Raises ConfigurationError when these are too few to work with.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if (limit := _limit()) < _FEWEST:
        raise ConfigurationError(
            f"This process may open only {limit} files and needs {_FEWEST}; allow more with `ulimit -n 1024`."
        )


def count_for_connections() -> int:
    """How many connections the service may accept, and as many again may be made to models."""
    return max(2, (_limit() - _OWN) // 2)


def _limit() -> int:
    """How many files this process may have open."""
    try:
        import resource
    except ImportError:  # Windows
        return _MOST
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else soft


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
