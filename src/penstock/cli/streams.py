"""The standard streams as every command can use them, whatever the terminal, the pipe or the parent is.

Characters that the encoding of a stream cannot hold are written in ASCII where they have a form there, else
as ``?``. A stream that was closed by the parent becomes the null device, since a file that is opened later
would otherwise get its number.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from penstock.descriptors import open_standard_streams
from penstock.errors import StorageError

_READER_GONE = (errno.EPIPE, errno.ESHUTDOWN, errno.EIO)
"""Errors of a pipe without a reader, and of a terminal that was closed."""


_ERRORS = "penstock.ascii"
_IN_ASCII = {"·": "-", "…": "...", "–": "-", "—": "-", "━": "-", "×": "x", "“": '"', "”": '"', "’": "'"}


def prepare_streams() -> None:
    """Make all three streams usable; called before a command opens anything."""
    open_standard_streams()
    codecs.register_error(_ERRORS, _to_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def _to_ascii(error: UnicodeError) -> tuple[str, int]:
    """What to write for characters that cannot be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(character, "?") for character in text), error.end


def is_reader_gone(error: OSError) -> bool:
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
    """Say that standard output cannot be written.

    A reader that has closed it is no error: the command goes on, and its exit status says how it ended.
    """
    try:
        yield
    except OSError as error:
        silence_output(1)
        if not is_reader_gone(error):
            raise StorageError(f"The output cannot be written: {error.strerror}.") from error


class ForgivingStream:
    """A text stream that drops what nobody can read any more, so that what writes to it goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, if somebody can read it."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, if somebody can read it."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
