"""What the environment says, read in one place.

Every variable can also stand in a ``.env`` file in the working directory; the environment wins.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from penstock.errors import ConfigurationError

EMBEDDED_MODEL = "embedded/smollm2-135m"
"""The model that runs inside penstock, used when no other is configured."""

_PASSWORD_IN_URL = re.compile(r"://[^/@]*:([^/@]+)@")
_TRUE = {"true", "1", "yes"}


def _is_true(value: object) -> object:
    return value.strip().lower() in _TRUE if isinstance(value, str) else value


Switch = Annotated[bool, BeforeValidator(_is_true)]
"""True for ``true``, ``1`` and ``yes`` in any case; anything else is false."""


class Settings(BaseSettings):
    """The settings of this process; names in the environment are the upper-case field names."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore")

    llm_endpoint: str = "http://localhost:11434/api/generate"
    llm_api_key: SecretStr = SecretStr("")
    llm_model: str = "llama3"
    openai_api_key: SecretStr = SecretStr("")
    openai_base_url: str = "https://api.openai.com/v1"
    llm_timeout: float = Field(default=120.0, gt=0)
    """Seconds that one request may take."""
    llm_deadline: float = Field(default=600.0, gt=0)
    """Seconds that one call may take, retries included; waiting out a rate limit does not count."""
    llm_concurrency: int = Field(default=64, ge=1)
    """The most requests in flight to one provider and model."""
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
    embedded_model_path: Path | None = None

    database_path: Path = Path("data/qa_records.db")
    database_url: str | None = None
    database_lock_seconds: float = Field(default=30.0, gt=0)
    """How long to wait for another process that keeps the database locked."""
    user_blocks: Path = Path("user_blocks")
    user_templates: Path = Path("user_templates")

    host: str = "127.0.0.1"
    port: int = 8000
    api_token: SecretStr = SecretStr("")
    allowed_hosts: str = ""
    """More names that the service is reached by, separated by commas: those of a proxy before it."""
    ui_folder: Path | None = None
    """A built front end to serve instead of the one that ships with penstock."""
    max_running_jobs: int = Field(default=1, ge=1)

    debug: Switch = False
    log_format: Literal["text", "json"] = "text"
    otel: Switch = False
    """Send OpenTelemetry spans; where to is said by the standard ``OTEL_EXPORTER_OTLP_*`` variables."""

    @field_validator("embedded_model_path", "database_url", "ui_folder", mode="before")
    @classmethod
    def _blank_is_absent(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def model_configured(self) -> bool:
        """Whether the user named an endpoint or a model; if not, the embedded model answers."""
        return bool(self.model_fields_set & {"llm_endpoint", "llm_model"})

    def secret_values(self) -> list[str]:
        """Every secret that is set, for whoever masks them."""
        fields = (getattr(self, name) for name in type(self).model_fields)
        secrets = [field.get_secret_value() for field in fields if isinstance(field, SecretStr)]
        return [*secrets, *self._proxy_passwords()]

    def _proxy_passwords(self) -> list[str]:
        urls = (self.http_proxy, self.https_proxy, self.all_proxy)
        found = (_PASSWORD_IN_URL.search(url) for url in urls)
        return [match[1] for match in found if match]

    @property
    def default_model(self) -> str:
        """The model of a block that names none."""
        return self.llm_model if self.model_configured else EMBEDDED_MODEL

    @property
    def model_line(self) -> str:
        """One line that says which model answers, and why."""
        if self.model_configured:
            return f"Model: {self.llm_model} at {self.llm_endpoint}"
        return f"Model: {EMBEDDED_MODEL}, inside penstock (set LLM_ENDPOINT and LLM_MODEL for another)"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once; raises ConfigurationError when one of them cannot be used."""
    try:
        return Settings()  # values come from the environment
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(str(part) for part in fault["loc"]).upper()
        raise ConfigurationError(f"The setting {name} cannot be used: {fault['msg']}") from error
