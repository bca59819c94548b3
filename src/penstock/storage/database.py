"""The database: SQLite in a file (or in memory), or PostgreSQL.

``async with Storage(path_or_url) as storage`` opens it, makes or upgrades its tables, and gives sessions.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from penstock.errors import StorageError
from penstock.lifecycle import AsyncResource
from penstock.storage import schema
from penstock.storage.database_url import MEMORY, find_location
from penstock.storage.postgres_url import PostgresAddress
from penstock.storage.session import Session, Sessions
from penstock.storage.sqlite_file import Mode, SqliteFile

__all__ = ["LOCK_SECONDS", "Session", "Storage"]

LOCK_SECONDS = 30.0
"""How long to wait for another process that writes."""

_ONLY_READABLE = (
    "{name} can be read and not be written, as its folder cannot; check who may write there, and whether the "
    "file system is read-only."
)
_SENTENCES = {
    "not a database": "{name} is not a SQLite database, or it is damaged.",
    "malformed": "{name} is damaged; restore it from a copy.",
    "readonly": "{name} cannot be written; check who may write the file and its folder.",
    "disk is full": "There is no room left on the disk for {name}.",
    "No space left": "There is no room left on the disk for {name}.",
    "disk I/O error": "{name} could not be written; check that its disk works and has free space.",
    "is locked": "Another process has kept {name} locked for {seconds:g} seconds.",
    "unable to open": "{name} cannot be opened; check the path and who may read it.",
}
"""Messages for the user, by a part of the driver's message."""


class Storage(AsyncResource):
    """An open database.

    ``where`` is a path, ``:memory:``, or a URL (``postgresql://…``, ``sqlite:///…``); None is the database of
    the settings. ``lock_seconds`` is how long to wait for another process that writes to the SQLite file.
    Every error of the database is raised as a StorageError.
    """

    def __init__(
        self,
        where: str | Path | None = None,
        *,
        lock_seconds: float = LOCK_SECONDS,
        reads_only: bool = False,
    ) -> None:
        """``reads_only``: nothing is to be changed, so the file need not be writable."""
        self._location = find_location(where)
        self.lock_seconds = lock_seconds
        self.reads_only = reads_only
        self._sessions: Sessions | None = None
        self._file: SqliteFile | None = None

    @property
    def path(self) -> Path | None:
        """The SQLite file; None in memory and on PostgreSQL."""
        url = self._location.sqlite
        return None if url is None or self.in_memory else Path(str(url.database))

    @property
    def is_postgres(self) -> bool:
        """Whether this is PostgreSQL rather than SQLite."""
        return self._location.postgres is not None

    @property
    def postgres(self) -> PostgresAddress:
        """The PostgreSQL server; only where ``is_postgres``."""
        assert self._location.postgres is not None
        return self._location.postgres

    @property
    def in_memory(self) -> bool:
        """Whether closing it deletes everything."""
        url = self._location.sqlite
        return url is not None and url.database in {None, "", MEMORY}

    @property
    def name(self) -> str:
        """What to call the database in a message, without its password."""
        return self._location.name

    async def open(self) -> Self:
        """Connect, and make or upgrade the tables; raises StorageError."""
        if self._sessions is not None:
            return self
        try:
            await self._open("rwc")
        except StorageError as error:
            if not self.reads_only or self.path is None or not self.path.exists():
                raise
            await self._open_for_reading(error)
        return self

    async def _open(self, mode: Mode) -> None:
        if self.path is not None:
            if mode == "rwc":
                _make_folder(self.path)
            self._file = SqliteFile(self.path, mode)
        self._sessions = await self._connect()
        try:
            await self._prepare()
        except BaseException:
            await self.aclose()
            raise

    async def _open_for_reading(self, error: StorageError) -> None:
        """Open a file that cannot be written; raises ``error`` when it cannot be read either."""
        try:
            await self._open("ro")
        except StorageError as refused:
            assert self.path is not None
            if SqliteFile(self.path).has_unmerged_log():
                raise StorageError(
                    f"{self.name} can only be read together with {self.name}-wal, for which SQLite has to "
                    "write beside them; copy both files to a folder that can be written.",
                    detail=refused.detail,
                ) from refused
            try:
                await self._open("immutable")
            except StorageError:
                raise error from None

    async def aclose(self) -> None:
        """Close all connections."""
        sessions, self._sessions = self._sessions, None
        if sessions is not None:
            await sessions.aclose()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A transaction that may write; committed at the end, rolled back by an exception."""
        with self.translating():
            async with self._open_sessions.begin(reading=self.reads_only) as session:
                yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Session]:
        """A transaction that only reads, and so does not wait for other writers."""
        with self.translating():
            async with self._open_sessions.begin(reading=True) as session:
                yield session

    def connect_sqlite(self, lock_seconds: float | None = None) -> sqlite3.Connection:
        """A connection of its own to the SQLite file, for a thread that writes; raises sqlite3.Error."""
        from penstock.storage import sqlite

        return sqlite.connect(self._open_file, self.lock_seconds if lock_seconds is None else lock_seconds)

    def check_file(self) -> None:
        """Raise DatabaseGoneError when the SQLite file is no longer the one that was opened."""
        if self._file is not None:
            self._file.check()

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Turn what a database driver raises inside the ``with`` into a StorageError."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self.explain(error) from error

    def explain(self, error: BaseException) -> StorageError:
        """A driver's error as one sentence that says what to do."""
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        message = str(cause)
        sentence = next((sentence for part, sentence in _SENTENCES.items() if part in message), None)
        if "unable to open" in message and self._may_only_be_read():
            sentence = _ONLY_READABLE
        first_line = message.splitlines()[0] if message else type(cause).__name__
        if sentence is None:
            explained = f"The database {self.name} refused: {first_line}"
        else:
            explained = sentence.format(name=self.name, seconds=self.lock_seconds)
        return StorageError(explained, detail={"database": self.name, "error": first_line})

    def _may_only_be_read(self) -> bool:
        path = self.path
        return path is not None and os.access(path, os.R_OK) and not os.access(path.parent, os.W_OK)

    @property
    def _open_sessions(self) -> Sessions:
        if self._sessions is None:
            raise StorageError("The database is not open: use `async with Storage(...)`.")
        return self._sessions

    @property
    def _open_file(self) -> SqliteFile:
        if self._file is None:
            raise StorageError("The database is not open: use `async with Storage(...)`.")
        return self._file

    async def _connect(self) -> Sessions:
        url = self._location.sqlite
        if url is None:
            from penstock.storage.postgres import PostgresSessions

            return await PostgresSessions.open(self.postgres, self.name)
        from penstock.storage.sqlite import SqliteSessions

        return SqliteSessions(url, self._file, lock_seconds=self.lock_seconds)

    async def _prepare(self) -> None:
        async with self.reading() as session:
            found = await session.run_sync(schema.find_revision)
        if self._file is not None:
            self._file.remember()
        if found != schema.HEAD and self._file is not None and not self._file.may_write:
            raise StorageError(
                f"{self.name} has the layout of an earlier version and cannot be written; open a copy of it.",
                detail={"database": self.name, "revision": found},
            )
        if found != schema.HEAD:
            with self.translating():
                async with self._open_sessions.begin(reading=False) as session:
                    await session.run_sync(schema.make_or_upgrade, self.name)


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The folder {path.parent} cannot be made: {error.strerror}") from error
