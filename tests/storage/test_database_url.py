"""Which database a URL means."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import ConfigurationError
from penstock.storage.database import Storage


@pytest.mark.parametrize("url", ["mysql://host/db", "://", "postgresql://host:port/db"])
def test_an_unknown_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        Storage(url)


def test_urls_of_sqlite_and_postgresql_are_understood(tmp_path: Path) -> None:
    assert Storage(f"sqlite:///{tmp_path}/a.db").path == tmp_path / "a.db"
    assert Storage("postgres://host/db").is_postgres
    assert Storage("postgresql+asyncpg://host/db?sslmode=require").path is None
    assert Storage("sqlite://").in_memory
