"""Which certificate authorities are trusted: one TLS context for the whole process and each choice of them.

Making a context reads and parses every certificate, which takes about 40 ms of CPU time.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from penstock.errors import ConfigurationError
from penstock.settings import Settings

_PROBE_SECONDS = 3.0
_NOT_TLS = frozenset({
    "WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE", "BAD_RECORD_TYPE",
})  # fmt: skip
_OLD_TLS = frozenset({
    "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW",
})  # fmt: skip
_CERTIFICATE_WANTED = frozenset({
    "TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_NO_CERTIFICATE",
})  # fmt: skip
HANDSHAKE_HINT = (
    "it may speak plain HTTP (write http:// in LLM_ENDPOINT), or want what is not supported: a client "
    "certificate, or a TLS version before 1.2"
)
"""What to do about a TLS handshake that says nothing more."""


def tls_context(settings: Settings) -> ssl.SSLContext:
    """The context for connections to servers and proxies; raises ConfigurationError for an unusable bundle.

    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` replace the system's certificates; without them, what
    ``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE`` names (a file or a folder) does.
    """
    name, file, folder = _find_bundle(settings)
    try:
        return _make_context(file, folder)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"{name} names no file of certificates that can be read ({error}); correct it or unset it."
        ) from error


def describe_certificates(settings: Settings) -> str:
    """Which certificates are trusted instead of the system's, for people; empty for the system's."""
    name, file, folder = _find_bundle(settings)
    return f"{file or folder} ({name}), instead of the system's" if file or folder else ""


def _find_bundle(settings: Settings) -> tuple[str, str, str]:
    """The variable that names the trusted certificates, the file, and the folder; all may be empty."""
    file, folder = settings.ssl_cert_file.strip(), settings.ssl_cert_dir.strip()
    if file or folder:
        return "SSL_CERT_FILE" if file else "SSL_CERT_DIR", file, folder
    for name in ("requests_ca_bundle", "curl_ca_bundle"):
        if bundle := getattr(settings, name).strip():
            is_folder = Path(bundle).is_dir()
            return name.upper(), "" if is_folder else bundle, bundle if is_folder else ""
    return "", "", ""


@lru_cache(maxsize=8)
def _make_context(file: str, folder: str) -> ssl.SSLContext:
    if file or folder:
        return ssl.create_default_context(cafile=file or None, capath=folder or None)
    return ssl.create_default_context()


def describe_tls_error(error: ssl.SSLError) -> str:
    """What is wrong with a TLS connection, and what to do."""
    reason = getattr(error, "reason", None) or ""  # subclasses of other libraries lack it
    if isinstance(error, ssl.SSLCertVerificationError):
        said = getattr(error, "verify_message", None) or reason or error
        return (
            f"its certificate is not accepted ({said}); if it is the right server, "
            "name the file of its certificate authority in SSL_CERT_FILE"
        )
    if reason in _NOT_TLS or "wrong version number" in str(error):
        return "it does not speak TLS; if it speaks plain HTTP, write http:// in LLM_ENDPOINT"
    if reason in _OLD_TLS:
        return "it offers only versions of TLS before 1.2, which are not accepted; update the server"
    if reason in _CERTIFICATE_WANTED or "certificate required" in str(error):
        return "it wants a client certificate, which is not supported; use an address that wants none"
    return f"the TLS handshake failed ({reason or error}); {HANDSHAKE_HINT}"


async def speaks_tls(host: str, port: int) -> bool:
    """Whether a server that does not answer http:// speaks TLS; nothing is sent to it but a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (OSError, ValueError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True
