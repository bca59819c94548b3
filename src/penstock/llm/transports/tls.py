"""Which certificate authorities are trusted: one TLS context for the whole process and each choice of them.

Making a context reads and parses every certificate, which takes about 40 ms of CPU time.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

from penstock.errors import ConfigurationError
from penstock.settings import Settings


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
