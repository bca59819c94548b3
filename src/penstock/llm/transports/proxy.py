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
    parts = urlsplit(url)
    if parts.scheme == "https":
        name, proxy, port = "HTTPS_PROXY", settings.https_proxy.strip(), parts.port or 443
    else:
        name, proxy, port = "HTTP_PROXY", settings.http_proxy.strip(), parts.port or 80
    if not proxy:
        name, proxy = "ALL_PROXY", settings.all_proxy.strip()
    host = parts.hostname or ""
    if not proxy or is_loopback(host) or _is_excluded(host, port, settings.no_proxy):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    scheme = proxy.partition("://")[0].lower()
    if scheme.startswith("socks"):
        logger.warning("%s is not used: it names a SOCKS proxy, and only HTTP proxies are supported.", name)
        return None
    if scheme not in {"http", "https"} or not _has_host(proxy):
        raise ConfigurationError(f"{name} is not an http:// or https:// URL; correct it or unset it.")
    return proxy


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
