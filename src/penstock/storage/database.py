"""The database: SQLite in a file (or in memory), or PostgreSQL.

``async with Storage(path_or_url) as storage`` opens it, makes or upgrades its tables, and gives sessions.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import URL, Connection, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from penstock.errors import ConfigurationError, StorageError
from penstock.settings import get_settings
from penstock.storage import sqlite_driver
from penstock.storage.tables import metadata

Session = AsyncConnection
"""A connection inside a transaction; what each storage function takes first."""

HEAD = "0001"
"""The migration that ``tables`` stands for; a test holds it against ``migrations/``."""

MEMORY = ":memory:"
LOCK_SECONDS = 30.0
"""How long to wait for another process that writes."""

_READERS = 16
"""Connections to a SQLite file at most, each with a thread."""
_READING = "penstock_reading"
_UPGRADE_LOCK = 0x70656E73746F636B  # "penstock"


class Storage:
    """An open database.

    ``where`` is a path, ``:memory:``, or a URL (``postgresql://…``, ``sqlite:///…``); None is what the
    settings say. Everything that goes wrong with the database is a StorageError.
    """

    def __init__(self, where: str | Path | None = None, *, lock_seconds: float = LOCK_SECONDS) -> None:
        self.url = _find_url(where)
        self.lock_seconds = lock_seconds
        self.connect_arguments: dict[str, Any] = {}
        self._engine: AsyncEngine | None = None
        self._memory_turn = asyncio.Lock()

    @property
    def path(self) -> Path | None:
        """The SQLite file; None in memory and on PostgreSQL."""
        return None if self.is_postgres or self.in_memory else Path(str(self.url.database))

    @property
    def is_postgres(self) -> bool:
        """Whether this is PostgreSQL rather than SQLite."""
        return self.url.get_backend_name() == "postgresql"

    @property
    def in_memory(self) -> bool:
        """Whether everything is gone when this is closed."""
        return not self.is_postgres and self.url.database in {None, "", MEMORY}

    @property
    def name(self) -> str:
        """What to call the database in a message, without its password."""
        return self.url.render_as_string(hide_password=True) if self.is_postgres else str(self.url.database)

    @property
    def engine(self) -> AsyncEngine:
        """SQLAlchemy's engine, for the modules of ``storage``."""
        if self._engine is None:
            raise StorageError("The database is not open: use `async with Storage(...)`.")
        return self._engine

    async def open(self) -> Self:
        """Connect, and make or upgrade the tables; raises StorageError."""
        if self._engine is not None:
            return self
        if self.path is not None:
            _make_folder(self.path)
        self._engine = self._create_engine()
        try:
            await self._prepare()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def aclose(self) -> None:
        """Let go of all connections."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A transaction that may write; committed at the end, rolled back by an exception."""
        async with self._transaction(self.engine) as session:
            yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Session]:
        """A transaction that only reads, and so waits for nobody who writes."""
        async with self._transaction(self.engine.execution_options(**{_READING: True})) as session:
            yield session

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[Session]:
        async with AsyncExitStack() as stack:
            stack.enter_context(self.translating())
            if self.in_memory:  # one connection for all, so one transaction at a time
                await stack.enter_async_context(self._memory_turn)
            try:
                if self.is_postgres:
                    connection = await stack.enter_async_context(engine.connect())
                else:  # SQLAlchemy's `with` closes in a task of its own, which has to wait for its turn
                    connection = await engine.connect()
                    stack.push_async_callback(connection.close)
                await stack.enter_async_context(connection.begin())
            except OSError as error:  # asyncpg's, when there is no server
                raise StorageError(f"Cannot reach the database {self.name}: {error}") from error
            yield connection

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
        said = str(cause)
        sentences = {
            "not a database": f"{self.name} is not a SQLite database, or it is damaged.",
            "malformed": f"{self.name} is damaged; restore it from a copy.",
            "readonly": f"{self.name} cannot be written; check who may write the file and its folder.",
            "disk is full": f"There is no room left on the disk for {self.name}.",
            "No space left": f"There is no room left on the disk for {self.name}.",
            "disk I/O error": f"{self.name} could not be written; check that its disk has room and is well.",
            "is locked": f"Another process has kept {self.name} locked for {self.lock_seconds:g} seconds.",
            "unable to open": f"{self.name} cannot be opened; check the path and who may read it.",
        }
        sentence = next((sentence for sign, sentence in sentences.items() if sign in said), None)
        first_line = said.splitlines()[0] if said else type(cause).__name__
        return StorageError(
            sentence or f"The database {self.name} refused: {first_line}",
            detail={"database": self.name, "error": first_line},
        )

    def _create_engine(self) -> AsyncEngine:
        if self.is_postgres:
            url, self.connect_arguments = _translate_libpq(self.url)
            return create_async_engine(url, pool_size=5, max_overflow=10, connect_args=self.connect_arguments)
        if self.in_memory:
            engine = create_async_engine(
                self.url, poolclass=StaticPool, connect_args={"async_creator_fn": sqlite_driver.connect}
            )
        else:
            self.connect_arguments = {
                "timeout": self.lock_seconds,
                "async_creator_fn": sqlite_driver.connect,
            }
            # What the pool gives up has to be opened anew, which costs more than any read: so it gives up
            # none, and the one that was used last, whose cache is warm, is used next.
            engine = create_async_engine(
                self.url,
                pool_size=_READERS,
                max_overflow=_READERS,
                pool_use_lifo=True,
                connect_args=self.connect_arguments,
            )
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine

    async def _prepare(self) -> None:
        async with self.reading() as session:
            found = await session.run_sync(_find_revision)
        if found == HEAD:
            return
        async with self.session() as session:
            if self.is_postgres:
                await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
            if not self.is_postgres:
                # An upgrade moves rows into new tables: no foreign key may follow the old ones around.
                await session.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
            await session.run_sync(_make_or_upgrade, self.name)


def _find_url(where: str | Path | None) -> URL:
    if where is None:
        settings = get_settings()
        where = settings.database_url or settings.database_path
    try:
        if isinstance(where, Path) or "://" not in where:
            return URL.create("sqlite+aiosqlite", database=str(where))
        url = make_url(where)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError("DATABASE_URL is not a database URL like postgresql://host/name.") from error
    drivers = {
        "postgresql": "postgresql+asyncpg",
        "postgres": "postgresql+asyncpg",
        "sqlite": "sqlite+aiosqlite",
    }
    kind = url.drivername.split("+")[0]
    if kind not in drivers:
        raise ConfigurationError(
            f"DATABASE_URL begins with {kind}://; penstock knows postgresql:// and sqlite:///."
        )
    return url.set(drivername=drivers[kind])


def _translate_libpq(url: URL) -> tuple[URL, dict[str, Any]]:
    """What a libpq URL says in its query, in asyncpg's words."""
    query = dict(url.query)
    arguments: dict[str, Any] = {}
    if "sslmode" in query:
        arguments["ssl"] = query.pop("sslmode")
    if "options" in query:
        words = str(query.pop("options")).replace("-c ", "-c").split()
        pairs = (word.removeprefix("-c").split("=", 1) for word in words if "=" in word)
        arguments["server_settings"] = dict(pair for pair in pairs)
    for name in ("channel_binding", "connect_timeout"):
        query.pop(name, None)
    return url.set(query=query), arguments


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The folder {path.parent} cannot be made: {error.strerror}") from error


def _set_up_sqlite(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


SQLITE_PRAGMAS = (
    "PRAGMA page_size=8192",  # a record fits on a page, and several do
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # what was acknowledged survives a power cut, too
    "PRAGMA foreign_keys=ON",
    "PRAGMA temp_store=MEMORY",
)


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get(_READING, False)
    connection.exec_driver_sql(sqlite_driver.BEGIN_READING if reading else "BEGIN IMMEDIATE")


_VERSION_TABLE = """
    CREATE TABLE alembic_version (
        version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
    )
"""


def _find_revision(connection: Connection) -> str | None:
    """The newest migration that the database went through; None when it does not say."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _make_or_upgrade(connection: Connection, name: str) -> None:
    found = _find_revision(connection)
    if found == HEAD:  # somebody else did it while this process waited for the lock
        return
    if found is None and not set(inspect(connection).get_table_names()) & set(metadata.tables):
        metadata.create_all(connection)
        connection.execute(text(_VERSION_TABLE))
        connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
        return
    from penstock.storage.migrations import upgrade

    upgrade(connection, found, name)
