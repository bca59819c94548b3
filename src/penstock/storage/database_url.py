"""Which database a path or a URL means."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from penstock.errors import ConfigurationError
from penstock.settings import get_settings

MEMORY = ":memory:"
_DRIVERS = {
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "sqlite": "sqlite+pysqlite",
}


def find_url(where: str | Path | None) -> URL:
    """The URL for SQLAlchemy; None is the database of the settings. Raises ConfigurationError."""
    if where is None:
        settings = get_settings()
        where = settings.database_url or settings.database_path
    try:
        if isinstance(where, Path) or "://" not in where:
            return URL.create(_DRIVERS["sqlite"], database=str(where))
        url = make_url(where)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError("DATABASE_URL is not a database URL like postgresql://host/name.") from error
    kind = url.drivername.split("+")[0]
    if kind not in _DRIVERS:
        raise ConfigurationError(
            f"DATABASE_URL begins with {kind}://; penstock knows postgresql:// and sqlite:///."
        )
    return url.set(drivername=_DRIVERS[kind])
