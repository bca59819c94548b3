"""Text in seed files: UTF-8, with or without a byte order mark."""

from __future__ import annotations

from penstock.errors import BadInputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some editors and spreadsheets write at the beginning of a UTF-8 file."""

_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


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
