"""Text in seed files: UTF-8, with or without a byte order mark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from penstock.errors import BadInputError
from penstock.seeds.limits import MAX_SEED_BYTES

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some editors and spreadsheets write at the beginning of a UTF-8 file."""

_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_PIECE_BYTES = 1024 * 1024


def line_error(name: str, line: int, message: str) -> BadInputError:
    """The error for line number ``line`` of the file ``name``."""
    return BadInputError(f"{name} line {line}: {message}", {"file": name, "line": line})


def encoding_error(name: str, line: int, content: bytes) -> BadInputError:
    """The error for a line that is not UTF-8; ``content`` begins with the line, or with the file."""
    found = " but UTF-16" if content.startswith(_UTF_16_MARKS) else ""
    return line_error(
        name, line, f"this is not UTF-8 text{found}. Save the file as UTF-8, in Excel as 'CSV UTF-8'."
    )


def binary_error(name: str, line: int) -> BadInputError:
    """The error for a line with a null character, which binary data has and text has not."""
    return line_error(name, line, "this is binary data, not text.")


def size_error(name: str, line: int, hint: str = "") -> BadInputError:
    """The error for a line or row of more than ``MAX_SEED_BYTES``."""
    return line_error(name, line, f"it is longer than {MAX_SEED_BYTES // 1024 // 1024} MB. Shorten it{hint}.")


def decode_text(data: bytes, name: str, *, first_line: int = 1) -> str:
    """``data``, which begins at line ``first_line`` of the file, as text without a byte order mark.

    Raises BadInputError with the line that is not UTF-8, or that has a null character.
    """
    try:
        text = data.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise encoding_error(name, first_line + data.count(b"\n", 0, error.start), data) from error
    if "\0" in text:
        raise binary_error(name, first_line + text.count("\n", 0, text.index("\0")))
    return text


def read_lines(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """The lines with their ends, which are LF, CR LF or CR alone; a byte order mark is left out.

    Raises BadInputError for a line of more than ``MAX_SEED_BYTES``; no more than that is held at once.
    """
    number = 0
    waiting = bytearray()  # the beginning of a line whose end has not been read
    while piece := stream.readline(_PIECE_BYTES):
        if number == 0 and not waiting:
            piece = piece.removeprefix(BYTE_ORDER_MARK)
        is_ended = piece.endswith(b"\n")
        if is_ended and not waiting and piece.find(b"\r", 0, -2) < 0:
            number += 1
            yield piece
            continue
        has_return = b"\r" in piece or waiting.endswith(b"\r")
        waiting += piece
        if is_ended or has_return:
            lines = bytes(waiting).splitlines(keepends=True)
            waiting = bytearray(b"" if is_ended or not lines else lines.pop())  # CR may be half of CR LF
            number += len(lines)
            yield from lines
        if len(waiting) > MAX_SEED_BYTES:
            raise size_error(name, number + 1)
    yield from bytes(waiting).splitlines(keepends=True)
