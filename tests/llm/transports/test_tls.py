"""Trusted certificates, the shared TLS context, and connections that end."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest

from penstock.errors import ConfigurationError
from penstock.llm.transports import http_pool
from penstock.llm.transports.http_client import BrokenConnectionError
from penstock.llm.transports.http_pool import HttpPool
from penstock.llm.transports.proxy import describe_way
from penstock.llm.transports.tls import describe_certificates, tls_context
from penstock.settings import Settings
from support.raw_server import make_certificate, read_request, scripted, serve, tls_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_NONE = {"ssl_cert_file": "", "ssl_cert_dir": "", "requests_ca_bundle": "", "curl_ca_bundle": ""}
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")


def _settings(**bundles: str) -> Settings:
    return Settings(**{**_NONE, **bundles})  # type: ignore[arg-type]  # all are texts


def test_all_connections_with_the_same_certificates_share_one_context() -> None:
    assert tls_context(_settings()) is tls_context(_settings())


@needs_openssl
@pytest.mark.parametrize("name", ["ssl_cert_file", "requests_ca_bundle", "curl_ca_bundle"])
async def test_a_bundle_is_trusted_and_without_it_the_server_is_not(tmp_path: Path, name: str) -> None:
    certificate, key = make_certificate(tmp_path)
    handler, _, _ = scripted(OK, OK)
    settings = _settings(**{name: str(certificate)})

    async with serve(handler, tls_server(certificate, key)) as url:
        trusting, other = (
            HttpPool(url, {}, tls_context(settings)),
            HttpPool(url, {}, tls_context(_settings())),
        )
        assert (await trusting.post(b"{}", 10.0)).body == b"ok"
        with pytest.raises(ssl.SSLCertVerificationError):
            await other.post(b"{}", 10.0)
        await trusting.close()

    assert name.upper() in describe_certificates(settings)


def test_a_bundle_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("no certificate")

    for path in (tmp_path / "absent.pem", tmp_path / "text.pem"):
        with pytest.raises(ConfigurationError, match="SSL_CERT_FILE names no file of certificates"):
            tls_context(_settings(ssl_cert_file=str(path)))


async def test_connections_that_were_idle_for_too_long_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    handler, _, connections = scripted(OK, OK, OK)

    async with serve(handler) as url:
        pool = HttpPool(url, {})
        await pool.post(b"{}", 10.0)
        await pool.post(b"{}", 10.0)
        before = len(connections)
        monkeypatch.setattr(http_pool, "_LONGEST_IDLE", -1.0)
        await pool.post(b"{}", 10.0)
        await pool.close()

    assert (before, len(connections)) == (1, 2)


async def test_a_request_that_the_server_kept_and_dropped_is_not_sent_again_unseen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_pool, "_SOON", 0.05)
    requests: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        writer.write(OK)
        requests.append(await read_request(reader))
        await asyncio.sleep(0.2)

    async with serve(handler) as url:
        pool = HttpPool(url, {})
        await pool.post(b"{}", 10.0)
        with pytest.raises(BrokenConnectionError):
            await pool.post(b"{}", 10.0)

    assert len(requests) == 2


@pytest.mark.parametrize(
    ("proxies", "way"),
    [
        ({}, ""),
        ({"https_proxy": "http://me:pass-word-1@proxy:3128"}, "through the proxy proxy:3128 (HTTPS_PROXY)"),
        ({"all_proxy": "proxy:3128"}, "through the proxy proxy:3128 (ALL_PROXY)"),
        ({"all_proxy": "proxy:3128", "no_proxy": "example"}, "directly, since NO_PROXY names it"),
        ({"http_proxy": "proxy:3128"}, "directly, since HTTP_PROXY is not for https:// servers"),
        (
            {"all_proxy": "socks5://p:1"},
            "directly, since ALL_PROXY names a SOCKS proxy, which is not supported",
        ),
        (
            {"all_proxy": "proxy:3128", "llm_transport": "pool"},
            "directly, since LLM_TRANSPORT=pool does not use ALL_PROXY",
        ),
    ],
)
def test_messages_say_how_a_server_is_reached(proxies: dict[str, str], way: str) -> None:
    none = {"http_proxy": "", "https_proxy": "", "all_proxy": "", "no_proxy": ""}
    settings = Settings(**{**none, **proxies})  # type: ignore[arg-type]  # all are texts

    assert describe_way("https://models.example/v1", settings) == way
