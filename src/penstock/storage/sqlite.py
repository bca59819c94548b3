"""SQLite: SQLAlchemy used synchronously, in threads.

A transaction that reads once is one trip to a thread: beginning it is joined to the first statement, and a
transaction that only read ends in the event loop, because ending it touches no file.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool, StaticPool

from penstock.errors import StorageError
from penstock.storage.damaged_values import decode_damaged, is_decoding_error
from penstock.storage.session import Session, Sessions
from penstock.storage.sqlite_file import SqliteFile

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_PRAGMAS = ("PRAGMA foreign_keys=ON", "PRAGMA temp_store=MEMORY")
_NEW_PRAGMAS = (
    "PRAGMA page_size=8192",  # a record fits on a page, and several do
    "PRAGMA auto_vacuum=INCREMENTAL",  # space of deleted rows can be given back in steps
)
"""Of a database that is empty yet; in another one, the second would wait for whoever writes."""
_WRITING_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # what was acknowledged survives a power cut, too
)
_CONNECTIONS = 32
"""Most transactions on a file at a time; each has a connection, and a thread while it is at work."""
_WAIT_SECONDS = 30.0
"""How long a transaction waits for others of this process to end, when all connections are in use."""


class SqliteSessions(Sessions):
    """Transactions on a SQLite file, or one after another on a database in memory."""

    def __init__(self, url: URL, file: SqliteFile | None, *, lock_seconds: float) -> None:
        """``file`` is the database's, None in memory."""
        self._name = str(url.database)
        self._file = file
        self._size = 1 if file is None else _CONNECTIONS
        self._engine = _create_engine(url, self._size, file, lock_seconds=lock_seconds)
        self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="penstock-sqlite")
        # A transaction gets its connection before it gets a thread: threads never wait for connections, whose
        # owners may be waiting for a thread.
        self._free = asyncio.Semaphore(self._size)
        self._ending: set[asyncio.Future[None]] = set()

    @asynccontextmanager
    async def begin(self, *, reading: bool) -> AsyncIterator[Session]:
        """A session; the database is only asked when the first statement comes."""
        await self._wait_for_connection()
        session = _SqliteSession(self._engine, self._threads, self._file, reading=reading)
        try:
            yield session
        except BaseException:
            await self._end(session, commit=False)
            raise
        else:
            await self._end(session, commit=True)

    async def aclose(self) -> None:
        """Close all connections, after the end of transactions whose caller was cancelled."""
        if self._ending:
            await asyncio.wait(self._ending)
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._engine.dispose)
        finally:
            self._threads.shutdown(wait=False)

    async def _wait_for_connection(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError as error:
            raise StorageError(
                f"All connections to {self._name} were in use for {_WAIT_SECONDS:g} seconds; try again."
            ) from error

    async def _end(self, session: _SqliteSession, *, commit: bool) -> None:
        try:
            ended = session.end(commit=commit)
        except BaseException:
            self._free.release()
            raise
        if ended is None:
            self._free.release()
            return
        ending = asyncio.wrap_future(ended)
        self._ending.add(ending)
        ending.add_done_callback(self._finish_ending)
        await asyncio.shield(ending)  # a cancelled caller must not leave the connection in a transaction

    def _finish_ending(self, ending: asyncio.Future[None]) -> None:
        self._ending.discard(ending)
        self._free.release()


class _SqliteSession(Session):
    is_postgres = False

    def __init__(
        self, engine: Engine, threads: ThreadPoolExecutor, file: SqliteFile | None, *, reading: bool
    ) -> None:
        self._engine = engine
        self._threads = threads
        self._file = file
        self._reading = reading
        self._connection: Connection | None = None
        self._latest: Future[Any] | None = None
        self._lock = threading.Lock()
        """Held while a thread uses the connection: a function runs on when its caller is cancelled."""
        self._ended = False

    async def run_sync(
        self,
        function: Callable[Concatenate[Connection, _Parameters], _Result],
        /,
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> _Result:
        """Call the function in a thread."""
        self._latest = future = self._submit(self._run, function, args, kwargs)
        result: _Result = await asyncio.wrap_future(future)
        return result

    def end(self, *, commit: bool) -> Future[None] | None:
        """Commit or roll back, and give the connection back; returns a future unless that is done already."""
        latest = self._latest
        if latest is None:
            return None
        if self._reading and latest.done() and self._lock.acquire(blocking=False):
            try:
                self._end_locked(commit=commit)
            finally:
                self._lock.release()
            return None
        return self._submit(self._end, commit)

    def _submit(self, function: Callable[..., _Result], *arguments: Any) -> Future[_Result]:
        try:
            return self._threads.submit(function, *arguments)
        except RuntimeError as error:
            raise StorageError("The database was closed before this transaction ended.") from error

    def _run(
        self, function: Callable[..., _Result], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> _Result:
        with self._lock:
            if self._ended:
                raise StorageError("The session has ended.")
            if self._connection is None:
                self._connection = self._begin()
            try:
                return function(self._connection, *args, **kwargs)
            except OperationalError as error:
                if not (self._reading and is_decoding_error(error)):
                    raise
                return self._run_decoding_damaged(function, self._connection, args, kwargs)

    @staticmethod
    def _run_decoding_damaged(
        function: Callable[..., _Result],
        connection: Connection,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> _Result:
        """Call the function again; text that is no UTF-8 becomes ``DamagedText``, instead of an error."""
        driver = _get_driver_connection(connection)
        driver.text_factory = decode_damaged
        try:
            return function(connection, *args, **kwargs)
        finally:
            driver.text_factory = str

    def _begin(self) -> Connection:
        if self._file is not None:
            self._file.check()
        connection = self._engine.connect()
        try:
            connection.begin()
            # Straight to the driver: through SQLAlchemy it would cost as much as the next statement.
            _get_driver_connection(connection).execute("BEGIN" if self._reading else "BEGIN IMMEDIATE")
        except BaseException:
            connection.close()
            raise
        return connection

    def _end(self, commit: bool) -> None:
        with self._lock:
            self._end_locked(commit=commit)

    def _end_locked(self, *, commit: bool) -> None:
        self._ended = True
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if commit and not self._reading:  # to commit what was read fails in a damaged file
                connection.commit()
                if self._file is not None:
                    self._file.check()
        finally:
            connection.close()  # rolls back what was not committed


def connect(file: SqliteFile, lock_seconds: float) -> sqlite3.Connection:
    """A connection set up like those of sessions, which any one thread at a time may use."""
    file.check()
    connection: sqlite3.Connection = sqlite3.connect(file.uri, uri=True, **_get_arguments(lock_seconds))
    try:
        _set_up(connection, may_write=file.may_write)
    except BaseException:
        connection.close()
        raise
    return connection


def _get_arguments(lock_seconds: float) -> dict[str, Any]:
    """How the driver connects: transactions are begun explicitly."""
    return {"timeout": lock_seconds, "isolation_level": None, "check_same_thread": False}


def _create_engine(url: URL, size: int, file: SqliteFile | None, *, lock_seconds: float) -> Engine:
    if file is None:
        engine = create_engine(url, poolclass=StaticPool, connect_args=_get_arguments(lock_seconds))
        event.listen(engine, "connect", lambda connection, _: _set_up(connection, may_write=True))
        return engine
    # To open a connection costs more than any read: all stay open, and the one that was used last, whose
    # cache is warm, is used next.
    return create_engine(
        url,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_use_lifo=True,
        creator=lambda: connect(file, lock_seconds),
    )


def _set_up(connection: sqlite3.Connection, *, may_write: bool) -> None:
    pragmas = _PRAGMAS
    if may_write:
        [pages] = connection.execute("PRAGMA page_count").fetchone()
        pragmas = (*(() if pages else _NEW_PRAGMAS), *_WRITING_PRAGMAS, *_PRAGMAS)
    for pragma in pragmas:
        connection.execute(pragma)


def _get_driver_connection(connection: Connection) -> Any:
    return connection.connection.driver_connection
