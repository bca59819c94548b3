"""A seed file that may change while it is used."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO


class SeedFile:
    """A regular file, and what it was when it was opened first. Raises OSError when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = self._look()
        self.size = self._before[0]

    def open(self) -> BinaryIO:
        """The file, from its beginning."""
        return self._path.open("rb")

    def may_have_changed(self) -> bool:
        """Whether the file has been written or replaced since; one that is gone cannot be told."""
        try:
            return self._look() != self._before
        except FileNotFoundError:
            return False

    def _look(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_size, found.st_mtime_ns
