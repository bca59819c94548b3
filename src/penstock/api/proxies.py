"""What a trusted proxy says about the browser behind it: its address, and whether it came by HTTPS."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Self

from starlette.datastructures import Headers
from starlette.types import Scope

from penstock.errors import ConfigurationError
from penstock.settings import Settings

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class TrustedProxies:
    """The proxies whose ``X-Forwarded-…`` headers are believed; from all others they are ignored."""

    networks: tuple[_Network, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those in TRUSTED_PROXIES; raises ConfigurationError when one is no address or network."""
        names = [name.strip() for name in settings.trusted_proxies.split(",") if name.strip()]
        try:
            return cls(tuple(ipaddress.ip_network(name, strict=False) for name in names))
        except ValueError as error:
            raise ConfigurationError(
                f"TRUSTED_PROXIES must list addresses or networks, such as 127.0.0.1 or 10.0.0.0/8: {error}."
            ) from error

    def find_address(self, scope: Scope, headers: Headers) -> str:
        """The address that a request came from: the last one in ``X-Forwarded-For`` that is no proxy's."""
        address = _peer(scope)
        if self._trusts(address):
            for forwarded in reversed(_split(headers, "x-forwarded-for")):
                address = forwarded
                if not self._trusts(forwarded):
                    break
        return address

    def is_https(self, scope: Scope, headers: Headers) -> bool:
        """Whether the browser came by HTTPS."""
        if scope.get("scheme") == "https":
            return True
        return self._trusts(_peer(scope)) and _split(headers, "x-forwarded-proto")[-1:] == ["https"]

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(mapped in network for network in self.networks)


def _peer(scope: Scope) -> str:
    return str((scope.get("client") or ("unknown",))[0])


def _split(headers: Headers, name: str) -> list[str]:
    values = ",".join(headers.getlist(name)).split(",")
    return [value.strip().lower() for value in values if value.strip()]
