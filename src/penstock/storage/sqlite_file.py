"""The file of an open SQLite database: whether its path still leads to it.

SQLite goes on with a file that was deleted, and what it writes then is gone when the process ends. So the
file's device and inode are compared before each transaction, and again before anything is acknowledged.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from penstock.errors import DatabaseGoneError

Mode = Literal["rwc", "rw", "ro", "immutable"]
"""How a connection opens the file: ``rwc`` creates it, ``immutable`` reads it without any lock."""

_HEADER_BYTES = 100
_BESIDE = ("-wal", "-shm")
"""What SQLite keeps beside the file as long as a connection is open."""
_BACK = "stop penstock and start it again"


class SqliteFile:
    """The file at ``path``, which may not exist yet."""

    def __init__(self, path: Path, mode: Mode = "rwc") -> None:
        self.path = path
        self.mode = mode
        self._absolute = os.path.abspath(path)  # noqa: PTH100 - a link must stay one, it may be changed
        self._beside = os.path.realpath(path)
        self._known: dict[str, tuple[int, int]] = {}
        """Device and inode of each file, by its path."""
        self._size = 0

    @property
    def uri(self) -> str:
        """The address that a connection opens; only the first one may create the file."""
        query = "mode=ro&immutable=1" if self.mode == "immutable" else f"mode={self.mode}"
        return f"{Path(self._absolute).as_uri()}?{query}"

    @property
    def may_write(self) -> bool:
        """Whether connections may change the database."""
        return self.mode in {"rwc", "rw"}

    def has_unmerged_log(self) -> bool:
        """Whether a part of the database is in the log beside it."""
        try:
            return os.stat(f"{self._beside}-wal").st_size > 0  # noqa: PTH116
        except OSError:
            return False

    def remember(self) -> None:
        """Keep which file this is; a connection has opened it, and no later one creates another."""
        try:
            status = os.stat(self._absolute)  # noqa: PTH116
        except OSError as error:
            raise self._gone(f"cannot be reached: {error.strerror or error}") from error
        self._known = {self._absolute: (status.st_dev, status.st_ino)}
        self._size = status.st_size
        if self.mode == "rwc":
            self.mode = "rw"

    def check(self) -> None:
        """Raise DatabaseGoneError unless the path still leads to the file that was opened, whole."""
        if not self._known:
            return
        status = self._check_one(self._absolute)
        if status.st_size < self._size and self._is_cut(status.st_size):
            raise self._gone("was cut while it was in use; stop penstock and restore the file from a copy")
        self._size = status.st_size
        if self.may_write:
            for suffix in _BESIDE:
                path = self._beside + suffix
                if path in self._known:
                    self._check_one(path, suffix)
                else:
                    self._learn(path)

    def _check_one(self, path: str, suffix: str = "") -> os.stat_result:
        try:
            status = os.stat(path)  # noqa: PTH116
        except FileNotFoundError as error:
            if suffix:
                advice = f"{_BACK}: at its end it writes what the file held into {self.path}"
            else:
                advice = f"move it back, or {_BACK}"
            raise self._gone(f"was deleted or moved while it was in use; {advice}", suffix) from error
        except OSError as error:
            raise self._gone(f"cannot be reached: {error.strerror or error}", suffix) from error
        if (status.st_dev, status.st_ino) != self._known[path]:
            raise self._gone(f"was replaced by another file while it was in use; {_BACK}", suffix)
        return status

    def _learn(self, path: str) -> None:
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:  # SQLite makes it with the first transaction
            return
        self._known[path] = (status.st_dev, status.st_ino)

    def _is_cut(self, size: int) -> bool:
        """Whether the file is shorter than its header says; SQLite itself makes both shorter together."""
        try:
            with open(self._absolute, "rb") as file:  # noqa: PTH123
                header = file.read(_HEADER_BYTES)
        except OSError as error:
            raise self._gone(f"cannot be reached: {error.strerror or error}") from error
        if len(header) < _HEADER_BYTES:
            return True
        page_size = int.from_bytes(header[16:18], "big")
        pages = int.from_bytes(header[28:32], "big")
        return size < pages * (65536 if page_size == 1 else page_size)

    def _gone(self, what: str, suffix: str = "") -> DatabaseGoneError:
        name = f"{self.path}{suffix}"
        return DatabaseGoneError(
            f"{name} {what}. Until then nothing is saved."
            if what.startswith("was")
            else f"{name} {what}; nothing is saved until it is back.",
            detail={"database": str(self.path), "file": name},
        )
