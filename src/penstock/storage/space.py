"""Give the space of deleted rows back to the file system.

SQLite keeps the pages of deleted rows for later ones. A database of penstock can give them back in small
steps, between which others write; one of an earlier version is rewritten once, where that is quick and
nothing runs.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from typing import Literal

from penstock.errors import StorageError
from penstock.storage.database import Storage

_INCREMENTAL = 2
_LEAST_BYTES = 1 << 20
"""Less is not worth the work."""
_PAGES_PER_STEP = 500
"""Pages that one transaction gives back; others wait for it a few milliseconds."""
_PAUSE_SECONDS = 0.02
_REWRITABLE_BYTES = 128 << 20
"""How much a database may hold that is rewritten at once, while others wait."""

Outcome = Literal["done", "busy", "large"]
"""``busy``: to be tried again later; ``large``: only to rewrite the whole file would help."""


async def give_back_space(storage: Storage, *, is_idle: Callable[[], bool]) -> Outcome:
    """Make the file as small as what it holds, and its log empty; a file that nobody has to wait for.

    ``is_idle`` says whether nothing writes at present. Raises StorageError.
    """
    if storage.path is None:
        return "done"
    stop = False

    def should_stop() -> bool:
        return stop

    try:
        return await asyncio.to_thread(_give_back, storage, is_idle, should_stop)
    finally:
        stop = True  # the thread of a cancelled caller ends after its present step


def _give_back(storage: Storage, is_idle: Callable[[], bool], should_stop: Callable[[], bool]) -> Outcome:
    try:
        connection = storage.connect_sqlite(lock_seconds=1.0)
    except sqlite3.Error as error:
        raise storage.explain(error) from error
    try:
        outcome = _shrink(connection, is_idle, should_stop)
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        storage.check_file()
        return "busy" if busy and outcome == "done" else outcome
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            return "busy"
        raise storage.explain(error) from error
    except sqlite3.Error as error:
        raise storage.explain(error) from error
    finally:
        connection.close()


def _shrink(
    connection: sqlite3.Connection, is_idle: Callable[[], bool], should_stop: Callable[[], bool]
) -> Outcome:
    page_size = _read(connection, "page_size")
    free = _read(connection, "freelist_count")
    if free * page_size < _LEAST_BYTES:
        return "done"
    if _read(connection, "auto_vacuum") == _INCREMENTAL:
        while free and not should_stop():
            # As a script: ``execute`` takes only the first step of a statement without columns, one page.
            connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_PER_STEP})")
            before, free = free, _read(connection, "freelist_count")
            if free >= before:  # others need the pages again
                break
            time.sleep(_PAUSE_SECONDS)
        return "done"
    used = (_read(connection, "page_count") - free) * page_size
    if used > _REWRITABLE_BYTES:
        return "large" if free * page_size > used else "done"
    if not is_idle():
        return "busy"
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("VACUUM")
    return "done"


def _read(connection: sqlite3.Connection, pragma: str) -> int:
    [value] = connection.execute(f"PRAGMA {pragma}").fetchone()
    if not isinstance(value, int):
        raise StorageError(f"The database does not say its {pragma}.")
    return value
