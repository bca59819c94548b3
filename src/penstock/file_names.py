"""Names of files as text: on POSIX a name is bytes, which need not be UTF-8."""

from __future__ import annotations

import os


def show_path(path: str | os.PathLike[str]) -> str:
    r"""A path for people to read: bytes that are not UTF-8 are escaped, as in ``out\xff.csv``.

    Do not open what this returns: ``path`` itself is the name that the operating system knows.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def path_key(path: str | os.PathLike[str]) -> str:
    """An absolute path as text that identifies it in a database, the same in every locale."""
    name = os.fsencode(path)
    try:
        return name.decode()
    except UnicodeDecodeError:
        return f"bytes:{name.hex()}"
