"""PostgreSQL: asyncpg behind SQLAlchemy."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from penstock.errors import ConfigurationError, StorageError
from penstock.storage.postgres_url import PostgresAddress
from penstock.storage.session import Session, Sessions

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_URL = "postgresql+asyncpg://"
"""Only chooses the driver: connections are opened here."""
_RETRY_SECONDS = 0.2
"""How long to try to lock: a process that only tests whether a job is running holds it for an instant."""
_CLOSE_SECONDS = 5.0
_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('penstock.' || current_schema()), CAST($1 AS integer))"
_INTERNET = {socket.AF_INET, socket.AF_INET6}


class PostgresSessions(Sessions):
    """Transactions on a PostgreSQL server."""

    def __init__(self, address: PostgresAddress, name: str, *, prepares: bool) -> None:
        async def open_connection(**_: Any) -> asyncpg.Connection[Any]:
            return await connect(address, name, prepares=prepares)

        arguments: dict[str, Any] = {"async_creator_fn": open_connection}
        if not prepares:
            # The nameless statement is replaced by each transaction, on whichever connection it runs.
            arguments |= {"prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}
        self._engine = create_async_engine(_URL, connect_args=arguments, pool_size=5, max_overflow=10)

    @classmethod
    async def open(cls, address: PostgresAddress, name: str) -> Self:
        """Find out how the server, or a pooler before it, is to be used; raises StorageError.

        A pooler gives a session another connection for each transaction. There, statements that the session
        has prepared are missing or belong to somebody else.
        """
        prepares = address.prepares
        if prepares is None:
            connection = await connect(address, name, prepares=False)
            try:
                own = await connection.fetchval("SELECT pg_backend_pid()")
                prepares = bool(own == connection.get_server_pid())  # a pooler makes up a number
            finally:
                await connection.close()
        return cls(address, name, prepares=prepares)

    @asynccontextmanager
    async def begin(self, *, reading: bool) -> AsyncIterator[Session]:
        """A session; ``reading`` makes no difference: readers and writers never wait for each other here."""
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self._engine.connect())
            await stack.enter_async_context(connection.begin())
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


async def connect(address: PostgresAddress, name: str, *, prepares: bool) -> asyncpg.Connection[Any]:
    """A connection to the server called ``name``; raises StorageError or ConfigurationError."""
    arguments: dict[str, Any] = {} if prepares else {"statement_cache_size": 0}
    if address.timeout is not None:
        arguments["timeout"] = address.timeout
    if address.tls is not None:
        arguments["ssl"] = address.tls
    with _translating(name):
        connection: asyncpg.Connection[Any] = await asyncpg.connect(address.dsn, **arguments)
    _set_socket_options(connection, address)
    return connection


@asynccontextmanager
async def lock_in_postgres(
    address: PostgresAddress, name: str, job_ids: Sequence[int]
) -> AsyncIterator[int | None]:
    """Lock these jobs for as long as the ``with`` lasts; gives the id of one that another holder has.

    The locks live as long as a transaction on a connection that is used for nothing else. They belong to the
    transaction, not to the session: behind a pooler, only a transaction stays where it began.
    """
    if not job_ids:
        yield None
        return
    connection = await connect(address, name, prepares=False)
    try:
        with _translating(name):
            await connection.execute("BEGIN")
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            busy = await _find_busy(connection, job_ids)
        yield busy
    finally:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # it is lost already
            await connection.close(timeout=_CLOSE_SECONDS)


async def _find_busy(connection: asyncpg.Connection[Any], job_ids: Sequence[int]) -> int | None:
    """Lock the jobs; the id of the first one that cannot be locked."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _RETRY_SECONDS
    for job_id in job_ids:
        while not await connection.fetchval(_TRY_LOCK, job_id):
            if loop.time() > deadline:
                return job_id
            await asyncio.sleep(0.02)
    return None


@contextmanager
def _translating(name: str) -> Iterator[None]:
    """Turn what asyncpg raises into a StorageError about the server called ``name``."""
    try:
        yield
    except asyncpg.ClientConfigurationError as error:
        raise ConfigurationError(f"DATABASE_URL cannot be used: {_first_line(error)}") from error
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or "TLS failed"
        raise StorageError(f"The database {name} cannot be reached securely: {reason}") from error
    except TimeoutError as error:
        raise StorageError(f"Cannot reach the database {name}: no answer in time.") from error
    except OSError as error:
        raise StorageError(f"Cannot reach the database {name}: {error}") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise StorageError(f"The database {name} refused: {_first_line(error)}") from error
    except ValueError as error:
        raise ConfigurationError(f"DATABASE_URL cannot be used: {_first_line(error)}") from error


def _set_socket_options(connection: asyncpg.Connection[Any], address: PostgresAddress) -> None:
    transport: Any = getattr(connection, "_transport", None)  # asyncpg has no other way to the socket
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family not in _INTERNET:
        return
    for option in address.socket_options:
        sock.setsockopt(*option)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
