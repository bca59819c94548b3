"""Rows in a temporary file, for formats that need to know all columns before the first row."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from penstock.serialization import from_json, to_json


class RowSpool:
    """Rows that were written to an unnamed temporary file, and the columns they have.

    The file is made in ``folder``, so that a large export needs no space elsewhere; None is the system's own
    folder for temporary files.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = tempfile.TemporaryFile(prefix=".penstock-", dir=folder)  # noqa: SIM115 - see __exit__
        self.columns: dict[str, None] = {}

    def add(self, row: dict[str, Any]) -> None:
        """Append a row."""
        if not row.keys() <= self.columns.keys():
            self.columns.update(dict.fromkeys(row))
        self._file.write(to_json(row).encode() + b"\n")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (row for row, _ in self.iterate_sized())

    def iterate_sized(self) -> Iterator[tuple[dict[str, Any], int]]:
        """The rows, each with the size of its JSON in bytes."""
        self._file.seek(0)
        for line in self._file:
            yield from_json(line), len(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()
