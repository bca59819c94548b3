"""A session: a transaction, in which SQL runs without blocking the event loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Executable, Row

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_Values = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Session(ABC):
    """A transaction; every storage function takes one first.

    Each call of a method goes to the database once and returns all rows: on SQLite, one trip to a thread.
    ``run_sync`` runs several statements in one call.
    """

    is_postgres: bool
    """Whether this is PostgreSQL rather than SQLite."""

    @abstractmethod
    async def run_sync(
        self,
        function: Callable[Concatenate[Connection, _Parameters], _Result],
        /,
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> _Result:
        """Call ``function(connection, …)``, which uses SQLAlchemy synchronously, and return its result.

        The result may not depend on the connection: rows have to be read inside.
        """

    async def execute(self, statement: Executable, values: _Values | None = None) -> int:
        """Run a statement (for each of ``values``, if a list) and return how many rows it changed."""
        return await self.run_sync(_execute, statement, values)

    async def fetch_all(self, statement: Executable, values: _Values | None = None) -> Sequence[Any]:
        """Run a statement and return its rows."""
        return await self.run_sync(_fetch_all, statement, values)

    async def fetch_first(self, statement: Executable, values: _Values | None = None) -> Row[Any] | None:
        """Run a statement and return its first row, or None when it has none."""
        return await self.run_sync(_fetch_first, statement, values)

    async def fetch_value(self, statement: Executable, values: _Values | None = None) -> Any:
        """Run a statement and return the first value of its only row."""
        return await self.run_sync(_fetch_value, statement, values)


class Sessions(ABC):
    """Where sessions come from: the connections to one database."""

    @abstractmethod
    def begin(self, *, reading: bool) -> AbstractAsyncContextManager[Session]:
        """A session that is committed at the end and rolled back by an exception.

        One that is ``reading`` does not wait for other writers.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close all connections."""


def _execute(connection: Connection, statement: Executable, values: _Values | None) -> int:
    return connection.execute(statement, values).rowcount


def _fetch_all(connection: Connection, statement: Executable, values: _Values | None) -> Sequence[Any]:
    return connection.execute(statement, values).all()


def _fetch_first(connection: Connection, statement: Executable, values: _Values | None) -> Row[Any] | None:
    return connection.execute(statement, values).first()


def _fetch_value(connection: Connection, statement: Executable, values: _Values | None) -> Any:
    return connection.execute(statement, values).scalar_one()
