"""Which HTTP proxy a server is reached through, by the variables that all HTTP clients know."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from penstock.errors import ConfigurationError
from penstock.llm.providers import is_loopback
from penstock.settings import Settings

logger = logging.getLogger(__name__)


def find_proxy(url: str, settings: Settings) -> str | None:
    """The proxy for requests to ``url``; None when it is asked directly.

    ``HTTPS_PROXY`` or ``HTTP_PROXY`` by the scheme of ``url``, else ``ALL_PROXY``. Hosts in ``NO_PROXY`` and
    this machine itself are asked directly. Raises ConfigurationError when the value is not a URL.
    """
    name, proxy = _configured_proxy(url, settings)
    if not proxy or is_loopback(urlsplit(url).hostname or "") or _is_in_no_proxy(url, settings):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if _is_socks(proxy):
        logger.warning("%s is not used: it names a SOCKS proxy, and only HTTP proxies are supported.", name)
        return None
    if proxy.partition("://")[0].lower() not in {"http", "https"} or not _has_host(proxy):
        raise ConfigurationError(f"{name} is not an http:// or https:// URL; correct it or unset it.")
    return proxy


def describe_way(url: str, settings: Settings) -> str:
    """How ``url`` is reached, for messages; empty where no proxy is set or the server is this machine.

    Neither the user name nor the password of a proxy is shown.
    """
    name, proxy = _configured_proxy(url, settings)
    if is_loopback(urlsplit(url).hostname or ""):
        return ""
    if not proxy:
        secure = url.startswith("https:")
        other = "HTTP_PROXY" if secure else "HTTPS_PROXY"
        is_set = (settings.http_proxy if secure else settings.https_proxy).strip()
        return f"directly, since {other} is not for {urlsplit(url).scheme}:// servers" if is_set else ""
    if settings.llm_transport == "pool":
        return f"directly, since LLM_TRANSPORT=pool does not use {name}"
    if _is_in_no_proxy(url, settings):
        return "directly, since NO_PROXY names it"
    if _is_socks(proxy):
        return f"directly, since {name} names a SOCKS proxy, which is not supported"
    return f"through the proxy {proxy.rpartition('://')[2].rpartition('@')[2].rstrip('/')} ({name})"


def _configured_proxy(url: str, settings: Settings) -> tuple[str, str]:
    """The name and the value of the variable for the scheme of ``url``; the value is empty if none is set."""
    if url.startswith("https:"):
        name, proxy = "HTTPS_PROXY", settings.https_proxy.strip()
    else:
        name, proxy = "HTTP_PROXY", settings.http_proxy.strip()
    return (name, proxy) if proxy else ("ALL_PROXY", settings.all_proxy.strip())


def _is_in_no_proxy(url: str, settings: Settings) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return _is_excluded(parts.hostname or "", port, settings.no_proxy)


def _is_socks(proxy: str) -> bool:
    return proxy.lower().startswith("socks")


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _is_excluded(host: str, port: int, no_proxy: str) -> bool:
    """Whether ``NO_PROXY`` names the host, one of its parent domains, either with its port, or ``*``."""
    for entry in no_proxy.lower().split(","):
        name = entry.strip()
        if name == "*":
            return True
        domain = name.removesuffix(f":{port}").removeprefix("*").removeprefix(".")
        if domain and (host == domain or host.endswith(f".{domain}")):
            return True
    return False
