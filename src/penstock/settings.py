"""Settings of the process: the only module that reads the environment.

Every variable can also be set in a file ``.env`` in the working directory; the environment takes precedence.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from penstock.errors import ConfigurationError
from penstock.redaction import MASK, is_secret_name, register_secrets

EMBEDDED_MODEL = "embedded/smollm2-135m"
"""The model that runs inside penstock, used when no other is configured."""

_TRUE = {"true", "1", "yes"}


def _is_true(value: object) -> object:
    return value.strip().lower() in _TRUE if isinstance(value, str) else value


MOST_IN_FLIGHT = 4096
"""Upper limit of every setting and option that says how many records or requests may be in flight."""

Seconds = Annotated[float, Field(gt=0, le=604_800, allow_inf_nan=False)]
"""A time span of at most a week."""

Switch = Annotated[bool, BeforeValidator(_is_true)]
"""True for ``true``, ``1`` and ``yes`` in any case; anything else is false."""


class Settings(BaseSettings):
    """The settings of this process; names in the environment are the upper-case field names."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore")

    llm_endpoint: str = Field(default="http://localhost:11434/api/generate", repr=False)
    llm_api_key: SecretStr = SecretStr("")
    llm_model: str = "llama3"
    openai_api_key: SecretStr = SecretStr("")
    openai_base_url: str = "https://api.openai.com/v1"
    llm_timeout: Seconds = 120.0
    """Seconds that one request may take."""
    llm_deadline: Seconds = 600.0
    """Seconds that one call may take, retries included; waiting for a rate limit to pass does not count."""
    llm_longest_wait: Seconds = 300.0
    """Seconds that a provider may ask to wait; a longer wait, such as for the next day, ends the run."""
    llm_concurrency: int = Field(default=64, ge=1, le=MOST_IN_FLIGHT)
    """Upper limit of requests in flight to one provider and model."""
    llm_transport: Literal["auto", "pool", "aiohttp"] = "auto"
    """The HTTP client for OpenAI-compatible servers; auto: ``aiohttp`` through a proxy, else ``pool``."""
    http_proxy: str = Field(default="", repr=False)
    """The proxy for http:// URLs; it may hold a password."""
    https_proxy: str = Field(default="", repr=False)
    """The proxy for https:// URLs."""
    all_proxy: str = Field(default="", repr=False)
    """The proxy for URLs that neither of the other two is for."""
    no_proxy: str = ""
    """Hosts that are asked without a proxy, separated by commas."""
    ssl_cert_file: str = ""
    """A file of trusted certificates (PEM), instead of the system's."""
    ssl_cert_dir: str = ""
    """A folder of trusted certificates, instead of the system's."""
    requests_ca_bundle: str = ""
    """A file or folder of trusted certificates, where neither of the other two is set."""
    curl_ca_bundle: str = ""
    """The same, where ``requests_ca_bundle`` is not set."""
    embedded_model_path: Path | None = None

    database_path: Path = Path("data/qa_records.db")
    database_url: str | None = None
    database_lock_seconds: Seconds = 30.0
    """Seconds to wait while another process keeps the database locked."""
    user_blocks: Path = Path("user_blocks")
    user_templates: Path = Path("user_templates")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    api_token: SecretStr = SecretStr("")
    allowed_hosts: str = ""
    """Further host names of the service, separated by commas, such as the name of a proxy before it."""
    secure_cookie: Switch = False
    """Mark the cookie of a signed-in browser ``Secure``: it is then sent by HTTPS only."""
    trusted_proxies: str = ""
    """Addresses or networks of proxies whose ``X-Forwarded-Proto`` and ``X-Forwarded-For`` are believed."""
    ui_folder: Path | None = None
    """A built front end to serve instead of the one that is part of penstock."""
    max_running_jobs: int = Field(default=1, ge=1, le=256)

    debug: Switch = False
    log_format: Literal["text", "json"] = "text"
    otel: Switch = False
    """Send OpenTelemetry spans, to the address in the standard ``OTEL_EXPORTER_OTLP_*`` variables."""

    @field_validator("embedded_model_path", "database_url", "ui_folder", mode="before")
    @classmethod
    def _blank_is_absent(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("llm_endpoint", "openai_base_url")
    @classmethod
    def _check_url(cls, value: str, info: ValidationInfo) -> str:
        if value and not _is_http_url(value.strip()):
            name = str(info.field_name).upper()
            raise ConfigurationError(
                f"The setting {name} cannot be used: write a URL that begins with http:// or https:// and "
                "names a host."
            )
        return value

    @property
    def model_configured(self) -> bool:
        """Whether the user named an endpoint or a model; if not, the embedded model answers."""
        return bool(self.model_fields_set & {"llm_endpoint", "llm_model"})

    def secret_values(self) -> list[str]:
        """Every secret that is set, for masking: keys, the token, and the password in ``database_url``."""
        fields = (getattr(self, name) for name in type(self).model_fields)
        secrets = [field.get_secret_value() for field in fields if isinstance(field, SecretStr)]
        urls = (
            self.llm_endpoint,
            self.openai_base_url,
            self.database_url or "",
            self.http_proxy,
            self.https_proxy,
            self.all_proxy,
        )
        return [*secrets, *(password for url in urls for password in _find_passwords(url))]

    @property
    def default_model(self) -> str:
        """The model of a block that names none."""
        return self.llm_model if self.model_configured else EMBEDDED_MODEL

    @property
    def model_line(self) -> str:
        """One line that says which model answers, and where it is set."""
        if self.model_configured:
            prefix, slash, _ = self.llm_model.partition("/")
            if slash and prefix != "ollama" and "llm_endpoint" not in self.model_fields_set:
                return f"Model: {self.llm_model}"
            return f"Model: {self.llm_model} at {_mask_login(self.llm_endpoint)}"
        return f"Model: {EMBEDDED_MODEL}, inside penstock (set LLM_ENDPOINT and LLM_MODEL for another)"


def read_variable(name: str) -> SecretStr:
    """A secret variable that is none of the settings above, such as a provider's own key; empty without one.

    Its value is registered for masking.
    """
    value = os.environ.get(name) or _read_env_file().get(name) or ""
    register_secrets(value)
    return SecretStr(value)


def _read_env_file() -> dict[str, str | None]:
    from dotenv import dotenv_values

    return dotenv_values(str(Settings.model_config.get("env_file")), encoding="utf-8")


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once, their secrets registered for masking.

    Raises ConfigurationError when one of them cannot be used.
    """
    try:
        settings = Settings()  # values come from the environment
    except (OSError, UnicodeError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeError) else error.strerror
        raise ConfigurationError(f"The settings in .env cannot be read: {reason}.") from error
    except ValidationError as error:
        issue = error.errors()[0]
        name = ".".join(str(part) for part in issue["loc"]).upper()
        reason = issue["msg"].rstrip(".")
        raise ConfigurationError(f"The setting {name} cannot be used: {reason}.") from error
    register_secrets(*settings.secret_values(), *_find_secret_variables())
    return settings


_SHORTEST_VARIABLE = 16
"""Shorter values of unknown variables could be ordinary words."""


def _find_secret_variables() -> list[str]:
    """The values of all variables that are named like secrets, such as the keys of other providers."""
    variables = {**_read_env_file(), **os.environ}
    return [
        value
        for name, value in variables.items()
        if value and len(value) >= _SHORTEST_VARIABLE and is_secret_name(name) and not _is_folder(name, value)
    ]


def _is_folder(name: str, value: str) -> bool:
    return name.upper().endswith("PWD") or Path(value).is_absolute()


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        has_port = parts.port != 0  # raises ValueError for what is no port
        host.encode("idna")  # raises UnicodeError for what is no host name
    except ValueError:  # also UnicodeError
        return False
    return parts.scheme in {"http", "https"} and has_port and bool(host.strip()) and not re.search(r"\s", url)


def _mask_login(url: str) -> str:
    """``url`` with ``***`` for a user and a password in it."""
    return re.sub(r"(?<=://)[^/?#]*@", f"{MASK}@", url)


_USER_AND_PASSWORD = re.compile(r"^[^:/]+://[^:/@]*:([^@]*)@")


def _find_passwords(url: str) -> set[str]:
    """The passwords in a database's address, as written and decoded.

    A password that is also the user's or the database's name is left out: it protects nothing, and masking it
    would make messages unreadable.
    """
    match = _USER_AND_PASSWORD.match(url)
    rest, _, query = (url.replace(f":{match[1]}@", "@", 1) if match else url).partition("?")
    written = [*(match.groups() if match else ()), *parse_qs(query).get("password", ())]
    names = re.split(r"[:/@]+", rest)
    found = {form for password in written for form in (password, unquote(password))}
    return {password for password in found if password and password not in names}
