"""PostgreSQL: asyncpg behind SQLAlchemy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from penstock.errors import StorageError
from penstock.storage.session import Session, Sessions

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class PostgresSessions(Sessions):
    """Transactions on a PostgreSQL server."""

    def __init__(self, url: URL) -> None:
        self._engine = create_engine(url, pool_size=5, max_overflow=10)
        self._name = url.render_as_string(hide_password=True)

    @asynccontextmanager
    async def begin(self, *, reading: bool) -> AsyncIterator[Session]:
        """A session; ``reading`` makes no difference: readers and writers never wait for each other here."""
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self._engine.connect())
                await stack.enter_async_context(connection.begin())
            except OSError as error:  # asyncpg's, when there is no server
                raise StorageError(f"Cannot reach the database {self._name}: {error}") from error
            yield _PostgresSession(connection)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


class _PostgresSession(Session):
    is_postgres = True

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def run_sync(
        self,
        function: Callable[Concatenate[Connection, _Parameters], _Result],
        /,
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> _Result:
        """Call the function in a greenlet, which waits for the server without blocking the event loop."""
        return await self._connection.run_sync(function, *args, **kwargs)


def create_engine(url: URL, **options: Any) -> AsyncEngine:
    """An engine for a URL whose query may have libpq's parameters."""
    plain, arguments = _translate_libpq(url)
    return create_async_engine(plain, connect_args=arguments, **options)


def _translate_libpq(url: URL) -> tuple[URL, dict[str, Any]]:
    """The URL without libpq's parameters, and these as asyncpg's arguments."""
    query = dict(url.query)
    arguments: dict[str, Any] = {}
    if "sslmode" in query:
        arguments["ssl"] = query.pop("sslmode")
    if "options" in query:
        options = str(query.pop("options")).replace("-c ", "-c").split()
        pairs = (option.removeprefix("-c").split("=", 1) for option in options if "=" in option)
        arguments["server_settings"] = dict(pair for pair in pairs)
    for name in ("channel_binding", "connect_timeout"):
        query.pop(name, None)
    return url.set(query=query), arguments
