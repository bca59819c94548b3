"""HTTP proxies: which requests go through one, and a real one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic import SecretStr

from penstock.errors import ConfigurationError, LLMSetupError
from penstock.llm import Client
from penstock.llm.providers import resolve
from penstock.llm.transports.openai import open_openai_transport
from penstock.llm.transports.proxy import find_proxy
from penstock.settings import Settings
from penstock.testing import ModelServer, refusal
from support.forward_proxy import forward_proxy
from support.messages import say
from support.raw_server import listen, make_certificate, scripted, tls_server

HTTP = "http://models.example/v1"
HTTPS = "https://models.example/v1"
ANSWER = b'{"choices": [{"message": {"content": "through the tunnel"}}]}'


def test_the_proxy_is_chosen_by_the_scheme_of_the_url() -> None:
    settings = Settings(http_proxy="http://one:3128", https_proxy="http://two:3128", all_proxy="http://three")

    assert find_proxy(HTTP, settings) == "http://one:3128"
    assert find_proxy(HTTPS, settings) == "http://two:3128"


def test_all_proxy_is_for_what_the_others_do_not_name() -> None:
    settings = Settings(http_proxy="http://one:3128", all_proxy="https://three")

    assert find_proxy(HTTP, settings) == "http://one:3128"
    assert find_proxy(HTTPS, settings) == "https://three"


def test_the_variables_are_read_from_the_environment_in_either_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://lower:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://upper:3128")
    monkeypatch.setenv("NO_PROXY", "other.example")

    settings = Settings()

    assert find_proxy(HTTPS, settings) == "http://lower:3128"
    assert find_proxy(HTTP, settings) == "http://upper:3128"
    assert find_proxy("http://other.example/v1", settings) is None


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("", False),
        ("*", True),
        ("models.example", True),
        ("MODELS.example", True),
        ("example", True),
        (".example", True),
        ("*.example", True),
        ("other.example, models.example", True),
        ("models.example:443", True),
        ("models.example:8443", False),
        ("odels.example", False),
        ("a.models.example", False),
        (",", False),
    ],
)
def test_hosts_in_no_proxy_are_asked_directly(no_proxy: str, direct: bool) -> None:
    settings = Settings(https_proxy="http://proxy:3128", no_proxy=no_proxy)

    assert (find_proxy(HTTPS, settings) is None) is direct


@pytest.mark.parametrize("host", ["localhost:11434", "127.0.0.1:8000", "127.8.8.8", "[::1]:8000"])
def test_this_machine_is_asked_directly(host: str) -> None:
    assert find_proxy(f"http://{host}/v1", Settings(all_proxy="http://proxy:3128")) is None


def test_a_proxy_without_a_scheme_is_an_http_proxy() -> None:
    assert find_proxy(HTTPS, Settings(https_proxy=" proxy:3128 ")) == "http://proxy:3128"


@pytest.mark.parametrize("proxy", ["ftp://proxy", "http://", "http://proxy:port", "http://[::1"])
def test_a_proxy_that_is_not_a_url_is_a_configuration_error(proxy: str) -> None:
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY is not an http:// or https:// URL"):
        find_proxy(HTTPS, Settings(https_proxy=proxy))


def test_a_socks_proxy_is_not_used_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert find_proxy(HTTPS, Settings(all_proxy="socks5://proxy:1080")) is None
    assert "ALL_PROXY is not used: it names a SOCKS proxy" in caplog.text


def test_the_password_of_a_proxy_is_a_secret() -> None:
    settings = Settings(https_proxy="http://user:pass-word-123@proxy:3128", all_proxy="http://proxy")

    assert "pass-word-123" in settings.secret_values()
    assert "pass-word-123" not in repr(settings)


async def test_an_http_request_goes_through_the_proxy_which_resolves_the_name(model: ModelServer) -> None:
    async with forward_proxy(_port_of(model)) as proxy:
        settings = _settings("http://models.example:8000/v1", http_proxy=proxy.url)
        async with Client(settings) as client:
            first = await client.complete(say("a"))
            await client.complete(say("b"))

    assert first.text == "echo: a"
    assert proxy.request_lines[0] == b"POST http://models.example:8000/v1/chat/completions HTTP/1.1"
    assert model.requests[0]["headers"]["host"] == "models.example:8000"
    assert model.requests[0]["headers"]["authorization"] == "Bearer sk-test-0123456789"
    assert len(model.requests) == 2
    assert len(proxy.request_lines) == 1  # the second request used the same connection


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_an_https_request_goes_through_a_tunnel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = make_certificate(tmp_path, "DNS:models.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # read by OpenSSL
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
    handler, requests, _ = scripted(reply)

    async with (
        listen(handler, tls_server(certificate, key)) as port,
        forward_proxy(port) as proxy,
        Client(_settings(HTTPS, https_proxy=proxy.url)) as client,
    ):
        completion = await client.complete(say("a"))

    assert completion.text == "through the tunnel"
    assert proxy.request_lines == [b"CONNECT models.example:443 HTTP/1.1"]
    assert requests[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\nHost: models.example\r\n")


async def test_a_proxy_gets_the_password_that_its_url_holds(model: ModelServer) -> None:
    async with (
        forward_proxy(_port_of(model), password="pass-word-123") as proxy,
        Client(_settings(HTTP, http_proxy=proxy.url)) as client,
    ):
        completion = await client.complete(say("a"))

    assert completion.text == "echo: a"


@pytest.mark.parametrize("url", [HTTP, HTTPS])
async def test_a_proxy_that_refuses_is_an_error_without_a_retry(model: ModelServer, url: str) -> None:
    async with forward_proxy(_port_of(model), password="pass-word-123") as proxy:
        wrong = proxy.url.replace("pass-word-123", "wrong-word-456")
        async with Client(_settings(url, all_proxy=wrong)) as client:
            with pytest.raises(LLMSetupError, match="407") as caught:
                await client.complete(say("a"))

    assert len(proxy.request_lines) == 1
    assert "wrong-word-456" not in f"{caught.value} {caught.value.detail} {caught.value.__cause__!r}"


async def test_retry_after_holds_through_a_proxy(model: ModelServer) -> None:
    model.then(refusal(429, Retry_After="1"))

    async with (
        forward_proxy(_port_of(model)) as proxy,
        Client(_settings(HTTP, http_proxy=proxy.url)) as client,
    ):
        completion = await client.complete(say("a"))

    assert completion.text == "echo: a"
    assert len(model.requests) == 2


@pytest.mark.parametrize(
    ("transport", "url", "expected"),
    [
        ("auto", HTTPS, "AiohttpPool"),
        ("auto", "https://direct.example/v1", "HttpPool"),
        ("pool", HTTPS, "HttpPool"),
        ("aiohttp", "https://direct.example/v1", "AiohttpPool"),
    ],
)
async def test_the_setting_chooses_the_http_client(transport: str, url: str, expected: str) -> None:
    settings = _settings(url, all_proxy="http://proxy:3128", no_proxy="direct.example")
    settings = settings.model_copy(update={"llm_transport": transport})

    opened = open_openai_transport(resolve(None, settings), settings)

    assert type(opened.client).__name__ == expected


def _port_of(model: ModelServer) -> int:
    return int(model.url.rsplit(":", 1)[1].partition("/")[0])


def _settings(endpoint: str, **proxies: str) -> Settings:
    return Settings(
        llm_endpoint=endpoint,
        llm_model="openai/gpt-x",
        llm_api_key=SecretStr("sk-test-0123456789"),
        http_proxy=proxies.get("http_proxy", ""),
        https_proxy=proxies.get("https_proxy", ""),
        all_proxy=proxies.get("all_proxy", ""),
        no_proxy=proxies.get("no_proxy", ""),
    )
