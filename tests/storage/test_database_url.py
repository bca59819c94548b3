"""Which database a URL means, and what libpq's parameters in it do."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from penstock.errors import ConfigurationError, StorageError
from penstock.storage.database import Storage
from penstock.storage.postgres_url import mask_password, read_postgres_url


@pytest.mark.parametrize("url", ["mysql://host/db", "://", "postgresql://host:port/db"])
def test_an_unknown_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        Storage(url)


def test_urls_of_sqlite_and_postgresql_are_understood(tmp_path: Path) -> None:
    assert Storage(f"sqlite:///{tmp_path}/a.db").path == tmp_path / "a.db"
    assert Storage("postgres://host/db").is_postgres
    assert Storage("postgresql+asyncpg://host/db?sslmode=require").path is None
    assert Storage("sqlite://").in_memory


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgres://me:secret@host:5433/db?sslmode=require",
            "postgres://me:***@host:5433/db?sslmode=require",
        ),
        ("postgresql://me:a@b:c@one,two:1/db", "postgresql://me:***@one,two:1/db"),
        (
            "postgresql:///db?user=me&password=secret&host=/run",
            "postgresql:///db?user=me&password=***&host=/run",
        ),
        ("postgresql://host/db?sslpassword=secret", "postgresql://host/db?sslpassword=***"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
    ],
)
def test_a_message_names_the_url_as_it_was_given_without_its_password(url: str, shown: str) -> None:
    assert mask_password(url) == shown
    assert Storage(url).name == shown


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("channel_binding=require", "cannot honour channel_binding .* use sslmode=verify-full"),
        ("gssencmode=require", "cannot honour gssencmode in DATABASE_URL: remove it"),
        ("require_auth=scram-sha-256", "cannot honour require_auth"),
        ("hostaddr=10.0.0.1", "cannot honour hostaddr"),
        ("statement_timeout=5", "options=-c%20name=value"),
        ("connect_timeout=soon", "connect_timeout in DATABASE_URL must be a whole number"),
        ("keepalives_idle=soon", "keepalives_idle in DATABASE_URL must be a whole number"),
        ("sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "sslrootcert in DATABASE_URL is not a file"),
        (
            "sslmode=require&sslrootcert=system",
            "sslrootcert=system in DATABASE_URL needs sslmode=verify-full",
        ),
        ("sslmode", "DATABASE_URL is not a database URL"),
    ],
)
def test_what_cannot_be_honoured_is_refused_in_one_sentence(query: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Storage(f"postgresql://me@host/db?{query}")


def test_parameters_are_passed_on_translated_or_without_effect() -> None:
    address = read_postgres_url(
        "postgresql+psycopg2://me:p%40ss@one:5433,two/db?connect_timeout=3&application_name=app"
        "&fallback_application_name=other&target_session_attrs=read-write&channel_binding=prefer"
        "&client_encoding=utf8&sslmode=require&keepalives_idle=30&options=-c%20work_mem%3D8MB"
    )

    assert address.dsn == (
        "postgresql://me:p%40ss@one:5433,two/db?application_name=app&target_session_attrs=read-write"
        "&sslmode=require&options=-c+work_mem%3D8MB"
    )
    assert (address.timeout, address.tls, address.prepares) == (3, None, None)
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in address.socket_options


def test_keepalives_can_be_turned_off_and_prepared_statements_too() -> None:
    address = read_postgres_url("postgresql://host/db?keepalives=0&keepalives_idle=30&pgbouncer=true")

    assert (address.socket_options, address.prepares) == ((), False)
    assert read_postgres_url("postgresql://h/db?prepared_statement_cache_size=0").prepares is False


def test_the_certificates_of_the_system_can_be_trusted() -> None:
    address = read_postgres_url("postgresql://host/db?sslmode=verify-full&sslrootcert=system")

    assert address.tls is not None
    assert address.tls.check_hostname
    assert address.tls.verify_mode is ssl.CERT_REQUIRED
    assert "ssl" not in address.dsn


async def test_a_server_gets_the_parameters(postgres: str) -> None:
    url = postgres.replace("search_path%3D", "statement_timeout%3D7s%20-c%20search_path%3D")
    url += "&application_name=my%20app&connect_timeout=20&keepalives=1"
    async with Storage(url) as storage, storage.reading() as session:
        values = [
            await session.fetch_value(text(f"SELECT current_setting('{name}')"))
            for name in ("application_name", "statement_timeout", "search_path")
        ]

    assert values[:2] == ["my app", "7s"]
    assert values[2].startswith("test_")


@pytest.mark.parametrize(
    ("parameter", "sentence"),
    [
        ("sslmode=sometimes", "`sslmode` parameter must be one of"),
        ("target_session_attrs=best", "target_session_attrs"),
        ("dbname=nothing_here", 'refused: database "nothing_here" does not exist'),
        ("options=-c%20no_such%3D1", 'refused: unrecognized configuration parameter "no_such"'),
    ],
)
async def test_what_the_server_or_the_driver_refuses_is_one_sentence(
    postgres_server: str, parameter: str, sentence: str
) -> None:
    with pytest.raises((ConfigurationError, StorageError), match=sentence) as caught:
        await Storage(f"{postgres_server}&{parameter}").open()

    assert "\n" not in caught.value.message


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """A port where connections are taken and nothing is said."""

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_connecting_takes_no_longer_than_connect_timeout(silent_port: int) -> None:
    url = f"postgresql://me:secret@127.0.0.1:{silent_port}/db?sslmode=disable&connect_timeout=1"

    with pytest.raises(StorageError) as caught:
        await Storage(url).open()

    shown = url.replace("secret", "***")
    assert caught.value.message == f"Cannot reach the database {shown}: no answer in time."


async def test_the_first_server_of_a_list_that_answers_is_used(postgres: str, unused_tcp_port: int) -> None:
    folder = postgres.partition("host=")[2].partition("&")[0]
    url = postgres.replace(f"host={folder}", f"host=127.0.0.1,{folder}&port={unused_tcp_port},5432")

    async with Storage(url) as storage, storage.reading() as session:
        assert await session.fetch_value(text("SELECT 1")) == 1


async def test_sessions_work_where_statements_cannot_be_prepared(postgres: str) -> None:
    """As behind PgBouncer in transaction mode."""
    async with Storage(f"{postgres}&pgbouncer=true") as storage:
        for number in range(3):
            async with storage.session() as session:
                found: Any = await session.fetch_all(text("SELECT :n + generate_series(1, 2)"), {"n": number})
                prepared = await session.fetch_value(text("SELECT count(*) FROM pg_prepared_statements"))
            assert [row[0] for row in found] == [number + 1, number + 2]
            assert prepared == 0
