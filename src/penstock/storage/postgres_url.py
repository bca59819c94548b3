"""What the URL of a PostgreSQL server says, with libpq's parameters."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from penstock.errors import ConfigurationError

_FILES = {"sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile"}
_PASSED_ON = _FILES | {
    "application_name",
    "database",
    "dbname",
    "gsslib",
    "host",
    "krbsrvname",
    "options",
    "password",
    "port",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "target_session_attrs",
    "user",
}
"""What asyncpg understands as libpq does."""
_RENAMED = {"ssl": "sslmode", "fallback_application_name": "application_name"}
_WITHOUT_EFFECT: Mapping[str, set[str]] = {
    "channel_binding": {"disable", "prefer"},
    "client_encoding": {"utf8", "utf-8", "unicode"},
    "gssencmode": {"disable", "prefer"},
    "load_balance_hosts": {"disable"},
    "sslcertmode": {"allow"},
    "sslcompression": {"0"},
    "sslsni": {"1"},
}
"""Values of libpq's parameters that ask for nothing but what is done anyway."""
_CACHE_SIZES = {"prepared_statement_cache_size", "statement_cache_size"}
_KEEPALIVE_OPTIONS = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}
_PASSWORD = re.compile(r"((?:^|[?&])(?:ssl)?password=)[^&]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A PostgreSQL server, and how to connect to it."""

    dsn: str
    """The URL as asyncpg takes it."""
    timeout: float | None
    """Seconds that connecting may take; None for asyncpg's default."""
    tls: ssl.SSLContext | None
    """How TLS is used, where the URL cannot say it to asyncpg."""
    socket_options: tuple[tuple[int, int, int], ...]
    """Level, name and value of the options of each connection's socket."""
    prepares: bool | None
    """Whether statements may be prepared once for a whole session; None where that has to be found out."""


def mask_password(url: str) -> str:
    """The URL without its passwords."""
    start, separator, rest = url.partition("://")
    netloc, slash, path = re.match(r"([^/?#]*)([/?#]?)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    account, at, hosts = netloc.rpartition("@")
    user, colon, password = account.partition(":")
    account = f"{user}{colon}{'***' if password else ''}"
    path = _PASSWORD.sub(r"\1***", f"{slash}{path}")
    return f"{start}{separator}{account}{at}{hosts}{path}"


def read_postgres_url(url: str) -> PostgresAddress:
    """Read the URL; raises ConfigurationError for what cannot be honoured."""
    try:
        parts = urlsplit(url)
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        _check_ports(parts.netloc.rpartition("@")[2])
    except ValueError as error:
        raise ConfigurationError("DATABASE_URL is not a database URL like postgresql://host/name.") from error
    query: dict[str, str] = {}
    for name, value in given:
        known = _RENAMED.get(name, name)
        if known == "host" and "host" in query:  # SQLAlchemy's way to give several
            query["host"] += f",{value}"
        elif value and not (name == "fallback_application_name" and known in query):
            query[known] = value
    timeout = _read_number(query, "connect_timeout") or None
    options = tuple(_read_socket_options(query))
    sizes = [size for name in _CACHE_SIZES if (size := _read_number(query, name)) is not None]
    pooled = query.pop("pgbouncer", "").lower() in {"true", "1"} or 0 in sizes
    _refuse_unknown(query)
    tls = _make_system_tls(query)
    return PostgresAddress(
        dsn=_write_dsn(parts.netloc, parts.path, query),
        timeout=timeout,
        tls=tls,
        socket_options=options,
        prepares=False if pooled else None,
    )


def _check_ports(hosts: str) -> None:
    for host in hosts.split(","):
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not (port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"{port} is no port")


def _read_number(query: dict[str, str], name: str) -> int | None:
    value = query.pop(name, None)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError as error:
        raise ConfigurationError(f"{name} in DATABASE_URL must be a whole number.") from error


def _read_socket_options(query: dict[str, str]) -> list[tuple[int, int, int]]:
    """libpq turns keepalives on unless the URL forbids it."""
    keepalives = _read_number(query, "keepalives")
    values = {name: _read_number(query, name) for name in _KEEPALIVE_OPTIONS}
    if keepalives == 0:
        return []
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in values.items():
        number = getattr(socket, _KEEPALIVE_OPTIONS[name], None)
        if value and number is not None:  # 0 is the system's default
            options.append((socket.IPPROTO_TCP, number, value))
    return options


def _refuse_unknown(query: dict[str, str]) -> None:
    """Take out what has no effect, and refuse what would be ignored."""
    for name in list(query):
        if name in _PASSED_ON:
            continue
        value = query.pop(name)
        if value.lower() in _WITHOUT_EFFECT.get(name, ()):
            continue
        advice = "remove it; settings of the server go into options=-c%20name=value"
        if name == "channel_binding":
            advice = "remove it, and use sslmode=verify-full"
        elif name in _WITHOUT_EFFECT:
            advice = "remove it"
        raise ConfigurationError(f"penstock cannot honour {name} in DATABASE_URL: {advice}.")
    for name in _FILES & query.keys():
        if (name, query[name]) != ("sslrootcert", "system") and not Path(query[name]).is_file():
            raise ConfigurationError(f"{name} in DATABASE_URL is not a file that can be read: {query[name]}")


def _make_system_tls(query: dict[str, str]) -> ssl.SSLContext | None:
    """``sslrootcert=system`` is the certificates that the system trusts, which asyncpg does not know."""
    if query.get("sslrootcert") != "system":
        return None
    if query.get("sslmode", "verify-full") != "verify-full":
        raise ConfigurationError("sslrootcert=system in DATABASE_URL needs sslmode=verify-full.")
    for name in ("sslrootcert", "sslmode"):
        query.pop(name, None)
    context = ssl.create_default_context()
    if certificate := query.pop("sslcert", None):
        password = query.pop("sslpassword", "")
        context.load_cert_chain(certificate, query.pop("sslkey", None), lambda: password)
    return context


def _write_dsn(netloc: str, path: str, query: Mapping[str, Any]) -> str:
    account, at, hosts = netloc.rpartition("@")
    user, colon, password = account.partition(":")
    account = f"{quote(unquote(user), safe='')}{colon}{quote(unquote(password), safe='')}"
    if path == "/" or {"dbname", "database"} & query.keys():  # the query says more
        path = ""
    return f"postgresql://{account}{at}{hosts}{path}?{urlencode(query)}".rstrip("?")
