"""Which database a path or a URL means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from penstock.errors import ConfigurationError
from penstock.settings import get_settings
from penstock.storage.postgres_url import PostgresAddress, mask_password, read_postgres_url

MEMORY = ":memory:"
_SQLITE = "sqlite+pysqlite"
_POSTGRES = {"postgresql", "postgres"}


@dataclass(frozen=True, slots=True)
class Location:
    """Where a database is: one of the two fields is set."""

    name: str
    """What to call the database in a message: as it was given, without its password."""
    sqlite: URL | None = None
    postgres: PostgresAddress | None = None


def find_location(where: str | Path | None) -> Location:
    """Where the database is; None is the database of the settings. Raises ConfigurationError."""
    if where is None:
        settings = get_settings()
        where = settings.database_url or settings.database_path
    if isinstance(where, Path) or "://" not in where:
        return Location(str(where), sqlite=URL.create(_SQLITE, database=str(where)))
    kind = where.partition("://")[0].partition("+")[0].lower()
    if kind in _POSTGRES:
        return Location(mask_password(where), postgres=read_postgres_url(where))
    try:
        url = make_url(where)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError("DATABASE_URL is not a database URL like postgresql://host/name.") from error
    if kind != "sqlite":
        raise ConfigurationError(
            f"DATABASE_URL begins with {kind}://; penstock knows postgresql:// and sqlite:///."
        )
    return Location(str(url.database), sqlite=url.set(drivername=_SQLITE))
