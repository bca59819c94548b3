"""The standard streams as every command can use them, whatever the terminal, the pipe or the parent is.

Text that the encoding of a stream cannot hold is written with ``?``. A stream that was closed by the parent
becomes the null device, since a file that is opened later would otherwise get its number.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from penstock.descriptors import open_standard_streams
from penstock.errors import StorageError

_READER_GONE = (errno.EPIPE, errno.ESHUTDOWN, errno.EIO)
"""Errors of a pipe without a reader, and of a terminal that was closed."""


def prepare_streams() -> None:
    """Make all three streams usable; called before a command opens anything."""
    open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _is_reader_gone(error: OSError) -> bool:
    """Whether nobody reads what was written."""
    return isinstance(error, BrokenPipeError) or error.errno in _READER_GONE


def silence_output(*numbers: int) -> None:
    """Let what is still buffered go nowhere, so that the interpreter ends without an error."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        for number in numbers:
            os.dup2(null, number)
        os.close(null)


def flush_output() -> None:
    """Write what is buffered; what cannot be written any more does not change how the command ends."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            silence_output(number)


@contextmanager
def writing_result() -> Iterator[None]:
    """Say that standard output cannot be written; a reader that has closed it is no error of ours."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if _is_reader_gone(error):
            raise BrokenPipeError(errno.EPIPE, "nobody reads the output") from error
        silence_output(1)
        raise StorageError(f"The output cannot be written: {error.strerror}.") from error
