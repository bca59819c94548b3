"""Whether the database refused values, rather than that it could not write at present."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

from penstock.errors import StorageError

_REFUSED = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    sqlite3.NotSupportedError,
)
_VALUE_STATES = {"22", "23", "54"}
"""Classes of SQLSTATE: data exception, integrity constraint violation, program limit exceeded."""


def is_refusal(error: BaseException) -> bool:
    """Whether ``error`` is about the values of a statement: other values may be written all the same."""
    cause: BaseException = error
    if isinstance(error, StorageError) and error.__cause__ is not None:
        cause = error.__cause__
    if isinstance(cause, DBAPIError):
        if cause.orig is None or cause.connection_invalidated:
            return False
        cause = cause.orig
    if isinstance(cause, sqlite3.Error):
        return isinstance(cause, _REFUSED) and "closed" not in str(cause)
    for one in (cause, cause.__cause__):  # the driver's error, inside the one that SQLAlchemy makes of it
        state = getattr(one, "sqlstate", None)
        if isinstance(state, str) and state[:2] in _VALUE_STATES:
            return True
        if isinstance(one, ValueError | TypeError | OverflowError):  # raised before anything was sent
            return True
    return False
